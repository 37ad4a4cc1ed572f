use super::*;
use crate::event::batch::RawRows;
use crate::sinks::opensearch::config::{Period, SplitConfig};
use crate::testing::changes;

/// A batch of rows `0..`, of which row `n` has the key `k"<n>`, the version `n + 1` and the text `t<n>`.
pub(in crate::sinks::opensearch) fn batch(operations: &[&str]) -> Batch {
    let rows: Vec<(&str, String, i64)> = operations
        .iter()
        .enumerate()
        .map(|(row, op)| (*op, format!("k\"{row}"), row as i64 + 1))
        .collect();
    changes(&rows)
}

fn rules() -> ActionRules {
    ActionRules { expire_deletes: false, routing: None, split: None, index: "i-1".to_owned() }
}

fn bulk(operations: &[&str]) -> Bulk {
    let (batch, memory) = (batch(operations), MemoryBudget::new(1 << 20));
    let documents = Documents::of(&batch, Vec::new());
    Bulk::of(batch, &documents, &rules(), false, &memory).unwrap().bulk
}

fn text(bulk: &Bulk) -> String {
    String::from_utf8(bulk.body().to_vec()).unwrap()
}

fn answer(body: &str) -> Answer {
    Answer { status: 200, body: body.to_owned().into() }
}

const FOUR: [&str; 4] = ["insert", "expire", "delete", "update"];

#[test]
fn rows_are_documents_and_deletes_of_their_versions() {
    let bulk = bulk(&FOUR);
    insta::assert_snapshot!(text(&bulk), @r#"
    {"index":{"_id":"k\"0","version":1,"version_type":"external"}}
    {"text":"t0"}
    {"delete":{"_id":"k\"2","version":3,"version_type":"external"}}
    {"index":{"_id":"k\"3","version":4,"version_type":"external"}}
    {"text":"t3"}
    "#);
    let rows: Vec<usize> = bulk.items.iter().map(|item| item.origin.row).collect();
    assert_eq!(rows, [0, 2, 3]);
}

#[test]
fn parts_of_a_bulk_are_bulks_too() {
    let whole = text(&bulk(&FOUR));
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let mut rest = bulk(&FOUR);
    let first = rest.take(1);
    assert_eq!((text(&first), text(&rest)), (lines[..2].concat(), lines[2..].concat()));
    let first = rest.take(lines[2].len() + lines[3].len() + lines[4].len());
    assert_eq!((text(&first), rest.is_empty()), (lines[2..].concat(), true));
    let mut some = bulk(&FOUR);
    some.keep(&[0, 2]);
    assert_eq!(text(&some), [&lines[..2], &lines[3..]].concat().concat());
    some.append(bulk(&["delete"]));
    assert_eq!(some.items.len(), 3);
    some.keep(&[2]);
    assert_eq!(
        text(&some),
        "{\"delete\":{\"_id\":\"k\\\"0\",\"version\":1,\"version_type\":\"external\"}}\n"
    );
}

#[test]
fn each_item_has_an_outcome_of_its_own() {
    let bulk =
        bulk(&["insert", "insert", "delete", "delete", "insert", "insert", "insert", "insert"]);
    let error = |kind: &str| format!(r#""error":{{"type":"{kind}","reason":"because"}}"#);
    let conflict = error("version_conflict_engine_exception");
    let body = format!(
        r#"{{"items":[
            {{"index":{{"status":201}}}}, {{"index":{{"status":409,{conflict}}}}},
            {{"delete":{{"status":404}}}}, {{"delete":{{"status":404,{}}}}},
            {{"index":{{"status":429,{}}}}}, {{"index":{{"status":429,{}}}}},
            {{"index":{{"status":400,"error":{{"type":"mapper_parsing_exception","reason":"failed to parse","caused_by":{{"type":"x","reason":"For input string: \"a\""}}}}}}}},
            {{"index":{{"status":503,{}}}}} ]}}"#,
        error("index_not_found_exception"),
        error("es_rejected_execution_exception"),
        error("cluster_block_exception"),
        error("unavailable_shards_exception"),
    );
    let found = outcomes(&bulk.items, &answer(&body)).unwrap();
    let because = |kind: &str, status: u16| format!("{kind}: because (status {status})");
    use Outcome::{Blocked, Done, Gone, Later, Refused};
    assert_eq!(
        found,
        [
            Done,
            Done,
            Done,
            Gone(because("index_not_found_exception", 404)),
            Later(because("es_rejected_execution_exception", 429)),
            Blocked(because("cluster_block_exception", 429)),
            Refused("mapper_parsing_exception: failed to parse: x: For input string: \"a\" (status 400)".into()),
            Later(because("unavailable_shards_exception", 503)),
        ]
    );
}

