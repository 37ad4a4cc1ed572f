//! What the outside does, through the real binary: damaged and odd input, closed folders, full
//! disks, foreign lakes, two runs at once. Every record is a row or a dead letter afterwards, or the
//! run has stopped before it committed anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::{Resource, Signal, geteuid, getrlimit, prlimit};
use sha2::{Digest, Sha256};

use super::program::{
    Ended, Folder, PROGRAM, Running, column, files, letters, pipeline_text, rows,
};

/// What every run of `pipeline.yaml` is started with.
const RUN: [&str; 3] = ["run", "pipeline.yaml", "--json"];

/// A contract whose columns take what others cannot: 38 digits, counts since 1970, words of SQL.
const EXACT: &str = "apiVersion: v3.1.0
kind: DataContract
version: 1.0.0
schema:
  - name: payments
    properties:
      - { name: id, logicalType: string, primaryKey: true }
      - { name: at, logicalType: timestamp }
      - name: whole
        logicalType: number
        customProperties: [{ property: precision, value: 38 }]
      - name: fraction
        logicalType: number
        customProperties: [{ property: precision, value: 38 }, { property: scale, value: 38 }]
      - name: seconds
        logicalType: timestamp
        physicalType: N
        customProperties: [{ property: epoch, value: seconds }]
      - name: millis
        logicalType: timestamp
        physicalType: N
        customProperties: [{ property: epoch, value: millis }]
      - { name: order, logicalType: integer }
      - { name: select, logicalType: string }
";

/// A contract of which one column is yet to be decided.
const COUNTED: &str = "apiVersion: v3.1.0
kind: DataContract
version: 1.0.0
schema:
  - name: messages
    properties:
      - { name: id, logicalType: string, primaryKey: true }
      - { name: timestamp, logicalType: timestamp }
      - { name: tokens, logicalType: KIND }
";

/// A lake that takes every year.
const ALL_YEARS: &str = r#"sinks:
  lake:
    parquet:
      url: lake
      partition: { by: month, time: at, time_range: { from: "0001-01-01", to: "9999-12-31" } }
"#;

/// A folder with a pipeline of conversations.
fn plain() -> Folder {
    let folder = Folder::new();
    folder.pipeline("");
    folder
}

/// A folder with a pipeline of [`EXACT`] payments.
fn exact(tail: &str) -> Folder {
    let folder = Folder::new();
    folder.write("contract.yaml", EXACT);
    folder.pipeline(&format!("{ALL_YEARS}{tail}"));
    folder
}

fn run(folder: &Folder) -> Ended {
    folder.run(&RUN)
}

/// A message of a conversation with further attributes.
fn message(attributes: &str) -> String {
    message_at("2024-01-15T10:30:00.000Z", attributes)
}

