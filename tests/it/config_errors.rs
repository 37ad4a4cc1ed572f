//! Mistakes in a pipeline: each message whole, as its reader sees it.

use std::fs;
use std::path::Path;

use acequia::config;
use insta::assert_snapshot;
use tempfile::TempDir;

/// A pipeline without mistakes: each test breaks it.
const SOUND: &str = r#"name: conversations
contract: contract.yaml
source:
  archive: { path: "events/*.ndjson.zst", format: dynamodb }
transforms:
  - sql: |
      SELECT *, metadata.intent AS intent
      FROM changes
      WHERE role <> 'system'
sinks:
  lake:
    where: intent IS NOT NULL
    parquet:
      url: lake/conversations
      partition: { by: day, time: timestamp }
dead_letters:
  url: dead-letters
commit: { every: 5m, size: 128MiB }
tests:
  - name: an answer is kept
    input:
      - insert: { user_id: ana, timestamp: "2024-01-15T10:30:00Z", role: user }
    expect:
      lake: [{ role: user }]
"#;

const CONTRACT: &str = r#"apiVersion: v3.1.0
kind: DataContract
id: conversations
name: conversations
version: 1.0.0
status: active
schema:
  - name: conversations
    properties:
      - { name: user_id, logicalType: string, primaryKey: true, primaryKeyPosition: 1, required: true }
      - { name: timestamp, logicalType: timestamp, primaryKey: true, primaryKeyPosition: 2, required: true }
      - { name: role, logicalType: string }
      - { name: content, logicalType: string }
      - { name: tokens_used, logicalType: integer }
      - name: metadata
        logicalType: object
        properties:
          - { name: intent, logicalType: string }
          - { name: language, logicalType: string }
"#;

/// A folder with the contract in it.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("contract.yaml"), CONTRACT).unwrap();
    folder
}

fn messages(folder: &Path, file: &str) -> String {
    let variable = |name: &str| match name {
        "SECRET" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    match config::load_with(&folder.join(file), &variable) {
        Ok(loaded) => format!("loaded {}", loaded.pipeline.name),
        // The folder is another one at each run.
        Err(findings) => findings.to_string().replace(&format!("{}/", folder.display()), ""),
    }
}

/// Every message about a pipeline of that text.
fn errors_of(yaml: &str) -> String {
    let folder = folder();
    fs::write(folder.path().join("pipeline.yaml"), yaml).unwrap();
    messages(folder.path(), "pipeline.yaml")
}

/// Every message about the sound pipeline after some replacements.
fn broken(replacements: &[(&str, &str)]) -> String {
    let mut yaml = SOUND.to_owned();
    for (from, to) in replacements {
        assert_eq!(yaml.matches(from).count(), 1, "{from:?} must stand there once");
        yaml = yaml.replace(from, to);
    }
    errors_of(&yaml)
}

/// Every message about the sound pipeline over the contract after some replacements.
fn broken_contract(replacements: &[(&str, &str)]) -> String {
    let folder = folder();
    let mut yaml = CONTRACT.to_owned();
    for (from, to) in replacements {
        assert_eq!(yaml.matches(from).count(), 1, "{from:?} must stand there once");
        yaml = yaml.replace(from, to);
    }
    fs::write(folder.path().join("contract.yaml"), yaml).unwrap();
    fs::write(folder.path().join("pipeline.yaml"), SOUND).unwrap();
    messages(folder.path(), "pipeline.yaml")
}

#[test]
fn the_sound_pipeline_loads() {
    assert_eq!(broken(&[]), "loaded conversations");
}

#[test]
fn six_mistakes_come_out_in_one_go() {
    assert_snapshot!(broken(&[
        ("name: conversations", "name: Conversations"),
        ("format: dynamodb", "format: dynamo"),
        ("metadata.intent AS intent", "metadata.intent AS intent, contents"),
        ("url: dead-letters", "urll: dead-letters"),
        ("size: 128MiB", "size: 128MB"),
        ("      - insert:", "      - insrt:"),
    ]), @r#"
    pipeline.yaml:1:7: name: is not a name; lower-case letters, digits and hyphens, a letter first, at most 63; did you mean "conversations"
      1 | name: Conversations
        |       ^^^^^^^^^^^^^

    pipeline.yaml:4:51: source.archive.format: unknown word `dynamo`; allowed: plain, dynamodb, debezium; did you mean "dynamodb"
      4 |   archive: { path: "events/*.ndjson.zst", format: dynamo }
        |                                                   ^^^^^^

    pipeline.yaml:7:44: transforms[0].sql: unknown column "contents"; known: user_id, timestamp, role, content, tokens_used, metadata; did you mean "content"
      7 |       SELECT *, metadata.intent AS intent, contents
        |                                            ^^^^^^^^

    pipeline.yaml:17:3: dead_letters.urll: unknown key; allowed: limit, s3, url; did you mean "url"
      17 |   urll: dead-letters
         |   ^^^^

    pipeline.yaml:18:28: commit.size: `128MB` is not a size; a whole number with B, KiB, MiB, GiB or TiB, like `128MiB`; did you mean "128MiB"
      18 | commit: { every: 5m, size: 128MB }
         |                            ^^^^^

    pipeline.yaml:22:9: tests[0].input[0].insrt: unknown kind; allowed: insert, update, upsert, delete, expire, snapshot; did you mean "insert"
      22 |       - insrt: { user_id: ana, timestamp: "2024-01-15T10:30:00Z", role: user }
         |         ^^^^^
    "#);
}

#[test]
fn unknown_keys() {
    assert_snapshot!(broken(&[("dead_letters:", "deadletters:")]), @r#"
    pipeline.yaml:16:1: deadletters: unknown key; allowed: aws, checkpoint, commit, contract, dead_letters, memory, metrics, name, scratch, sinks, source, tests, transforms; did you mean "dead_letters"
      16 | deadletters:
         | ^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("by: day, time:", "by: day, colunm:")]), @r#"
    pipeline.yaml:15:7: sinks.lake.parquet.partition.time: required key is missing; text: the column that holds the instant: a timestamp or a date
      15 |       partition: { by: day, colunm: timestamp }
         |       ^^^^^^^^^

    pipeline.yaml:15:29: sinks.lake.parquet.partition.colunm: unknown key; allowed: by, time, time_range
      15 |       partition: { by: day, colunm: timestamp }
         |                             ^^^^^^
    "#);
    assert_snapshot!(broken(&[("name: conversations", "name: conversations\nowner: data team")]), @r#"
    pipeline.yaml:2:1: owner: unknown key; allowed: aws, checkpoint, commit, contract, dead_letters, memory, metrics, name, scratch, sinks, source, tests, transforms
      2 | owner: data team
        | ^^^^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "evry: 5m")]), @r#"
    pipeline.yaml:18:11: commit.evry: unknown key; allowed: every, max_age, min_size, size; did you mean "every"
      18 | commit: { evry: 5m, size: 128MiB }
         |           ^^^^
    "#);
}

