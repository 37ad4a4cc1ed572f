//! What becomes of changes.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ::opensearch::http::Method;
use acequia::testing::fault_proxy::FaultProxy;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Index, pipeline};
use crate::changes::{change, changes, id, ups_and_downs};
use crate::program::{Folder, column, rows};
use crate::services::Service as _;
use crate::services::opensearch::OpenSearch;
use crate::services::{self, http};

#[test]
fn an_index_holds_the_last_version_of_each_key() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::delivery") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "last"));
    pipeline(&folder, &index, ", system: [event_time], compress: true", "");
    folder.write("a.ndjson", ups_and_downs());
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let found = index.documents();
    let texts: Vec<(String, &str)> =
        found.iter().map(|(id, (_, it))| (id.clone(), it["content"].as_str().unwrap())).collect();
    let mut expected: Vec<(String, &str)> = (100..200).map(|it| (id(it), "segundo")).collect();
    expected.extend((200..300).map(|it| (id(it), "primero")));
    expected.push((id(0), "de nuevo"));
    expected.sort();
    assert!(texts == expected, "{} documents: {:?}", texts.len(), texts.first());
    let (_, one) = &found[&id(150)];
    assert_eq!(one["metadata"], json!({ "language": "es" }));
    assert_eq!(one["timestamp"], json!("2024-01-11T10:30:00Z"));
    assert!(one["event_time"].is_string() && one.get("_version").is_none(), "{one}");
    assert_eq!(column(&rows(&folder.path("lake")), "_op").len(), 602, "the lake is a log");
}

/// The index holds what [`changes`] leave.
#[track_caller]
fn holds_what_is_left(index: &Index, count: usize) {
    let found = index.documents();
    let left = (0..count).filter(|number| number % 7 != 0);
    let wrong = left.clone().find(|number| match found.get(&id(*number)) {
        Some((_, document)) => document["content"] != "dos",
        None => true,
    });
    assert_eq!((wrong, found.len()), (None, left.count()));
}

/// Wait until the index has some documents.
fn until_begun(index: &Index) {
    let late = Instant::now() + Duration::from_secs(60);
    while index.count() < 100 {
        assert!(Instant::now() < late, "nothing comes");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_node_that_is_killed_in_mid_load_loses_nothing() {
    let Some(mut node) = OpenSearch::start_or_skip("opensearch::delivery") else { return };
    let (folder, index) = (Folder::new(), Index::at(node.url(), "killed"));
    pipeline(&folder, &index, ", bulk_size: 64KiB", "");
    folder.write("a.ndjson", changes(9_000));
    let mut reads = folder.start(&["run", "pipeline.yaml"]);
    until_begun(&index);
    node.server.kill();
    reads.until_it_says("the index does not take everything, trying again", 1);
    node.server.restart();
    reads.end().exits(0);
    holds_what_is_left(&index, 9_000);
    let letters = folder.run(&["dead-letters", "list", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(letters.stdout, "", "an outage is no reason to refuse anything");
}

#[test]
fn a_request_that_is_never_answered_is_sent_again() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::delivery") else { return };
    let upstream = SocketAddr::from(([127, 0, 0, 1], node.port()));
    let proxy = FaultProxy::start(upstream, 0, 0).unwrap();
    let (folder, index) = (Folder::new(), Index::new(node, "unanswered"));
    pipeline(&folder, &Index::at(proxy.endpoint(), &index.name), "", "");
    folder.write("a.ndjson", changes(300));
    let _never = proxy.hold(&["_bulk"]);
    let began = Instant::now();
    let says = format!("trying again: no answer of {} in 30s", proxy.endpoint());
    folder.run(&["run", "pipeline.yaml"]).exits(0).says(&says);
    let took = began.elapsed();
    // Waited for once, to the end; or twice, where the library loses a request too.
    assert!((Duration::from_secs(30)..Duration::from_secs(90)).contains(&took), "{took:?}");
    holds_what_is_left(&index, 300);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_stale() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::delivery") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "again"));
    pipeline(&folder, &index, ", bulk_size: 64KiB", "commit: { size: 400KiB, min_size: 1KiB }\n");
    folder.write("a.ndjson", changes(6_000));
    for round in 0..4 {
        let reads = folder.start(&["run", "pipeline.yaml"]);
        std::thread::park_timeout(Duration::from_millis(500 + 150 * round));
        reads.signal(Signal::KILL);
        reads.end();
    }
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    holds_what_is_left(&index, 6_000);
}

#[test]
fn a_blocked_index_is_waited_for_and_shown() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::delivery") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "blocked"));
    let port = services::server::free_port();
    let metrics = format!("metrics: {{ listen: \"127.0.0.1:{port}\" }}\n");
    pipeline(&folder, &index, "", &metrics);
    folder.write("a.ndjson", change(1, "insert", "uno"));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let settings = format!("/{}/_settings", index.behind());
    for block in ["index.blocks.write", "index.blocks.read_only_allow_delete"] {
        index.ask(Method::Put, &settings, Some(json!({ block: true })));
        folder.write(&format!("{block}.ndjson"), change(2, "upsert", block));
        let mut reads = folder.start(&["run", "pipeline.yaml"]);
        reads.until_it_says("the index does not take everything, trying again", 1);
        let late = Instant::now() + Duration::from_secs(60);
        loop {
            let (status, said) = http::get(port, "/readyz").unwrap_or_default();
            if status == 503 && said.contains("waits for a sink") {
                break;
            }
            assert!(Instant::now() < late, "{status}: {said}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        index.ask(Method::Put, &settings, Some(json!({ block: Value::Null })));
        reads.end().exits(0).says("cluster_block_exception");
        assert_eq!(index.documents()[&id(2)].1["content"], block);
    }
}

/// Clusters make an index that something is written to, if they are let: one without its mappings, its
/// alias and its memory of deletes.
#[test]
fn an_index_that_is_deleted_in_mid_load_is_not_made_anew() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::delivery") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "deleted"));
    pipeline(&folder, &index, ", bulk_size: 64KiB", "");
    folder.write("a.ndjson", changes(9_000));
    let mut reads = folder.start(&["run", "pipeline.yaml"]);
    until_begun(&index);
    index.ask(Method::Delete, &format!("/{}", index.behind()), None);
    reads.until_it_says("the index does not take everything, trying again", 1);
    reads.until_it_says("index_not_found_exception", 1);
    std::thread::park_timeout(Duration::from_secs(1));
    for name in [index.behind(), format!("{}-write", index.behind()), index.name.clone()] {
        assert_eq!(index.ask(Method::Get, &format!("/{name}"), None).0, 404, "{name}");
    }
    reads.signal(Signal::KILL);
    reads.end();
    folder.run(&["run", "pipeline.yaml"]).exits(3).says("of this pipeline is gone from");
}
