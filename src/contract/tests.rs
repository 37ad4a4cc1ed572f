use std::path::PathBuf;

use super::document::parse;
use super::*;

fn schema_file(name: &str) -> Contract {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas").join(name);
    load(&path).unwrap_or_else(|findings| panic!("{findings}"))
}

fn arrow(contract: &Contract) -> String {
    let schema = contract.schema();
    let lines =
        schema.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn conversations() {
    let contract = schema_file("conversations.yaml");
    insta::assert_snapshot!(arrow(&contract), @r#"
    user_id: Utf8View
    timestamp: Timestamp(µs, "+00:00")
    session_id: Utf8View
    message_id: Utf8View
    message_type: Utf8View
    role: Utf8View
    content: Utf8View
    ai_model_used: Utf8View
    confidence_score: Float64
    processing_time_ms: Int64
    tokens_used: Int64
    escalation_triggered: Boolean
    metadata: Struct("sentiment": Utf8View, "intent": Utf8View, "language": Utf8View)
    ttl: Timestamp(µs, "+00:00")
    "#);
    assert_eq!(contract.name, "conversations");
    assert_eq!(contract.primary_key, ["user_id", "timestamp"]);
    assert_eq!(contract.retention_days, Some(1825));
    assert_eq!(contract.evolution, Evolution::Lenient);
    let personal: Vec<_> = contract
        .columns
        .iter()
        .filter(|column| column.pii.is_some())
        .map(|column| &column.name)
        .collect();
    assert_eq!(personal, ["user_id", "content"]);
    assert_eq!(contract.column("ttl").unwrap().kind, ColumnType::Timestamp(TimeForm::EpochSeconds));
    assert_eq!(
        contract.column("content").unwrap().search.as_ref().unwrap()["fields"]["keyword"]["type"],
        "keyword"
    );
    assert_eq!(
        contract.column("confidence_score").unwrap().rules,
        [Rule::Range { min: Some(0.0), max: Some(1.0) }]
    );
    assert!(contract.column("message_id").unwrap().unique);
    assert!(contract.columns.iter().all(|column| !column.description.is_empty()));
    assert_eq!(contract.hash.len(), 64);
}

#[test]
fn user_profiles() {
    let contract = schema_file("user-profiles.yaml");
    insta::assert_snapshot!(arrow(&contract), @r#"
    user_id: Utf8View
    created_date: Date32
    last_interaction: Timestamp(µs, "+00:00")
    total_conversations: Int64
    preferred_language: Utf8View
    timezone: Utf8View
    interaction_history: Struct("total_messages": Int64, "escalations_count": Int64, "satisfaction_scores": List(Int64), "common_topics": List(Utf8View))
    preferences: Struct("notification_frequency": Utf8View, "response_style": Utf8View, "business_hours_only": Boolean)
    lifetime_value: Decimal128(38, 9)
    "#);
    assert_eq!(contract.primary_key, ["user_id"]);
    assert_eq!(contract.retention_days, Some(730));
}

/// A small contract whose one column besides the key is `column`.
fn with(column: &str) -> String {
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nversion: 1.0.0\nschema:\n  - name: t\n    properties:\n      - {{ name: id, logicalType: string, primaryKey: true }}\n      - {column}\n"
    )
}

/// The findings in one line each, without the source lines.
fn messages(text: &str) -> String {
    match parse("c.yaml", text) {
        Ok(_) => "no findings".into(),
        Err(findings) => {
            let lines = findings
                .iter()
                .map(|finding| finding.to_string().lines().next().unwrap_or_default().to_owned());
            lines.collect::<Vec<_>>().join("\n")
        }
    }
}

#[test]
fn each_mistake_has_a_message() {
    for (column, expected) in [
        (
            "{ name: a, logicalType: strin }",
            "c.yaml:8:33: schema[0].properties[1].logicalType: unknown type; string, integer, number, boolean, timestamp, date, object, array; did you mean \"string\"",
        ),
        ("{ name: a }", "c.yaml:8:9: schema[0].properties[1]: `logicalType` is missing; a text"),
        (
            "{ logicalType: string }",
            "c.yaml:8:9: schema[0].properties[1]: `name` is missing; a text",
        ),
        (
            "{ name: id, logicalType: string }",
            "c.yaml:8:17: schema[0].properties[1].name: this name occurs twice; one column a name",
        ),
        (
            "{ name: _key, logicalType: string }",
            "c.yaml:8:17: schema[0].properties[1].name: the name of a system column; any other name",
        ),
        (
            "{ name: a, logicalType: string, requird: true }",
            "c.yaml:8:41: schema[0].properties[1].requird: unknown key; own settings belong into `customProperties`; did you mean \"required\"",
        ),
        (
            "{ name: a, logicalType: string, required: yes please }",
            "c.yaml:8:51: schema[0].properties[1].required: not a boolean; true or false",
        ),
        (
            "{ name: a, logicalType: array }",
            "c.yaml:8:9: schema[0].properties[1]: `items` is missing; the type of the list's items",
        ),
        (
            "{ name: a, logicalType: object }",
            "c.yaml:8:9: schema[0].properties[1]: `properties` is missing; a list of members",
        ),
        (
            "{ name: a, logicalType: timestamp, physicalType: N }",
            "c.yaml:8:9: schema[0].properties[1]: `epoch` is missing; a custom property `epoch` with `seconds`, `millis`, `micros` or `nanos`, since physicalType N is a number",
        ),
        (
            "{ name: a, logicalType: number, customProperties: [ { property: precision, value: 39 } ] }",
            "c.yaml:8:91: schema[0].properties[1].customProperties[0].value: no precision; 1 to 38 digits",
        ),
        (
            "{ name: a, logicalType: string, logicalTypeOptions: { minimum: 1 } }",
            "c.yaml:8:61: schema[0].properties[1].logicalTypeOptions: a range of what is no number; integer and number columns have a range",
        ),
        (
            "{ name: a, logicalType: integer, logicalTypeOptions: { minimum: 2, maximum: 1 } }",
            "c.yaml:8:62: schema[0].properties[1].logicalTypeOptions: an empty range; a minimum that is not above the maximum",
        ),
        (
            "{ name: a, logicalType: string, quality: [ { metric: nulValues, mustBe: 0 } ] }",
            "c.yaml:8:62: schema[0].properties[1].quality[0].metric: unknown metric; nullValues, missingValues, invalidValues, duplicateValues, rowCount; did you mean \"nullValues\"",
        ),
        (
            "{ name: a, logicalType: string, quality: [ { metric: nullValues, mustBeLessThan: 3 } ] }",
            "c.yaml:8:52: schema[0].properties[1].quality[0]: a limit on `nullValues` that one row cannot answer; `mustBe: 0`",
        ),
        (
            "{ name: a, logicalType: integer, quality: [ { metric: invalidValues, mustBe: 0 } ] }",
            "c.yaml:8:53: schema[0].properties[1].quality[0]: no list of valid texts; a string column with `arguments: { validValues: [...] }`",
        ),
        (
            "{ name: a, logicalType: timestamp, customProperties: [ { property: epoch, value: micro } ] }",
            "c.yaml:8:90: schema[0].properties[1].customProperties[0].value: unknown unit; seconds, millis, micros, nanos; did you mean \"micros\"",
        ),
        (
            "{ name: a, logicalType: date, customProperties: [ { property: epoch, value: millis } ] }",
            "c.yaml:8:85: schema[0].properties[1].customProperties[0].value: unknown unit of a date; days",
        ),
        (
            "{ name: a, logicalType: number, customProperties: [ { property: precision, value: 9 }, { property: encoding, value: base46 } ] }",
            "c.yaml:8:125: schema[0].properties[1].customProperties[1].value: unknown encoding; base64; did you mean \"base64\"",
        ),
        (
            "{ name: a, logicalType: number, customProperties: [ { property: encoding, value: base64 } ] }",
            "c.yaml:8:90: schema[0].properties[1].customProperties[0].value: an encoding of an inexact number; `precision` and `scale` beside it: only exact numbers have one",
        ),
        (
            "{ name: a, logicalType: integer, customProperties: [ { property: references, value: media } ] }",
            "c.yaml:8:93: schema[0].properties[1].customProperties[0].value: a reference that is no text; text, or a list of texts: the names of the objects",
        ),
        (
            "{ name: a, logicalType: string, customProperties: [ { property: references, value: medium } ] }",
            "c.yaml:8:92: schema[0].properties[1].customProperties[0].value: unknown kind of reference; media; did you mean \"media\"",
        ),
        (
            "{ name: a, logicalType: object, properties: [ { name: b, logicalType: string, customProperties: [ { property: references, value: media } ] } ] }",
            "c.yaml:8:55: schema[0].properties[1].properties[0]: a member with `references`; a column of its own: what refers to an object must not be nested",
        ),
        (
            "{ name: a, logicalType: boolean, primaryKey: true, primaryKeyPosition: 2 }",
            "c.yaml:8:33: schema[0].properties[1].logicalType: this type cannot be in a key; text, numbers, times and bytes",
        ),
        (
            "{ name: a, logicalType: string, primaryKey: true }",
            "c.yaml:5:5: schema[0]: two key columns at position 1, the second is `a`; number the columns of the key from 1 by `primaryKeyPosition`",
        ),
    ] {
        assert_eq!(messages(&with(column)), expected, "{column}");
    }
}

#[test]
fn mistakes_of_the_document_come_at_once() {
    insta::assert_snapshot!(messages("apiVersion: v2.2.2\nkind: Contract\nslaProperties:\n  - { property: retention, value: 5, unit: fortnights }\ncustomProperties:\n  - { property: evolution, value: loose }\nschemas: []\n"), @r#"
    c.yaml:1:1: `version` is missing; a text
    c.yaml:1:1: `schema` is missing; a list of one object with the columns
    c.yaml:1:13: apiVersion: a version of the standard that this build does not read; v3.0.0 to v3.1.0
    c.yaml:2:7: kind: is no data contract; write `kind: DataContract`
    c.yaml:4:44: slaProperties[0].unit: unknown unit; d, m or y (days, months, years)
    c.yaml:6:35: customProperties[0].value: unknown kind of evolution; lenient (unknown attributes go to `_extra`) or strict (they make a dead letter)
    c.yaml:7:1: schemas: unknown key; own settings belong into `customProperties`; did you mean "schema"
    "#);
    let keyless = with("{ name: a, logicalType: string }").replace(", primaryKey: true", "");
    insta::assert_snapshot!(messages(&keyless), @"c.yaml:5:5: schema[0]: no primary key; mark the columns of the key by `primaryKey: true`; rows without a key cannot be told apart");
}

#[test]
fn forms_of_numbers_and_times_and_references() {
    let kind = |column: &str| parse("c.yaml", &with(column)).unwrap().columns.remove(1);
    for (unit, form) in [
        ("seconds", TimeForm::EpochSeconds),
        ("millis", TimeForm::EpochMillis),
        ("micros", TimeForm::EpochMicros),
        ("nanos", TimeForm::EpochNanos),
    ] {
        let column = format!(
            "{{ name: a, logicalType: timestamp, customProperties: [ {{ property: epoch, value: {unit} }} ] }}"
        );
        assert_eq!(kind(&column).kind, ColumnType::Timestamp(form));
    }
    let days =
        "{ name: a, logicalType: date, customProperties: [ { property: epoch, value: days } ] }";
    assert_eq!(kind(days).kind, ColumnType::Date(TimeForm::EpochDays));
    let exact = "{ name: a, logicalType: number, customProperties: [ { property: precision, value: 9 }, { property: scale, value: 2 }, { property: encoding, value: base64 } ] }";
    let form = DecimalForm::Base64;
    assert_eq!(kind(exact).kind, ColumnType::Decimal { precision: 9, scale: 2, form });
    for column in [
        "{ name: a, logicalType: string, customProperties: [ { property: references, value: media } ] }",
        "{ name: a, logicalType: array, items: { logicalType: string }, customProperties: [ { property: references, value: media } ] }",
    ] {
        let contract = parse("c.yaml", &with(column)).unwrap();
        assert_eq!(contract.columns[1].references, Some(Reference::Media));
        let schema = contract.schema();
        let mark = |index: usize| schema.field(index).metadata().get("acequia:references");
        assert_eq!(mark(0), None);
        assert_eq!(mark(1).map(String::as_str), Some("media"));
    }
}
