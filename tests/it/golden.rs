//! Golden pipelines: each folder of `tests/golden` has a pipeline, its input, and what comes out of
//! it: the rows of each lake in the order of the source, and the dead letters with their reasons.
//! `ACEQUIA_UPDATE=1 cargo test --test it golden` writes what comes out now; read the difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use crate::program::{Folder, PROGRAM, letters};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Run the program on the golden pipeline in `folder`; its standard output.
fn run(folder: &Folder, arguments: &[&str]) -> String {
    let mut command = folder.command(PROGRAM, arguments);
    command.env("CONTRACTS", Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Everything that comes out of a golden pipeline, as text.
fn outcome(name: &str) -> String {
    let folder = Folder::new();
    for entry in fs::read_dir(golden().join(name)).unwrap() {
        let path = entry.unwrap().path();
        folder.write(path.file_name().unwrap().to_str().unwrap(), fs::read(&path).unwrap());
    }
    run(&folder, &["run", "pipeline.yaml"]);
    let mut text = String::new();
    let tables = run(&folder, &["query", "pipeline.yaml"]);
    let tables = tables.lines().filter_map(|line| line.split_once(": the log of changes"));
    for (table, _) in tables {
        let sql = format!("SELECT * FROM {table} ORDER BY _partition, _position");
        text.push_str(&format!("{table}\n"));
        let rows = run(&folder, &["query", "pipeline.yaml", &sql, "--json"]);
        for row in rows.lines() {
            // As they are written: a float would round what has 38 digits.
            let row: BTreeMap<&str, &RawValue> = serde_json::from_str(row).unwrap();
            // What is not there says nothing, and makes the lines long.
            let there = row.iter().filter(|(_, value)| value.get() != "null");
            let there: Vec<_> = there.map(|(name, value)| format!("{name}: {value}")).collect();
            text.push_str(&format!("  {}\n", there.join(", ")));
        }
    }
    let mut letters = letters(&folder.path("dead-letters"));
    letters.sort_by_key(|letter| letter["position"].as_u64());
    text.push_str("dead letters\n");
    for letter in letters {
        let (stage, reason) = (letter["stage"].as_str(), letter["reason"].as_str());
        text.push_str(&format!("  {}: {}\n", stage.unwrap(), reason.unwrap()));
    }
    text
}

#[track_caller]
fn check(name: &str) {
    let found = outcome(name);
    let path = golden().join(name).join("expected.txt");
    #[allow(clippy::disallowed_methods)]
    if std::env::var("ACEQUIA_UPDATE").is_ok_and(|update| update == "1") {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name}\nfound\n{found}\nexpected\n{expected}");
}

#[test]
fn filters() {
    check("filters");
}

#[test]
fn extra() {
    check("extra");
}

#[test]
fn two_lakes() {
    check("two-lakes");
}

#[test]
fn profiles() {
    check("profiles");
}

#[test]
fn every_golden_folder_has_a_test() {
    let mut names: Vec<_> = fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["extra", "filters", "profiles", "two-lakes"]);
}
