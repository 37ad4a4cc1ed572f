//! The types and the metadata of what a SELECT gives.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};

use crate::event::batch::KEY_COLUMN;
use crate::event::system::INSTANT;

/// The type in which a value of `kind` travels on: one type for text, one for instants, one width
/// for numbers. An error says what to write instead.
pub(super) fn target_type(kind: &DataType) -> Result<DataType, &'static str> {
    use DataType::*;
    let inner = |field: &Field| -> Result<Arc<Field>, &'static str> {
        Ok(Arc::new(Field::new("item", target_type(field.data_type())?, true)))
    };
    Ok(match kind {
        Boolean | Int64 | Float64 | Date32 | Decimal128(..) | Utf8View | BinaryView => kind.clone(),
        Utf8 | LargeUtf8 => Utf8View,
        Binary | LargeBinary | FixedSizeBinary(_) => BinaryView,
        Int8 | Int16 | Int32 | UInt8 | UInt16 | UInt32 | UInt64 => Int64,
        Float16 | Float32 => Float64,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        Timestamp(..) | Date64 => INSTANT.clone(),
        Dictionary(_, value) => target_type(value)?,
        List(item)
        | LargeList(item)
        | ListView(item)
        | LargeListView(item)
        | FixedSizeList(item, _) => List(inner(item)?),
        Struct(members) => Struct(
            members
                .iter()
                .map(|member| {
                    Ok(Arc::new(Field::new(member.name(), target_type(member.data_type())?, true)))
                })
                .collect::<Result<Fields, &'static str>>()?,
        ),
        Null => return Err("give it a type with CAST(... AS VARCHAR)"),
        Interval(_) | Duration(_) => {
            return Err("turn it into a number with date_part('epoch', ...)");
        }
        Time32(_) | Time64(_) => return Err("turn it into text with CAST(... AS VARCHAR)"),
        Decimal256(..) => return Err("turn it into DECIMAL(38, scale) with CAST"),
        Map(..) | Union(..) | RunEndEncoded(..) => return Err("select the members you need"),
    })
}

/// The field of an output. `origin` is the stage's column that it is, unchanged.
pub(super) fn output_field(name: &str, kind: DataType, origin: Option<&Field>) -> Field {
    let metadata = match origin {
        Some(origin) => {
            let mut metadata = origin.metadata().clone();
            if origin.name() != name {
                metadata.remove(KEY_COLUMN);
            }
            metadata
        }
        None => HashMap::new(),
    };
    // A delete may have its key alone, so that every column can be NULL.
    Field::new(name, kind, true).with_metadata(metadata)
}
