//! The index itself: made, compared, searched.

use ::opensearch::http::Method;
use serde_json::{Value, json};

use super::{Index, pipeline};
use crate::changes::{change, id};
use crate::program::Folder;
use crate::services;

#[test]
fn a_word_without_its_accent_finds_the_accented_one() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "accents"));
    pipeline(&folder, &index, "", "");
    let texts = ["La habitación del niño", "Pasó por aquí", "canciones", "otra cosa"];
    let lines: String =
        texts.iter().enumerate().map(|(number, text)| change(number, "insert", text)).collect();
    folder.write("a.ndjson", lines);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(index.documents().len(), 4);
    for (word, number) in [("habitacion", 0), ("nino", 0), ("NIÑO", 0), ("paso", 1), ("canción", 2)]
    {
        let found = index.search(json!({ "match": { "content": word } }));
        assert_eq!(found, [id(number)], "{word}");
    }
    assert_eq!(index.search(json!({ "term": { "metadata.language": "es" } })).len(), 4);
    assert_eq!(index.search(json!({ "term": { "content.keyword": "canciones" } })), [id(2)]);
}

#[test]
fn an_index_that_is_not_this_pipeline_s_is_left_alone() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "foreign"));
    pipeline(&folder, &index, "", "");
    folder.write("a.ndjson", change(1, "insert", "uno"));
    let path = format!("/{}", index.behind());
    let (url, name) = (&index.url, index.behind());
    index.ask(Method::Put, &path, Some(json!({ "settings": { "number_of_replicas": 0 } })));
    folder.run(&["run", "pipeline.yaml"]).exits(3).says(&format!(
        "sink search: the index {name} of {url} was not made by Acequia: name another by `index`, or remove it"
    ));
    index.ask(Method::Delete, &path, None);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let (_, made) = index.ask(Method::Get, &path, None);
    let made = &made[&name];
    assert_eq!(made["settings"]["index"]["gc_deletes"], "1h");
    assert_eq!(made["mappings"]["_meta"]["acequia"]["pipeline"], "messages");
    let write = format!("{name}-write");
    let shown =
        json!({ "filter": { "bool": { "must_not": { "term": { "acequia_deleted": true } } } } });
    assert_eq!(made["aliases"], json!({ index.name.clone(): shown, write.as_str(): {} }));

    // Another pipeline, another store, other fields.
    let other = Folder::new();
    pipeline(&other, &index, "", "name: others\n");
    other.write("a.ndjson", change(1, "insert", "uno"));
    other.run(&["run", "pipeline.yaml"]).exits(3).says(&format!(
        "the index {name} of {url} belongs to pipeline `messages`, this is pipeline `others`"
    ));
    let other = Folder::new();
    pipeline(&other, &index, "", "");
    other.write("a.ndjson", change(1, "insert", "uno"));
    other
        .run(&["run", "pipeline.yaml"])
        .exits(3)
        .says("was written under another checkpoint store");
    index.ask(Method::Delete, &format!("{path}/_alias/{write}"), None);
    pipeline(&folder, &index, "", "");
    folder
        .run(&["run", "pipeline.yaml"])
        .exits(3)
        .says(&format!("the alias {write} of {url} does not lead to the index {name} any more"));
    index.ask(Method::Put, &format!("{path}/_alias/{write}"), None);
    pipeline(&folder, &index, ", mapping: { role: { type: text } }", "");
    folder.run(&["run", "pipeline.yaml"]).exits(2).says(&format!(
        "the fields of the index {name} of {url} are not those that this pipeline wants: `role` is keyword, not text;"
    ));
    pipeline(&folder, &index, "", "");
    index.ask(Method::Delete, &path, None);
    folder.write("b.ndjson", change(2, "insert", "dos"));
    folder.run(&["run", "pipeline.yaml"]).exits(3).says(&format!(
        "the index {name} of this pipeline is gone from {url}, and with it every document"
    ));
    assert_eq!(index.ask(Method::Get, &path, None).0, 404, "it is not made again");
}

#[test]
fn what_the_index_refuses_is_a_dead_letter_with_its_reason() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "refused"));
    pipeline(&folder, &index, ", mapping: { content: { type: integer } }", "");
    let lines: String = ["12", "no number", "34"]
        .iter()
        .enumerate()
        .map(|(number, text)| change(number, "insert", text))
        .collect();
    folder.write("a.ndjson", lines);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let found = index.documents();
    assert_eq!(found.keys().collect::<Vec<_>>(), [&id(0), &id(2)]);
    let said = folder.run(&["dead-letters", "list", "pipeline.yaml", "--json"]).exits(0).stdout;
    let letters: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = Value::from(letters).to_string();
    assert!(shown.contains("sink:search") && shown.contains("mapper_parsing_exception"), "{shown}");
    assert!(shown.contains("no number"), "{shown}");
}