fn message_at(time: &str, attributes: &str) -> String {
    format!(r#"{{"user_id":"u","timestamp":"{time}","role":"user"{attributes}}}"#)
}

/// A payment with one further attribute.
fn payment(id: usize, name: &str, value: &str) -> String {
    format!(r#"{{"id":"{id}","at":"2024-01-15T10:30:00Z","{name}":{value}}}"#)
}

/// The lines of a file, and what is to become of each.
#[derive(Default)]
struct Lines {
    content: Vec<u8>,
    /// Where each line begins that is to be a row.
    rows: Vec<u64>,
    /// Where each line begins that is to be a dead letter, and a part of its reason.
    letters: Vec<(u64, String)>,
}

impl Lines {
    fn row(&mut self, line: impl AsRef<[u8]>) {
        self.rows.push(self.content.len() as u64);
        self.nothing(line);
    }

    fn letter(&mut self, line: impl AsRef<[u8]>, reason: &str) {
        self.letters.push((self.content.len() as u64, reason.to_owned()));
        self.nothing(line);
    }

    /// A line that says nothing.
    fn nothing(&mut self, line: impl AsRef<[u8]>) {
        self.content.extend_from_slice(line.as_ref());
        self.content.push(b'\n');
    }

    /// Each is what it was to be, once.
    #[track_caller]
    fn are_kept(&self, lake: &Path, dead_letters: &Path) {
        let found: Vec<u64> = places(lake).into_iter().map(|(_, position)| position).collect();
        assert_eq!(found, self.rows, "rows");
        let mut found: Vec<(u64, String)> = letters(dead_letters)
            .iter()
            .map(|letter| {
                let reason = letter["reason"].as_str().unwrap().to_owned();
                (letter["position"].as_u64().unwrap(), reason)
            })
            .collect();
        found.sort();
        assert_eq!(found.len(), self.letters.len(), "dead letters: {found:#?}");
        for ((position, reason), (expected, part)) in found.iter().zip(&self.letters) {
            assert!(position == expected && reason.contains(part.as_str()), "{position} {reason}");
        }
    }

    /// Run the pipeline of `folder` over them: each is what it was to be, and a second run finds
    /// nothing to do.
    #[track_caller]
    fn run_in(&self, folder: &Folder) {
        folder.write("events.ndjson", &self.content);
        let summary = run(folder).exits(0).json();
        assert_eq!(summary["outcome"], "finished");
        assert_eq!(summary["rows"], self.rows.len());
        assert_eq!(summary["dead_letters"], self.letters.len());
        assert_eq!(summary["events"], self.rows.len() + self.letters.len());
        self.are_kept(&folder.path("lake"), &folder.path("dead-letters"));
        assert_eq!(run(folder).exits(0).json()["outcome"], "nothing_to_do");
    }
}

/// `_partition` and `_position` of every row, sorted.
fn places(lake: &Path) -> Vec<(String, u64)> {
    let batches = rows(lake);
    let positions = column(&batches, "_position").into_iter();
    let positions = positions.map(|position| position.parse::<u64>().unwrap());
    let partitions = column(&batches, "_partition").into_iter();
    let mut places: Vec<(String, u64)> = partitions.zip(positions).collect();
    places.sort();
    places
}

/// The values of a column by the rows' `id`.
fn by_id(folder: &Folder, name: &str) -> BTreeMap<String, String> {
    let batches = rows(&folder.path("lake"));
    column(&batches, "id").into_iter().zip(column(&batches, name)).collect()
}

/// Lines that compress badly, so that even a small disk cannot take their Parquet: 280 KB of it.
fn noise() -> Lines {
    let mut random = StdRng::seed_from_u64(7);
    let mut lines = Lines::default();
    lines.letter("bad", "invalid JSON");
    for _ in 0..4_000 {
        let content: String = (0..4).map(|_| format!("{:032x}", random.random::<u128>())).collect();
        lines.row(message(&format!(r#","content":"{content}""#)));
    }
    lines
}

#[test]
fn an_empty_file_is_read_to_its_end() {
    let folder = plain();
    folder.write("empty.ndjson", "");
    assert_eq!(run(&folder).exits(0).json()["events"], 0);
    folder.write("blank.ndjson", "\n\r\n  \t\n");
    folder.write("mark.ndjson", b"\xEF\xBB\xBF");
    folder.write("message.ndjson", message("") + "\n");
    let summary = run(&folder).exits(0).json();
    assert_eq!(summary["outcome"], "finished");
    assert_eq!(summary["events"], 1);
    assert_eq!(places(&folder.path("lake")), [("message.ndjson".to_owned(), 0)]);
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
}

#[test]
fn half_a_last_line_is_a_dead_letter_and_a_whole_one_a_row() {
    let whole = message(r#","content":"hola""#);
    let mut lines = Lines::default();
    lines.row(&whole);
    lines.row(&whole);
    lines.content.pop();
    lines.run_in(&plain());
    lines.nothing("");
    lines.letter(&whole[..whole.len() - 3], "a string without its closing quote");
    lines.content.pop();
    lines.run_in(&plain());
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_content() {
    let mut lines = Lines::default();
    lines.content.extend_from_slice(b"\xEF\xBB\xBF");
    lines.row(message("") + "\r");
    lines.nothing("\r");
    lines.row(message(r#","content":"más""#) + "\r");
    lines.letter("\u{feff}".to_owned() + &message(""), "invalid JSON at byte 0: expected a value");
    lines.run_in(&plain());
}

#[test]
fn invalid_utf8_is_kept_byte_for_byte() {
    let mut line = message("").into_bytes();
    line.pop();
    line.extend_from_slice(b",\"content\":\"caf\xE9\"}");
    let mut lines = Lines::default();
    lines.row(message(r#","content":"café""#));
    lines.letter(&line, "invalid UTF-8 at byte");
    lines.row(message(""));
    let folder = plain();
    lines.run_in(&folder);
    let letter = letters(&folder.path("dead-letters")).remove(0);
    assert_eq!(letter["length"], line.len());
    assert!(letter["raw"].is_null() && letter["raw_base64"].is_string(), "{letter}");
    let place = format!("events.ndjson@{}", letter["position"]);
    let show = ["dead-letters", "show", "pipeline.yaml", place.as_str(), "--raw"];
    let shown = folder.command(PROGRAM, &show).output().unwrap().stdout;
    assert!(shown.starts_with(&line), "{}", String::from_utf8_lossy(&shown));
}

#[test]
fn numbers_that_no_column_holds_are_dead_letters() {
    let mut lines = Lines::default();
    lines.row(message(r#","tokens_used":9223372036854775807"#));
    for wrong in ["9223372036854775808", "1e400"] {
        let reason = format!(
            "tokens_used: expected a whole number, found number {wrong}: outside the range of 64 bits"
        );
        lines.letter(message(&format!(r#","tokens_used":{wrong}"#)), &reason);
    }
    lines.letter(
        message(r#","confidence_score":1e400"#),
        "confidence_score: expected a number, found number 1e400: outside the range of a double",
    );
    lines.letter(message(r#","ttl":1e400"#), "ttl: expected seconds since 1970");
    lines.row(message(r#","huge":1e400"#));
    let folder = plain();
    lines.run_in(&folder);
    let batches = rows(&folder.path("lake"));
    assert_eq!(column(&batches, "tokens_used"), ["9223372036854775807", "null"]);
    assert_eq!(column(&batches, "_extra"), ["null", r#"{"huge":1e400}"#], "as it was written");
}

#[test]
fn decimals_keep_38_digits_and_take_no_more() {
    let (nines, zeros) = ("9".repeat(38), "0".repeat(37));
    let kept = [
        ("whole", nines.clone()),
        ("whole", format!("-{nines}")),
        ("fraction", format!("0.{nines}")),
        ("fraction", format!("-0.{zeros}1")),
    ];
    let mut lines = Lines::default();
    for (id, (name, value)) in kept.iter().enumerate() {
        lines.row(payment(id, name, value));
    }
    for (name, value, reason) in [
        ("whole", format!("9{nines}"), "too many digits"),
        ("whole", "1e38".into(), "too many digits"),
        ("whole", "0.5".into(), "too many decimals"),
        ("fraction", "1".into(), "too many digits"),
        ("fraction", format!("0.{zeros}01"), "too many decimals"),
    ] {
        lines.letter(payment(99, name, &value), reason);
    }
    let folder = exact("");
    lines.run_in(&folder);
    for (id, (name, value)) in kept.iter().enumerate() {
        assert_eq!(by_id(&folder, name)[&id.to_string()], *value);
    }
}

#[test]
fn names_that_occur_twice_are_dead_letters() {
    let mut lines = Lines::default();
    for (attributes, reason) in [
        (r#","role":"user""#, "role: this name occurs twice"),
        (r#","\u0072ole":"user""#, "role: this name occurs twice"),
        (r#","metadata":{"intent":"a","intent":"b"}"#, "metadata.intent: this name occurs twice"),
        (r#","new":1,"new":2"#, "new: this name occurs twice"),
    ] {
        lines.letter(message(attributes), reason);
    }
    lines.row(message(r#","metadata":{"intent":"a"}"#));
    lines.run_in(&plain());
}

#[test]
fn deep_nesting_is_a_dead_letter() {
    let lists = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let mut lines = Lines::default();
    for (name, deep) in [("new", &lists), ("new", &objects), ("metadata", &objects)] {
        let line = message(&format!(r#","{name}":{deep}"#));
        lines.letter(line, "nested deeper than 128 levels");
    }
    lines.row(message(&format!(r#","new":{}{}"#, "[".repeat(100), "]".repeat(100))));
    lines.run_in(&plain());
}

#[test]
fn records_without_their_key_are_dead_letters() {
    let mut lines = Lines::default();
    for (record, reason) in [
        ("{}", "user_id: a key attribute is missing"),
        (r#"{"timestamp":"2024-01-15T10:30:00Z"}"#, "user_id: a key attribute is missing"),
        (r#"{"user_id":"u","timestamp":null}"#, "timestamp: a key attribute is missing"),
        (r#"{"user_id":"u","timestamp":"2024-01-15"}"#, "role: expected text, found nothing"),
        ("[1]", "expected an object, found a list"),
        ("42", "expected an object, found number 42"),
        ("nonsense", "invalid JSON at byte 0"),
    ] {
        lines.letter(record, reason);
    }
    lines.row(message(""));
    lines.run_in(&plain());
}

#[test]
fn times_are_read_in_every_form() {
    let kept = [
        ("at", r#""2024-01-15T23:30:00-06:00""#, "2024-01-16T05:30:00Z"),
        ("at", r#""2024-01-15T10:30:00""#, "2024-01-15T10:30:00Z"),
        ("at", r#""2024-01-15""#, "2024-01-15T00:00:00Z"),
        ("at", r#""0001-01-01T00:00:00Z""#, "0001-01-01T00:00:00Z"),
        ("at", r#""9999-12-31T23:59:59.999Z""#, "9999-12-31T23:59:59.999Z"),
        ("seconds", "1705314600", "2024-01-15T10:30:00Z"),
        ("seconds", "1705314600.25", "2024-01-15T10:30:00.250Z"),
        ("seconds", "-1", "1969-12-31T23:59:59Z"),
        ("millis", "1705314600123", "2024-01-15T10:30:00.123Z"),
        ("millis", "-1", "1969-12-31T23:59:59.999Z"),
    ];
    let text = |id: usize, name: &str, value: &str| match name {
        "at" => format!(r#"{{"id":"{id}","at":{value}}}"#),
        _ => payment(id, name, value),
    };
    let mut lines = Lines::default();
    for (id, (name, value, _)) in kept.into_iter().enumerate() {
        lines.row(text(id, name, value));
    }
    for (name, value, reason) in [
        ("at", r#""15/01/2024""#, "at: expected an ISO 8601 time"),
        ("at", r#""2024-02-30T00:00:00Z""#, "at: expected an ISO 8601 time"),
        ("at", r#""10000-01-01T00:00:00Z""#, "at: expected an ISO 8601 time"),
        ("seconds", "1705314600000", "seconds: expected seconds since 1970"),
        ("seconds", r#""1705314600""#, "seconds: expected seconds since 1970"),
        ("millis", "1e400", "millis: expected milliseconds since 1970"),
    ] {
        lines.letter(text(99, name, value), reason);
    }
    let folder = exact("");
    lines.run_in(&folder);
    for (id, (name, _, shown)) in kept.into_iter().enumerate() {
        assert_eq!(by_id(&folder, name)[&id.to_string()], shown);
    }
    for month in ["year=0001/month=01", "year=9999/month=12"] {
        assert_eq!(files(&folder.path("lake").join(month), ".parquet").len(), 1, "{month}");
    }
}

#[test]
fn years_outside_the_range_of_the_table_are_dead_letters_of_the_lake() {
    let mut lines = Lines::default();
    for time in ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"] {
        let reason = format!("`timestamp` {time} lies outside the time_range of the table: 2000");
        lines.letter(message_at(time, ""), &reason);
    }
    lines.row(message_at("2000-01-01T00:00:00Z", ""));
    let folder = plain();
    lines.run_in(&folder);
    for letter in letters(&folder.path("dead-letters")) {
        assert_eq!(letter["stage"], "sink:lake");
    }
}

#[test]
fn columns_may_be_named_like_words_of_sql() {
    let tail = "transforms:
  - sql: SELECT *, \"order\" * 2 AS \"from\", upper(\"select\") AS \"group\" FROM changes
";
    let mut lines = Lines::default();
    lines.row(r#"{"id":"1","at":"2024-01-15T10:30:00Z","order":21,"select":"all"}"#);
    let folder = exact(tail);
    lines.run_in(&folder);
    for (name, value) in [("order", "21"), ("select", "all"), ("from", "42"), ("group", "ALL")] {
        assert_eq!(by_id(&folder, name)["1"], value);
    }
}

#[test]
fn partitions_have_the_names_of_their_files() {
    let folder = Folder::new();
    folder.pipeline("source: { archive: { path: \"in put/**/*.ndjson\", format: plain } }\n");
    let long = format!("{}.ndjson", "x".repeat(240));
    let names = BTreeSet::from([
        "a b.ndjson",
        "it's \"quoted\".ndjson",
        "100%.ndjson",
        "per%20cent.ndjson",
        "ñandú-日本.ndjson",
        "year=2024/month=01/x.ndjson",
        "[x]{y}.ndjson",
        "a:b@0-5.ndjson",
        "$HOME.ndjson",
        "back\\slash.ndjson",
        "new\nline.ndjson",
        long.as_str(),
    ]);
    for name in &names {
        folder.write(&format!("in put/{name}"), message("") + "\nbad\n");
    }
    let summary = run(&folder).exits(0).json();
    assert_eq!(summary["rows"], names.len());
    let places = places(&folder.path("lake"));
    let found: BTreeSet<&str> = places.iter().map(|(partition, _)| partition.as_str()).collect();
    assert_eq!((places.len(), found), (names.len(), names.clone()));
    let letters = letters(&folder.path("dead-letters"));
    let found: BTreeSet<&str> =
        letters.iter().map(|letter| letter["partition"].as_str().unwrap()).collect();
    assert_eq!((letters.len(), found), (names.len(), names));
    // The names come back out of the checkpoint as they were.
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
}

/// The message promises it: what stands before the damage is not lost to it.
#[test]
fn what_stands_before_the_cut_of_a_file_is_delivered() {
    let folder = Folder::new();
    folder.pipeline("source: { archive: { path: \"*.gz\", format: plain } }\n");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..20_000 {
        writeln!(gzip, "{}", message(&format!(r#","content":"hola {number}""#))).unwrap();
    }
    let stored = gzip.finish().unwrap();
    let cut = &stored[..stored.len() / 2];
    folder.write("cut.ndjson.gz", cut);
    let mut readable = Vec::new();
    MultiGzDecoder::new(cut).read_to_end(&mut readable).unwrap_err();
    let mut lines = Lines::default();
    let whole =
        readable.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    whole.for_each(|line| lines.row(&line[..line.len() - 1]));
    assert!(lines.rows.len() > 5_000);
    // Running again changes nothing: neither more nor anything twice.
    for _ in 0..2 {
        run(&folder).exits(3).says("cut.ndjson.gz is cut off or damaged at byte");
        lines.are_kept(&folder.path("lake"), &folder.path("dead-letters"));
    }
}

#[test]
fn a_line_of_a_hundred_megabytes_keeps_its_beginning_its_length_and_its_hash() {
    const LENGTH: usize = 100_000_000;
    let folder = plain();
    folder.write("a.ndjson", message("") + "\nbad\n");
    let before = run(&folder).exits(0).json();
    let (mut file, mut hash) = (File::create(folder.path("b.ndjson")).unwrap(), Sha256::new());
    let part = vec![b'z'; 100_000];
    for _ in 0..LENGTH / part.len() {
        hash.update(&part);
        file.write_all(&part).unwrap();
    }
    writeln!(file, "\n{}", message("")).unwrap();
    drop(file);
    let after = run(&folder).exits(0).json();
    assert_eq!(after["rows"], 1);
    assert_eq!(after["dead_letters"], 1);
    let expected = [("a.ndjson".to_owned(), 0), ("b.ndjson".to_owned(), LENGTH as u64 + 1)];
    assert_eq!(places(&folder.path("lake")), expected);
    let letters = letters(&folder.path("dead-letters"));
    let letter = letters.iter().find(|letter| letter["partition"] == "b.ndjson").unwrap();
    assert_eq!(letter["length"], LENGTH);
    assert_eq!(letter["sha256"], format!("{:x}", hash.finalize()));
    assert_eq!(letter["raw"].as_str().unwrap(), "z".repeat(64 << 10));
    assert!(letter["reason"].as_str().unwrap().contains("max_record_size"), "{}", letter["reason"]);
    // The line passes through; half of it would be seen here.
    if let (Some(before), Some(after)) =
        (before["peak_memory_bytes"].as_u64(), after["peak_memory_bytes"].as_u64())
    {
        assert!(after < before + (48 << 20), "{before} bytes without it, {after} with it");
    }
}

/// Nobody in particular, as far as files are concerned.
const NOBODY: u32 = 65_534;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Run the pipeline of `folder` as somebody who may not do everything: root passes every door.
fn run_as_nobody(folder: &Folder) -> Ended {
    let program = folder.path("acequia");
    let is_open = fs::metadata(PROGRAM).unwrap().permissions().mode() & 0o005 == 0o005;
    // It may lie where nobody else can look.
    if !program.exists() && (!is_open || fs::hard_link(PROGRAM, &program).is_err()) {
        fs::copy(PROGRAM, &program).unwrap();
        set_mode(&program, 0o755);
    }
    let mut command = folder.command(program, &RUN);
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    Running::start(command).end()
}

#[test]
fn a_folder_without_permission_is_named() {
    let folder = Folder::new();
    folder.write("events.ndjson", message("") + "\n");
    let places_are = |lake: &str, letters: &str, checkpoint: &str| {
        folder.pipeline(&format!(
            "sinks: {{ lake: {{ parquet: {{ url: {lake}, partition: {{ by: day, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: {letters} }}\n\
             checkpoint: {{ file: {{ path: {checkpoint} }} }}\n"
        ));
        set_mode(&folder.path("pipeline.yaml"), 0o644);
    };
    fs::create_dir(folder.path("open")).unwrap();
    fs::create_dir(folder.path("closed")).unwrap();
    for (name, mode) in [("", 0o755), ("contract.yaml", 0o644), ("open", 0o777), ("closed", 0o555)]
    {
        set_mode(&folder.path(name), mode);
    }
    let cannot = |what: &str, name: &str| {
        let place = folder.path(name);
        run_as_nobody(&folder).exits(2).says(&format!("{what} {}: Permission", place.display()));
    };

    places_are("open/lake", "open/letters", "open/checkpoint");
    set_mode(&folder.path("events.ndjson"), 0o000);
    cannot("cannot open the archive file", "events.ndjson");
    set_mode(&folder.path("events.ndjson"), 0o644);
    places_are("closed/lake", "open/letters", "open/checkpoint");
    cannot("sink lake: cannot write to the folder", "closed/lake");
    places_are("closed", "open/letters", "open/checkpoint");
    cannot("sink lake: cannot write to the folder", "closed");
    places_are("open/lake", "closed/letters", "open/checkpoint");
    cannot("dead_letters: cannot write to the folder", "closed/letters/messages");
    places_are("open/lake", "open/letters", "closed/checkpoint");
    cannot("cannot make the checkpoint folder", "closed/checkpoint");

    assert!(files(&folder.path("closed"), "").is_empty());
    places_are("open/lake", "open/letters", "open/checkpoint");
    assert_eq!(run_as_nobody(&folder).exits(0).json()["rows"], 1);
}

/// A small disk of its own, mounted; it is unmounted when this is dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// `None` where mounting is not allowed.
    fn mount(folder: PathBuf) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(&folder);
        let mounted = mount.stdin(Stdio::null()).stderr(Stdio::null()).status();
        if mounted.is_ok_and(|status| status.success()) { Some(Self { folder }) } else { None }
    }

    /// Leave `bytes` of it free.
    fn fill_but(&self, bytes: u64) {
        let mut filler = File::create(self.folder.join("filler")).unwrap();
        while filler.write_all(&[0; 4096]).is_ok() {}
        let size = filler.metadata().unwrap().len();
        filler.set_len(size - bytes).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.folder.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still looks into it must not keep it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// Start a run whose files cannot grow beyond 64 KiB: each longer write fails, as on a full disk.
fn start_limited(folder: &Folder) -> Running {
    // The signal is ignored, so that the write fails and not the process.
    const SCRIPT: &str = r#"trap "" XFSZ; ulimit -S -f 128; exec "$0" "$@""#;
    let mut command = folder.command("sh", &["-c", SCRIPT, PROGRAM]);
    command.args(RUN);
    Running::start(command)
}

/// Let files grow again.
fn lift_limit(run: &Running) {
    prlimit(Some(run.pid()), Resource::Fsize, getrlimit(Resource::Fsize)).unwrap();
}

/// Says it whether or not the output of tests is captured.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

const WAITS: &str = "a sink failed, reading the epoch again";

#[test]
fn a_full_disk_is_waited_for() {
    let folder = Folder::new();
    folder.pipeline(
        "sinks: { lake: { parquet: { url: disk/lake, partition: { by: day, time: timestamp } } } }\n\
         dead_letters: { url: disk/dead-letters }\n",
    );
    let lines = noise();
    folder.write("events.ndjson", &lines.content);
    fs::create_dir(folder.path("disk")).unwrap();
    let disk = Disk::mount(folder.path("disk"));
    let mut running = match &disk {
        Some(disk) => {
            say("a full disk: a tmpfs of 4 MiB");
            disk.fill_but(128 << 10);
            folder.start(&RUN)
        }
        None => {
            say("a full disk: a limit on the size of files, since mounting is not allowed here");
            start_limited(&folder)
        }
    };
    running.until_it_says(WAITS, 1);
    assert!(files(&folder.path("disk"), ".parquet").is_empty());
    match &disk {
        Some(disk) => disk.make_room(),
        None => lift_limit(&running),
    }
    let summary = running.end().exits(0).json();
    assert_eq!(summary["rows"], lines.rows.len());
    lines.are_kept(&folder.path("disk/lake"), &folder.path("disk/dead-letters"));
    assert!(files(&folder.path("disk"), ".staged").is_empty(), "what failed is removed");
}

#[test]
fn a_second_run_is_refused_or_takes_over() {
    let folder = plain();
    let lines = noise();
    folder.write("events.ndjson", &lines.content);
    // It waits for room, which holds it at work for as long as it takes. After the second line it
    // pauses for 400 ms at least: it is not stopped in the middle of a swap, with a lock in hand.
    let mut first = start_limited(&folder);
    first.until_it_says(WAITS, 2);
    first.signal(Signal::STOP);
    let named = format!("error: another run (pid {})", first.pid().as_raw_nonzero());
    run(&folder).exits(2).says(&named);
    let second = folder.run(&["run", "pipeline.yaml", "--json", "--take-over"]);
    assert_eq!(second.exits(0).json()["rows"], lines.rows.len());
    first.signal(Signal::CONT);
    first.end().exits(3).says("stopped: taken over: a newer run holds 1:events.ndjson");
    lines.are_kept(&folder.path("lake"), &folder.path("dead-letters"));
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
    assert!(files(&folder.path("lake"), ".staged").is_empty());
}

#[test]
fn a_lake_of_another_pipeline_is_left_alone() {
    let folder = plain();
    folder.write("events.ndjson", message("") + "\n");
    run(&folder).exits(0);
    let before = files(&folder.path("lake"), "");
    let other = "name: other\ncheckpoint: { file: { path: other-checkpoint } }\n";
    folder.write("other.yaml", pipeline_text(other));
    folder
        .run(&["run", "other.yaml"])
        .exits(3)
        .says("stopped: sink lake: ")
        .says("belongs to pipeline `messages`, this is pipeline `other`");
    assert_eq!(files(&folder.path("lake"), ""), before);
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
}

/// The pipeline that was there first must not notice: its archive has not changed.
#[test]
fn a_checkpoint_of_another_pipeline_is_left_alone() {
    let folder = Folder::new();
    folder.pipeline("source: { archive: { path: \"a/*.ndjson\", format: plain } }\n");
    folder.write("a/events.ndjson", message("") + "\n");
    folder.write("b/others.ndjson", message("") + "\n");
    run(&folder).exits(0);
    let other = "name: other\n\
                 source: { archive: { path: \"b/*.ndjson\", format: plain } }\n\
                 sinks: { lake: { parquet: { url: other, partition: { by: day, time: timestamp } } } }\n";
    folder.write("other.yaml", pipeline_text(other));
    folder
        .run(&["run", "other.yaml"])
        .exits(3)
        .says("belongs to pipeline `messages`, this is pipeline `other`");
    assert!(rows(&folder.path("other")).is_empty());
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
}

#[test]
fn a_lake_is_not_filled_again_when_its_checkpoint_is_gone() {
    let folder = plain();
    folder.write("events.ndjson", message("") + "\nbad\n");
    run(&folder).exits(0);
    let before = files(&folder.path("lake"), "");
    fs::rename(folder.path("checkpoint"), folder.path("kept")).unwrap();
    run(&folder).exits(3).says("the checkpoint folder was deleted, restored or is another one");
    assert_eq!(files(&folder.path("lake"), ""), before);
    assert_eq!(letters(&folder.path("dead-letters")).len(), 1);
    fs::remove_dir_all(folder.path("checkpoint")).unwrap();
    fs::rename(folder.path("kept"), folder.path("checkpoint")).unwrap();
    assert_eq!(run(&folder).exits(0).json()["outcome"], "nothing_to_do");
}

fn set_modified(path: &Path, time: SystemTime) {
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn an_archive_that_changed_is_not_read() {
    let folder = plain();
    let record = message("") + "\n";
    let names = ["grown.ndjson", "shrunk.ndjson", "touched.ndjson"];
    names.iter().for_each(|name| folder.write(name, record.repeat(2)));
    let times = names.map(|name| fs::metadata(folder.path(name)).unwrap().modified().unwrap());
    run(&folder).exits(0);
    folder.write("grown.ndjson", record.repeat(3));
    folder.write("shrunk.ndjson", &record);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    set_modified(&folder.path("touched.ndjson"), long_ago);
    folder.write("later.ndjson", &record);
    let (two, three) = (record.len() * 2, record.len() * 3);
    run(&folder)
        .exits(3)
        .says(&format!("`grown.ndjson` (number 1) grew from {two} to {three} bytes"))
        .says(&format!("`shrunk.ndjson` (number 2) shrank from {two} to {} bytes", record.len()))
        .says("`touched.ndjson` (number 3) was modified");
    assert_eq!(places(&folder.path("lake")).len(), 6, "nothing is read, nor is the new file");
    for (name, time) in names.iter().zip(times) {
        folder.write(name, record.repeat(2));
        set_modified(&folder.path(name), time);
    }
    // What was read to its end is not needed any more.
    fs::remove_file(folder.path("shrunk.ndjson")).unwrap();
    run(&folder).exits(0);
    assert_eq!(places(&folder.path("lake")).len(), 7);
}

#[test]
fn a_flood_of_dead_letters_stops_before_anything_is_committed() {
    let folder = Folder::new();
    let mut lines = Lines::default();
    for id in 0..40 {
        lines.row(format!(r#"{{"id":"{id}","timestamp":"2024-01-15T10:30:00Z","tokens":{id}}}"#));
    }
    folder.write("events.ndjson", &lines.content);
    folder.write("contract.yaml", COUNTED.replace("KIND", "boolean"));
    folder.pipeline("dead_letters: { url: dead-letters, limit: 10 }\n");
    run(&folder)
        .exits(3)
        .says("40 of the last 40 records of 1:events.ndjson are dead letters, the limit is 10");
    Lines::default().are_kept(&folder.path("lake"), &folder.path("dead-letters"));
    // It is listed and has not been read to its end: its absence is noticed.
    fs::rename(folder.path("events.ndjson"), folder.path("aside")).unwrap();
    run(&folder).exits(3).says("`events.ndjson` (number 1) is gone");
    fs::rename(folder.path("aside"), folder.path("events.ndjson")).unwrap();
    folder.write("contract.yaml", COUNTED.replace("KIND", "integer"));
    assert_eq!(run(&folder).exits(0).json()["rows"], 40);
    lines.are_kept(&folder.path("lake"), &folder.path("dead-letters"));
}
