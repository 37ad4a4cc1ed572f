//! Archives in a bucket, read by the real program into a lake.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use acequia::testing::fault_proxy::FaultProxy;
use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;

use super::place::Bucket;
use crate::program::{Ended, Folder, PROGRAM, Running, column, letters, rows, rows_of};
use crate::services;
use crate::services::moto::{ENVIRONMENT, Moto};

/// A run in a folder that reads from a bucket.
struct Place {
    bucket: Bucket,
    folder: Folder,
    endpoint: String,
}

/// Message `number` as a line; some are hard to compress, so that files have several chunks.
fn line(number: usize) -> String {
    let noise = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!(
        "{{\"user_id\":\"user-{number}\",\"timestamp\":\"2024-01-{:02}T10:30:00.000Z\",\
         \"session_id\":\"s\",\"message_id\":\"m{number}\",\"message_type\":\"text\",\
         \"role\":\"user\",\"content\":\"text {noise:x}{:x}\"}}\n",
        1 + number % 28,
        noise.rotate_left(17) ^ number,
    )
}

fn text(numbers: std::ops::Range<usize>) -> String {
    numbers.map(line).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

impl Place {
    fn new(moto: &Moto, name: &str) -> Self {
        let bucket = Bucket::new(moto, name);
        Self { bucket, folder: Folder::new(), endpoint: moto.endpoint() }
    }

    /// A pipeline from the objects that `keys` names into a local lake; `more` are settings of the
    /// source, `tail` further keys.
    fn pipeline(&self, keys: &str, more: &str, tail: &str) {
        self.folder.pipeline(&format!(
            "source: {{ archive: {{ path: \"{}\", format: plain{more} }} }}\n\
             aws: {{ endpoint: \"{}\", path_style: true }}\n{tail}",
            self.bucket.url(keys),
            self.endpoint
        ));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.folder.command(PROGRAM, args);
        command.envs(ENVIRONMENT);
        command
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Ended {
        Running::start(self.command(args)).end()
    }

    /// Every visible row: its partition, how often it is there, by user.
    fn users(&self) -> BTreeMap<String, Vec<String>> {
        let rows = rows(&self.folder.path("lake"));
        let users = column(&rows, "user_id").into_iter().zip(column(&rows, "_partition"));
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for (user, partition) in users {
            found.entry(user).or_default().push(partition);
        }
        found
    }

    /// Each of these messages is there once, and nothing else.
    #[track_caller]
    fn holds(&self, numbers: std::ops::Range<usize>) {
        let found = self.users();
        let twice = found.iter().find(|(_, partitions)| partitions.len() > 1);
        assert!(twice.is_none(), "{twice:?}");
        let missing = numbers.clone().find(|number| !found.contains_key(&format!("user-{number}")));
        assert_eq!((missing, found.len()), (None, numbers.len()));
    }
}

#[test]
fn an_archive_in_a_bucket_becomes_a_lake() {
    let Some(moto) = services::moto::shared_or_skip("aws::archive") else { return };
    let place = Place::new(moto, "archive");
    place.pipeline("events/**/*.nd*", ", range_size: 300KiB, lanes: 3", "");
    place.run(&["validate", "pipeline.yaml"]).exits(0);
    place.run(&["run", "pipeline.yaml"]).exits(2).says("no file matches `s3://");
    place.bucket.put("events/day=1/plain.ndjson", text(0..5_000) + "no json\n");
    place.bucket.put("events/day=1/a b+c%20=ñ.ndjson.gz", gzip(&text(5_000..8_000)));
    place.bucket.put("events/day=2/packed.ndjson.zst", zstd(&text(8_000..12_000)));
    place.bucket.put("events/day=2/notes.txt", "not named");

    place.run(&["preview", "pipeline.yaml", "--limit", "3"]).exits(0).prints("user-5000");
    let ended = place.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 12_000, "{}", ended.stderr);
    place.holds(0..12_000);
    let users = place.users();
    for (user, file) in [
        ("user-4999", "day=1/plain.ndjson"),
        ("user-5000", "day=1/a b+c%20=ñ.ndjson.gz"),
        ("user-11999", "day=2/packed.ndjson.zst"),
    ] {
        assert_eq!(users[user], [file]);
    }
    let letters = letters(&place.folder.path("dead-letters"));
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["partition"], "day=1/plain.ndjson", "{}", letters[0]);

    // A second run has nothing to do, a third takes what appeared as the last of all.
    let ended = place.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 0, "{}", ended.stderr);
    place.bucket.put("events/day=0/late.ndjson", text(12_000..12_100));
    place.run(&["run", "pipeline.yaml"]).exits(0).says("a file appeared in the archive");
    place.holds(0..12_100);
    let versions = |user: &str| {
        let rows = rows(&place.folder.path("lake"));
        let users = column(&rows, "user_id").into_iter().zip(column(&rows, "_version"));
        let version = users.filter(|(found, _)| found == user).map(|(_, version)| version);
        version.map(|version| version.parse::<u64>().unwrap() >> 36).collect::<Vec<_>>()
    };
    assert_eq!((versions("user-5000"), versions("user-12000")), (vec![1], vec![4]));
    place.run(&["checkpoint", "verify", "pipeline.yaml"]).exits(0).prints("all is well");

    // What was read changes: nothing is read before somebody has decided.
    place.bucket.put("events/day=2/packed.ndjson.zst", zstd(&text(0..10)));
    place
        .run(&["run", "pipeline.yaml"])
        .exits(3)
        .says("`day=2/packed.ndjson.zst` (number 3) shrank from ");
}

