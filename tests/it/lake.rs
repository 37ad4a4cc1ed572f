//! The lake as other programs read it: DuckDB and pyarrow find what the archive says, which is
//! counted here from its files without asking the program under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::program::{Folder, files, letters};

/// What a reader finds in the folder that is the first argument, for each reader named after it.
/// Times are not fetched: DuckDB needs one more module for them.
const READ: &str = r#"
import hashlib, json, sys
import duckdb, pyarrow.compute as compute, pyarrow.dataset as dataset

lake = sys.argv[1]

def by_duckdb():
    pattern = (lake + "/**/*.parquet").replace("'", "''")
    def ask(what):
        source = f"FROM read_parquet('{pattern}', hive_partitioning = true)"
        return duckdb.sql(what.replace("FROM LAKE", source)).fetchall()
    rows, tokens, least, most = ask(
        "SELECT count(*), sum(tokens_used)::BIGINT, min(_version), max(_version) FROM LAKE")[0]
    places = ask(
        "SELECT count(*) FROM (SELECT DISTINCT _stream, _partition, _position FROM LAKE)")[0][0]
    days = ask("SELECT year, month, day, count(*) FROM LAKE GROUP BY ALL")
    return {
        "rows": rows,
        "tokens": tokens,
        "versions": [least, most],
        "places": places,
        "keys": digest(key for key, in ask("SELECT _key FROM LAKE")),
        "days": {name(*day): count for *day, count in days},
        "columns": {column[0]: column[1] for column in ask("DESCRIBE SELECT * FROM LAKE")},
    }

def by_pyarrow():
    table = dataset.dataset(lake, format="parquet", partitioning="hive").to_table()
    places = table.group_by(["_stream", "_partition", "_position"]).aggregate([])
    days = table.group_by(["year", "month", "day"]).aggregate([([], "count_all")]).to_pylist()
    return {
        "rows": table.num_rows,
        "tokens": compute.sum(table["tokens_used"]).as_py(),
        "versions": [end(table["_version"]).as_py() for end in (compute.min, compute.max)],
        "places": places.num_rows,
        "keys": digest(table["_key"].to_pylist()),
        "days": {name(day["year"], day["month"], day["day"]): day["count_all"] for day in days},
        "columns": {field.name: str(field.type) for field in table.schema},
    }

def digest(keys):
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()

def name(year, month, day):
    return "%04d-%02d-%02d" % (int(year), int(month), int(day))

readers = {"duckdb": by_duckdb, "pyarrow": by_pyarrow}
json.dump({reader: readers[reader]() for reader in sys.argv[2:]}, sys.stdout)
"#;

/// Columns with their types in DuckDB and in Arrow.
const COLUMNS: [(&str, &str, &str); 14] = [
    ("user_id", "VARCHAR", "string"),
    ("timestamp", "TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"),
    ("confidence_score", "DOUBLE", "double"),
    ("tokens_used", "BIGINT", "int64"),
    ("escalation_triggered", "BOOLEAN", "bool"),
    ("ttl", "TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"),
    ("intent", "VARCHAR", "string"),
    ("should_analyze", "BOOLEAN", "bool"),
    ("_op", "VARCHAR", "string"),
    ("_key", "VARCHAR", "string"),
    ("_event_time", "TIMESTAMP WITH TIME ZONE", "timestamp[us, tz=UTC]"),
    ("_version", "BIGINT", "int64"),
    ("_position", "BIGINT", "int64"),
    ("_extra", "VARCHAR", "string"),
];

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The quickstart, run in a folder of its own.
fn quickstart() -> Folder {
    let folder = Folder::new();
    let mut text = fs::read_to_string(repository("pipelines/quickstart.yaml")).unwrap();
    for (here, there) in [
        ("../schemas/conversations.yaml", repository("schemas/conversations.yaml")),
        ("quickstart/events-", repository("pipelines/quickstart/events-")),
        ("../target/quickstart", folder.path("target")),
    ] {
        assert!(text.contains(here), "the quickstart does not name {here} any more");
        text = text.replace(here, there.to_str().unwrap());
    }
    folder.write("pipeline.yaml", text);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    folder
}

