//! Both engines find the same.

use std::collections::BTreeMap;

use ::opensearch::OpenSearch as Node;
use ::opensearch::http::Method;
use ::opensearch::http::headers::HeaderMap;
use ::opensearch::http::transport::Transport;
use acequia::sinks::documents::Analyzer;
use acequia::sinks::search::analysis::words;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::found;
use crate::changes::{change, change_of, id};
use crate::kafka::broker::unique;
use crate::program::Folder;
use crate::services;

struct Cluster {
    url: String,
    node: Node,
    runtime: Runtime,
}

impl Cluster {
    fn new(url: String) -> Self {
        let node = Node::new(Transport::single_node(&url).unwrap());
        Self { url, node, runtime: Runtime::new().unwrap() }
    }

    fn ask(&self, path: &str, body: Value) -> Value {
        self.runtime.block_on(async {
            let (none, headers, body) = (None::<&str>, HeaderMap::new(), Some(body.to_string()));
            let sent = self.node.send(Method::Post, path, headers, none, body, None);
            sent.await.unwrap().json().await.unwrap()
        })
    }
}

/// A pipeline into both engines; `tail` is more of it.
fn pipeline(folder: &Folder, cluster: &Cluster, index: &str, settings: &str, tail: &str) {
    folder.pipeline(&format!(
        "sinks:\n  \
         lake: {{ parquet: {{ url: lake, partition: {{ by: month, time: timestamp }} }} }}\n  \
         cluster: {{ opensearch: {{ url: \"{}\", index: {index}, replicas: 0{settings} }} }}\n  \
         folder: {{ search: {{ path: index{settings} }} }}\n{tail}",
        cluster.url
    ));
}

/// Run the pipeline, and let the cluster show what it has.
#[track_caller]
fn run(folder: &Folder, cluster: &Cluster, index: &str) {
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    cluster.ask(&format!("/{index}/_refresh"), json!({}));
}

const ENGINES: [&str; 2] = ["cluster", "folder"];

#[test]
fn searches_and_reports_are_the_same() {
    let Some(node) = services::opensearch::shared_or_skip("search::both") else { return };
    let cluster = Cluster::new(node.url());
    let (folder, index) = (Folder::new(), unique("both"));
    folder.run(&["sample", "--out", "events"]).exits(0);
    let sql = "transforms:\n  - sql: SELECT *, metadata.intent AS intent, metadata.sentiment AS sentiment, \
               CASE metadata.sentiment WHEN 'positive' THEN 1.0 WHEN 'negative' THEN -1.0 ELSE 0.0 END AS sentiment_score \
               FROM changes\n\
               source: { archive: { path: \"events/*.zst\", format: dynamodb } }\n";
    pipeline(&folder, &cluster, &index, "", sql);
    run(&folder, &cluster, &index);
    let ask = |sink: &str, args: &[&str]| {
        let args = [&["search", "pipeline.yaml", "--json", "--sink", sink], args].concat();
        folder.run(&args).exits(0).json()
    };
    let mut total = 0;
    for args in [
        &["pedido"][..],
        &["envio tarde"],
        &["factura OR reembolso"],
        &["\"cambiar la dirección\" -cancelar"],
        &["habitacion"],
        &["gracias", "--where", "role=user"],
        &["--where", "intent=cancellation", "--where", "timestamp>=2024-01-10"],
        &["--where", "escalation_triggered=true"],
        &["--where", "sentiment_score<0", "--where", "role!=assistant"],
        &["--where", "tokens_used>=100", "pedido"],
    ] {
        let mut seen = Vec::new();
        for sink in ENGINES {
            let args = [args, &["--limit", "10000", "--sort", "timestamp"]].concat();
            let answer = ask(sink, &args);
            let hit = |hit: &Value| (hit["id"].to_string(), hit["document"].clone());
            let hits: BTreeMap<String, Value> =
                answer["hits"].as_array().unwrap().iter().map(hit).collect();
            seen.push((answer["total"].as_u64().unwrap(), hits));
        }
        assert!(seen[0] == seen[1], "{args:?}: {} and {}", seen[0].0, seen[1].0);
        total += seen[0].0;
    }
    assert!(total > 1_000, "the searches find {total} documents in all: too few to tell");
    let user = ask("folder", &["--limit", "1"])["hits"][0]["document"]["user_id"].clone();
    let user = format!("user_id={}", user.as_str().unwrap());
    for args in [
        &["daily-volume"][..],
        &["daily-volume", "--where", "role=user"],
        &["sentiment-distribution"],
        &["top-intents", "pedido"],
        &["user-topics", "--where", &user],
        &["hourly-activity"],
        &["sentiment-trend"],
    ] {
        // A date that the folder cannot hold is kept there and not found by.
        let args = [&["--where", "timestamp<2100-01-01", "--report"], args].concat();
        let [one, other] = ENGINES.map(|sink| ask(sink, &args));
        let rows = |report: &Value| report.as_array().unwrap().clone();
        let wrong: Vec<(Value, Value)> =
            rows(&one).into_iter().zip(rows(&other)).filter(|(one, other)| one != other).collect();
        assert_eq!(wrong, [], "{args:?}");
        assert_eq!(rows(&one).len(), rows(&other).len(), "{args:?}");
        assert!(one.as_array().unwrap().len() > 1, "{args:?}: {one}");
    }
    // The best hits first, by the same measure where no two are the same.
    let best = ENGINES.map(|sink| {
        let answer = ask(sink, &["pedido", "--limit", "1"]);
        let score = answer["hits"][0]["score"].as_f64().unwrap();
        assert!(score > 0.0);
        answer["hits"][0]["highlights"]["content"].as_str().unwrap().contains("<em>")
    });
    assert_eq!(best, [true, true]);
}