/// The head of the only request that a run makes before it is told that it may do nothing. Nobody checks
/// a login here: a listener looks at what comes.
#[track_caller]
fn head_of_a_request(login: &str) -> String {
    use std::io::{BufRead as _, BufReader, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let head = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let lines = BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok);
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let body = r#"{"message":"no permission"}"#;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        client.write_all(answer.as_bytes()).unwrap();
        head.join("\n")
    });
    let folder = Folder::new();
    folder.pipeline(&format!(
        "sinks: {{ search: {{ opensearch: {{ url: \"{url}\", index: i, login: {login} }} }} }}\n"
    ));
    folder.write("a.ndjson", change(1, "insert", "uno"));
    let mut command = folder.command(crate::program::PROGRAM, &["run", "pipeline.yaml"]);
    command.envs(services::moto::ENVIRONMENT);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("does not let this user look at the index i-1"), "{said}");
    assert!(!said.contains("hush"), "{said}");
    assert_eq!(output.status.code(), Some(2), "{said}");
    head.join().unwrap()
}

#[test]
fn a_login_is_sent_as_it_is_asked_for() {
    let head = head_of_a_request("{ basic: { username: ana, password: hush } }");
    // `ana:hush` in base64.
    assert!(head.to_lowercase().contains("authorization: basic"), "{head}");
    assert!(head.contains("YW5hOmh1c2g="), "{head}");
}

#[cfg(feature = "aws")]
#[test]
fn requests_are_signed_for_the_service() {
    let head = head_of_a_request("{ sigv4: { service: es } }").to_lowercase();
    assert!(head.contains("authorization: aws4-hmac-sha256 credential=test/"), "{head}");
    assert!(head.contains("/us-east-1/es/aws4_request"), "{head}");
}

/// A data stream takes no versions.
#[test]
fn a_data_stream_of_the_same_name_ends_the_run() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "stream"));
    let template = json!({ "index_patterns": [index.name], "data_stream": {} });
    index.ask(Method::Put, &format!("/_index_template/{}", index.name), Some(template));
    let (status, said) = index.ask(Method::Put, &format!("/_data_stream/{}", index.name), None);
    assert_eq!(status, 200, "{said}");
    pipeline(&folder, &index, "", "");
    folder.write("a.ndjson", change(1, "insert", "uno"));
    folder
        .run(&["run", "pipeline.yaml"])
        .exits(2)
        .says(&format!("cannot make the index {}", index.behind()));
}

/// Serverless keeps less than a cluster does.
#[cfg(feature = "aws")]
#[test]
fn serverless_is_warned_of() {
    let folder = Folder::new();
    folder.pipeline(
        "sinks: { search: { opensearch: { url: \"https://x.aoss.amazonaws.com\", index: i, login: { sigv4: { service: aoss } } } } }\n",
    );
    folder
        .run(&["validate", "pipeline.yaml"])
        .exits(0)
        .says("a SEARCH collection, with `acequia tombstones keep`");
}

#[test]
fn a_cluster_that_does_not_answer_is_said_at_the_start() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, mut index) = (Folder::new(), Index::new(node, "nobody"));
    index.url = "http://127.0.0.1:1".to_owned();
    pipeline(&folder, &index, "", "");
    folder.write("a.ndjson", change(1, "insert", "uno"));
    let ended = folder.run(&["run", "pipeline.yaml"]).exits(2);
    let said = "sink search: no answer of http://127.0.0.1:1: Connection refused";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("; check `url`, the network, and the cluster"),
        "{}",
        ended.stderr
    );
}

