//! Scattered rows as bytes, one row after another.
//!
//! Rows of many Hive partitions that come mixed wait packed: they keep nothing but themselves alive,
//! the scratch file takes each of them in one copy, and the text of a row that is read back stays
//! where it is.
//!
//! A row is its length (4 bytes, little endian), the null bits of its nodes, and the values of its
//! nodes that are not null: numbers as Arrow has them, text and bytes behind their length (one byte,
//! or 255 and four more), a list behind its length (4 bytes) in the row format of the `arrow-row`
//! crate. The nodes are the columns and the members of their structs, parents first. The format
//! never leaves the process: it has no version.

mod pack;
mod unpack;

use arrow::array::new_null_array;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// Bytes of a row's length.
const LENGTH_BYTES: usize = 4;
/// Stands where the length of text does not fit into one byte.
const LONG_TEXT: u8 = u8::MAX;

/// How rows of one schema are packed.
#[derive(Debug)]
pub(super) struct Packing {
    schema: SchemaRef,
    nodes: Vec<Node>,
}

/// One column, or one member of a struct.
#[derive(Debug)]
enum Node {
    /// A number of so many bytes.
    Number(usize),
    Boolean,
    Text,
    Binary,
    List(ListRows),
    /// Only its null bit; the members are nodes of their own.
    Struct,
}

/// Lists in the row format of Arrow.
#[derive(Debug)]
struct ListRows {
    converter: RowConverter,
    /// A list that is null.
    null: Vec<u8>,
}

/// Rows in bytes. A clone shares them.
#[derive(Debug, Clone)]
pub(super) struct PackedRows {
    /// Whole rows and nothing else.
    pub(super) bytes: Buffer,
    /// Their number.
    pub(super) rows: usize,
    /// CRC-32 of the bytes where they come from a file: text is trusted no further than this.
    pub(super) checksum: Option<u32>,
}

impl Packing {
    /// The packing of rows of `schema`, whose types are those that a table stores.
    pub(super) fn new(schema: &SchemaRef) -> Result<Self, ArrowError> {
        let mut nodes = Vec::new();
        for field in schema.fields() {
            add_nodes(field.data_type(), &mut nodes)?;
        }
        Ok(Self { schema: schema.clone(), nodes })
    }

    /// Schema of the rows.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Bytes in front of a row's values.
    fn head(&self) -> usize {
        LENGTH_BYTES + self.nodes.len().div_ceil(8)
    }
}

fn add_nodes(kind: &DataType, nodes: &mut Vec<Node>) -> Result<(), ArrowError> {
    nodes.push(match kind {
        DataType::Boolean => Node::Boolean,
        DataType::Utf8View => Node::Text,
        DataType::BinaryView => Node::Binary,
        DataType::List(_) => {
            let converter = RowConverter::new(vec![SortField::new(kind.clone())])?;
            let null = converter.convert_columns(&[new_null_array(kind, 1)])?;
            let null = null.iter().next().map(|row| row.data().to_vec()).unwrap_or_default();
            Node::List(ListRows { converter, null })
        }
        DataType::Struct(members) => {
            nodes.push(Node::Struct);
            return members.iter().try_for_each(|member| add_nodes(member.data_type(), nodes));
        }
        _ => match kind.primitive_width() {
            Some(width) => Node::Number(width),
            None => {
                return Err(ArrowError::SchemaError(format!("a column of {kind} is not stored")));
            }
        },
    });
    Ok(())
}

/// The byte of a row's null bits that has the bit of `node`, from the row's start, and the bit.
fn null_bit(node: usize) -> (usize, u8) {
    (LENGTH_BYTES + node / 8, 1 << (node % 8))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
