//! Archives as a user has them: patterns, compression, damaged files.
