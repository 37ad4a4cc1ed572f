//! Real servers for tests, and for a person who wants to try something by hand: no containers, no
//! accounts, nothing that listens beyond this machine.
//!
//! A tour, from the outside in:
//!
//! - [`kafka`], [`moto`] and [`opensearch`] each bring up one service. A service is one file that says what it
//!   needs from the [`cache`], which command runs it, and how to tell that it is ready.
//! - [`server`] is one such command: started, polled until ready, stopped, killed, frozen, started
//!   again on the same port and folder.
//! - [`guard`] sees to it that a server never outlives the process that started it.
//! - [`cache`] holds what is fetched once per machine, and the folders of servers that run.
//!
//! A test asks for a service and leaves where it cannot be had:
//!
//! ```ignore
//! let Some(kafka) = services::kafka::shared_or_skip("name of test") else { return };
//! ```
//!
//! Leaving is loud: see [`or_skip`]. What can be had and does not start is never a skip; it
//! panics with the end of the server's log.
//!
//! To add a service, write its file, implement [`Service`], give it a [`Shared`] where tests can
//! live beside each other in it, and name it in `examples/services.rs`.
#![allow(
    dead_code,
    reason = "compiled into the tests and into the example, which use different parts"
)]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test that asked for it")]

pub(crate) mod cache;
pub(crate) mod guard;
pub(crate) mod http;
pub(crate) mod java;
pub(crate) mod kafka;
pub(crate) mod moto;
pub(crate) mod opensearch;
pub(crate) mod server;

use std::fmt;
use std::io::{self, Write as _};
use std::sync::OnceLock;

/// Why a service cannot be had on this machine, and what to do about it.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    /// What is not there, or what failed, with the end of its output.
    pub(crate) what: String,
    /// What to install or allow.
    pub(crate) remedy: &'static str,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\nTo have it: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Missing {}

/// A service that tests can start.
pub(crate) trait Service: Sized {
    /// Its name for people.
    const NAME: &'static str;

    /// Make sure that all its artefacts lie in the cache, so that a start downloads nothing.
    fn fetch() -> Result<(), Missing>;

    /// Start one that belongs to the caller alone, and wait until it is ready. It ends when it is
    /// dropped.
    fn start() -> Result<Self, Missing>;

    /// [`Service::start`] by the rule of [`or_skip`].
    fn start_or_skip(test: &str) -> Option<Self> {
        or_skip(test, Self::start())
    }
}

/// One service for all tests of this process, started by the first that asks.
///
/// It is never dropped; its guard ends it with the process. Tests get it by shared reference and
/// cannot stop it under each other.
pub(crate) struct Shared<S>(OnceLock<Result<S, Missing>>);

impl<S: Service> Shared<S> {
    /// One that has not been asked for.
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The service, ready.
    pub(crate) fn get(&self) -> Result<&S, Missing> {
        self.0.get_or_init(S::start).as_ref().map_err(Clone::clone)
    }

    /// [`Shared::get`] by the rule of [`or_skip`].
    pub(crate) fn get_or_skip(&self, test: &str) -> Option<&S> {
        or_skip(test, self.get())
    }
}

/// The service, or nothing where this machine cannot have it, with a banner on standard error that
/// says which test did not run and why.
///
/// # Panics
///
/// Instead of skipping, where the environment says `CI=true`: a machine that tests for others has
/// to have everything.
pub(crate) fn or_skip<T>(test: &str, service: Result<T, Missing>) -> Option<T> {
    let missing = match service {
        Ok(service) => return Some(service),
        Err(missing) => missing,
    };
    #[allow(clippy::disallowed_methods, reason = "a rule of tests, not a setting of the program")]
    let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!in_ci, "{test} cannot run: {missing}");
    // Unlike `eprintln!`, this is seen although the output of tests is captured.
    let _ = io::stderr().write_all(banner(test, &missing).as_bytes());
    None
}

/// What a skip says.
pub(crate) fn banner(test: &str, missing: &Missing) -> String {
    let rule = "!".repeat(78);
    let mut text = format!("\n{rule}\n!! NOT RUN: {test}\n");
    for line in missing.to_string().lines() {
        text.push_str(&format!("!! {line}\n"));
    }
    text + &rule + "\n\n"
}
