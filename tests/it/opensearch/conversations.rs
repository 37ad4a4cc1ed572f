//! `pipelines/conversations.yaml`, the main example, as it stands: a broker, S3, DynamoDB and a node.

use std::path::Path;
use std::process::Stdio;

use acequia::event::Operation;
use serde_json::{Value, json};

use super::Index;
use crate::aws::place::{Bucket, make_table};
use crate::kafka::broker::Topic;
use crate::program::{Folder, PROGRAM, column, rows_of};
use crate::services;
use crate::services::moto::ENVIRONMENT;

#[test]
fn the_main_example_runs() {
    let test = "opensearch::conversations";
    let Some(kafka) = services::kafka::shared_or_skip(test) else { return };
    let Some(moto) = services::moto::shared_or_skip(test) else { return };
    let Some(node) = services::opensearch::shared_or_skip(test) else { return };
    let (folder, bucket) = (Folder::new(), Bucket::new(moto, "conversations"));
    bucket.wait(make_table(&bucket.aws, "acequia-checkpoints"));
    let topic = Topic { bootstrap: kafka.bootstrap(), name: "conversations".to_owned() };
    topic.make(2);
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(repository.join("pipelines/conversations.yaml")).unwrap();
    let text = text.replace("../schemas/conversations.yaml", "contract.yaml");
    // What a test has instead of a cloud: everything else comes from the environment.
    let aws = format!("aws: {{ endpoint: \"{}\", path_style: true }}\n", moto.endpoint());
    folder.write("pipeline.yaml", text + &aws);
    let command = |args: &[&str]| {
        let mut command = folder.command(PROGRAM, args);
        command.envs(ENVIRONMENT).env("KAFKA_BOOTSTRAP", kafka.bootstrap());
        command.env("LAKE_BUCKET", &bucket.name).env("OPENSEARCH_URL", node.url());
        command
    };
    let message = |number: usize, role: &str, text: &str, sentiment: &str| {
        let message = json!({
            "user_id": format!("whatsapp:+52155{number}"), "timestamp": "2024-01-15T10:30:00.000Z",
            "role": role, "content": text, "metadata": { "sentiment": sentiment, "intent": "complaint" },
        });
        ((number % 2) as i32, message.to_string())
    };
    let mut messages: Vec<(i32, String)> = (0..100)
        .map(|number| message(number, "user", "Nadie me contestó en la habitación", "negative"))
        .collect();
    messages.push(message(7, "user", "Ya quedó, gracias", "positive"));
    messages.push(message(8, "system", "handover", "neutral"));
    let given = messages.iter().map(|(partition, text)| (*partition, "", Some(text.as_str())));
    topic.send(given);
    let gone = r#"{"user_id":"whatsapp:+521559","timestamp":"2024-01-15T10:30:00.000Z"}"#;
    topic.send([(1, gone, None)]);

    let output = command(&["run", "pipeline.yaml", "--until-end"]).stderr(Stdio::piped()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = bucket.objects("conversations/");
    let rows: Vec<_> = files
        .into_iter()
        .filter(|(key, _)| key.ends_with(".parquet"))
        .flat_map(|(_, it)| rows_of(it))
        .collect();
    let mut operations = column(&rows, "_op");
    operations.sort();
    // The message of the system and the tombstone are deletes there.
    let deletes = operations.iter().filter(|op| *op == Operation::Delete.as_str()).count();
    assert_eq!((operations.len(), deletes), (103, 2));
    let index = Index::at(node.url(), "conversations");
    assert_eq!(index.count(), 98);
    let words = ["search", "pipeline.yaml", "contesto habitacion", "--json"];
    let args = [&words[..], &["--where", "should_analyze=true"]].concat();
    let output = command(&args).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["total"], 97);
    let report =
        command(&["search", "pipeline.yaml", "--report", "sentiment-distribution", "--json"])
            .output();
    let report: Value = serde_json::from_slice(&report.unwrap().stdout).unwrap();
    let wanted = [("negative", 97), ("positive", 1)]
        .map(|(sentiment, documents)| json!({ "sentiment": sentiment, "documents": documents }));
    assert_eq!(report, json!(wanted));
}