/// The lake that one pipeline writes on S3 is the archive of another.
#[test]
fn a_lake_in_a_bucket_is_read_as_an_archive() {
    let Some(moto) = services::moto::shared_or_skip("aws::archive") else { return };
    let place = Place::new(moto, "lakes");
    let lake = place.bucket.url("first");
    place.bucket.put("events/a.ndjson", text(0..30_000));
    let sink = format!(
        "sinks: {{ lake: {{ parquet: {{ url: \"{lake}\", partition: {{ by: day, time: timestamp }} }} }} }}\n"
    );
    place.pipeline("events/*", "", &sink);
    place.run(&["run", "pipeline.yaml"]).exits(0);
    let files = place.bucket.objects("first/");
    let parquet = files.into_iter().filter(|(key, _)| key.ends_with(".parquet"));
    let written: usize = parquet.map(|(_, file)| column(&rows_of(file), "user_id").len()).sum();
    assert_eq!(written, 30_000);

    let second = Place { folder: Folder::new(), ..place };
    second.pipeline("first/year=*/**/*.parquet", "", "");
    let ended = second.run(&["run", "pipeline.yaml", "--json"]).exits(0);
    assert_eq!(ended.json()["rows"], 30_000, "{}", ended.stderr);
    second.holds(0..30_000);
}

/// Files whose reading takes a while, however they are stored.
fn fill(place: &Place) {
    for (file, from) in [(1, 0), (2, 20_000)] {
        place.bucket.put(&format!("events/{file}.ndjson"), text(from..from + 20_000));
    }
    place.bucket.put("events/3.ndjson.gz", gzip(&text(40_000..60_000)));
    place.bucket.put("events/4.ndjson.zst", zstd(&text(60_000..80_000)));
}

#[test]
fn a_run_that_is_killed_again_and_again_leaves_each_event_once() {
    let Some(moto) = services::moto::shared_or_skip("aws::archive") else { return };
    let place = Place::new(moto, "killed");
    let commit = "commit: { every: 50ms, size: 1MiB, min_size: 64KiB, max_age: 1s }\n";
    place.pipeline("events/*.ndjson*", ", range_size: 2MiB, lanes: 3", commit);
    fill(&place);
    let args = ["run", "pipeline.yaml", "--log", "info", "--log-format", "json"];
    let mut cut = 0;
    for round in 0..6 {
        let running = Running::start(place.command(&args));
        let files = || crate::program::files(&place.folder.path("lake"), ".parquet").len();
        let before = files();
        for _ in 0..400 {
            if files() > before {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // By turns without a word, and asked to end.
        if round % 2 == 0 {
            running.signal(Signal::KILL);
        } else {
            running.signal(Signal::TERM);
        }
        let ended = running.end();
        cut += usize::from(ended.code != Some(0) || place.users().len() < 80_000);
    }
    assert!(cut >= 3, "it was cut off {cut} times only");
    place.run(&["run", "pipeline.yaml"]).exits(0);
    place.holds(0..80_000);
}

#[test]
fn a_spoiled_network_changes_nothing() {
    let Some(moto) = services::moto::shared_or_skip("aws::archive") else { return };
    let mut place = Place::new(moto, "spoiled");
    let upstream = SocketAddr::from(([127, 0, 0, 1], moto.port()));
    let proxy = FaultProxy::start(upstream, 3, 250).unwrap();
    place.endpoint = proxy.endpoint();
    place.pipeline("events/*", ", range_size: 1MiB, lanes: 4", "");
    fill(&place);
    // And an outage in mid-run, longer than a request is sent again.
    let args = ["run", "pipeline.yaml", "--log", "info", "--log-format", "json"];
    let mut running = Running::start(place.command(&args));
    running.until_it_says("\"prepare\"", 1);
    proxy.set_away(true);
    running.until_it_says("reading failed, trying again", 1);
    proxy.set_away(false);
    running.end().exits(0);
    place.holds(0..80_000);
    assert!(proxy.counts().values().sum::<u32>() > 5, "{:?}", proxy.counts());
}

#[test]
fn what_keeps_a_bucket_from_being_read_is_said_at_the_start() {
    let Some(moto) = services::moto::shared_or_skip("aws::archive") else { return };
    let place = Place::new(moto, "refused");
    place.pipeline("events/*", "", "");
    place.bucket.put("events/a.ndjson", line(1));
    let text = std::fs::read_to_string(place.folder.path("pipeline.yaml")).unwrap();
    let with = |from: &str, to: &str| place.folder.write("pipeline.yaml", text.replace(from, to));
    with(&place.bucket.name, "no-such-bucket");
    place
        .run(&["run", "pipeline.yaml"])
        .exits(2)
        .says("cannot reach the bucket no-such-bucket of the archive: it does not exist");
    with(&moto.endpoint(), "http://127.0.0.1:1");
    place.run(&["run", "pipeline.yaml"]).exits(2).says("the server was not reached: ");
    with("", "");
    let nowhere = [("AWS_EC2_METADATA_DISABLED", "true"), ("HOME", "/nowhere")];
    let without = |names: &[&str]| {
        let mut command = place.command(&["run", "pipeline.yaml"]);
        for name in names {
            command.env_remove(name);
        }
        command.envs(nowhere);
        Running::start(command).end()
    };
    without(&["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
        .exits(2)
        .says("no AWS credentials were found: set ");
    without(&["AWS_REGION"]).exits(2).says("no region is known: set `aws.region`");
    place.run(&["run", "pipeline.yaml"]).exits(0);
}
