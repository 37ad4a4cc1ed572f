//! Model files are read one field after the other.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// What is left of a file's bytes.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.first_chunk::<N>().copied()
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// The bytes of a file of at most `largest` bytes; `what` it is to be, for the refusal of a larger one.
pub(super) fn read(path: &Path, largest: u64, what: &str) -> Result<Vec<u8>> {
    let said = || format!("cannot read {}", path.display());
    let length = std::fs::metadata(path).or_error(ErrorKind::Config, said)?.len();
    if length > largest {
        return Err(Error::config(format!("{} is too large for {what}", path.display())));
    }
    std::fs::read(path).or_error(ErrorKind::Config, said)
}
