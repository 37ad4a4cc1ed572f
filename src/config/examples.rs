//! The `tests:` of a pipeline: the names that they use exist.

use arrow::datatypes::SchemaRef;

use super::load::Check;
use crate::codec::Format;
use crate::contract::{Contract, Evolution};
use crate::document::{Finding, Step, closest};
use crate::event::{Operation, SystemSchema, system};
use crate::sources::SourceConfig;

/// Attributes of the items that go in.
pub(super) fn inputs(check: &mut Check<'_>, contract: &Contract) {
    if !check.is_sound(&["tests"]) {
        return;
    }
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
    for (test, example) in check.pipeline.tests.iter().enumerate() {
        for (number, event) in example.input.iter().enumerate() {
            let (operation, item) = event.parts();
            let steps = [
                Step::Key("tests"),
                Step::Item(test),
                Step::Key("input"),
                Step::Item(number),
                Step::Key(operation.as_str()),
            ];
            if !given_by(&check.pipeline.source, operation) {
                let what = format!("the source never gives `{operation}`");
                let finding = check.document.finding_at_key(&steps, what);
                findings.push(finding.allowed(given(&check.pipeline.source)));
            }
            for column in contract.primary_key.iter().filter(|key| !item.contains_key(*key)) {
                let what = format!("the key attribute `{column}` is missing");
                let allowed =
                    format!("an item has its whole key: {}", contract.primary_key.join(", "));
                findings.push(check.document.finding_at(&steps, what).allowed(allowed));
            }
            for attribute in item.keys() {
                let mut steps = steps.to_vec();
                steps.push(Step::Key(attribute));
                match judge(check, contract, &steps, attribute) {
                    None => {}
                    Some((finding, true)) => findings.push(finding),
                    Some((finding, false)) => warnings.push(finding),
                }
            }
        }
    }
    check.findings.extend(findings);
    check.warnings.extend(warnings);
}

/// False for an operation that no record of the source can stand for.
fn given_by(source: &SourceConfig, operation: Operation) -> bool {
    match source.format() {
        Format::Plain => true,
        // A table knows whether an item was there before.
        Format::Dynamodb => !matches!(operation, Operation::Upsert | Operation::Snapshot),
        Format::Debezium => !matches!(operation, Operation::Upsert | Operation::Expire),
    }
}

/// The operations that records of the source can stand for.
fn given(source: &SourceConfig) -> String {
    let given = Operation::ALL.into_iter().filter(|operation| given_by(source, *operation));
    given.map(Operation::as_str).collect::<Vec<_>>().join(", ")
}

/// What is wrong with an attribute of an item, and whether it is more than odd.
fn judge(
    check: &Check<'_>,
    contract: &Contract,
    steps: &[Step<'_>],
    attribute: &str,
) -> Option<(Finding, bool)> {
    if attribute == system::EVENT_TIME || contract.column(attribute).is_some() {
        return None;
    }
    let at_key = |what: &str| check.document.finding_at_key(steps, what);
    if system::NAMES.contains(&attribute) {
        let allowed = "the entry's own key is the operation; `_event_time` can be given";
        return Some((at_key("a system column is no attribute").allowed(allowed), true));
    }
    let known = contract.columns.iter().map(|column| column.name.as_str());
    let meant = closest(attribute, known);
    match contract.evolution {
        Evolution::Strict => {
            let finding = at_key("the contract knows no such attribute and refuses it");
            Some((finding.allowed("an attribute of the contract").suggest(meant), true))
        }
        Evolution::Lenient => {
            let finding = at_key("the contract knows no such attribute; it goes to `_extra`");
            Some((finding.suggest(meant), false))
        }
    }
}

/// Sinks and columns of the rows that come out.
pub(super) fn expectations(check: &mut Check<'_>, schema: &SchemaRef, system: &SystemSchema) {
    if !check.is_sound(&["tests", "sinks"]) {
        return;
    }
    let extra = system.fields();
    let columns = || schema.fields().iter().chain(&extra).map(|field| field.name().as_str());
    let mut findings = Vec::new();
    for (test, example) in check.pipeline.tests.iter().enumerate() {
        for (sink, rows) in &example.expect {
            let steps =
                [Step::Key("tests"), Step::Item(test), Step::Key("expect"), Step::Key(sink)];
            if !check.pipeline.sinks.contains_key(sink) {
                let sinks = || check.pipeline.sinks.keys().map(String::as_str);
                let allowed = format!("sinks: {}", sinks().collect::<Vec<_>>().join(", "));
                let finding = check.document.finding_at(&steps, "no such sink");
                findings.push(finding.allowed(allowed).suggest(closest(sink, sinks())));
                continue;
            }
            for (number, row) in rows.iter().enumerate() {
                for column in row.keys().filter(|column| !columns().any(|known| known == *column)) {
                    let steps = [&steps[..], &[Step::Item(number), Step::Key(column)]].concat();
                    let finding =
                        check.document.finding_at_key(&steps, "no such column in the sink");
                    let allowed = format!("columns: {}", listed(columns()));
                    findings.push(finding.allowed(allowed).suggest(closest(column, columns())));
                }
            }
        }
    }
    check.findings.extend(findings);
}

/// Names, the first dozen of them.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.get(..12) {
        Some(first) if names.len() > 12 => {
            format!("{} and {} more", first.join(", "), names.len() - 12)
        }
        _ => names.join(", "),
    }
}
