//! Tests of the stage.

use std::sync::Arc;

use arrow::array::{Int64Array, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::Fields;
use futures::FutureExt as _;

use super::*;
use crate::event::batch::RawRows;
use crate::event::system::UTC;
use crate::event::{Position, PositionRange, SystemColumns};
use crate::sentiment::Model;

pub(super) fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8View, true);
    let members = Fields::from(vec![text("body"), text("language")]);
    Arc::new(Schema::new(vec![
        text("user_id"),
        text("content"),
        Field::new("note", DataType::Struct(members), true),
        Field::new("amount", DataType::Int64, true),
    ]))
}

pub(super) fn config(yaml: &str) -> SentimentConfig {
    serde_saphyr::from_str(yaml).unwrap()
}

/// Rows with a content and a note's body and language.
pub(super) fn batch(rows: &[(&str, Option<&str>, Option<(&str, &str)>)]) -> Batch {
    let column = |texts: Vec<Option<&str>>| -> ArrayRef { Arc::new(StringViewArray::from(texts)) };
    let contents = column(rows.iter().map(|row| row.1).collect());
    let bodies =
        column(rows.iter().map(|row| Some(row.2.map_or("pésimo", |note| note.0))).collect());
    let languages = column(rows.iter().map(|row| row.2.map(|note| note.1)).collect());
    let schema = schema();
    let DataType::Struct(members) = schema.field(2).data_type().clone() else { unreachable!() };
    let nulls = NullBuffer::from_iter(rows.iter().map(|row| row.2.is_some()));
    let notes = StructArray::new(members, vec![bodies, languages], Some(nulls));
    let users = column(rows.iter().map(|_| Some("u")).collect());
    let amounts = Arc::new(Int64Array::from(vec![1; rows.len()]));
    let columns: Vec<ArrayRef> = vec![users, contents, Arc::new(notes), amounts];
    let texts = |value: &str| StringViewArray::from(vec![value; rows.len()]);
    let count = rows.len() as u64;
    Batch {
        rows: RecordBatch::try_new(schema, columns).unwrap(),
        system: SystemColumns {
            op: StringViewArray::from(rows.iter().map(|row| row.0).collect::<Vec<_>>()),
            key: texts("k"),
            event_time: TimestampMicrosecondArray::from(vec![0; rows.len()])
                .with_timezone(UTC.clone()),
            version: vec![1; rows.len()].into(),
            stream: "s".into(),
            partition: "p".into(),
            position: Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
            before: None,
            extra: None,
            message: None,
        },
        raw: RawRows::none(),
        kept: None,
        before: None,
        range: PositionRange::new(Position::Offset(0), Position::Offset(count)),
        events: count,
        bytes: 0,
        rejects: Vec::new(),
    }
}

fn apply(yaml: &str, batch: Batch) -> Batch {
    let context = crate::testing::context(1);
    let stage = SentimentTransform::new(&config(yaml), &schema(), &context).unwrap();
    let done = stage.apply(batch).now_or_never().unwrap().unwrap();
    assert_eq!(done.rows.schema(), stage.schema());
    done
}

