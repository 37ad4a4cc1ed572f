//! Staged files: invisible until the record names them, published by identity.
