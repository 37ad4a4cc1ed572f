//! The environment of the process. Nothing outside `config` reads it.

use std::path::PathBuf;

/// The folder for temporary files.
#[allow(clippy::disallowed_methods)]
pub fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// The value of an environment variable; `None` where it is unset or is no UTF-8.
#[allow(clippy::disallowed_methods)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
