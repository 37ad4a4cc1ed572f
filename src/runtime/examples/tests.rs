use super::*;
use crate::testing;

/// A pipeline file in a folder of its own, over the real contract.
fn load(folder: &tempfile::TempDir, body: &str) -> Loaded {
    let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/conversations.yaml");
    let text = format!(
        "name: examples\ncontract: {contract}\n\
         sinks: {{ lake: {{ parquet: {{ url: lake, partition: {{ by: day, time: timestamp }} }} }} }}\n\
         dead_letters: {{ url: letters }}\n{body}"
    );
    let path = folder.path().join("pipeline.yaml");
    std::fs::write(&path, text).unwrap();
    crate::config::load(&path).unwrap_or_else(|findings| panic!("{findings}"))
}

async fn outcomes(body: &str) -> Vec<ExampleOutcome> {
    let folder = tempfile::tempdir().unwrap();
    run(&load(&folder, body), &testing::context(1), "").await.unwrap()
}

const MESSAGE: &str = "{ user_id: u1, timestamp: \"2024-01-15T10:30:00Z\", role: user";

#[tokio::test]
async fn what_is_expected_passes_in_both_forms() {
    for format in ["plain", "dynamodb"] {
        let outcomes = outcomes(&format!(
            "source: {{ archive: {{ path: \"*.ndjson\", format: {format} }} }}\n\
             tests:\n\
             - name: every kind of value\n\
             \x20 input:\n\
             \x20 - insert: {MESSAGE}, tokens_used: 7, confidence_score: 0.25, escalation_triggered: true, ttl: 1705314600, metadata: {{ intent: price }} }}\n\
             \x20 expect:\n\
             \x20   lake:\n\
             \x20   - {{ _op: insert, timestamp: \"2024-01-15T10:30:00.000Z\", tokens_used: 7, confidence_score: 0.25, escalation_triggered: true, ttl: \"2024-01-15T10:30:00Z\", metadata: {{ intent: price, language: null }}, content: null }}\n"
        ))
        .await;
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].failures, Vec::<String>::new(), "{format}");
    }
}

#[tokio::test]
async fn differences_name_row_column_and_values() {
    let outcomes = outcomes(&format!(
        "source: {{ archive: {{ path: \"*.ndjson\", format: plain }} }}\n\
         tests:\n\
         - name: wrong value\n\
         \x20 input: [{{ insert: {MESSAGE}, tokens_used: 7 }} }}]\n\
         \x20 expect: {{ lake: [{{ tokens_used: 8, content: hola }}] }}\n\
         - name: wrong count\n\
         \x20 input: [{{ insert: {MESSAGE} }} }}, {{ insert: {{ user_id: u2, timestamp: never, role: user }} }}]\n\
         \x20 expect: {{ lake: [{{}}, {{}}] }}\n"
    ))
    .await;
    assert_eq!(
        outcomes[0].failures,
        ["lake[0].content: expected \"hola\", got null", "lake[0].tokens_used: expected 8, got 7"]
    );
    assert_eq!(outcomes[1].failures.len(), 2, "{:?}", outcomes[1].failures);
    assert!(outcomes[1].failures[0].starts_with("lake: expected 2 rows, got 1 row: insert {"));
    assert!(outcomes[1].failures[1].contains("dead letter of decode: timestamp"));
}

#[tokio::test]
async fn a_table_shows_the_image_before() {
    let outcomes = outcomes(&format!(
        "source: {{ archive: {{ path: \"*.ndjson\", format: dynamodb }} }}\n\
         transforms: [{{ sql: \"SELECT * FROM changes WHERE tokens_used > 5\" }}]\n\
         tests:\n\
         - name: never let through, so nothing to delete\n\
         \x20 input: [{{ insert: {MESSAGE}, tokens_used: 1 }} }}, {{ update: {MESSAGE}, tokens_used: 2 }} }}]\n\
         \x20 expect: {{ lake: [] }}\n\
         - name: let through once, so a delete of the key\n\
         \x20 input: [{{ insert: {MESSAGE}, tokens_used: 9 }} }}, {{ update: {MESSAGE}, tokens_used: 2 }} }}, {{ expire: {MESSAGE}, tokens_used: 2 }} }}]\n\
         \x20 expect: {{ lake: [{{ _op: insert, _before: null }}, {{ _op: delete, user_id: u1, role: null }}, {{ _op: expire, role: user }}] }}\n"
    ))
    .await;
    for outcome in outcomes {
        assert!(outcome.passed(), "{outcome:?}");
    }
}