#[test]
fn missing_keys() {
    assert_snapshot!(broken(&[("dead_letters:\n  url: dead-letters\n", "")]), @r#"
    pipeline.yaml:1:1: dead_letters: required key is missing; a mapping: where records go that cannot be processed
    "#);
    assert_snapshot!(broken(&[("by: day, time: timestamp", "by: day")]), @r#"
    pipeline.yaml:15:7: sinks.lake.parquet.partition.time: required key is missing; text: the column that holds the instant: a timestamp or a date
      15 |       partition: { by: day }
         |       ^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "limit: 10")]), @r#"
    pipeline.yaml:16:1: dead_letters.url: required key is missing; text: a folder, a `file://` url or `s3://BUCKET/FOLDER`, outside every table
      16 | dead_letters:
         | ^^^^^^^^^^^^
    "#);
    assert_snapshot!(errors_of("name: empty\n"), @r#"
    pipeline.yaml:1:1: contract: required key is missing; text: the contract of the rows: an Open Data Contract Standard document, relative to this file

    pipeline.yaml:1:1: source: required key is missing; a mapping with the key `archive` or `kafka`: where change events come from

    pipeline.yaml:1:1: sinks: required key is missing; a mapping: where rows go, by name: lower-case letters, digits and hyphens

    pipeline.yaml:1:1: dead_letters: required key is missing; a mapping: where records go that cannot be processed
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(broken(&[("name: conversations", "name: 2024")]), @r#"
    pipeline.yaml:1:7: name: expected text, found the number `2024`; put it in quotes: "2024"
      1 | name: 2024
        |       ^^^^
    "#);
    assert_snapshot!(broken(&[("  - sql: |", "    sql: |")]), @r#"
    pipeline.yaml:6:5: transforms: expected a list, found a mapping; begin each entry with `- `
      6 |     sql: |
        |     ^
    "#);
    assert_snapshot!(broken(&[("sinks:\n  lake:\n", "sinks:\n  - lake:\n")]), @r#"
    pipeline.yaml:11:3: sinks: expected a mapping, found a list; write `name: ...`, without `- `
      11 |   - lake:
         |   ^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: dead-letters\n  limit: many")]), @r#"
    pipeline.yaml:18:10: dead_letters.limit: expected a whole number, found the text `many`
      18 |   limit: many
         |          ^^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "metrics: { listen: '127.0.0.1:9464', allow_remote: yes }\ncommit:")]), @r#"
    pipeline.yaml:18:52: metrics.allow_remote: expected true or false, found the text `yes`; did you mean "true"
      18 | metrics: { listen: '127.0.0.1:9464', allow_remote: yes }
         |                                                    ^^^
    "#);
    assert_snapshot!(broken(&[("commit: { every: 5m, size: 128MiB }", "commit:")]), @r#"
    pipeline.yaml:18:1: commit: expected a mapping, found nothing; give it a value or remove the key
      18 | commit:
         | ^^^^^^
    "#);
    assert_snapshot!(broken(&[("path: \"events/*.ndjson.zst\"", "path: { glob: x }")]), @r#"
    pipeline.yaml:4:20: source.archive.path: expected text or a list, found a mapping
      4 |   archive: { path: { glob: x }, format: dynamodb }
        |                    ^
    "#);
    assert_snapshot!(broken(&[("where: intent IS NOT NULL", "where: true")]), @r#"
    pipeline.yaml:12:12: sinks.lake.where: expected text, found `true`; put it in quotes: "true"
      12 |     where: true
         |            ^^^^
    "#);
    assert_snapshot!(errors_of("- name: conversations\n"), @r#"
    pipeline.yaml:1:1: expected a mapping, found a list; write `name: ...`, without `- `
      1 | - name: conversations
        | ^
    "#);
}

#[test]
fn unknown_words() {
    assert_snapshot!(broken(&[("by: day", "by: daily")]), @r#"
    pipeline.yaml:15:24: sinks.lake.parquet.partition.by: unknown word `daily`; allowed: month, day, hour
      15 |       partition: { by: daily, time: timestamp }
         |                        ^^^^^
    "#);
    assert_snapshot!(broken(&[("format: dynamodb", "format: protobuf")]), @r#"
    pipeline.yaml:4:51: source.archive.format: unknown word `protobuf`; allowed: plain, dynamodb, debezium
      4 |   archive: { path: "events/*.ndjson.zst", format: protobuf }
        |                                                   ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("format: dynamodb", "format: dynamodb, order: Name")]), @r#"
    pipeline.yaml:4:68: source.archive.order: unknown word `Name`; allowed: name, modified; did you mean "name"
      4 |   archive: { path: "events/*.ndjson.zst", format: dynamodb, order: Name }
        |                                                                    ^^^^
    "#);
}

#[test]
fn kinds() {
    assert_snapshot!(broken(&[("  archive:", "  archives:")]), @r#"
    pipeline.yaml:4:3: source.archives: unknown kind; allowed: archive, kafka; did you mean "archive"
      4 |   archives: { path: "events/*.ndjson.zst", format: dynamodb }
        |   ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("  archive: { path: \"events/*.ndjson.zst\", format: dynamodb }", "  {}")]), @r#"
    pipeline.yaml:3:1: source: names no kind; exactly one of: archive, kafka
      3 | source:
        | ^^^^^^
    "#);
    assert_snapshot!(broken(&[("  - sql: |", "  - sentimint: { text: content }\n  - sql: |")]), @r#"
    pipeline.yaml:6:5: transforms[0].sentimint: unknown kind; allowed: sql, sentiment; did you mean "sentiment"
      6 |   - sentimint: { text: content }
        |     ^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("    parquet:\n      url: lake/conversations\n      partition: { by: day, time: timestamp }\n", "")]), @r#"
    pipeline.yaml:11:3: sinks.lake: names no kind; exactly one of: parquet, opensearch, search
      11 |   lake:
         |   ^^^^
    "#);
    assert_snapshot!(broken(&[("    parquet:", "    parquett:")]), @r#"
    pipeline.yaml:13:5: sinks.lake.parquett: unknown key; allowed: on_outage, opensearch, parquet, search, where; did you mean "parquet"
      13 |     parquett:
         |     ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("role: user }\n    expect", "role: user }\n        delete: { user_id: ana }\n    expect")]), @r#"
    pipeline.yaml:23:9: tests[0].input[0]: names 2 kinds: `insert`, `delete`; exactly one; give each an entry of its own
      23 |         delete: { user_id: ana }
         |         ^^^^^^
    "#);
    assert_snapshot!(broken(&[("  - sql: |", "  - sql: SELECT * FROM changes\n    name: first\n  - sql: |")]), @r#"
    pipeline.yaml:7:5: transforms[0].name: unknown key; an entry has one key, its kind; settings go beneath it
      7 |     name: first
        |     ^^^^
    "#);
    assert_snapshot!(broken(&[("  - sql: |", "  - SELECT * FROM changes\n  - sql: |")]), @r#"
    pipeline.yaml:6:5: transforms[0]: expected a mapping with the key `sql` or `sentiment`, found the text `SELECT * FROM changes`
      6 |   - SELECT * FROM changes
        |     ^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn units_and_ranges() {
    assert_snapshot!(broken(&[("size: 128MiB", "size: 128MB, min_size: 1.5MiB")]), @r#"
    pipeline.yaml:18:28: commit.size: `128MB` is not a size; a whole number with B, KiB, MiB, GiB or TiB, like `128MiB`; did you mean "128MiB"
      18 | commit: { every: 5m, size: 128MB, min_size: 1.5MiB }
         |                            ^^^^^

    pipeline.yaml:18:45: commit.min_size: `1.5MiB` is not a size; a whole number with B, KiB, MiB, GiB or TiB, like `128MiB`
      18 | commit: { every: 5m, size: 128MB, min_size: 1.5MiB }
         |                                             ^^^^^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "every: 300")]), @r#"
    pipeline.yaml:18:18: commit.every: expected a duration like `5m`, found the number `300`
      18 | commit: { every: 300, size: 128MiB }
         |                  ^^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "every: 5 minutes")]), @r#"
    pipeline.yaml:18:18: commit.every: `5 minutes` is not a duration; a whole number with ms, s, m, h or d, like `5m`; did you mean "5m"
      18 | commit: { every: 5 minutes, size: 128MiB }
         |                  ^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("format: dynamodb", "format: dynamodb, lanes: 0")]), @r#"
    pipeline.yaml:4:68: source.archive.lanes: `0` is out of range; from 1 to 65535
      4 |   archive: { path: "events/*.ndjson.zst", format: dynamodb, lanes: 0 }
        |                                                                    ^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: dead-letters\n  limit: 5000000000")]), @r#"
    pipeline.yaml:18:10: dead_letters.limit: `5000000000` is out of range; from 0 to 4294967295
      18 |   limit: 5000000000
         |          ^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: dead-letters\n  limit: -1")]), @r#"
    pipeline.yaml:18:10: dead_letters.limit: `-1` is out of range; from 0 to 4294967295
      18 |   limit: -1
         |          ^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "every: 0s")]), @r#"
    pipeline.yaml:18:18: commit.every: is no time at all; 1ms or more
      18 | commit: { every: 0s, size: 128MiB }
         |                  ^^
    "#);
    assert_snapshot!(broken(&[("commit:", "memory: 1MiB\ncommit:")]), @r#"
    pipeline.yaml:18:9: memory: 1MiB is too little; 32MiB or more
      18 | memory: 1MiB
         |         ^^^^
    "#);
}

