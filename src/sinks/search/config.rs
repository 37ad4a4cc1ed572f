//! What a pipeline says of an embedded index.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sinks::documents::definition::Overrides;
use crate::sinks::documents::{OnExpire, SystemField};
use crate::units::ByteSize;

/// An index in a folder: the last version of each key as a document, found by `acequia search`. One
/// process writes it, any number read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchConfig {
    /// The folder, on a local disk. It is made where it is missing.
    pub path: String,
    /// Settings of fields (`type`, `analyzer`, `ignore_above` and `fields` of OpenSearch's mapping
    /// parameters), by column, or `COLUMN.MEMBER` of a struct, in place of the contract's `search`
    /// and of what the type says.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub mapping: Overrides,
    /// What documents say of their event besides its columns, in fields of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<SystemField>,
    /// What an expire does to its document: a time-to-live of the table is not the end of the fact.
    #[serde(default)]
    pub on_expire: OnExpire,
    /// Threads that index.
    #[serde(default = "threads")]
    #[schemars(range(min = 1, max = 8))]
    pub threads: u16,
    /// What each of these threads keeps in memory before it writes a part of the index.
    #[serde(default = "memory")]
    pub memory: ByteSize,
}

fn threads() -> u16 {
    1
}

fn memory() -> ByteSize {
    ByteSize::mebibytes(32)
}
