//! The lake, its dead letters and its checkpoint in a bucket, written by the real program.

use std::process::Command;
use std::time::Duration;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule,
    LifecycleRuleFilter,
};

use super::place::{Bucket, make_table, unique};
use crate::program::{Ended, Folder, Running, column, rows_of};
use crate::services;
use crate::services::moto::{ENVIRONMENT, Moto};

/// A run in a folder against a bucket.
struct Place<'a> {
    moto: &'a Moto,
    bucket: Bucket,
    folder: Folder,
}

/// Message `number` as a line.
fn line(number: usize) -> String {
    format!(
        "{{\"user_id\":\"user-{number}\",\"timestamp\":\"2024-01-{:02}T10:30:00.000Z\",\
         \"session_id\":\"s\",\"message_id\":\"m{number}\",\"message_type\":\"text\",\
         \"role\":\"user\",\"content\":\"text {number}\"}}\n",
        1 + number % 28
    )
}

impl<'a> Place<'a> {
    fn new(moto: &'a Moto, name: &str) -> Self {
        Self { moto, bucket: Bucket::new(moto, name), folder: Folder::new() }
    }

    /// A pipeline from `events*.ndjson` into the bucket, its checkpoint as `checkpoint` says.
    fn pipeline(&self, checkpoint: &str) {
        self.folder.pipeline(&format!(
            "source: {{ archive: {{ path: \"events*.ndjson\", format: plain }} }}\n\
             sinks: {{ lake: {{ parquet: {{ url: \"{}\", partition: {{ by: day, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: \"{}\" }}\n\
             checkpoint: {{ {checkpoint} }}\n\
             aws: {{ endpoint: \"{}\", path_style: true }}\n",
            self.bucket.url("lake"),
            self.bucket.url("letters/"),
            self.moto.endpoint()
        ));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.folder.command(crate::program::PROGRAM, args);
        command.envs(ENVIRONMENT);
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ended {
        Running::start(self.command(args)).end()
    }

    /// The users of every visible row.
    fn users(&self) -> Vec<String> {
        let files = self.bucket.objects("lake/");
        let mut users: Vec<String> = files
            .into_iter()
            .filter(|(key, _)| key.ends_with(".parquet"))
            .flat_map(|(_, bytes)| column(&rows_of(bytes), "user_id"))
            .collect();
        users.sort();
        users
    }
}

fn users(numbers: std::ops::Range<usize>) -> Vec<String> {
    let mut users: Vec<String> = numbers.map(|number| format!("user-{number}")).collect();
    users.sort();
    users
}

fn everything_lands_once(place: &Place<'_>) {
    let lines: String = (0..500).map(line).collect();
    place.folder.write("events-1.ndjson", lines + "no json\n");
    let ended = place.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 500, "{}", ended.stderr);
    assert_eq!(place.users(), users(0..500));
    assert!(place.bucket.uploads().is_empty());
    // A second run finds the place its own, and nothing to do.
    let ended = place.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 0, "{}", ended.stderr);
    place.run(&["dead-letters", "list", "pipeline.yaml"]).exits(0).prints("1 dead letter");

    place.folder.write("events-2.ndjson", (500..700).map(line).collect::<String>());
    place.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(place.users(), users(0..700));
    // The table is asked where it lies, its folders too.
    let asked = |sql: &str| place.run(&["query", "pipeline.yaml", sql, "--csv"]).exits(0).stdout;
    assert_eq!(
        asked("SELECT count(*) AS n, count(DISTINCT _key) AS k FROM messages"),
        "n,k\n700,700\n"
    );
    assert_eq!(asked("SELECT count(*) AS n FROM messages_current WHERE day = 2"), "n\n25\n");
    place.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");
}

#[test]
fn a_lake_with_its_checkpoint_in_the_bucket() {
    let Some(moto) = services::moto::shared_or_skip("aws::lake") else { return };
    let place = Place::new(moto, "lake");
    place.pipeline(&format!("s3: {{ url: \"{}\" }}", place.bucket.url("checkpoints")));
    everything_lands_once(&place);
    let keys: Vec<String> = place.bucket.objects("").into_keys().collect();
    assert!(keys.contains(&"lake/_acequia.json".to_owned()), "{keys:?}");
    assert!(keys.contains(&"checkpoints/messages/control.json".to_owned()), "{keys:?}");
}

#[test]
fn a_lake_with_its_checkpoint_in_a_table() {
    let Some(moto) = services::moto::shared_or_skip("aws::lake") else { return };
    let place = Place::new(moto, "lake");
    let table = unique("checkpoints");
    place.bucket.wait(make_table(&place.bucket.aws, &table));
    place.pipeline(&format!("dynamodb: {{ table: {table} }}"));
    everything_lands_once(&place);
}