fn lake_of(folder: &Folder) -> PathBuf {
    folder.path("target/lake/conversations")
}

/// What the archive says.
#[derive(Default)]
struct Archive {
    keys: Vec<String>,
    tokens: i64,
    versions: Vec<u64>,
    /// Records by the day of the message.
    days: BTreeMap<String, u64>,
    /// Where the records stand that cannot be rows: file and position.
    refused: BTreeSet<(String, u64)>,
}

impl Archive {
    fn read() -> Self {
        let mut archive = Self::default();
        let paths = files(&repository("pipelines/quickstart"), ".ndjson.zst");
        for (number, path) in (1u64..).zip(paths) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let content = zstd::decode_all(File::open(&path).unwrap()).unwrap();
            let mut position = 0;
            for line in content.split_inclusive(|byte| *byte == b'\n') {
                let record: Value = serde_json::from_slice(line).unwrap_or_default();
                match image(&record) {
                    Some(image) => archive.add(&record, image, (number << 36) | position),
                    None => {
                        archive.refused.insert((name.to_owned(), position));
                    }
                }
                position += line.len() as u64;
            }
        }
        archive.keys.sort();
        archive
    }

    fn add(&mut self, record: &Value, image: &Value, version: u64) {
        let keys = &record["dynamodb"]["Keys"];
        let (user, time) = (&keys["user_id"]["S"], &keys["timestamp"]["S"]);
        self.keys.push(format!("{{\"user_id\":{user},\"timestamp\":{time}}}"));
        if let Some(tokens) = image["tokens_used"]["N"].as_str() {
            self.tokens += tokens.parse::<i64>().unwrap();
        }
        self.versions.push(version);
        *self.days.entry(time.as_str().unwrap()[..10].to_owned()).or_default() += 1;
    }

    /// What every reader is to find.
    fn expected(&self) -> Value {
        json!({
            "rows": self.keys.len(),
            "tokens": self.tokens,
            "versions": [self.versions.iter().min(), self.versions.iter().max()],
            "places": self.keys.len(),
            "keys": format!("{:x}", Sha256::digest(self.keys.join("\n"))),
            "days": self.days,
        })
    }
}

/// The image that the row of a record shows; `None` where the record is one of those that the
/// sample has made wrong: each of its twelve kinds fails here on its own ground.
fn image(record: &Value) -> Option<&Value> {
    let change = &record["dynamodb"];
    let image = match record["eventName"].as_str()? {
        "INSERT" | "MODIFY" => &change["NewImage"],
        "REMOVE" => &change["OldImage"],
        _ => return None,
    };
    change["Keys"]["user_id"]["S"].as_str()?;
    let is_of_the_time = change["Keys"]["timestamp"]["S"].as_str()?.starts_with("2024-");
    let is_number =
        |value: &Value| value["N"].as_str().is_some_and(|text| text.parse::<f64>().is_ok());
    let are_numbers = ["tokens_used", "confidence_score"]
        .into_iter()
        .all(|name| image.get(name).is_none_or(is_number));
    let is_flag = image.get("escalation_triggered").is_none_or(|flag| flag["BOOL"].is_boolean());
    (image.is_object() && is_of_the_time && are_numbers && is_flag).then_some(image)
}

/// A Python with both readers. Without one a machine that tests for others fails; any other says
/// that it did not look.
pub(crate) fn python() -> Option<String> {
    #[allow(clippy::disallowed_methods)]
    let (named, in_ci) = (std::env::var("ACEQUIA_PYTHON").ok(), std::env::var_os("CI").is_some());
    let python = named.unwrap_or_else(|| "python3".to_owned());
    let mut probe = Command::new(&python);
    probe.args(["-c", "import duckdb, pyarrow.dataset"]).stdin(Stdio::null());
    let found = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    let missing = format!(
        "DuckDB and pyarrow do not read the lake, since `{python}` lacks one of them: \
         `python3 -m venv target/python && target/python/bin/pip install duckdb pyarrow`, then \
         set ACEQUIA_PYTHON=target/python/bin/python"
    );
    assert!(!in_ci, "{missing}");
    // Unlike `eprintln!`, this is seen although the output of tests is captured.
    let _ = writeln!(io::stderr(), "NOT RUN: {missing}");
    None
}

