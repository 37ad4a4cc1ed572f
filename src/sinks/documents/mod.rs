//! Rows as documents of a search index, the same for every engine.
//!
//! [`definition`] says what the fields of an index are, from the contract and the columns of the last
//! stage; [`analysis`] how text is cut into words; [`encoder`] writes rows as JSON documents.

pub mod analysis;
pub mod config;
pub mod definition;
pub mod encoder;
pub mod kind;

pub use self::analysis::Analyzer;
pub use self::config::{OnExpire, SystemField, system_columns};
pub use self::definition::Definition;
pub use self::encoder::{Documents, Encoder, Fate, id_of};
pub use self::kind::Kind;