/// The texts of a column, `-` for a null.
pub(super) fn texts_of(rows: &RecordBatch, name: &str) -> Vec<String> {
    let column = arrow::compute::cast(rows.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
    let column = column.as_string::<i32>();
    column.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
}

#[test]
fn columns_are_added_by_their_names() {
    let yaml = "{ text: content, into: { label: feels, score: feels_score, confidence: sure, language: tongue, model: judge } }";
    let rows = [
        ("insert", Some("pésimo servicio, nadie me contesta"), None),
        ("insert", Some("excellent service, thank you so much"), None),
        ("insert", Some("[image]"), None),
        ("insert", None, None),
        ("delete", None, None),
        ("delete", Some("pésimo servicio"), None),
    ];
    let done = apply(yaml, batch(&rows));
    let labels = ["NEGATIVE", "POSITIVE", "NEUTRAL", "NEUTRAL", "-", "NEGATIVE"];
    assert_eq!(texts_of(&done.rows, "feels"), labels);
    assert_eq!(texts_of(&done.rows, "tongue"), ["es", "en", "en", "-", "-", "es"]);
    assert_eq!(texts_of(&done.rows, "sure")[3..5], ["0.0", "-"]);
    let name = Model::built_in().unwrap().name().to_owned();
    assert_eq!(texts_of(&done.rows, "judge")[..2], [name.clone(), name]);
    let names: Vec<_> = done.rows.schema().fields().iter().map(|it| it.name().clone()).collect();
    let all =
        ["user_id", "content", "note", "amount", "feels", "feels_score", "sure", "tongue", "judge"];
    assert_eq!(names, all);
    let scores: Vec<f64> =
        texts_of(&done.rows, "feels_score")[..2].iter().map(|it| it.parse().unwrap()).collect();
    assert!(scores[0] < -0.3 && scores[1] > 0.3, "{scores:?}");
}

#[test]
fn only_what_is_named_is_added() {
    let done =
        apply("{ text: content, into: { score: s } }", batch(&[("insert", Some("hola"), None)]));
    assert_eq!(done.rows.num_columns(), 5);
    assert_eq!(*done.rows.schema().field(4).data_type(), DataType::Float64);
}

#[test]
fn members_of_structs_are_read() {
    let yaml = "{ text: note.body, language: note.language, into: { label: l, language: t } }";
    let rows = [
        ("insert", None, Some(("gracias, me encantó", "es-MX"))),
        // The text of a note that is null is not that of its buffer.
        ("insert", None, None),
        ("insert", None, Some(("no", "en"))),
        ("insert", None, Some(("muito obrigado", "pt"))),
    ];
    let done = apply(yaml, batch(&rows));
    assert_eq!(texts_of(&done.rows, "l")[..2], ["POSITIVE", "NEUTRAL"]);
    assert_eq!(texts_of(&done.rows, "t")[..3], ["es", "-", "en"]);
}

#[test]
fn rows_that_a_filter_let_go_are_not_judged() {
    let mut rows = batch(&[("insert", Some("pésimo"), None), ("insert", Some("pésimo"), None)]);
    rows.kept = Some(BooleanBuffer::from(vec![false, true]));
    let done = apply("{ text: content, into: { label: l } }", rows);
    assert_eq!(texts_of(&done.rows, "l"), ["-", "NEGATIVE"]);
    assert_eq!(done.kept, Some(BooleanBuffer::from(vec![false, true])));
}

#[test]
fn images_before_the_change_are_judged_too() {
    let mut now =
        batch(&[("update", Some("gracias, excelente"), None), ("insert", Some("ok"), None)]);
    let earlier =
        batch(&[("update", Some("pésimo servicio"), None), ("insert", Some("pésimo"), None)]);
    now.before = Some(BeforeImage {
        rows: earlier.rows,
        present: BooleanBuffer::from(vec![true, false]),
        kept: None,
    });
    let done = apply("{ text: content, into: { label: l } }", now);
    assert_eq!(texts_of(&done.rows, "l")[0], "POSITIVE");
    let before = done.before.unwrap();
    assert_eq!(texts_of(&before.rows, "l"), ["NEGATIVE", "-"]);
    assert_eq!(before.rows.schema(), done.rows.schema());
}

#[test]
fn mistakes_say_what_is_there() {
    let refusal = |yaml: &str| {
        let mistake = check(&config(yaml), &schema()).unwrap_err();
        let meant = mistake.meant.map(|meant| format!(" ({meant}?)")).unwrap_or_default();
        format!("{}: {}; {}{meant}", mistake.path.join("."), mistake.what, mistake.allowed)
    };
    let shown = [
        "{ text: contnt, into: { label: l } }",
        "{ text: amount, into: { label: l } }",
        "{ text: note, into: { label: l } }",
        "{ text: note.bod, into: { label: l } }",
        "{ text: content.x, into: { label: l } }",
        "{ text: content, language: lang, into: { label: l } }",
        "{ text: content, into: {} }",
        "{ text: content, into: { label: user_id } }",
        "{ text: content, into: { label: l, score: l } }",
        "{ text: content, into: { label: _op } }",
        "{ text: content, into: { label: \"\" } }",
        "{ text: content, into: { label: l }, engine: { embedded: { model: /nowhere/model.bin } } }",
    ]
    .map(refusal);
    insta::assert_snapshot!(shown.join("\n"), @r"
    text: no such column before this stage; columns with text: user_id, content, note.body, note.language (content?)
    text: this column holds no text; columns with text: user_id, content, note.body, note.language
    text: this column holds no text; columns with text: user_id, content, note.body, note.language (note.body?)
    text: no such column before this stage; columns with text: user_id, content, note.body, note.language (note.body?)
    text: no such column before this stage; columns with text: user_id, content, note.body, note.language (content?)
    language: no such column before this stage; columns with text: user_id, content, note.body, note.language
    into: names no column; at least one of label, score, confidence, language, model
    into.label: there is a column `user_id` already; a new name; rename the old column in a SQL stage before this one
    into.score: there is a column `l` already; a new name; rename the old column in a SQL stage before this one
    into.label: `_op` is no name for a column; a name that is not empty and not one of the system columns
    into.label: `` is no name for a column; a name that is not empty and not one of the system columns
    engine.embedded.model: cannot read /nowhere/model.bin: No such file or directory (os error 2); a model file that `train_sentiment` of this version wrote
    ");
}

#[test]
fn intents_are_told_by_rules() {
    let yaml = "{ text: content, into: { label: l }, intent: { into: asks, rules: [ \
                { intent: complaint, phrases: [pésimo servicio] }, \
                { intent: billing, phrases: ['factur*', me cobraron] } ] } }";
    let rows = [
        ("insert", Some("PESIMO SERVICIO con mi factura"), None),
        ("insert", Some("necesito facturación"), None),
        ("insert", Some("hola"), None),
        ("insert", None, None),
        ("delete", Some("me cobraron"), None),
        ("delete", None, None),
    ];
    let mut batch = batch(&rows);
    batch.kept = Some(BooleanBuffer::from(vec![true, true, true, true, true, true]));
    let done = apply(yaml, batch);
    let asks = ["complaint", "billing", "-", "-", "billing", "-"];
    assert_eq!(texts_of(&done.rows, "asks"), asks);
    let schema = done.rows.schema();
    assert_eq!(schema.fields().last().unwrap().name(), "asks");
}

#[test]
fn what_is_wrong_with_intents_is_said() {
    let wrong = |intent: &str| {
        let yaml = format!("{{ text: content, into: {{ label: l }}, intent: {intent} }}");
        let mistake = check(&config(&yaml), &schema()).unwrap_err();
        format!("{}: {}; {}", mistake.path.join("."), mistake.what, mistake.allowed)
    };
    insta::assert_snapshot!(wrong("{ into: asks }"), @"intent: says nothing about how intents are told; `rules`, `model`, or both");
    insta::assert_snapshot!(wrong("{ into: content, rules: [ { intent: a, phrases: [b] } ] }"), @"intent.into: there is a column `content` already; a new name; rename the old column in a SQL stage before this one");
    insta::assert_snapshot!(
        wrong("{ into: asks, rules: [ { intent: a, phrases: [b] }, { intent: c, phrases: [d, B] } ] }"),
        @"intent.rules: rule 2, phrase 2: `B` is a phrase of rule 1 already; phrases of words, each in one rule, with a `*` at the end at most"
    );
    insta::assert_snapshot!(wrong("{ into: asks, model: /nowhere/intents.bin }"), @"intent.model: cannot read /nowhere/intents.bin: No such file or directory (os error 2); a model file that `train_intents` of this version wrote");
}
