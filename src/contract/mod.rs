//! Contracts: Open Data Contract Standard documents in, Arrow schemas, keys and rules out.

pub mod model;

pub use model::{Column, ColumnType, Contract, Evolution, Rule, TimeForm};