/// Words of customers' messages, and what is hard to cut.
const TEXTS: &str = include_str!("words.txt");

#[test]
fn words_are_cut_and_shortened_alike() {
    let Some(node) = services::opensearch::shared_or_skip("search::both") else { return };
    let cluster = Cluster::new(node.url());
    let (folder, index) = (Folder::new(), unique("words"));
    let mapping = ", mapping: { role: { type: text, analyzer: english }, session_id: { type: text, analyzer: standard } }";
    pipeline(&folder, &cluster, &index, mapping, "");
    folder.write("a.ndjson", change(1, "insert", "uno"));
    run(&folder, &cluster, &index);
    let mut wrong = Vec::new();
    for (field, analyzer) in [
        ("content", Analyzer::Spanish),
        ("role", Analyzer::English),
        ("session_id", Analyzer::Standard),
    ] {
        for text in TEXTS.lines() {
            let said =
                cluster.ask(&format!("/{index}/_analyze"), json!({ "field": field, "text": text }));
            let tokens = said["tokens"].as_array().unwrap().iter();
            let theirs: Vec<&str> = tokens.map(|token| token["token"].as_str().unwrap()).collect();
            let ours = words(analyzer, text);
            if ours != theirs {
                wrong.push(format!("{analyzer:?} {text}: {ours:?}, the cluster says {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every case of a filter and of an expire, one after the other, on both engines.
#[test]
fn filters_and_expires_leave_what_they_should() {
    let Some(node) = services::opensearch::shared_or_skip("search::both") else { return };
    let cluster = Cluster::new(node.url());
    for on_expire in ["keep", "delete"] {
        let (folder, index) = (Folder::new(), unique("filters"));
        let settings = format!(", on_expire: {on_expire}");
        let filter = "transforms:\n  - sql: SELECT * FROM changes WHERE role <> 'system'\n";
        pipeline(&folder, &cluster, &index, &settings, filter);
        let (out, within) = ("system", "user");
        // Message 0 leaves the filter, 1 leaves it and comes back, 2 is deleted after it has left,
        // 3 never was in and is deleted, 4 was not in and comes, 5 expires, 6 expires after it has
        // left, 7 is deleted, 8 expires and comes back, 9 is left alone.
        let steps: [&[String]; 4] = [
            &[0, 1, 2, 5, 6, 7, 8, 9].map(|number| change_of(number, "insert", "a", within)),
            &[
                change_of(3, "insert", "b", out),
                change_of(4, "insert", "b", out),
                change_of(0, "update", "b", out),
                change_of(1, "update", "b", out),
                change_of(2, "update", "b", out),
                change_of(6, "update", "b", out),
                change(5, "expire", "a"),
                change(8, "expire", "a"),
                change(7, "delete", "a"),
            ],
            &[
                change_of(1, "update", "c", within),
                change_of(2, "delete", "b", out),
                change_of(4, "update", "c", within),
                change_of(6, "expire", "b", out),
                change_of(8, "insert", "c", within),
            ],
            &[change_of(3, "delete", "b", out)],
        ];
        let wanted: [&[(usize, &str)]; 4] = [
            &[(0, "a"), (1, "a"), (2, "a"), (5, "a"), (6, "a"), (7, "a"), (8, "a"), (9, "a")],
            &[(5, "a"), (8, "a"), (9, "a")],
            &[(1, "c"), (4, "c"), (5, "a"), (8, "c"), (9, "a")],
            &[(1, "c"), (4, "c"), (5, "a"), (8, "c"), (9, "a")],
        ];
        for (at, (lines, wanted)) in steps.into_iter().zip(wanted).enumerate() {
            folder.write(&format!("{at}.ndjson"), lines.concat());
            run(&folder, &cluster, &index);
            let has_gone = |number: usize| {
                on_expire == "delete" && ((number == 5 && at > 0) || (number == 8 && at == 1))
            };
            let wanted: Vec<(String, &str)> = wanted
                .iter()
                .filter(|(number, _)| !has_gone(*number))
                .map(|(number, text)| (id(*number), *text))
                .collect();
            for sink in ENGINES {
                let found = found(&folder, &["--sink", sink]);
                let found: Vec<(String, &str)> = found
                    .iter()
                    .map(|(id, document)| (id.clone(), document["content"].as_str().unwrap()))
                    .collect();
                assert_eq!(found, wanted, "{sink}, step {at}, on_expire: {on_expire}");
            }
        }
    }
}
