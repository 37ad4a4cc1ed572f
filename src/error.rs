//! One error for the whole crate. Its kind answers the only question a caller has: what should I do now?

use std::error::Error as StdError;
use std::fmt;

/// What the caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Do the same step again, after a pause. The outcome of the failed call is unknown.
    Retryable,
    /// This record (and no other) cannot be processed: it belongs in the dead letters.
    Data,
    /// The configuration or the command line is wrong: exit code 2 with the diagnostic.
    Config,
    /// Stop the lane without committing. The next run resumes from the last checkpoint.
    Fatal,
    /// A guard stopped the run and an operator must decide (a flood of dead letters, a changed
    /// file, a lost file, a gap, another run took over): exit code 3.
    Halted,
}

/// An error with a kind, a message that names what failed on what, and the cause beneath it.
///
/// Messages are lowercase and carry no full stop; causes are joined by `: ` when shown.
pub struct Error {
    kind: ErrorKind,
    message: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind, without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None }
    }
    /// The same step may be tried again.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retryable, message)
    }
    /// One record cannot be processed.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }
    /// The configuration is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }
    /// The lane must stop without committing.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fatal, message)
    }
    /// An operator must decide.
    pub fn halted(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Halted, message)
    }

    /// Attach the cause that led to this error.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same kind, with `message` put in front of the present one.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        Self { kind: self.kind, message: message.into(), cause: Some(Box::new(self)) }
    }

    /// What the caller should do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// True where the same step may be tried again.
    pub fn is_retryable(&self) -> bool {
        self.kind == ErrorKind::Retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn StdError);
        while let Some(error) = cause {
            // One of our own prints its causes itself.
            write!(out, ": {error}")?;
            cause = if error.is::<Error>() { None } else { error.source() };
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {self}", self.kind)
    }
}

// `source` is left at its default: `Display` already prints the whole chain.
impl StdError for Error {}

/// The last cause of a chain, for errors whose layers above it name only a library's own parts.
pub fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

/// Gives any foreign error a kind and a message.
pub trait ResultExt<T> {
    /// Turn a failure into an [`Error`] of `kind` that says `message` and keeps the cause.
    fn or_error(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for std::result::Result<T, E> {
    fn or_error(self, kind: ErrorKind, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|cause| Error::new(kind, message()).caused_by(cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_the_whole_chain_once() {
        let disk = std::io::Error::other("no space left");
        let error =
            Error::retryable("cannot write part 3").caused_by(disk).context("cannot flush lane a");
        assert_eq!(error.to_string(), "cannot flush lane a: cannot write part 3: no space left");
        assert!(error.is_retryable());
    }
}
