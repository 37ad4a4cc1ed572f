//! Contracts: Open Data Contract Standard documents in, Arrow schemas, keys and rules out.

mod document;
pub mod model;
mod property;
#[cfg(test)]
mod tests;

pub use document::load;
pub use model::{Column, ColumnType, Contract, DecimalForm, Evolution, Reference, Rule, TimeForm};
