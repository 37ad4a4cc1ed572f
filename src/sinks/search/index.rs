//! The folder of an embedded index: made where it is missing, compared where it is there.

use std::fs;
use std::path::Path;

use tantivy::schema::{FieldEntry, Schema};
use tantivy::{Index, IndexBuilder, IndexSettings};

use super::analysis::{WHOLE, tokenizers};
use super::fields::Fields;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sinks::marker::{self, MARKER};

/// What tantivy keeps about an index.
const META: &str = "meta.json";

/// See that the folder may become an index: it is one of Acequia, empty, or not there. An index removes
/// files that it takes for its own, so nothing else may lie beside it.
///
/// # Errors
/// `Halted` for an index that was made by something else, `Config` for any other folder.
pub(super) fn look_at(path: &Path) -> Result<()> {
    let shown = path.display();
    if path.join(MARKER).exists() {
        return Ok(());
    }
    if path.join(META).exists() {
        return Err(Error::halted(format!(
            "{shown} holds an index that was not made by Acequia: name another folder by `path`"
        )));
    }
    let mut there = match fs::read_dir(path) {
        Ok(there) => there,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => {
            let what = format!("cannot look into the folder {shown}");
            return Err(Error::config(what).caused_by(cause));
        }
    };
    match there.next() {
        None => Ok(()),
        Some(_) => Err(Error::config(format!(
            "the folder {shown} is neither empty nor an index: name another one by `path`"
        ))),
    }
}

/// Open the index in `path`; make it where it is missing and was not `written_before`.
///
/// # Errors
/// `Halted` where it is gone, `Config` where its fields are others.
pub(super) fn open_or_make(path: &Path, fields: &Fields, written_before: bool) -> Result<Index> {
    let meta = path.join(META);
    if meta.exists() {
        return open(path, fields);
    }
    if written_before {
        return Err(marker::missing(&meta.display().to_string()));
    }
    IndexBuilder::new()
        .schema(fields.schema().clone())
        .settings(IndexSettings::default())
        .tokenizers(tokenizers())
        .fast_field_tokenizers(tokenizers())
        .create_in_dir(path)
        .or_error(ErrorKind::Config, || format!("cannot make an index in {}", path.display()))
}

/// Open the index in `path`, whose fields must be `fields`.
///
/// # Errors
/// `Config` where they are others, or where there is no index.
pub fn open(path: &Path, fields: &Fields) -> Result<Index> {
    let shown = path.display();
    let mut index = Index::open_in_dir(path)
        .or_error(ErrorKind::Config, || format!("cannot open the index {shown}"))?;
    let differences = differences(fields.schema(), &index.schema());
    if !differences.is_empty() {
        return Err(Error::config(format!(
            "the fields of the index {shown} are not those that this pipeline wants: {}; the fields of an index do not change: name another folder by `path`, and fill it anew",
            differences.join("; ")
        )));
    }
    index.set_tokenizers(tokenizers());
    index.set_fast_field_tokenizers(tokenizers());
    Ok(index)
}

/// What is not as it is wanted, each in a few words.
fn differences(wanted: &Schema, there: &Schema) -> Vec<String> {
    if wanted == there {
        return Vec::new();
    }
    let entry = |schema: &Schema, name: &str| {
        schema.get_field(name).ok().map(|field| schema.get_field_entry(field).clone())
    };
    let mut found = Vec::new();
    for (_, wanted) in wanted.fields() {
        match entry(there, wanted.name()) {
            None => found.push(format!("`{}` is missing", wanted.name())),
            Some(there) if there != *wanted => found.push(format!(
                "`{}` is {}, not {}",
                wanted.name(),
                described(&there),
                described(wanted)
            )),
            Some(_) => {}
        }
    }
    let more = there.fields().filter(|(_, field)| entry(wanted, field.name()).is_none());
    found.extend(more.map(|(_, field)| format!("`{}` is one too many", field.name())));
    if found.is_empty() {
        found.push("they stand in another order".to_owned());
    }
    found
}

fn described(field: &FieldEntry) -> String {
    match field.field_type() {
        tantivy::schema::FieldType::Str(options) => {
            match options.get_indexing_options().map(|indexing| indexing.tokenizer()) {
                Some(WHOLE) => "keyword".to_owned(),
                Some(analyzer) => format!("text ({analyzer})"),
                None => "text that is not found by".to_owned(),
            }
        }
        other => other.value_type().name().to_lowercase(),
    }
}
