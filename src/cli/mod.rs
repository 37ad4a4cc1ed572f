//! One file per verb, each a thin call into the library.