#[test]
fn objects_are_stored_as_the_pipeline_says() {
    let Some(moto) = services::moto::shared_or_skip("aws::lake") else { return };
    let place = Place::new(moto, "stored");
    place.pipeline("file: { path: checkpoint }");
    let text = std::fs::read_to_string(place.folder.path("pipeline.yaml")).unwrap();
    let stored = "parquet: { s3: { storage_class: standard_ia, encryption: kms, kms_key: \"alias/lake\", \
                  tags: { team: \"data\" } }, ";
    place.folder.write("pipeline.yaml", text.replace("parquet: { ", stored));
    place.folder.write("events.ndjson", line(1));
    place.run(&["run", "pipeline.yaml"]).exits(0);
    let key =
        place.bucket.objects("lake/").into_keys().find(|key| key.ends_with(".parquet")).unwrap();
    let Bucket { name, aws, .. } = &place.bucket;
    place.bucket.wait(async {
        let client = aws.s3().await;
        let head = client.head_object().bucket(name).key(&key).send().await.unwrap();
        assert_eq!(head.storage_class().unwrap().as_str(), "STANDARD_IA");
        assert_eq!(head.server_side_encryption().unwrap().as_str(), "aws:kms");
        assert_eq!(head.metadata().unwrap()["acequia-pipeline"], "messages");
        assert_eq!(head.metadata().unwrap()["acequia-epoch"], "1");
    });
}

#[test]
fn what_keeps_a_bucket_from_being_written_is_said_at_the_start() {
    let Some(moto) = services::moto::shared_or_skip("aws::lake") else { return };
    let place = Place::new(moto, "refused");
    place.pipeline("file: { path: checkpoint }");
    place.folder.write("events.ndjson", line(1));
    let text = std::fs::read_to_string(place.folder.path("pipeline.yaml")).unwrap();
    let with = |from: &str, to: &str| place.folder.write("pipeline.yaml", text.replace(from, to));

    with(&place.bucket.name, "no-such-bucket");
    place
        .run(&["run", "pipeline.yaml"])
        .exits(2)
        .fails_as("sink lake: cannot reach the bucket no-such-bucket: it does not exist");
    with(&moto.endpoint(), "http://127.0.0.1:1");
    place.run(&["run", "pipeline.yaml"]).exits(2).fails_as(&format!("sink lake: cannot reach the bucket {}: the server was not reached: Connection refused (os error 111)", place.bucket.name));
    with("", "");
    let mut command = place.command(&["run", "pipeline.yaml"]);
    let nowhere = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nowhere")];
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(nowhere);
    Running::start(command).end().exits(2).says("no AWS credentials were found: set ");

    abort_after(&place.bucket, 2);
    place.run(&["run", "pipeline.yaml"]).exits(2).fails_as(&format!(
        "sink lake: the lifecycle rule `tidy` of s3://{name} aborts incomplete uploads below s3://{name}/lake after 2 days: a pipeline that stops for longer would lose what it has committed; set `DaysAfterInitiation` to 7 or more, at least 3",
        name = place.bucket.name
    ));
    abort_after(&place.bucket, 5);
    place
        .run(&["run", "pipeline.yaml"])
        .exits(0)
        .says("the bucket aborts incomplete uploads early");

    // The prefix is another pipeline's.
    let text =
        text.replace("name: messages", "name: other").replace("path: checkpoint", "path: other");
    place.folder.write("pipeline.yaml", text);
    place.run(&["run", "pipeline.yaml"]).exits(3).fails_as(&format!(
        "sink lake: s3://{}/lake/_acequia.json says that the folder belongs to pipeline `messages`, this is pipeline `other`: give each pipeline a folder of its own",
        place.bucket.name
    ));
}

/// Let the bucket abort uploads after so many days.
fn abort_after(bucket: &Bucket, days: i32) {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build();
    let rule = LifecycleRule::builder()
        .id("tidy")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .abort_incomplete_multipart_upload(abort)
        .build()
        .unwrap();
    bucket.wait(async {
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
        let client = bucket.aws.s3().await;
        let put = client.put_bucket_lifecycle_configuration().bucket(&bucket.name);
        put.lifecycle_configuration(rules).send().await.unwrap();
    });
}

#[test]
fn a_run_that_is_killed_leaves_uploads_that_the_next_one_removes() {
    let Some(moto) = services::moto::shared_or_skip("aws::lake") else { return };
    let place = Place::new(moto, "killed");
    place.pipeline(&format!("s3: {{ url: \"{}\" }}", place.bucket.url("checkpoints")));
    place.folder.write("events.ndjson", (0..20_000).map(line).collect::<String>());
    let running = Running::start(place.command(&["run", "pipeline.yaml"]));
    let uploads = || !place.bucket.uploads().is_empty();
    for _ in 0..600 {
        if uploads() {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
    drop(running);
    assert!(uploads(), "it was killed in the middle of an epoch");
    place.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(place.users(), users(0..20_000));
    assert!(place.bucket.uploads().is_empty());
}
