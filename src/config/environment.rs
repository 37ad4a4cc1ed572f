//! The environment of the process. Nothing outside `config` reads it.

/// The value of an environment variable; `None` where it is unset or is no UTF-8.
#[allow(clippy::disallowed_methods)]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
