//! The schema that Kafka Connect writes beside an event: it says how each field is written.
//!
//! Names: "Data type mappings" in the documentation of the Debezium connectors, and Connect's own
//! logical types (`org.apache.kafka.connect.data`).

use std::sync::Arc;

use serde_json::Value as Json;

use super::plan::{Kind, Member, Members, Plan, Written};
use super::refusal::{Read, Refusal};
use crate::contract::TimeForm;

/// Schemas that a lane remembers.
const MAX_SCHEMAS: usize = 16;

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// A change event, with images.
    Event,
    /// The key of a message.
    Key,
}

/// Plans of the schemas that a lane has met: the contract's plan, reading values as the schema says.
#[derive(Debug)]
pub(super) struct Schemas {
    plan: Arc<Plan>,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    subject: Subject,
    text: Box<str>,
    plan: Read<Arc<Plan>>,
}

impl Schemas {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        Self { plan, known: Vec::new() }
    }

    /// The plan for values beside `schema`, the contract's where there is none.
    ///
    /// # Errors
    /// Refuses where a column cannot hold what the schema says.
    pub(super) fn plan(&mut self, subject: Subject, schema: Option<&str>) -> Read<Arc<Plan>> {
        let Some(text) = schema else { return Ok(self.plan.clone()) };
        let found = self
            .known
            .iter()
            .position(|known| known.subject == subject && known.text.as_ref() == text);
        if let Some(known) = found.and_then(|index| self.known.get(index)) {
            return known.plan.clone();
        }
        let plan = read(&self.plan, subject, text);
        self.known.truncate(MAX_SCHEMAS - 1);
        self.known.insert(0, Known { subject, text: text.into(), plan: plan.clone() });
        plan
    }
}

fn read(plan: &Arc<Plan>, subject: Subject, text: &str) -> Read<Arc<Plan>> {
    let schema: Json = serde_json::from_str(text)
        .map_err(|error| Refusal::new(format!("no schema: {error}")).inside("schema"))?;
    let image = |name: &str| field(&schema, name).filter(|image| image.get("fields").is_some());
    let row = match subject {
        Subject::Event => image("after").or_else(|| image("before")),
        Subject::Key => Some(&schema),
    };
    let Some(row) = row else { return Ok(plan.clone()) };
    let mut own = Plan::clone(plan);
    members(&mut own.root, row)?;
    Ok(Arc::new(own))
}

/// The field `name` of a struct's schema.
fn field<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    let fields = schema.get("fields")?.as_array()?;
    fields.iter().find(|field| field.get("field").and_then(Json::as_str) == Some(name))
}

fn members(members: &mut Members, schema: &Json) -> Read<()> {
    for member in &mut members.all {
        if let Some(field) = field(schema, &member.name) {
            apply(member, field).map_err(|refusal| refusal.inside(&member.name))?;
        }
    }
    Ok(())
}

/// Read the values of `member` as `schema` says. A schema without a name says no more than JSON
/// does, but that text is text.
fn apply(member: &mut Member, schema: &Json) -> Read<()> {
    let name = schema.get("name").and_then(Json::as_str).unwrap_or_default();
    let is_text = schema.get("type").and_then(Json::as_str) == Some("string");
    let time = time_form(name).or((is_text && name.is_empty()).then_some(TimeForm::Text));
    let decimal = decimal(name, schema)?;
    match &mut member.kind {
        Kind::Instant(form) | Kind::Date(form) => *form = time.unwrap_or(*form),
        Kind::Decimal { scale, written, .. } => match decimal {
            Some(Decimal::Scale(own)) => *written = Written::Unscaled { scale: own },
            Some(Decimal::Brought) => *written = Written::Unscaled { scale: i32::from(*scale) },
            None if is_text => *written = Written::Digits,
            None => {}
        },
        Kind::List(item) => {
            if let Some(items) = schema.get("items") {
                apply(item, items).map_err(|refusal| refusal.inside("[]"))?;
            }
        }
        Kind::Struct(inner) => members(inner, schema)?,
        kind if decimal.is_some() => {
            let message = format!(
                "expected {}, found the exact numbers of the schema ({name}): give the contract's column `precision` and `scale`, or set `decimal.handling.mode`",
                kind.word()
            );
            return Err(Refusal::new(message));
        }
        _ => {}
    }
    Ok(())
}

/// The form of the times that the schema `name` stands for. Times of a day are counts, not instants.
fn time_form(name: &str) -> Option<TimeForm> {
    Some(match name {
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => TimeForm::EpochDays,
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => {
            TimeForm::EpochMillis
        }
        "io.debezium.time.MicroTimestamp" => TimeForm::EpochMicros,
        "io.debezium.time.NanoTimestamp" => TimeForm::EpochNanos,
        "io.debezium.time.ZonedTimestamp"
        | "io.debezium.time.IsoTimestamp"
        | "io.debezium.time.IsoDate" => TimeForm::Text,
        _ => return None,
    })
}

/// The scale of exact numbers: the schema's, or each number brings its own.
enum Decimal {
    Scale(i32),
    Brought,
}

fn decimal(name: &str, schema: &Json) -> Read<Option<Decimal>> {
    match name {
        "io.debezium.data.VariableScaleDecimal" => Ok(Some(Decimal::Brought)),
        "org.apache.kafka.connect.data.Decimal" => {
            let scale = schema.get("parameters").and_then(|parameters| parameters.get("scale"));
            let scale = scale.and_then(Json::as_str).and_then(|scale| scale.parse().ok());
            match scale {
                Some(scale) => Ok(Some(Decimal::Scale(scale))),
                None => Err(Refusal::new("the schema of an exact number without its scale")),
            }
        }
        _ => Ok(None),
    }
}
