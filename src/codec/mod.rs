//! Bytes to rows: plain JSON, DynamoDB JSON and Debezium events, directed by the contract.
//!
//! ```text
//! json       a pull reader of JSON text: places, not values
//! number, instant, value    what a scalar means, in both forms
//! columns    builders that can forget their last row
//! plain, dynamodb, debezium the forms of a record; `before`: the image before a change
//! connect    what the schema beside an event says of its fields
//! tombstone  a message without a value
//! message    keys and headers beside the rows
//! rows       a batch while it is built: columns, system columns, rejects
//! check      the contract's quality rules
//! shape, learn, fast        the fast path: a record is expected to look like those before it
//! decoder    every record of a chunk becomes a row or a reject
//! ```
//!
//! A record that does not decode, or does not fit the contract, becomes a dead letter whose reason
//! names the field, what was expected and what was found; the rest of its batch goes on.

mod base64;
mod before;
mod check;
mod columns;
mod connect;
mod debezium;
#[cfg(test)]
mod debezium_golden_tests;
#[cfg(test)]
mod debezium_shape_tests;
#[cfg(test)]
mod debezium_tests;
mod decoder;
mod dynamodb;
mod fast;
#[cfg(test)]
mod forms_tests;
mod instant;
mod json;
mod learn;
mod message;
mod number;
mod plain;
mod plan;
mod refusal;
mod rows;
mod shape;
#[cfg(test)]
mod shape_tests;
mod table;
#[cfg(test)]
mod tests;
mod tombstone;
#[cfg(test)]
mod tombstone_tests;
mod value;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::Decoder;
use crate::contract::Contract;
use crate::event::Operation;

/// The form of a source's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One item an object. `_op` and `_event_time` beside its attributes are read as the operation
    /// and the time; without `_op` the event is an upsert.
    Plain,
    /// DynamoDB Streams records, one a line, or Lambda envelopes with `Records`.
    Dynamodb,
    /// Change events of Debezium as JSON, with their schema beside them or without.
    Debezium,
}

/// A decoder of records in `format` into the columns of `contract`, for one lane.
///
/// Rows take their text where it stands in the chunk, without a copy. Every record is a row or a
/// reject, but for blank lines and `null`, which say nothing and are not counted. A plain record
/// without `_event_time` takes the first time that it has a value for: the instants of its key, the
/// other instants, the dates, each in the contract's order; never the wall clock's.
pub fn decoder(contract: Arc<Contract>, format: Format) -> Box<dyn Decoder> {
    decoder_of(contract, format, Operation::Upsert)
}

/// A [`decoder`] for a source whose records without `_op` are something else than upserts.
///
/// A message whose value is null is a delete of the item that its key names: a JSON object of the
/// contract's key columns and nothing else, or the bare value where there is one key column. Its
/// time is the message's. Where a broker gives the time of a message, a record that has no time of
/// its own takes that.
pub fn decoder_of(
    contract: Arc<Contract>,
    format: Format,
    unmarked: Operation,
) -> Box<dyn Decoder> {
    Box::new(decoder::ContractDecoder::new(&contract, format, unmarked))
}
