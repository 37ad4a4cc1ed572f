//! The identity of a store: made once with the store, repeated in every record and in the lake's
//! marker, so that another store is never taken for it.

use serde::{Deserialize, Serialize};

use crate::component::checkpoint::FORMAT;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Name of the document that holds it.
pub(super) const DOCUMENT: &str = "store.json";

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    v: u32,
    identity: String,
}

/// The document of a new store.
pub(super) fn encode(identity: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(&Identity { v: FORMAT, identity: identity.to_owned() })
        .or_error(ErrorKind::Fatal, || "cannot write the store's identity".into())
}

/// Read the document found at `place`. A newer format halts.
pub(super) fn decode(place: &str, bytes: &[u8]) -> Result<String> {
    let stored: Identity = serde_json::from_slice(bytes)
        .or_error(ErrorKind::Halted, || format!("{place} is not readable"))?;
    if stored.v > FORMAT {
        return Err(Error::halted(format!(
            "{place} has format {}, this build reads up to {FORMAT}: use a newer acequia",
            stored.v
        )));
    }
    Ok(stored.identity)
}

/// The error for a store that has documents and no identity.
pub(super) fn lost(place: &str) -> Error {
    Error::halted(format!(
        "the checkpoint store {place} has documents but no identity ({DOCUMENT}): restore it from \
         the same copy as the rest, or begin with an empty store and an empty lake"
    ))
}
