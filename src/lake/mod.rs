//! What reads or rewrites the lake.

#[cfg(feature = "aws")]
mod bucket;
pub mod print;
pub mod query;
mod table;

pub use print::{write_csv, write_json, write_table};
pub use query::{Answer, LakeQuery, QueryLimits, QueryTable, table_name};
