//! The columns from the contract through the transforms to the sinks.

use arrow::datatypes::{DataType, Field, Fields, SchemaRef};

use super::load::Check;
use crate::codec::Format;
use crate::contract::Contract;
use crate::contract::Evolution;
use crate::document::{Finding, Step, closest};
use crate::event::SystemSchema;
use crate::event::batch::KEY_COLUMN;
use crate::sinks::parquet::{Granularity, PartitionConfig};
use crate::sources::SourceConfig;
use crate::transforms::sql::{self, SqlError};
use crate::transforms::{Mistake, SettingMistake};

/// The system columns that rows of this source have under this contract.
pub(super) fn system_schema(source: &SourceConfig, contract: &Contract) -> SystemSchema {
    let before = match source.format() {
        Format::Plain => None,
        Format::Dynamodb | Format::Debezium => Some(Fields::clone(contract.schema().fields())),
    };
    SystemSchema {
        position: DataType::Int64,
        before,
        extra: contract.evolution == Evolution::Lenient,
        message: source.has_messages(),
    }
}

/// The columns after the last stage; none where a stage has a mistake.
pub(super) fn transforms(
    check: &mut Check<'_>,
    contract: &Contract,
    system: &SystemSchema,
) -> Option<SchemaRef> {
    if !check.is_sound(&["transforms"]) {
        return None;
    }
    let mut schema = contract.schema();
    for index in 0..check.pipeline.transforms.len() {
        let stage = check.pipeline.transforms.get(index)?;
        let steps = [Step::Key("transforms"), Step::Item(index), Step::Key(stage.kind())];
        schema = match stage.check(&schema, system) {
            Ok(checked) => {
                check.reads_message |= checked.reads_message;
                if let Some(warning) = checked.warning {
                    let warning = setting_finding(check, &steps, warning);
                    check.warnings.extend([warning]);
                }
                checked.schema
            }
            Err(Mistake::Sql(error)) => {
                check.report(sql_finding(check, &steps, &error));
                return None;
            }
            Err(Mistake::Setting(mistake)) => {
                check.report(setting_finding(check, &steps, mistake));
                return None;
            }
        };
        let lost = lost_keys(check, &steps, contract, &schema);
        if !lost.is_empty() {
            check.findings.extend(lost);
            return None;
        }
    }
    Some(schema)
}

/// Every key column must come through under its own name and unchanged: a delete is written by key.
fn lost_keys(
    check: &Check<'_>,
    steps: &[Step<'_>],
    contract: &Contract,
    schema: &SchemaRef,
) -> Vec<Finding> {
    let key = contract.primary_key.join(", ");
    let allowed = format!(
        "select the key unchanged and under its own name, since deletes are written by it: {key}"
    );
    let what = |column: &String| match schema.field_with_name(column) {
        Ok(field) if field.metadata().contains_key(KEY_COLUMN) => None,
        Ok(_) => Some(format!("changes the key column `{column}`")),
        Err(_) => Some(format!("leaves out the key column `{column}`")),
    };
    let lost = contract.primary_key.iter().filter_map(what);
    lost.map(|what| check.document.finding_at(steps, what).allowed(allowed.clone())).collect()
}

/// A mistake in a setting, at its place in the file.
fn setting_finding(check: &Check<'_>, steps: &[Step<'_>], mistake: SettingMistake) -> Finding {
    let inner = mistake.path.iter().map(|key| Step::Key(key));
    let steps: Vec<Step<'_>> = steps.iter().copied().chain(inner).collect();
    let finding = check.document.finding_at(&steps, mistake.what);
    finding.allowed(mistake.allowed).suggest(mistake.meant)
}