#[test]
fn settings_that_disagree() {
    assert_snapshot!(broken(&[("size: 128MiB", "size: 1MiB")]), @r#"
    pipeline.yaml:18:1: commit.min_size: 8MiB is more than `size`, 1MiB; at most `size`
      18 | commit: { every: 5m, size: 1MiB }
         | ^^^^^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "every: 2h")]), @r#"
    pipeline.yaml:18:18: commit.every: 2h is more than `max_age`, 1h; at most `max_age`
      18 | commit: { every: 2h, size: 128MiB }
         |                  ^^
    "#);
    assert_snapshot!(broken(&[("time: timestamp }", "time: timestamp, time_range: { from: 2024-13-01, to: 2020-01-01 } }")]), @r#"
    pipeline.yaml:15:66: sinks.lake.parquet.partition.time_range.from: is not a day; a day like `2000-01-01`
      15 |       partition: { by: day, time: timestamp, time_range: { from: 2024-13-01, to: 2020-01-01 } }
         |                                                                  ^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("time: timestamp }", "time: timestamp, time_range: { to: 1999-12-31 } }")]), @r#"
    pipeline.yaml:15:64: sinks.lake.parquet.partition.time_range.to: lies before `from`, 2000-01-01; `from` or a later day
      15 |       partition: { by: day, time: timestamp, time_range: { to: 1999-12-31 } }
         |                                                                ^^^^^^^^^^
    "#);
}

