//! Searches of the embedded index.

use serde_json::json;

use super::{EMBEDDED, found, pipeline};
use crate::changes::{change, change_of, id};
use crate::program::Folder;

/// Some messages, one of each.
fn messages(folder: &Folder) {
    let texts = [
        "La habitación del niño no tiene luz",
        "Pasó por aquí el repartidor, no llegó a mi casa",
        "canciones y más canciones",
        "El repartidor llegó tarde. ¡Qué pésimo servicio!",
    ];
    let lines = texts.iter().enumerate().map(|(number, text)| change(number, "insert", text));
    let answer = change_of(4, "insert", "Lamento lo del repartidor", "assistant");
    folder.write("a.ndjson", lines.chain([answer]).collect::<String>());
}

#[test]
fn words_find_documents_as_people_type_them() {
    let folder = Folder::new();
    pipeline(&folder, EMBEDDED, "");
    messages(&folder);
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    for (args, numbers) in [
        (&["habitacion"][..], &[0][..]),
        (&["NIÑO"], &[0]),
        (&["nino"], &[0]),
        (&["cancion"], &[2]),
        (&["repartidor llego"], &[1, 3]),
        (&["repartidor -tarde"], &[1, 4]),
        (&["\"repartidor llegó\""], &[3]),
        (&["\"llegó repartidor\""], &[]),
        (&["\"llegó a mi casa\""], &[1]),
        (&["canción OR luz"], &[0, 2]),
        (&["el de la"], &[0, 1, 2, 3, 4]),
        (&["repartidor", "--where", "role=user"], &[1, 3]),
        (&["repartidor", "--where", "role!=user"], &[4]),
        (&["--where", "timestamp>=2024-01-03", "--where", "timestamp<2024-01-05"], &[2, 3]),
        (&["--where", "timestamp=2024-01-03T10:30:00Z"], &[2]),
        (&["--field", "content.keyword", "canciones"], &[]),
        (&["--where", "content.keyword=canciones y más canciones"], &[2]),
        (&["--where", "metadata.language=en"], &[]),
    ] {
        let ids: Vec<String> = found(&folder, args).into_keys().collect();
        let expected: Vec<String> = numbers.iter().map(|number| id(*number)).collect();
        assert_eq!(ids, expected, "{args:?}");
    }
    let shown = folder.run(&["search", "pipeline.yaml", "repartidor llego"]).exits(0).stdout;
    insta::assert_snapshot!(shown, @r#"
    2 documents

    {"user_id":"user-1","timestamp":"2024-01-02T10:30:00.000Z"}
      content: Pasó por aquí el repartidor, no llegó a mi casa

    {"user_id":"user-3","timestamp":"2024-01-04T10:30:00.000Z"}
      content: El repartidor llegó tarde. ¡Qué pésimo servicio
    "#);
    let args =
        ["search", "pipeline.yaml", "--sort", "timestamp:desc", "--limit", "2", "--offset", "1"];
    let shown = folder.run(&args).exits(0).stdout;
    insta::assert_snapshot!(shown, @r#"
    5 documents, 2 to 3 shown

    {"user_id":"user-3","timestamp":"2024-01-04T10:30:00.000Z"}
      content: El repartidor llegó tarde. ¡Qué pésimo servicio!

    {"user_id":"user-2","timestamp":"2024-01-03T10:30:00.000Z"}
      content: canciones y más canciones
    "#);
    let args = ["search", "pipeline.yaml", "--report", "daily-volume", "--where", "role=user"];
    let shown = folder.run(&args).exits(0).stdout;
    insta::assert_snapshot!(shown, @r"
    day         documents
    2024-01-01          1
    2024-01-02          1
    2024-01-03          1
    2024-01-04          1
    ");
    let args =
        ["search", "pipeline.yaml", "llego", "--json", "--limit", "1", "--sort", "timestamp"];
    let answer = folder.run(&args).exits(0).json();
    assert_eq!(answer["total"], 2);
    assert_eq!(
        answer["hits"][0]["highlights"]["content"],
        "Pasó por aquí el repartidor, no <em>llegó</em> a mi casa"
    );
}

#[test]
fn what_cannot_be_asked_is_said() {
    let folder = Folder::new();
    pipeline(&folder, EMBEDDED, "");
    messages(&folder);
    folder.run(&["search", "pipeline.yaml", "uno"]).exits(2).says("`acequia run` makes it");
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    for (args, says) in [
        (&["--where", "rol=user"][..], "the index has no field `rol` (did you mean `role`?)"),
        (&["--where", "tokens_used=many"], "`many` is no value of `tokens_used`: a whole number"),
        (&["--where", "role"], "`role` is no condition"),
        (&["--field", "tokens_used", "uno"], "`tokens_used` holds no text"),
        (&["--sort", "content"], "`content` has no order"),
        (&["--offset", "9999"], "reach beyond hit 10000"),
        (&["\"uno"], "has a quote that is not closed"),
        (&["--report", "user-topics"], "say whom by `--where user_id=...`"),
        (&["--report", "sentiment-trend"], "`--use score=FIELD`"),
        (&["--sink", "other"], "no sink `other` keeps documents; those that do: documents"),
    ] {
        let args = [&["search", "pipeline.yaml"], args].concat();
        folder.run(&args).exits(2).says(says);
    }
    let other = Folder::new();
    other.pipeline("");
    other.run(&["search", "pipeline.yaml", "uno"]).exits(2).says("neither an `opensearch` nor");
}

/// A value that no field of its type holds is refused; one that is too long for a keyword is kept.
#[test]
fn what_no_document_can_hold_is_a_dead_letter() {
    let folder = Folder::new();
    let sink = "{ search: { path: index, mapping: { content: { type: date }, role: { type: keyword, ignore_above: 4 } } } }";
    pipeline(&folder, sink, "");
    let lines = [
        change(1, "insert", "2024-01-31"),
        change(2, "insert", "pronto"),
        change_of(3, "insert", "1500-01-01", "assistant"),
    ];
    folder.write("a.ndjson", lines.concat());
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let letters = folder.run(&["dead-letters", "list", "pipeline.yaml", "--json"]).exits(0);
    assert!(letters.stdout.contains("content: `pronto` is no date"), "{}", letters.stdout);
    let documents = found(&folder, &[]);
    assert_eq!(documents.keys().cloned().collect::<Vec<_>>(), [id(1), id(3)]);
    assert_eq!(documents[&id(3)]["role"], json!("assistant"));
    assert_eq!(found(&folder, &["--where", "role=user"]).len(), 1);
    assert!(found(&folder, &["--where", "role=assistant"]).is_empty());
    assert_eq!(found(&folder, &["--where", "content=2024-01-31"]).len(), 1);
}

/// The engine is told of a mapping that it does not know before anything runs.
#[test]
fn a_type_that_only_a_cluster_knows_is_refused() {
    let folder = Folder::new();
    let sink = "{ search: { path: index, memory: 1MiB, mapping: { role: { type: geo_point } } } }";
    pipeline(&folder, sink, "");
    let ended = folder.run(&["validate", "pipeline.yaml"]).exits(2);
    assert!(ended.stderr.contains("no fields of type `geo_point`, as `role` is one"));
    assert!(ended.stderr.contains("from 16MiB to 1GiB"));
    let names = "transforms:\n  - sql: SELECT *, role AS _deleted, role AS \"content.keyword\", role AS \"-x\" FROM changes\n";
    pipeline(&folder, EMBEDDED, names);
    let ended = folder.run(&["validate", "pipeline.yaml"]).exits(2);
    for says in [
        "an index has no field `_deleted`",
        "two fields of the index are called `content.keyword`",
        "an index has no field `-x`",
    ] {
        assert!(ended.stderr.contains(says), "{says}: {}", ended.stderr);
    }
}
