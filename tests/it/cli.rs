//! The command line: exit codes, help, the shape of `--json`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Folder, PROGRAM, column, files, rows};

/// Two good messages and one broken record.
const EVENTS: &str = r#"{"user_id":"u1","timestamp":"2024-01-15T10:00:00Z","role":"user","content":"hola","tokens_used":3}
{"user_id":"u2","timestamp":"2024-01-16T10:00:00Z","role":"assistant","content":"¿qué tal?","tokens_used":4}
{"user_id":"u3","timestamp":"never","role":"user"}
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("events.ndjson", EVENTS);
    folder.pipeline("");
    folder
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn help_tells_every_verb_and_exit_code() {
    let folder = Folder::new();
    let help = folder.run(&["--help"]).exits(0).stdout;
    for verb in [
        "run",
        "validate",
        "test",
        "preview",
        "query",
        "dead-letters",
        "schema",
        "sample",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} is missing in\n{help}");
        let own = folder.run(&[verb, "--help"]).exits(0).stdout;
        assert!(own.contains("Example"), "{own}");
    }
    assert!(help.contains("Exit codes: 0 finished or drained, 1 failed"), "{help}");
    assert!(folder.run(&["--version"]).exits(0).stdout.starts_with("acequia "));
    assert!(folder.run(&["completions", "bash"]).exits(0).stdout.contains("dead-letters"));
}

#[test]
fn wrong_usage_is_exit_code_two() {
    let folder = folder();
    folder.run(&[]).exits(2);
    folder.run(&["runn"]).exits(2).says("run");
    folder.run(&["run"]).exits(2).says("PIPELINE");
    folder.run(&["run", "nowhere.yaml"]).exits(2).says("nowhere.yaml: no such file");
    folder.run(&["query", "pipeline.yaml", "SELECT 1", "--json", "--csv"]).exits(2);
    folder.run(&["--log", "loud=[", "run", "pipeline.yaml"]).exits(2).says("no log filter");
}