#[cfg(feature = "kafka")]
#[test]
fn logins_at_kafka() {
    let with = |settings: &str| {
        let kafka =
            format!("kafka: {{ bootstrap: \"b:9092\", topics: t, format: plain, {settings} }}");
        broken(&[("archive: { path: \"events/*.ndjson.zst\", format: dynamodb }", &kafka)])
    };
    assert_snapshot!(with("sasl: { mechanism: oauthbearer, token_uri: a, client_id: b }"), @r#"
    pipeline.yaml:4:59: source.kafka.sasl: `mechanism: oauthbearer` lacks `client_secret`; `token_url`, `client_id` and `client_secret`, or `token_file` alone
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, token_uri: a, client_id: b } }
        |                                                           ^^^^

    pipeline.yaml:4:59: source.kafka.sasl.token_url: is no address to which a secret may be sent; an address with `https://` (`http://` to this machine alone)
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, token_uri: a, client_id: b } }
        |                                                           ^^^^

    pipeline.yaml:4:59: source.kafka.sasl: would send the token as it is over an open connection; add `tls: {}`
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, token_uri: a, client_id: b } }
        |                                                           ^^^^

    pipeline.yaml:4:91: source.kafka.sasl.token_uri: unknown key; allowed: client_id, client_secret, mechanism, password, region, scope, token_file, token_url, username; did you mean "token_url"
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, token_uri: a, client_id: b } }
        |                                                                                           ^^^^^^^^^
    "#);
    assert_snapshot!(with("sasl: { mechanism: oauthbearer, client_id: b }"), @r#"
    pipeline.yaml:4:59: source.kafka.sasl: `mechanism: oauthbearer` lacks `token_url` and `client_secret`; `token_url`, `client_id` and `client_secret`, or `token_file` alone
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, client_id: b } }
        |                                                           ^^^^

    pipeline.yaml:4:59: source.kafka.sasl: would send the token as it is over an open connection; add `tls: {}`
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: oauthbearer, client_id: b } }
        |                                                           ^^^^
    "#);
    assert_snapshot!(with("tls: {}, sasl: { mechanism: oauthbearer, token_file: t.jwt, scope: a }"), @r#"
    pipeline.yaml:4:126: source.kafka.sasl.scope: says nothing with `token_file`; leave it out
      4 | ..., sasl: { mechanism: oauthbearer, token_file: t.jwt, scope: a } }
        |                                                                ^
    "#);
    assert_snapshot!(with("tls: {}, sasl: { mechanism: oauthbearer, token_url: \"http://idp/token\", client_id: b, client_secret: hush }"), @r#"
    pipeline.yaml:4:111: source.kafka.sasl.token_url: is no address to which a secret may be sent; an address with `https://` (`http://` to this machine alone)
      4 | ... plain, tls: {}, sasl: { mechanism: oauthbearer, token_url: "http://idp/token", client_id: b, client_secret: hush } }
        |                                                                ^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(with("tls: {}, sasl: { mechanism: scram_sha512, username: a }"), @r#"
    pipeline.yaml:4:68: source.kafka.sasl: `mechanism: scram_sha512` lacks `password`; `username` and `password`
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, tls: {}, sasl: { mechanism: scram_sha512, username: a } }
        |                                                                    ^^^^
    "#);
    #[cfg(feature = "aws")]
    assert_snapshot!(with("sasl: { mechanism: msk_iam, region: eu-west-1 }"), @r#"
    pipeline.yaml:4:59: source.kafka.sasl: would send the token as it is over an open connection; add `tls: {}`
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: msk_iam, region: eu-west-1 } }
        |                                                           ^^^^
    "#);
    #[cfg(feature = "aws")]
    assert_snapshot!(with("sasl: { mechanism: iam }"), @r#"
    pipeline.yaml:4:78: source.kafka.sasl.mechanism: unknown word `iam`; allowed: plain, scram_sha256, scram_sha512, oauthbearer, msk_iam
      4 |   kafka: { bootstrap: "b:9092", topics: t, format: plain, sasl: { mechanism: iam } }
        |                                                                              ^^^
    "#);
}

