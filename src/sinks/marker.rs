//! The marker beside a table's root: which pipeline, version domain and checkpoint store it
//! belongs to. It keeps a renamed pipeline, a second pipeline, and a deleted or restored checkpoint
//! store from writing rows that are there already.

use serde::{Deserialize, Serialize};

use crate::component::checkpoint::FORMAT;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Name of the marker in the root. Readers of the table pass over names that begin with `_`.
pub const MARKER: &str = "_acequia.json";

/// What a folder of files belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// The pipeline.
    pub pipeline: String,
    /// The version domain of its rows.
    pub domain: String,
    /// Identity of the checkpoint store whose records speak of its files.
    pub store: String,
}

/// The marker as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    v: u32,
    #[serde(flatten)]
    ownership: Ownership,
}

/// The bytes of the marker of `ownership`.
pub fn encode(ownership: &Ownership) -> Result<Vec<u8>> {
    let marker = Marker { v: FORMAT, ownership: ownership.clone() };
    let mut bytes = serde_json::to_vec_pretty(&marker)
        .or_error(ErrorKind::Fatal, || "cannot write a marker".to_owned())?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The error for a marker that was there and is not any more.
pub fn missing(place: &str) -> Error {
    Error::halted(format!(
        "{place} is gone, although this pipeline has written there before: the folder was removed, \
         or the url is another one; bring it back, or begin with an empty checkpoint folder too, \
         since what was read once is not written again"
    ))
}

/// Compare the marker found at `place` with what this process is; a difference halts.
pub fn check(place: &str, found: &[u8], expected: &Ownership) -> Result<()> {
    #[derive(Deserialize)]
    struct Format {
        v: u32,
    }
    let unreadable =
        || format!("{place} is not readable as a marker: the folder may belong to something else");
    let format: Format = serde_json::from_slice(found).or_error(ErrorKind::Halted, unreadable)?;
    if format.v > FORMAT {
        return Err(Error::halted(format!(
            "{place} has format {}, this build reads up to {FORMAT}: use a newer acequia",
            format.v
        )));
    }
    let found: Marker = serde_json::from_slice(found).or_error(ErrorKind::Halted, unreadable)?;
    let found = found.ownership;
    if found.pipeline != expected.pipeline {
        return Err(Error::halted(format!(
            "{place} says that the folder belongs to pipeline `{}`, this is pipeline `{}`: give each pipeline a folder of its own",
            found.pipeline, expected.pipeline
        )));
    }
    if found.store != expected.store {
        return Err(Error::halted(format!(
            "{place} says that the folder was written under checkpoint store {}, the present one is {}: the checkpoint folder was deleted, restored or is another one, and going on would write every row again; bring the old checkpoint folder back, or choose an empty folder for the table",
            found.store, expected.store
        )));
    }
    if found.domain != expected.domain {
        return Err(Error::halted(format!(
            "{place} says that the folder holds version domain {}, the present one is {}: versions of two domains do not compare; choose an empty folder for the table",
            found.domain, expected.domain
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ownership(pipeline: &str, domain: &str, store: &str) -> Ownership {
        Ownership { pipeline: pipeline.into(), domain: domain.into(), store: store.into() }
    }

    #[test]
    fn only_its_own_marker_is_accepted() {
        let own = ownership("shop", "d1", "s1");
        let bytes = encode(&own).unwrap();
        check("m", &bytes, &own).unwrap();
        for (other, says) in [
            (ownership("bank", "d1", "s1"), "belongs to pipeline `shop`, this is pipeline `bank`"),
            (ownership("shop", "d2", "s1"), "version domain d1, the present one is d2"),
            (ownership("shop", "d1", "s2"), "checkpoint folder was deleted"),
        ] {
            let error = check("m", &bytes, &other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Halted);
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_newer_or_foreign_marker_halts() {
        let own = ownership("shop", "d1", "s1");
        for (bytes, says) in [
            (&b"{\"v\":99}"[..], "newer acequia"),
            (b"", "not readable"),
            (b"{\"v\":1}", "not readable"),
        ] {
            let error = check("m", bytes, &own).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Halted);
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
