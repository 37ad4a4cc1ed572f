//! The real program and its embedded index, and `acequia search` on both engines.

#[cfg(feature = "opensearch")]
mod both;
mod delivery;
mod index;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::Folder;

/// The embedded index, as a sink.
const EMBEDDED: &str = "{ search: { path: index } }";

/// A pipeline from `*.ndjson` into a lake and the documents of `sink`; `tail` is more of the pipeline.
fn pipeline(folder: &Folder, sink: &str, tail: &str) {
    folder.pipeline(&format!(
        "sinks:\n  \
         lake: {{ parquet: {{ url: lake, partition: {{ by: month, time: timestamp }} }} }}\n  \
         documents: {sink}\n{tail}"
    ));
}

/// What `acequia search` finds, by id.
#[track_caller]
fn found(folder: &Folder, args: &[&str]) -> BTreeMap<String, Value> {
    let args = [&["search", "pipeline.yaml", "--json", "--limit", "10000"], args].concat();
    let answer = folder.run(&args).exits(0).json();
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!(answer["total"], hits.len(), "{answer}");
    let hit = |hit: &Value| (hit["id"].as_str().unwrap().to_owned(), hit["document"].clone());
    hits.iter().map(hit).collect()
}

/// The texts of all documents, by id.
#[track_caller]
fn texts(folder: &Folder) -> BTreeMap<String, String> {
    let text = |document: &Value| document["content"].as_str().unwrap().to_owned();
    found(folder, &[]).into_iter().map(|(id, document)| (id, text(&document))).collect()
}