/// What `readers` find in `lake`.
fn read(python: &str, lake: &Path, readers: &[&str]) -> Value {
    let mut command = Command::new(python);
    command.args(["-c", READ]).arg(lake).args(readers).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn duckdb_and_pyarrow_find_what_the_archive_says() {
    let Some(python) = python() else { return };
    let folder = quickstart();
    let lake = lake_of(&folder);
    let expected = Archive::read().expected();
    let mut found = read(&python, &lake, &["duckdb", "pyarrow"]);
    for (reader, place) in [("duckdb", 0), ("pyarrow", 1)] {
        let columns = found[reader].as_object_mut().unwrap().remove("columns").unwrap();
        for (name, duckdb, arrow) in COLUMNS {
            assert_eq!(columns[name], [duckdb, arrow][place], "{reader}: {name}");
        }
        assert_eq!(found[reader], expected, "{reader}");
    }

    // A file that is written, whole or in part, is not there yet.
    let file = files(&lake, ".parquet").remove(0);
    let content = fs::read(&file).unwrap();
    for (name, length) in [("whole", content.len()), ("half", content.len() / 2)] {
        let staged = file.with_file_name(format!("_{name}.parquet.staged"));
        fs::write(staged, &content[..length]).unwrap();
    }
    let found = read(&python, &lake, &["duckdb", "pyarrow"]);
    for reader in ["duckdb", "pyarrow"] {
        assert_eq!(found[reader]["rows"], expected["rows"], "{reader}");
    }
}

#[test]
fn dead_letters_are_what_the_sample_made_wrong() {
    let folder = quickstart();
    let archive = Archive::read();
    let letters = letters(&folder.path("target/dead-letters"));
    let place = |letter: &Value| {
        (letter["partition"].as_str().unwrap().to_owned(), letter["position"].as_u64().unwrap())
    };
    let found: BTreeSet<(String, u64)> = letters.iter().map(place).collect();
    assert_eq!((letters.len(), found), (archive.refused.len(), archive.refused.clone()));
    assert!(archive.refused.len() > 30, "the sample has lost its wrong records");
}

#[test]
fn folders_and_files_are_named_as_documented() {
    let folder = quickstart();
    let lake = lake_of(&folder);
    let mut days = BTreeSet::new();
    for path in files(&lake, "") {
        let below = path.strip_prefix(&lake).unwrap().to_str().unwrap();
        if below == "_acequia.json" {
            continue;
        }
        let parts: Vec<&str> = below.split('/').collect();
        let [year, month, day, name] = parts[..] else {
            panic!("{below} does not lie in the folder of a day");
        };
        let number = |part: &str, key: &str, digits: usize| {
            let number = part.strip_prefix(key).unwrap_or_else(|| panic!("{below}: no {key}"));
            assert!(
                number.len() == digits && number.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{below}"
            );
            number.to_owned()
        };
        let date = [number(year, "year=", 4), number(month, "month=", 2), number(day, "day=", 2)];
        days.insert(date.join("-"));
        let stem = name.strip_suffix(".parquet").unwrap_or_else(|| panic!("{below} is strange"));
        let parts: Vec<&str> = stem.split('-').collect();
        let form = [("p", 16), ("", 12), ("t", 6), ("e", 6), ("", 3), ("", 8)];
        assert_eq!(parts.len(), form.len(), "{below}");
        for (part, (key, digits)) in parts.into_iter().zip(form) {
            number(part, key, digits);
        }
    }
    let expected: BTreeSet<String> = Archive::read().days.into_keys().collect();
    assert_eq!(days, expected);
}