#[cfg(feature = "opensearch")]
#[test]
fn indices_of_opensearch() {
    let with = |settings: &str| {
        let search = format!("  search: {{ opensearch: {{ {settings} }} }}\ndead_letters:");
        broken(&[("dead_letters:", &search)])
    };
    assert_snapshot!(with("url: \"http://search.example.com\", index: Messages, login: { basic: { username: a, password: hush } }"), @r#"
    pipeline.yaml:16:32: sinks.search.opensearch.url: a password would cross the network as it is; an address with `https://` (`http://` to this machine alone)
      16 |   search: { opensearch: { url: "http://search.example.com", index: Messages, login: { basic: { username: a, password: hu...
         |                                ^^^^^^^^^^^^^^^^^^^^^^^^^^^

    pipeline.yaml:16:68: sinks.search.opensearch.index: is no name of an index; lower-case letters, digits, `-`, `_` and `.`, a letter or a digit first
      16 | ...h: { opensearch: { url: "http://search.example.com", index: Messages, login: { basic: { username: a, password: hush } } ...
         |                                                                ^^^^^^^^
    "#);
    assert_snapshot!(with("url: search:9200, index: messages, mapping: { contant: { type: text }, role: { analyzer: spanish }, content: { type: text, analyzer: spanisch } }"), @r#"
    pipeline.yaml:16:32: sinks.search.opensearch.url: is no address of a cluster; like `https://search.example.com:9200`; who logs in stands in `login`
      16 |   search: { opensearch: { url: search:9200, index: messages, mapping: { contant: { type: text }, role: { analyzer: spani...
         |                                ^^^^^^^^^^^

    pipeline.yaml:16:73: sinks.search.opensearch.mapping.contant: no such column after the last stage; a column, or COLUMN.MEMBER of a struct: user_id, timestamp, role, content, tokens_used, metadata, metadata.intent, metadata.language, intent; did you mean "content"
      16 | ...opensearch: { url: search:9200, index: messages, mapping: { contant: { type: text }, role: { analyzer: spanish }, conten...
         |                                                                ^^^^^^^

    pipeline.yaml:16:98: sinks.search.opensearch.mapping.role: has no `type`; like `{ type: text, analyzer: spanish }`
      16 | ...:9200, index: messages, mapping: { contant: { type: text }, role: { analyzer: spanish }, content: { type: text, analyzer...
         |                                                                ^^^^

    pipeline.yaml:16:127: sinks.search.opensearch.mapping.content: there is no analyzer `spanisch`; standard, spanish, english; did you mean "spanish"
      16 | ...ng: { contant: { type: text }, role: { analyzer: spanish }, content: { type: text, analyzer: spanisch } } } }
         |                                                                ^^^^^^^
    "#);
}

#[test]
fn variables() {
    assert_snapshot!(broken(&[("url: lake/conversations", "url: ${LAKE}/conversations")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: the environment variable `LAKE` is not set; set it, or give a default: `${LAKE:-default}`
      14 |       url: ${LAKE}/conversations
         |            ^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: lake/conversations", "url: ${LAKE ROOT}/x")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: `${LAKE ROOT}` does not name a variable; write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name; `$$` for a dollar sign
      14 |       url: ${LAKE ROOT}/x
         |            ^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: lake/conversations", "url: '${LAKE'")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: `${` is not closed; write `${NAME}`, or `$$` for a dollar sign
      14 |       url: '${LAKE'
         |            ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("by: day", "by: '${NONE}'"), ("every: 5m", "every: '${NONE}'")]), @r#"
    pipeline.yaml:15:24: sinks.lake.parquet.partition.by: the environment variable `NONE` is not set; set it, or give a default: `${NONE:-default}`
      15 |       partition: { by: '${NONE}', time: timestamp }
         |                        ^^^^^^^^^

    pipeline.yaml:18:18: commit.every: the environment variable `NONE` is not set; set it, or give a default: `${NONE:-default}`
      18 | commit: { every: '${NONE}', size: 128MiB }
         |                  ^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("every: 5m", "every: ${EVERY}")]), @r#"
    pipeline.yaml:18:19: `${` inside `{ }` or `[ ]` must stand in quotes; write `{ key: "${NAME}" }`
      18 | commit: { every: ${EVERY}, size: 128MiB }
         |                   ^
    "#);
}

#[test]
fn what_variables_hold_is_never_shown() {
    let everywhere = broken(&[
        ("name: conversations", "name: ${SECRET}!"),
        ("contract: contract.yaml", "contract: ${SECRET}.yaml"),
        ("format: dynamodb", "format: ${SECRET}"),
        ("role <> 'system'", "${SECRET}"),
        ("url: lake/conversations", "url: ${SECRET}://x"),
        ("time: timestamp", "time: ${SECRET}"),
        ("every: 5m", "every: ${SECRET}"),
        ("commit:", "metrics: { listen: '${SECRET}' }\nmemory: ${SECRET}\ncommit:"),
    ]);
    assert!(!everywhere.contains("hunter2"), "{everywhere}");
    assert!(everywhere.contains("${SECRET}"), "{everywhere}");
    for (from, to) in [
        ("role <> 'system'", "${SECRET} = 1"),
        ("time: timestamp", "time: ${SECRET}"),
        ("where: intent IS NOT NULL", "where: ${SECRET}"),
        ("contract: contract.yaml", "contract: ${SECRET}.yaml"),
    ] {
        let message = broken(&[(from, to)]);
        assert!(!message.contains("hunter2") && !message.contains("loaded"), "{message}");
    }
}

#[test]
fn names() {
    assert_snapshot!(broken(&[("name: conversations", "name: Chat Conversations")]), @r#"
    pipeline.yaml:1:7: name: is not a name; lower-case letters, digits and hyphens, a letter first, at most 63; did you mean "chat-conversations"
      1 | name: Chat Conversations
        |       ^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("  lake:\n", "  lake_1:\n"), ("      lake: [", "      lake_1: [")]), @r#"
    pipeline.yaml:11:3: sinks.lake_1: is not a name; lower-case letters, digits and hyphens, a letter first, at most 63; did you mean "lake-1"
      11 |   lake_1:
         |   ^^^^^^
    "#);
    assert_snapshot!(broken(&[("name: conversations", "name: ''")]), @r#"
    pipeline.yaml:1:7: name: is empty; name of the pipeline: lower-case letters, digits and hyphens
      1 | name: ''
        |       ^^
    "#);
}

#[test]
fn mistakes_in_the_contract_are_shown_in_its_file() {
    let messages =
        broken_contract(&[("logicalType: integer", "logicalType: int"), ("name: content, ", "")]);
    let places: Vec<&str> = messages.lines().filter_map(|line| line.split(": ").next()).collect();
    assert!(places.contains(&"contract.yaml:13:9"), "{messages}");
    assert!(places.contains(&"contract.yaml:14:43"), "{messages}");
    assert!(!messages.contains("pipeline.yaml"), "{messages}");
}

#[test]
fn contracts() {
    assert_snapshot!(broken(&[("contract: contract.yaml", "contract: contracts.yaml")]), @r#"
    pipeline.yaml:2:11: contract: no such file; an Open Data Contract Standard document, relative to this file; did you mean "contract.yaml"
      2 | contract: contracts.yaml
        |           ^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("contract: contract.yaml", "contract: s3://bucket/contract.yaml")]), @r#"
    pipeline.yaml:2:11: contract: is not on this machine; a path, or a `file:///...` url
      2 | contract: s3://bucket/contract.yaml
        |           ^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("contract: contract.yaml", "contract: .")]), @r#"
    pipeline.yaml:2:11: contract: is a folder; an Open Data Contract Standard document, relative to this file
      2 | contract: .
        |           ^
    "#);
}

#[cfg(feature = "aws")]
#[test]
fn places_in_buckets() {
    let lake = "url: lake/conversations";
    assert_snapshot!(broken(&[(lake, "url: s3://Lake/conversations")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: is no url of a bucket; like `s3://BUCKET/FOLDER`: 3 to 63 lower-case letters, digits, `.` and `-`, then parts that are not empty, `.` or `..`
      14 |       url: s3://Lake/conversations
         |            ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[(lake, "url: s3://lake/conversations")]), @r#"
    pipeline.yaml:1:1: checkpoint: required key is missing, since the first lake is not a folder; a mapping with one of the keys `dynamodb`, `s3`, `file`
      1 | name: conversations
        | ^
    "#);
    let events = "events/*.ndjson.zst";
    assert_snapshot!(broken(&[(events, "s3://Events/*")]), @r#"
    pipeline.yaml:4:20: source.archive.path: is no url of a bucket; like `s3://BUCKET/events/**/*.ndjson.zst`; the name of a bucket has 3 to 63 lower-case letters, digits, `.` and `-`
      4 |   archive: { path: "s3://Events/*", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[(events, "s3://events/2024/")]), @r#"
    pipeline.yaml:4:20: source.archive.path: is a folder; like `s3://BUCKET/events/**/*.ndjson.zst`; the name of a bucket has 3 to 63 lower-case letters, digits, `.` and `-`
      4 |   archive: { path: "s3://events/2024/", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[(events, "s3://events/a**/b")]), @r#"
    pipeline.yaml:4:20: source.archive.path: is not a pattern: recursive wildcards must form a single path component; `*`, `?`, `[...]` and `**` between slashes; a literal `[` is `[[]`
      4 |   archive: { path: "s3://events/a**/b", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("path: \"events/*.ndjson.zst\"", "path: [\"events/*\", \"s3://events\"]")]), @r#"
    pipeline.yaml:4:33: source.archive.path[1]: names no object; like `s3://BUCKET/events/**/*.ndjson.zst`; the name of a bucket has 3 to 63 lower-case letters, digits, `.` and `-`
      4 |   archive: { path: ["events/*", "s3://events"], format: dynamodb }
        |                                 ^^^^^^^^^^^^^
    "#);
    let table = ("commit:", "checkpoint: { dynamodb: { table: checkpoints } }\ncommit:");
    assert_snapshot!(broken(&[(lake, "url: s3://lake/conversations"), table, (events, "s3://lake/conversations/**/*")]), @r#"
    pipeline.yaml:4:20: source.archive.path: reads the table of sink `lake`, which this pipeline writes; files outside every table of the pipeline
      4 |   archive: { path: "s3://lake/conversations/**/*", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[(lake, "url: s3://lake/conversations"), table, ("url: dead-letters", "url: s3://lake/conversations/dead")]), @r#"
    pipeline.yaml:17:8: dead_letters.url: lies inside the table of sink `lake`; a folder outside every table, since readers of a table take every file beneath it
      17 |   url: s3://lake/conversations/dead
         |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    let bucket = ("commit:", "checkpoint: { s3: { url: s3://lake/conversations } }\ncommit:");
    assert_snapshot!(broken(&[(lake, "url: s3://lake/conversations"), bucket]), @r#"
    pipeline.yaml:18:26: checkpoint.s3.url: is also the folder of the table of sink `lake`; a folder outside every table, since readers of a table take every file beneath it
      18 | checkpoint: { s3: { url: s3://lake/conversations } }
         |                          ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[(lake, "url: lake/conversations\n      s3: { storage_class: glacier, kms_key: a, encryption: s3 }")]), @r#"
    pipeline.yaml:15:7: sinks.lake.parquet.s3: says how objects of S3 are stored, and the url is none of S3; leave it out, or a url like `s3://BUCKET/FOLDER`
      15 |       s3: { storage_class: glacier, kms_key: a, encryption: s3 }
         |       ^^

    pipeline.yaml:15:28: sinks.lake.parquet.s3.storage_class: unknown word `glacier`; allowed: standard, standard_ia, onezone_ia, intelligent_tiering, glacier_ir; did you mean "glacier_ir"
      15 |       s3: { storage_class: glacier, kms_key: a, encryption: s3 }
         |                            ^^^^^^^

    pipeline.yaml:15:37: sinks.lake.parquet.s3.kms_key: the key is not used; `encryption: kms` beside it
      15 |       s3: { storage_class: glacier, kms_key: a, encryption: s3 }
         |                                     ^^^^^^^
    "#);
    assert_snapshot!(broken(&[(lake, "url: lake/conversations\n      s3: { kms_key: a }")]), @r#"
    pipeline.yaml:15:7: sinks.lake.parquet.s3: says how objects of S3 are stored, and the url is none of S3; leave it out, or a url like `s3://BUCKET/FOLDER`
      15 |       s3: { kms_key: a }
         |       ^^

    pipeline.yaml:15:13: sinks.lake.parquet.s3.kms_key: the key is not used; `encryption: kms` beside it
      15 |       s3: { kms_key: a }
         |             ^^^^^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "aws: { endpoint: \"127.0.0.1:9000\", role: { arn: acequia } }\ncommit:")]), @r#"
    pipeline.yaml:18:18: aws.endpoint: is no address of a server; like `http://127.0.0.1:9000`
      18 | aws: { endpoint: "127.0.0.1:9000", role: { arn: acequia } }
         |                  ^^^^^^^^^^^^^^^^

    pipeline.yaml:18:49: aws.role.arn: is no ARN; like `arn:aws:iam::123456789012:role/acequia`
      18 | aws: { endpoint: "127.0.0.1:9000", role: { arn: acequia } }
         |                                                 ^^^^^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "checkpoint: { s3: { url: checkpoints } }\nscratch: lake\ncommit:")]), @r#"
    pipeline.yaml:18:26: checkpoint.s3.url: is no url of a bucket; like `s3://BUCKET/FOLDER`; for a folder the key `file`
      18 | checkpoint: { s3: { url: checkpoints } }
         |                          ^^^^^^^^^^^

    pipeline.yaml:19:10: scratch: touches the table of sink `lake`; a folder outside every table
      19 | scratch: lake
         |          ^^^^
    "#);
}

#[test]
fn places_on_disk() {
    assert_snapshot!(broken(&[("url: lake/conversations", "url: gs://lake/conversations")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: unknown scheme `gs`; a path, or a url like `file:///...` or `s3://BUCKET/...`
      14 |       url: gs://lake/conversations
         |            ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: lake/conversations", "url: file://lake/conversations")]), @r#"
    pipeline.yaml:14:12: sinks.lake.parquet.url: a `file` url must hold an absolute path; write `file:///folder`, or a path relative to this file without `file://`
      14 |       url: file://lake/conversations
         |            ^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: lake/conversations/dead")]), @r#"
    pipeline.yaml:17:8: dead_letters.url: lies inside the table of sink `lake`; a folder outside every table, since readers of a table take every file beneath it
      17 |   url: lake/conversations/dead
         |        ^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: lake/conversations.checkpoint")]), @r#"
    pipeline.yaml:17:8: dead_letters.url: is also the folder of the checkpoint, which lies beside the lake unless `checkpoint` is given; a folder of its own
      17 |   url: lake/conversations.checkpoint
         |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("url: dead-letters", "url: lake")]), @r#"
    pipeline.yaml:17:8: dead_letters.url: holds the table of sink `lake`; a folder outside every table, since readers of a table take every file beneath it
      17 |   url: lake
         |        ^^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "checkpoint: { file: { path: ./dead-letters/ } }\ncommit:")]), @r#"
    pipeline.yaml:18:29: checkpoint.file.path: is also the folder of the dead letters; a folder of its own
      18 | checkpoint: { file: { path: ./dead-letters/ } }
         |                             ^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("dead_letters:", "  copy:\n    parquet:\n      url: ./lake/../lake/conversations\n      partition: { by: month, time: timestamp }\ndead_letters:")]), @r#"
    pipeline.yaml:18:12: sinks.copy.parquet.url: is also the folder of the table of sink `lake`; a folder outside every table, since readers of a table take every file beneath it
      18 |       url: ./lake/../lake/conversations
         |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("events/*.ndjson.zst", "lake/conversations/**/*.parquet")]), @r#"
    pipeline.yaml:4:20: source.archive.path: reads the table of sink `lake`, which this pipeline writes; files outside every table of the pipeline
      4 |   archive: { path: "lake/conversations/**/*.parquet", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("events/*.ndjson.zst", "events/[ab.zst")]), @r#"
    pipeline.yaml:4:20: source.archive.path: is not a pattern: invalid range pattern; `*`, `?`, `[...]` and `**` between slashes; a literal `[` is `[[]`
      4 |   archive: { path: "events/[ab.zst", format: dynamodb }
        |                    ^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("path: \"events/*.ndjson.zst\"", "path: []")]), @r#"
    pipeline.yaml:4:14: source.archive.path: the list is empty; at least one pattern
      4 |   archive: { path: [], format: dynamodb }
        |              ^^^^
    "#);
}

#[test]
fn sql() {
    assert_snapshot!(broken(&[("metadata.intent AS intent", "metadata.intnet AS intent")]), @r#"
    pipeline.yaml:7:26: transforms[0].sql: no struct has a member "intnet"; members of structs: intent, language; did you mean "intent"
      7 |       SELECT *, metadata.intnet AS intent
        |                          ^^^^^^
    "#);
    assert_snapshot!(broken(&[("WHERE role <> 'system'", "WHERE roll <> 'system'")]), @r#"
    pipeline.yaml:9:13: transforms[0].sql: unknown column "roll"; known: user_id, timestamp, role, content, tokens_used, metadata; did you mean "role"
      9 |       WHERE roll <> 'system'
        |             ^^^^
    "#);
    assert_snapshot!(broken(&[("FROM changes\n", "FORM changes\n")]), @r#"
    pipeline.yaml:8:7: transforms[0].sql: expected end of statement, found FORM
      8 |       FORM changes
        |       ^^^^
    "#);
    assert_snapshot!(broken(&[("WHERE role <> 'system'", "ORDER BY role")]), @r#"
    pipeline.yaml:9:7: transforms[0].sql: ORDER BY is not possible here; rows keep the order of their source; leave it out
      9 |       ORDER BY role
        |       ^^^^^
    "#);
    assert_snapshot!(broken(&[("SELECT *,", "SELECT *, now() AS seen,")]), @r#"
    pipeline.yaml:7:17: transforms[0].sql: now does not give the same value at every re-read; use _event_time, when the change happened
      7 |       SELECT *, now() AS seen, metadata.intent AS intent
        |                 ^^^
    "#);
    assert_snapshot!(broken(&[("FROM changes\n", "FROM changes JOIN users USING (user_id)\n")]), @r#"
    pipeline.yaml:8:20: transforms[0].sql: a join is not possible here; each event is transformed on its own; join in the lake, with `acequia query`
      8 |       FROM changes JOIN users USING (user_id)
        |                    ^^^^
    "#);
    assert_snapshot!(broken(&[("where: intent IS NOT NULL", "where: \"intent IS NOT NULL AND\\n  ntent = 'x'\"")]), @r#"
    pipeline.yaml:12:39: sinks.lake.where: unknown column "ntent"; known: user_id, timestamp, role, content, tokens_used, metadata, intent; did you mean "intent"
      12 |     where: "intent IS NOT NULL AND\n  ntent = 'x'"
         |                                       ^^^^^
    "#);
    assert_snapshot!(broken(&[("where: intent IS NOT NULL", "where: tokens_used + 1")]), @r#"
    pipeline.yaml:12:12: sinks.lake.where: a condition must be true or false, not of type Int64
      12 |     where: tokens_used + 1
         |            ^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("SELECT *, metadata.intent AS intent", "SELECT user_id, metadata.intent AS intent, role")]), @r#"
    pipeline.yaml:7:7: transforms[0].sql: leaves out the key column `timestamp`; select the key unchanged and under its own name, since deletes are written by it: user_id, timestamp
      7 |       SELECT user_id, metadata.intent AS intent, role
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("SELECT *, metadata.intent AS intent", "SELECT lower(user_id) AS user_id, timestamp, role, metadata.intent AS intent")]), @r#"
    pipeline.yaml:7:7: transforms[0].sql: changes the key column `user_id`; select the key unchanged and under its own name, since deletes are written by it: user_id, timestamp
      7 |       SELECT lower(user_id) AS user_id, timestamp, role, metadata.intent AS intent
        |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn layout_of_the_lake() {
    assert_snapshot!(broken(&[("time: timestamp }", "time: timestmp }")]), @r#"
    pipeline.yaml:15:35: sinks.lake.parquet.partition.time: no such column after the last stage; columns with a time: timestamp; did you mean "timestamp"
      15 |       partition: { by: day, time: timestmp }
         |                                   ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("time: timestamp }", "time: role }")]), @r#"
    pipeline.yaml:15:35: sinks.lake.parquet.partition.time: this column holds text, not a time; columns with a time: timestamp
      15 |       partition: { by: day, time: role }
         |                                   ^^^^
    "#);
    assert_snapshot!(broken(&[("AS intent\n", "AS intent, 2024 AS year\n")]), @r#"
    pipeline.yaml:15:24: sinks.lake.parquet.partition.by: the folders `year=` would hide the column `year`; give the column another name in a SQL stage
      15 |       partition: { by: day, time: timestamp }
         |                        ^^^
    "#);
}

#[test]
fn examples() {
    assert_snapshot!(broken(&[("      lake: [", "      lakes: [")]), @r#"
    pipeline.yaml:24:7: tests[0].expect.lakes: no such sink; sinks: lake; did you mean "lake"
      24 |       lakes: [{ role: user }]
         |       ^^^^^
    "#);
    assert_snapshot!(broken(&[("lake: [{ role: user }]", "lake: [{ rol: user }]")]), @r#"
    pipeline.yaml:24:16: tests[0].expect.lake[0].rol: no such column in the sink; columns: user_id, timestamp, role, content, tokens_used, metadata, intent, _op, _key, _event_time, _version, _stream and 4 more; did you mean "role"
      24 |       lake: [{ rol: user }]
         |                ^^^
    "#);
    assert_snapshot!(broken(&[("- insert: { user_id", "- snapshot: { user_id")]), @r#"
    pipeline.yaml:22:9: tests[0].input[0].snapshot: the source never gives `snapshot`; insert, update, delete, expire
      22 |       - snapshot: { user_id: ana, timestamp: "2024-01-15T10:30:00Z", role: user }
         |         ^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("user_id: ana, ", "")]), @r#"
    pipeline.yaml:22:9: tests[0].input[0].insert: the key attribute `user_id` is missing; an item has its whole key: user_id, timestamp
      22 |       - insert: { timestamp: "2024-01-15T10:30:00Z", role: user }
         |         ^^^^^^
    "#);
    assert_snapshot!(broken(&[("role: user }\n    expect", "_op: insert, role: user }\n    expect")]), @r#"
    pipeline.yaml:22:68: tests[0].input[0].insert._op: a system column is no attribute; the entry's own key is the operation; `_event_time` can be given
      22 |       - insert: { user_id: ana, timestamp: "2024-01-15T10:30:00Z", _op: insert, role: user }
         |                                                                    ^^^
    "#);
    assert_snapshot!(broken(&[("      lake: [{ role: user }]\n", "      lake: []\n  - name: an answer is kept\n    input: [{ delete: { user_id: ana, timestamp: x } }]\n    expect: { lake: [] }\n")]), @r#"
    pipeline.yaml:25:11: tests[1].name: another test has this name; each test a name of its own
      25 |   - name: an answer is kept
         |           ^^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("      lake: [{ role: user }]\n", "      lake: [{ role: user }]\n  - name: an answer is kept\n    input: []\n    expect: {}\n")]), @r#"
    pipeline.yaml:26:5: tests[1].input: the list is empty; at least one entry
      26 |     input: []
         |     ^^^^^

    pipeline.yaml:27:13: tests[1].expect: the mapping is empty; at least one entry
      27 |     expect: {}
         |             ^
    "#);
}

#[test]
fn addresses() {
    assert_snapshot!(broken(&[("commit:", "metrics: { listen: 'localhost:9464' }\ncommit:")]), @r#"
    pipeline.yaml:18:20: metrics.listen: is not an address with a port; like `127.0.0.1:9464`; names are not looked up
      18 | metrics: { listen: 'localhost:9464' }
         |                    ^^^^^^^^^^^^^^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "metrics: { listen: '0.0.0.0:9464' }\ncommit:")]), @r#"
    pipeline.yaml:18:20: metrics.listen: other machines can reach this address; a loopback address, or `allow_remote: true` beside it; did you mean "127.0.0.1:9464"
      18 | metrics: { listen: '0.0.0.0:9464' }
         |                    ^^^^^^^^^^^^^^
    "#);
}

#[test]
fn not_yaml() {
    assert_snapshot!(errors_of(""), @r#"
    pipeline.yaml: is empty; a YAML mapping is expected
    "#);
    assert_snapshot!(broken(&[("commit: {", "\tcommit: {")]), @r#"
    pipeline.yaml:18:1: a tab in the indentation; indent with spaces
      18 | 	commit: { every: 5m, size: 128MiB }
         | ^
    "#);
    assert_snapshot!(broken(&[("path: \"events/*.ndjson.zst\"", "path: \"events/*.ndjson.zst")]), @r#"
    pipeline.yaml:22:45: not YAML: invalid trailing content after double-quoted scalar; a quote above is not closed, or one inside the text is not escaped
      22 |       - insert: { user_id: ana, timestamp: "2024-01-15T10:30:00Z", role: user }
         |                                             ^
    "#);
    assert_snapshot!(broken(&[("path: \"events/*.ndjson.zst\"", "path: *.ndjson.zst")]), @r#"
    pipeline.yaml:4:20: an alias without its anchor; write its anchor (`&name`) above it, or put a text that begins with `*` in quotes
      4 |   archive: { path: *.ndjson.zst, format: dynamodb }
        |                    ^
    "#);
    assert_snapshot!(broken(&[("  url: dead-letters\n", "  url: dead-letters\n  url: letters\n"), ("by: day", "by: daily")]), @r#"
    pipeline.yaml:15:24: sinks.lake.parquet.partition.by: unknown word `daily`; allowed: month, day, hour
      15 |       partition: { by: daily, time: timestamp }
         |                        ^^^^^

    pipeline.yaml:18:3: dead_letters.url: key appears twice; first on line 17
      18 |   url: letters
         |   ^^^
    "#);
    assert_snapshot!(broken(&[("commit:", "---\ncommit:")]), @r#"
    pipeline.yaml:18:1: a second document begins here; one document a file
      18 | ---
         | ^
    "#);
    assert_snapshot!(broken(&[("size: 128MiB }", "size: 128MiB")]), @r#"
    pipeline.yaml:19:6: not YAML: while parsing a flow mapping, did not find expected ',' or '}'; close the bracket or the quote that is still open, or put a comma between entries
      19 | tests:
         |      ^
    "#);
    assert_snapshot!(broken(&[("where: intent IS NOT NULL", "where: !sql intent IS NOT NULL")]), @r#"
    pipeline.yaml:12:12: sinks.lake.where: tags (`!name`) have no meaning here; put a text that begins with `!` in quotes
      12 |     where: !sql intent IS NOT NULL
         |            ^
    "#);
    assert_snapshot!(broken(&[("where: intent IS NOT NULL", "where: note: intent IS NOT NULL")]), @r#"
    pipeline.yaml:12:16: not YAML: mapping values are not allowed in this context; put a text that holds `: ` in quotes
      12 |     where: note: intent IS NOT NULL
         |                ^
    "#);
}

#[test]
fn files() {
    let folder = folder();
    fs::write(folder.path().join("pipeline.yaml"), SOUND).unwrap();
    assert_snapshot!(messages(folder.path(), "pipelin.yaml"), @r#"
    pipelin.yaml: no such file; did you mean "pipeline.yaml"
    "#);
    assert_snapshot!(messages(folder.path(), "nowhere/x.yaml"), @r#"
    nowhere/x.yaml: no such file
    "#);
    fs::create_dir(folder.path().join("inner")).unwrap();
    assert_snapshot!(messages(folder.path(), "inner"), @r#"
    inner: is a folder; name a pipeline file
    "#);
    fs::write(folder.path().join("latin.yaml"), b"name: a\n# P\xe9simo\n").unwrap();
    assert_snapshot!(messages(folder.path(), "latin.yaml"), @r#"
    latin.yaml: line 2 is not UTF-8; save the file as UTF-8
    "#);
}
