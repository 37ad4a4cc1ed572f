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
    assert_eq!(made["aliases"], json!({ index.name.clone(): {}, write.as_str(): {} }));

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
