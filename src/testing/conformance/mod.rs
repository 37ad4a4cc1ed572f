//! What every implementation of a contract must pass. A suite panics at the first broken promise.

pub mod checkpoint;