#[test]
fn an_index_for_each_month_and_shards_by_user() {
    let Some(node) = services::opensearch::shared_or_skip("opensearch::index") else { return };
    let (folder, index) = (Folder::new(), Index::new(node, "split"));
    let settings = ", shards: 3, routing: user_id, split: { by: month, time: timestamp }";
    pipeline(&folder, &index, settings, "");
    // Nothing comes, so that there is no index yet; that is no loss at the next start.
    folder.write("0.ndjson", "");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let at = |number: usize, op: &str, text: &str, month: &str| {
        change(number, op, text).replace("2024-01", month)
    };
    let january: String = (0..40).map(|number| at(number, "insert", "uno", "2024-01")).collect();
    let march: String = (0..40).map(|number| at(number, "insert", "dos", "2024-03")).collect();
    folder.write("a.ndjson", january + &march);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let of = |period: &str| format!("{}-{period}", index.behind());
    let count = |period: &str| {
        index.ask(Method::Post, &format!("/{}/_refresh", of(period)), None);
        let (_, said) = index.ask(Method::Get, &format!("/{}/_count", of(period)), None);
        said["count"].as_u64()
    };
    assert_eq!((count("2024-01"), count("2024-02"), count("2024-03")), (Some(40), None, Some(40)));
    let (_, one) = index.ask(Method::Get, &format!("/{}/_search?size=1", of("2024-03")), None);
    let hit = &one["hits"]["hits"][0];
    assert_eq!(hit["_routing"], hit["_source"]["user_id"]);

    // Changes find their documents again, in another run too, and a new month has an index.
    let more = at(3, "update", "tres", "2024-01")
        + &at(4, "delete", "", "2024-03")
        + &at(5, "insert", "cinco", "2024-04");
    folder.write("b.ndjson", more);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(
        (count("2024-01"), count("2024-03"), count("2024-04")),
        (Some(40), Some(39), Some(1))
    );
    let found = index.search(json!({ "match": { "content": "tres" } }));
    assert_eq!(found, [id(3)]);
    assert_eq!(index.search(json!({ "match_all": {} })).len(), 80, "one alias shows all");
    let args = ["search", "pipeline.yaml", "cinco", "--json"];
    assert_eq!(folder.run(&args).exits(0).json()["total"], 1);

    // An old index may be dropped; one that is somebody else's is found at the start.
    index.ask(Method::Delete, &format!("/{}", of("2024-01")), None);
    let foreign = of("2024-05");
    index.ask(Method::Put, &format!("/{foreign}"), Some(json!({})));
    folder.write("c.ndjson", at(6, "insert", "seis", "2024-04"));
    folder.run(&["run", "pipeline.yaml"]).exits(3).says(&format!("the index {foreign} of"));
    index.ask(Method::Delete, &format!("/{foreign}"), None);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!((count("2024-01"), count("2024-04")), (None, Some(2)));

    // One that is dropped under a run is made anew where something of it comes late.
    let many: String = (0..30_000).map(|it| at(it, "upsert", "x", "2024-06")).collect();
    folder.write("d.ndjson", many);
    let reads = folder.start(&["run", "pipeline.yaml"]);
    let late = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        while !is_so() {
            assert!(std::time::Instant::now() < late, "{what}");
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    };
    until("nothing comes", &|| count("2024-06").is_some_and(|count| count > 100));
    index.ask(Method::Delete, &format!("/{}", of("2024-06")), None);
    until("the index is not made anew", &|| count("2024-06").is_some_and(|count| count > 100));
    reads.end().exits(0);
}

/// A node that restarts forgets which versions were deleted; a tombstone remembers.
#[test]
fn tombstones_outlive_a_restart_until_they_are_purged() {
    use crate::services::Service as _;
    let Some(mut node) = services::opensearch::OpenSearch::start_or_skip("opensearch::index")
    else {
        return;
    };
    let (folder, index) = (Folder::new(), Index::at(node.url(), "tombstones"));
    pipeline(&folder, &index, "", "");
    let all: String = (0..30).map(|number| change(number, "insert", "uno")).collect();
    folder.write("a.ndjson", all);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    folder.run(&["tombstones", "keep", "pipeline.yaml"]).exits(0).prints("--yes does it");
    folder.run(&["tombstones", "keep", "pipeline.yaml", "--yes"]).exits(0);
    let deletes: String = (0..20).map(|number| change(number, "delete", "")).collect();
    folder.write("b.ndjson", deletes);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(index.documents().len(), 10, "readers see none of them");
    let show = || folder.run(&["tombstones", "show", "pipeline.yaml", "--json"]).exits(0).json();
    assert_eq!(show(), json!({ "kept": true, "tombstones": { "search": 20 } }));

    node.server.kill();
    node.server.restart();
    let late = |number: usize| {
        let id = id(number).replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let path = format!("/{}/_doc/{id}?version=1&version_type=external", index.behind());
        index.ask(Method::Put, &path, Some(json!({ "content": "tarde" }))).0
    };
    assert_eq!(late(3), 409, "an old change does not bring it back");

    folder.run(&["tombstones", "purge", "pipeline.yaml", "--yes"]).exits(2).says("forget` first");
    folder.run(&["tombstones", "forget", "pipeline.yaml", "--yes"]).exits(0);
    folder.run(&["tombstones", "purge", "pipeline.yaml"]).exits(0).prints("20 tombstones would go");
    folder
        .run(&["tombstones", "purge", "pipeline.yaml", "--yes"])
        .exits(0)
        .prints("20 tombstones are gone");
    assert_eq!(index.documents().len(), 10);
    assert_eq!(show(), json!({ "kept": false, "tombstones": { "search": 0 } }));
    folder.write("c.ndjson", change(25, "delete", "") + &change(3, "insert", "de nuevo"));
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(index.documents().len(), 10);
    assert_eq!(show()["tombstones"]["search"], 0);
}
