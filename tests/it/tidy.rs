//! The rules of this repository that a program can check.