/// A mistake in SQL, at its place in the file.
fn sql_finding(check: &Check<'_>, steps: &[Step<'_>], error: &SqlError) -> Finding {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let (line, column) = (count(error.line), count(error.column));
    let scalar = check.document.root.at(steps).and_then(|node| node.scalar());
    let shown = |text: &str| scalar.map_or_else(|| text.to_owned(), |scalar| scalar.redact(text));
    let mut finding = check.document.finding_inside(steps, line, column, shown(&error.message));
    // A hint may end in a word that was meant.
    let hint = error.hint.as_deref().map(shown).unwrap_or_default();
    let (allowed, meant) = match hint.rsplit_once("did you mean ") {
        Some((allowed, meant)) => (allowed.trim_end_matches([';', ' ']).to_owned(), Some(meant)),
        None => (hint.clone(), None),
    };
    finding.allowed = Some(allowed).filter(|allowed| !allowed.is_empty());
    let quotes = |c: char| matches!(c, '"' | '?' | '`' | ' ');
    finding.suggest(meant.map(|meant| meant.trim_matches(quotes).to_owned()))
}

/// What sinks ask of the last stage's columns.
pub(super) fn sinks(check: &mut Check<'_>, schema: &SchemaRef, system: &SystemSchema) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let (mut findings, mut is_read) = (Vec::new(), false);
    for (name, sink) in &check.pipeline.sinks {
        let (sinks, name) = (Step::Key("sinks"), Step::Key(name));
        match sink.condition.as_ref().map(|it| sql::check_condition(it, schema, system)) {
            None => {}
            Some(Ok(reads_message)) => is_read |= reads_message,
            Some(Err(error)) => {
                findings.push(sql_finding(check, &[sinks, name, Step::Key("where")], &error));
            }
        }
        if let Some(parquet) = &sink.parquet {
            let at =
                |key| [sinks, name, Step::Key("parquet"), Step::Key("partition"), Step::Key(key)];
            findings.extend(time_column(check, &at("time"), &parquet.partition, schema));
            findings.extend(hidden_folders(check, &at("by"), &parquet.partition, schema));
        }
    }
    check.findings.extend(findings);
    check.reads_message |= is_read;
}

fn is_time(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32)
}

/// The column that rows are laid out by must exist and hold a time.
fn time_column(
    check: &Check<'_>,
    steps: &[Step<'_>],
    partition: &PartitionConfig,
    schema: &SchemaRef,
) -> Option<Finding> {
    let what = match schema.field_with_name(&partition.time) {
        Ok(field) if is_time(field) => return None,
        Ok(field) => format!("this column holds {}, not a time", type_name(field.data_type())),
        Err(_) => "no such column after the last stage".to_owned(),
    };
    let times: Vec<&str> = schema
        .fields()
        .iter()
        .filter(|field| is_time(field))
        .map(|field| field.name().as_str())
        .collect();
    let allowed = match times.as_slice() {
        [] => "a timestamp or a date; the last stage has no such column".to_owned(),
        times => format!("columns with a time: {}", times.join(", ")),
    };
    let meant = closest(&partition.time, times).filter(|meant| *meant != partition.time);
    Some(check.document.finding_at(steps, what).allowed(allowed).suggest(meant))
}

/// A column called `year` would hide the folder `year=` from readers, or the other way round.
fn hidden_folders(
    check: &Check<'_>,
    steps: &[Step<'_>],
    partition: &PartitionConfig,
    schema: &SchemaRef,
) -> Vec<Finding> {
    let folders: &[&str] = match partition.by {
        Granularity::Month => &["year", "month"],
        Granularity::Day => &["year", "month", "day"],
        Granularity::Hour => &["year", "month", "day", "hour"],
    };
    let taken = folders.iter().filter(|folder| {
        schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(folder))
    });
    taken
        .map(|folder| {
            let what = format!("the folders `{folder}=` would hide the column `{folder}`");
            let allowed = "give the column another name in a SQL stage";
            check.document.finding_at(steps, what).allowed(allowed)
        })
        .collect()
}

/// What a column holds, in a word.
fn type_name(kind: &DataType) -> &'static str {
    match kind {
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => "text",
        DataType::Boolean => "true or false",
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytes",
        DataType::List(_) => "a list",
        DataType::Struct(_) => "a struct",
        kind if kind.is_numeric() => "a number",
        _ => "something else",
    }
}