#[test]
fn an_answer_that_does_not_speak_of_each_item_says_nothing() {
    let bulk = bulk(&["insert", "insert"]);
    for body in ["", "[]", "{\"items\":[{\"index\":{\"status\":201}}]}"] {
        let error = outcomes(&bulk.items, &answer(body)).unwrap_err();
        assert!(error.is_retryable(), "{error}");
    }
    let all = r#"{"items":[{"index":{"status":201}},{"index":{"status":200}}]}"#;
    assert_eq!(outcomes(&bulk.items, &answer(all)).unwrap(), [Outcome::Done, Outcome::Done]);
}

#[test]
fn what_a_bulk_holds_is_counted_until_its_last_item_is_gone() {
    let memory = MemoryBudget::new(1 << 20);
    let batch = batch(&FOUR);
    let raw = RawRows { data: vec![0; 1000].into(), ..RawRows::none() };
    let batch = Batch { raw, ..batch };
    let documents = Documents::of(&batch, Vec::new());
    let mut whole = Bulk::of(batch, &documents, &rules(), false, &memory).unwrap().bulk;
    let held = whole.len() + 1000;
    assert_eq!((whole.held(), memory.used()), (held, held));
    let first = whole.take(1);
    assert_eq!((first.held(), whole.held(), memory.used()), (held, held, held));
    drop(whole);
    assert_eq!(memory.used(), held);
    drop(first);
    assert_eq!(memory.used(), 0);
}

#[test]
fn rows_go_to_the_index_of_their_period_and_the_shard_of_their_routing() {
    use crate::event::system::INSTANT;
    use arrow::array::{RecordBatch, StringViewArray, TimestampMicrosecondArray};
    let mut batch = batch(&["insert", "delete", "update", "insert"]);
    let times = TimestampMicrosecondArray::from(vec![
        Some(1_705_314_600_000_000),
        Some(1_709_251_199_999_999),
        Some(7_258_118_400_000_000),
        None,
    ]);
    let times = arrow::compute::cast(&times, &INSTANT).unwrap();
    let users = StringViewArray::from_iter_values(["a", "b\"", "c", "d"]);
    batch.rows =
        RecordBatch::try_from_iter([("user", Arc::new(users) as _), ("time", times)]).unwrap();
    let rules = ActionRules {
        routing: Some("user".to_owned()),
        split: Some(SplitConfig { by: Period::Month, time: "time".to_owned() }),
        ..rules()
    };
    let documents = Documents::of(&batch, Vec::new());
    let memory = MemoryBudget::new(1 << 20);
    let written = Bulk::of(batch, &documents, &rules, true, &memory).unwrap();
    insta::assert_snapshot!(text(&written.bulk), @r#"
    {"index":{"_id":"k\"0","_index":"i-1-2024-01-write","routing":"a","version":1,"version_type":"external"}}
    {"user":"a","time":"2024-01-15T10:30:00Z"}
    {"index":{"_id":"k\"1","_index":"i-1-2024-02-write","routing":"b\"","version":2,"version_type":"external"}}
    {"acequia_deleted":true}
    "#);
    assert_eq!(written.periods.into_iter().collect::<Vec<_>>(), ["2024-01", "2024-02"]);
    let misfits: Vec<String> = written.misfits.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(
        misfits,
        [
            "`time` lies outside 2000 to 2100: no index is named after it",
            "`time` is null, and with it the index of the document"
        ]
    );
}