#[test]
fn a_run_sums_up_for_people_and_for_scripts() {
    let folder = folder();
    let table = folder.run(&["run", "pipeline.yaml"]).exits(0).stdout;
    for row in ["events", "rows", "files", "written", "dead letters", "peak memory"] {
        assert!(table.lines().any(|line| line.starts_with(row)), "{row} is missing in\n{table}");
    }
    for next in ["query pipeline.yaml \"SELECT", "dead-letters list pipeline.yaml"] {
        assert!(table.contains(next), "{next} is missing in\n{table}");
    }
    assert!(!table.contains('\u{1b}'), "colours are for terminals");
    let again = folder.run(&["run", "pipeline.yaml"]).exits(0).stdout;
    assert!(again.contains("nothing to do"), "{again}");

    folder.write("more.ndjson", EVENTS);
    let ended = folder.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    ended.says("a file appeared in the archive");
    let json = folder.run(&["run", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!(
        names(&json),
        [
            "anonymous_memory_bytes",
            "bytes_read",
            "bytes_written",
            "dead_letters",
            "epochs",
            "events",
            "events_per_second",
            "files",
            "megabytes_per_second",
            "next",
            "outcome",
            "peak_memory_bytes",
            "pipeline",
            "rows",
            "rows_per_second",
            "seconds",
        ]
    );
    assert_eq!(json["outcome"], "nothing_to_do");
    assert_eq!(rows(&folder.path("lake")).iter().map(|batch| batch.num_rows()).sum::<usize>(), 4);
}

#[test]
fn validate_shows_findings_or_what_the_pipeline_will_do() {
    let folder = folder();
    let shown = folder.run(&["validate", "pipeline.yaml"]).exits(0).stdout;
    assert!(shown.contains("lake: parquet, staged"), "{shown}");
    assert!(shown.contains("at most 1,152 a day for each Hive partition"), "{shown}");
    let json = folder.run(&["validate", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!((&json["valid"], &json["source"]), (&true.into(), &"archive".into()));
    assert_eq!(json["sinks"][0]["delivery"], "staged");
    assert_eq!(json["files_a_day_and_hive_partition_max"], 1152);

    folder.pipeline("commit: { evry: 5m, size: 1XB }\n");
    let ended = folder.run(&["validate", "pipeline.yaml"]).exits(2);
    let ended = ended.says("commit.evry: unknown key").says("error: 2 mistakes in pipeline.yaml");
    assert_eq!(ended.stdout, "");
    let json = folder.run(&["validate", "pipeline.yaml", "--json"]).exits(2).json();
    assert_eq!(json["valid"], false);
    assert_eq!(
        names(&json["findings"][0]),
        ["allowed", "column", "file", "line", "path", "suggestion", "what"]
    );
    assert_eq!(json["findings"][0]["suggestion"], "every");
    assert!(!folder.path("checkpoint").exists(), "it writes nothing");
}

#[test]
fn validate_is_quick() {
    let folder = folder();
    // Far above the 100 ms of a release build: this notices a planner that is set up twice, not noise.
    let began = std::time::Instant::now();
    folder.run(&["validate", "pipeline.yaml"]).exits(0);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn a_failing_test_of_a_pipeline_is_exit_code_one() {
    let folder = Folder::new();
    let test = |expected: u32| {
        format!(
            "tests:\n\
             - name: tokens come through\n\
             \x20 input: [{{ insert: {{ user_id: u1, timestamp: \"2024-01-15T10:30:00Z\", role: user, tokens_used: 3 }} }}]\n\
             \x20 expect: {{ lake: [{{ tokens_used: {expected} }}] }}\n"
        )
    };
    folder.pipeline(&test(3));
    assert!(folder.run(&["test", "pipeline.yaml"]).exits(0).stdout.contains("1 passed"));
    folder.pipeline(&test(4));
    let shown = folder.run(&["test", "pipeline.yaml"]).exits(1).stdout;
    assert!(shown.contains("lake[0].tokens_used: expected 4, got 3"), "{shown}");
    let json = folder.run(&["test", "pipeline.yaml", "--json"]).exits(1).json();
    assert_eq!(names(&json), ["failed", "passed", "tests"]);
    assert_eq!(names(&json["tests"][0]), ["failures", "name", "passed"]);
    folder.run(&["test", "pipeline.yaml", "--only", "nothing"]).exits(0);
}

#[test]
fn a_preview_shows_rows_and_refusals_and_writes_nothing() {
    let folder = folder();
    let shown = folder.run(&["preview", "pipeline.yaml"]).exits(0).stdout;
    assert!(shown.contains("| upsert | u1 "), "{shown}");
    assert!(shown.contains("refused  events.ndjson@") && shown.contains("timestamp"), "{shown}");
    let lines = folder.run(&["preview", "pipeline.yaml", "--limit", "1", "--json"]).exits(0).stdout;
    let row: Value = serde_json::from_str(lines.trim_end()).unwrap();
    assert_eq!((&row["user_id"], &row["_kept"]), (&"u1".into(), &true.into()));
    assert_eq!(row["_version"], 1u64 << 36);
    assert!(files(&folder.path(""), ".parquet").is_empty());
    assert!(!folder.path("checkpoint").exists(), "it writes nothing");
}

#[test]
fn queries_answer_as_table_json_and_csv() {
    let folder = folder();
    let empty = folder.run(&["query", "pipeline.yaml", "SELECT count(*) AS n FROM messages"]);
    assert!(empty.exits(0).stdout.contains("| 0 |"), "a lake that is not there yet is empty");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let sql = "SELECT role, tokens_used FROM messages ORDER BY tokens_used";
    let table = folder.run(&["query", "pipeline.yaml", sql]).exits(0).stdout;
    assert!(table.contains("| assistant | 4           |"), "{table}");
    let json = folder.run(&["query", "pipeline.yaml", sql, "--json"]).exits(0).stdout;
    assert_eq!(
        json,
        "{\"role\":\"user\",\"tokens_used\":3}\n{\"role\":\"assistant\",\"tokens_used\":4}\n"
    );
    let csv = folder.run(&["query", "pipeline.yaml", sql, "--csv"]).exits(0).stdout;
    assert_eq!(csv, "role,tokens_used\nuser,3\nassistant,4\n");
    let none = "SELECT role FROM messages_current WHERE year = 1999";
    assert_eq!(folder.run(&["query", "pipeline.yaml", none, "--csv"]).exits(0).stdout, "role\n");
    let tables = folder.run(&["query", "pipeline.yaml"]).exits(0).stdout;
    assert!(tables.contains("messages_current: the last version of each key"), "{tables}");
    folder.run(&["query", "pipeline.yaml", "SELECT rol FROM messages"]).exits(2).says("rol");
    folder.run(&["query", "pipeline.yaml", "DROP TABLE messages"]).exits(2).says("only queries");
}

#[test]
fn dead_letters_are_listed_and_shown() {
    let folder = folder();
    let none = folder.run(&["dead-letters", "list", "pipeline.yaml"]).exits(0).stdout;
    assert_eq!(none, "no dead letters\n");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let list = folder.run(&["dead-letters", "list", "pipeline.yaml"]).exits(0).stdout;
    assert!(list.contains("decode  timestamp: expected an ISO 8601 time"), "{list}");
    let place = list.split_whitespace().next().unwrap();
    assert!(place.starts_with("events.ndjson@"), "{list}");
    let show = ["dead-letters", "show", "pipeline.yaml", place];
    let text = folder.run(&show).exits(0).stdout;
    assert!(text.contains("reason") && text.contains("\"timestamp\":\"never\""), "{text}");
    let raw = folder.run(&[&show[..], &["--raw"]].concat()).exits(0).stdout;
    assert_eq!(raw, EVENTS.lines().last().unwrap());
    let json = folder.run(&[&show[..], &["--json"]].concat()).exits(0).json();
    let listed = folder.run(&["dead-letters", "list", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!(json, listed);
    assert_eq!(
        names(&json),
        [
            "event_time",
            "key",
            "length",
            "partition",
            "position",
            "raw",
            "reason",
            "stage",
            "stream",
            "v",
            "version"
        ]
    );
    let other = ["dead-letters", "list", "pipeline.yaml", "--stage", "sink:lake"];
    assert_eq!(folder.run(&other).exits(0).stdout, "no dead letters\n");
    folder.run(&["dead-letters", "show", "pipeline.yaml", "x@1"]).exits(2).says("no dead letter");
}

#[test]
fn a_schema_tells_where_columns_come_from() {
    let folder = Folder::new();
    folder.pipeline("transforms: [{ sql: \"SELECT *, upper(role) AS shout FROM changes\" }]\n");
    let shown = folder.run(&["schema", "pipeline.yaml"]).exits(0).stdout;
    let line = |name: &str| {
        let found = shown.lines().find(|line| line.split_whitespace().next() == Some(name));
        found.unwrap_or_else(|| panic!("{name} is missing in\n{shown}")).to_owned()
    };
    assert!(line("user_id").contains("contract") && line("user_id").contains("key, personal"));
    assert!(line("shout").contains("derived"));
    assert!(line("_version").contains("system"));
    let json = folder.run(&["schema", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!(names(&json), ["columns", "contract", "indices", "pipeline", "system_columns"]);
    assert_eq!(json["columns"][0]["search"]["type"], "keyword");
    assert!(json["columns"][0]["references"].is_null());
}

#[cfg(feature = "opensearch")]
#[test]
fn a_schema_tells_what_an_index_has() {
    let folder = Folder::new();
    folder.pipeline(
        "checkpoint: { file: { path: state } }\nsinks: { found: { opensearch: { url: \"http://127.0.0.1:9200\", index: m, \
         system: [event_time] } } }\n",
    );
    let shown = folder.run(&["schema", "pipeline.yaml"]).exits(0).stdout;
    let (_, index) = shown.split_once("index of sink found").unwrap();
    let words: Vec<Vec<&str>> =
        index.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        ["content", "text", "spanish"].as_slice(),
        &["content.keyword", "keyword"],
        &["metadata.language", "keyword"],
        &["event_time", "date"],
    ] {
        assert!(words.iter().any(|words| words == line), "{line:?} is missing in\n{shown}");
    }
    let json = folder.run(&["schema", "pipeline.yaml", "--json"]).exits(0).json();
    let found = &json["indices"]["found"];
    assert_eq!(found["mappings"]["properties"]["timestamp"]["type"], "date");
    assert_eq!(found["settings"]["analysis"]["analyzer"]["spanish"]["tokenizer"], "standard");
}

#[test]
fn a_sample_is_the_same_for_a_seed() {
    let folder = Folder::new();
    folder.run(&["sample", "--out", "a", "--seed", "7"]).exits(0).says("broken records");
    folder.run(&["sample", "--out", "b", "--seed", "7"]).exits(0);
    folder.run(&["sample", "--out", "c", "--seed", "8"]).exits(0);
    let read =
        |name: &str| std::fs::read(folder.path(name).join("events-0001.ndjson.zst")).unwrap();
    assert!(read("a") == read("b"), "the same seed gives the same files");
    assert!(read("a") != read("c"), "another seed gives others");
    let bulk = ["sample", "--out", "d", "--rows", "100", "--days", "2"];
    folder.run(&bulk).exits(0).says("100 rows");
    folder.pipeline("source: { archive: { path: \"d/*.ndjson\", format: plain } }\n");
    let json = folder.run(&["run", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!((&json["rows"], &json["dead_letters"]), (&100.into(), &0.into()));
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_program_quietly() {
    let folder = Folder::new();
    folder.run(&["sample", "--out", "d", "--rows", "20000", "--days", "2"]).exits(0);
    folder.pipeline("source: { archive: { path: \"d/*.ndjson\", format: plain } }\n");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let sql = "SELECT * FROM messages";
    let mut child = folder.command(PROGRAM, &["query", "pipeline.yaml", sql, "--json"]);
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An archive that takes long: commits are tiny, and each is synced.
fn slow_folder() -> Folder {
    let folder = Folder::new();
    folder.run(&["sample", "--out", "d", "--rows", "60000", "--days", "30"]).exits(0);
    folder.pipeline(
        "source: { archive: { path: \"d/*.ndjson\", format: plain, range_size: 8MiB } }\n\
         commit: { every: 1ms, size: 64KiB, min_size: 1KiB, max_age: 10ms }\n",
    );
    folder
}

#[test]
fn a_signal_drains_and_the_next_run_goes_on() {
    let folder = slow_folder();
    for signal in [Signal::INT, Signal::TERM] {
        let arguments = ["--log", "info", "run", "pipeline.yaml", "--json"];
        let mut running = folder.start(&arguments);
        running.until_it_says("step=\"publish\"", 1);
        running.signal(signal);
        let ended = running.end().exits(0);
        assert_eq!(ended.json()["outcome"], "drained", "{}", ended.stderr);
        ended.says("draining");
    }
    folder.pipeline(
        "source: { archive: { path: \"d/*.ndjson\", format: plain, range_size: 8MiB } }\n",
    );
    let json = folder.run(&["run", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!(json["outcome"], "finished");
    let rows = rows(&folder.path("lake"));
    let mut places = column(&rows, "_position");
    assert_eq!(places.len(), 60_000);
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 60_000, "each event is there once");
    assert!(files(&folder.path("lake"), ".staged").is_empty(), "nothing is left behind");
}

#[test]
fn a_second_signal_ends_at_once() {
    let folder = slow_folder();
    let mut running = folder.start(&["--log", "info", "run", "pipeline.yaml"]);
    running.until_it_says("step=\"publish\"", 1);
    running.signal(Signal::STOP);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    running.signal(Signal::CONT);
    // Both may be seen as one order before the drain is done: then it has drained.
    let ended = running.end();
    assert!(matches!(ended.code, Some(0 | 130 | 143)), "{ended:?}");
}

#[test]
fn metrics_and_health_are_served_while_it_runs() {
    let folder = slow_folder();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let arguments = ["--log", "info", "run", "pipeline.yaml", "--metrics", address.as_str()];
    let mut running = folder.start(&arguments);
    running.until_it_says("step=\"publish\"", 1);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(get("/healthz").starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").starts_with("HTTP/1.1"));
    let page = get("/metrics");
    for metric in [
        "acequia_events_total ",
        "acequia_lane_events_total{lane=\"1:rows.ndjson@",
        "acequia_lane_lag_bytes{",
        "acequia_lane_epoch_age_seconds{",
        "acequia_lane_dead_letters_total{",
        "acequia_memory_budget_bytes ",
        "acequia_checkpoint_swaps_total ",
    ] {
        assert!(page.contains(metric), "{metric} is missing in\n{page}");
    }
    running.signal(Signal::TERM);
    running.end().exits(0);
}

#[test]
fn secrets_of_the_environment_are_not_shown() {
    let folder = Folder::new();
    folder.pipeline("dead_letters: { url: \"${SECRET}\" }\nmemory: 1KiB\n");
    let mut command = folder.command(PROGRAM, &["validate", "pipeline.yaml"]);
    command.env("SECRET", "s3://key:hunter2@bucket");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(text.contains("dead_letters.url") && !text.contains("hunter2"), "{text}");
}
