//! What AWS refuses, as AWS says it: at the start it is a mistake to be mended, in mid-run a wait.
//! The server of these tests refuses nothing, so that a proxy before it answers in its place.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use acequia::testing::fault_proxy::FaultProxy;

use super::place::{Bucket, make_table, unique};
use crate::kafka::broker::Topic;
use crate::kafka::value;
use crate::program::{Folder, PROGRAM, Running, column, rows_of};
use crate::services;
use crate::services::moto::{ENVIRONMENT, Moto};

/// An answer of S3.
fn s3(status: &str, code: &str, message: &str, headers: &str) -> String {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\n{headers}Content-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

/// An answer of DynamoDB.
fn dynamodb(code: &str, message: &str) -> String {
    let body =
        format!("{{\"__type\":\"com.amazon.coral.service#{code}\",\"Message\":\"{message}\"}}");
    let length = body.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// A bucket and a table behind a proxy, and a pipeline that writes there.
struct Place {
    bucket: Bucket,
    table: String,
    proxy: FaultProxy,
    folder: Folder,
}

impl Place {
    fn new(moto: &Moto, name: &str) -> Self {
        let upstream = SocketAddr::from(([127, 0, 0, 1], moto.port()));
        let (bucket, table) = (Bucket::new(moto, name), unique(name));
        bucket.wait(make_table(&bucket.aws, &table));
        let proxy = FaultProxy::start(upstream, 1, 0).unwrap();
        Self { bucket, table, proxy, folder: Folder::new() }
    }

    fn pipeline(&self, name: &str, source: &str) {
        self.folder.pipeline(&format!(
            "name: {name}\n\
             source: {{ {source} }}\n\
             sinks: {{ lake: {{ parquet: {{ url: \"{}\", partition: {{ by: month, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: \"{}\" }}\n\
             checkpoint: {{ dynamodb: {{ table: {} }} }}\n\
             commit: {{ every: 200ms, min_size: 1B, max_age: 200ms }}\n\
             aws: {{ endpoint: \"{}\", path_style: true }}\n",
            self.bucket.url("lake"),
            self.bucket.url("letters"),
            self.table,
            self.proxy.endpoint()
        ));
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.folder.command(PROGRAM, &["run", "pipeline.yaml"]);
        command.args(more).envs(ENVIRONMENT);
        command
    }

    fn users(&self) -> Vec<String> {
        let files = self.bucket.objects("lake/").into_iter();
        let files = files.filter(|(key, _)| key.ends_with(".parquet"));
        let mut users: Vec<String> =
            files.flat_map(|(_, bytes)| column(&rows_of(bytes), "user_id")).collect();
        users.sort();
        users
    }
}

#[test]
fn each_refusal_at_the_start_says_what_to_do() {
    let Some(moto) = services::moto::shared_or_skip("aws::refusals") else { return };
    let place = Place::new(moto, "denied");
    place.pipeline("denied", "archive: { path: \"events.ndjson\", format: plain }");
    place.folder.write("events.ndjson", value(1));
    let (bucket, table) = (&place.bucket.name, &place.table);
    let denied = s3("403 Forbidden", "AccessDenied", "Access Denied", "");
    let skewed = "The difference between the request time and the current time is too large.";
    let clock = "the clock of this machine is more than minutes away from that of AWS, which refuses its signatures: set the clock, best by NTP";
    let (mut told, mut expected) = (Vec::new(), Vec::new());
    for (where_in_head, answer, says) in [
        (
            format!("/{bucket}"),
            denied.clone(),
            format!(
                "sink lake: cannot write s3://{bucket}/lake/_acequia.json: the credentials do not allow it: grant them `s3:PutObject` there (Access Denied)"
            ),
        ),
        (
            format!("PUT /{bucket}/letters/"),
            denied,
            format!(
                "dead_letters: cannot write s3://{bucket}/letters/denied/_acequia.json: the credentials do not allow it: grant them `s3:PutObject` there (Access Denied)"
            ),
        ),
        (
            format!("/{bucket}"),
            s3(
                "301 Moved Permanently",
                "PermanentRedirect",
                "x",
                "x-amz-bucket-region: eu-west-1\r\n",
            ),
            format!(
                "sink lake: cannot reach the bucket {bucket}: the bucket is in region eu-west-1: set `aws.region: eu-west-1`"
            ),
        ),
        (
            format!("/{bucket}"),
            s3("403 Forbidden", "RequestTimeTooSkewed", skewed, ""),
            format!(
                "sink lake: cannot read the lifecycle rules of s3://{bucket}: {clock} ({skewed})"
            ),
        ),
        (
            "DynamoDB_20120810.".to_owned(),
            dynamodb("AccessDeniedException", "User: x is not authorized"),
            format!(
                "cannot read the checkpoint table {table}: the credentials do not allow it: grant them `dynamodb:GetItem` there (User: x is not authorized)"
            ),
        ),
        (
            "DynamoDB_20120810.PutItem".to_owned(),
            dynamodb("AccessDeniedException", "User: y is not authorized"),
            format!(
                "cannot write the control record to the checkpoint table {table} of pipeline denied: the credentials do not allow it: grant them `dynamodb:PutItem` there (User: y is not authorized)"
            ),
        ),
        (
            "DynamoDB_20120810.".to_owned(),
            dynamodb(
                "InvalidSignatureException",
                "Signature expired: 20240101T000000Z is now earlier",
            ),
            format!(
                "cannot read the checkpoint table {table}: {clock} (Signature expired: 20240101T000000Z is now earlier)"
            ),
        ),
    ] {
        place.proxy.refuse(&where_in_head, &answer);
        let ended = Running::start(place.command(&[])).end().exits(2);
        told.push(ended.stderr.lines().last().unwrap_or_default().to_owned());
        expected.push(format!("error: {says}"));
    }
    assert_eq!(told, expected);
    let none = dynamodb("ResourceNotFoundException", "Requested resource not found");
    place.proxy.refuse("DynamoDB_20120810.", &none);
    Running::start(place.command(&[])).end().exits(2).says(&format!(
        "there is no DynamoDB table `{table}` in this account and region; make it with: aws dynamodb create-table --table-name {table} "
    ));
    place.proxy.allow();
    Running::start(place.command(&[])).end().exits(0);
    assert_eq!(place.users(), ["user-1"]);
}

/// A permission that is revoked in mid-run, for S3 and for DynamoDB, and given back.
#[test]
fn a_permission_that_is_revoked_is_waited_for() {
    let Some(kafka) = services::kafka::shared_or_skip("aws::refusals") else { return };
    let Some(moto) = services::moto::shared_or_skip("aws::refusals") else { return };
    let place = Place::new(moto, "revoked");
    let topic = Topic::new(&kafka.bootstrap(), "revoked", 1);
    let (name, bootstrap) = (&topic.name, &topic.bootstrap);
    let source = format!("kafka: {{ bootstrap: \"{bootstrap}\", topics: {name}, format: plain }}");
    place.pipeline(name, &source);
    let values: Vec<String> = (0..9).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        topic.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    let port = services::server::free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut reads = Running::start(place.command(&["--log", "info", "--metrics", &listen]));
    send(0..3);
    reads.until_it_says("step=\"advise\"", 1);
    let denied = s3("403 Forbidden", "AccessDenied", "Access Denied", "");
    let of_table = dynamodb("AccessDeniedException", "User: x is not authorized");
    let bucket = format!("/{}", place.bucket.name);
    let lane = format!("acequia_lane_waiting{{lane=\"{name}-0\"}} 1.0");
    for (range, text, answer, waits) in [
        (3..6, bucket.as_str(), denied, lane.as_str()),
        (6..9, "DynamoDB_20120810.", of_table, "acequia_waiting_steps 1.0"),
    ] {
        let advised = range.start / 3;
        place.proxy.refuse(text, &answer);
        send(range);
        shows(port, "/metrics", waits);
        shows(port, "/readyz", "not ready: a ");
        place.proxy.allow();
        shows(port, "/readyz", "ready\n");
        reads.until_it_says("step=\"advise\"", advised + 1);
    }
    reads.signal(rustix::process::Signal::TERM);
    let ended = reads.end().exits(0);
    assert_eq!(place.users(), (0..9).map(|number| format!("user-{number}")).collect::<Vec<_>>());
    for needs in ["s3:PutObject", "dynamodb:"] {
        // Of a document both the write and the look at what stands there may be said.
        let told = ended.stderr.lines().filter(|line| line.contains(needs)).count();
        assert!((1..=2).contains(&told), "said {told} times: {}", ended.stderr);
    }
}

/// Wait until the program's page at `path` holds `text`.
#[track_caller]
fn shows(port: u16, path: &str, text: &str) {
    let mut page = String::new();
    for _ in 0..600 {
        page = services::http::get(port, path).map(|(_, page)| page).unwrap_or_default();
        if page.contains(text) {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("{path} never held `{text}`: {page}");
}
