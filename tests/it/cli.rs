//! The command line: exit codes, help, the shape of `--json`.
