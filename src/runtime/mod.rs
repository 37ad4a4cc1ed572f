//! The lane and what runs it.
