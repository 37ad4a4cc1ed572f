//! Acequia turns database change events into Hive-partitioned Parquet and searchable documents,
//! continuously and exactly once.
//!
//! The modules in reading order:
//!
//! - [`event`]: the nouns that flow: positions, operations, batches, dead letters.
//! - [`component`]: the contracts of sources, decoders, transforms, sinks and checkpoint stores.
//! - [`document`]: YAML with places: findings that point at the line, beneath contracts and config.
//! - [`contract`]: Open Data Contract Standard documents: columns, keys, rules.
//! - [`codec`]: bytes to Arrow rows, directed by the contract.
//! - [`sentiment`]: whether a text is content, displeased or neither.
//! - [`sources`], [`transforms`], [`sinks`], [`checkpoint`]: the families; they never see each other.
//! - [`config`]: YAML in, checked settings out; every mistake at once, with its place.
//! - [`runtime`]: the lane with its delivery protocol, and the process that runs lanes.
//! - [`lake`]: what reads or rewrites the lake.
//! - `search`: what reads indices, the same on each engine.
//! - [`cli`]: one file per verb.
//! - [`telemetry`], [`aws`], [`disk`], [`location`], [`secret`] and the seams [`clock`], [`randomness`], [`compute`],
//!   [`memory`] lie below all.
//! - [`testing`]: doubles and conformance suites, for tests and benches.

// Tests may be long, and may clone where it reads better.
#![cfg_attr(
    test,
    allow(
        clippy::too_many_lines,
        clippy::cloned_ref_to_slice_refs,
        clippy::type_complexity,
        clippy::items_after_test_module
    )
)]

pub mod checkpoint;
pub mod cli;
pub mod codec;
pub mod component;
pub mod config;
pub mod contract;
pub mod document;
pub mod event;
pub mod lake;
pub mod runtime;
#[cfg(any(feature = "opensearch", feature = "search"))]
pub mod search;
pub mod sentiment;
pub mod sinks;
pub mod sources;
pub mod transforms;

pub mod aws;
pub mod clock;
pub mod compute;
pub mod disk;
pub mod error;
pub mod location;
pub mod memory;
mod mutants;
pub mod randomness;
pub mod secret;
pub mod telemetry;
pub mod units;

#[doc(hidden)]
pub mod testing;

pub use error::{Error, ErrorKind, Result, ResultExt};
