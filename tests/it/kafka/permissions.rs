//! What a user may do: at the start, and taken away and given back in mid-run.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use super::broker::Topic;
use super::{OFTEN, pipeline, until_shown, value};
use crate::program::{Folder, PROGRAM, Running, column, rows};
use crate::services;
use crate::services::kafka::{Kafka, KafkaOptions, SCRAM_USER};

/// What an ACL speaks of, by the numbers of Kafka's protocol.
const TOPIC: i8 = 2;
const GROUP: i8 = 3;
/// What it allows.
const READ: i8 = 3;
const DESCRIBE: i8 = 8;

/// The requests `CreateAcls` and `DeleteAcls`, whose first versions are alike but for this number.
const CREATE: i16 = 30;
const DELETE: i16 = 31;

/// Let [`SCRAM_USER`] do `operation` on the `kind` of that name from now on, or not any more.
///
/// No client that tests have knows ACLs: this is the protocol itself, whose listener without a login
/// is that of a super user.
fn allow(kafka: &Kafka, request: i16, (kind, name, operation): (i8, &str, i8)) {
    let text = |text: &str| {
        let length = i16::try_from(text.len()).unwrap();
        [&length.to_be_bytes(), text.as_bytes()].concat()
    };
    let principal = format!("User:{}", SCRAM_USER.0);
    let (literal, allowed) = (3_i8, 3_i8);
    let acl = [
        vec![kind.to_be_bytes()[0]],
        text(name),
        vec![literal.to_be_bytes()[0]],
        text(&principal),
        text("*"),
        vec![operation.to_be_bytes()[0], allowed.to_be_bytes()[0]],
    ];
    let (version, correlation, one) = (1_i16, 7_i32, 1_i32);
    let message = [
        request.to_be_bytes().to_vec(),
        version.to_be_bytes().to_vec(),
        correlation.to_be_bytes().to_vec(),
        text("tests"),
        one.to_be_bytes().to_vec(),
        acl.concat(),
    ]
    .concat();
    let mut stream = TcpStream::connect(("127.0.0.1", kafka.port())).unwrap();
    stream.write_all(&u32::try_from(message.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&message).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, pause, number of results; then the code of the first.
    assert_eq!(answer[12..14], [0, 0], "{answer:?}");
}

#[test]
fn what_a_user_may_not_do_is_said_at_the_start_and_waited_for_in_mid_run() {
    let started = Kafka::start_with(KafkaOptions {
        sasl_ssl: true,
        authorizer: true,
        ..KafkaOptions::default()
    });
    let Some(kafka) = services::or_skip("kafka::permissions", started) else { return };
    let open = Topic::new(&kafka.bootstrap(), "guarded", 1);
    let values: Vec<String> = (0..9).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        open.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    let topic = Topic { bootstrap: kafka.bootstrap_sasl(), name: open.name.clone() };
    let folder = Folder::new();
    folder.write("ca.pem", fs::read(kafka.certificate()).unwrap());
    let login = format!(
        ", group: readers, tls: {{ ca: ca.pem }}, sasl: {{ mechanism: scram_sha512, username: {}, password: \"${{PASSWORD}}\" }}",
        SCRAM_USER.0
    );
    pipeline(&folder, &topic, &login, OFTEN);
    let start = |args: &[&str]| {
        let mut command = folder.command(PROGRAM, &[&["run", "pipeline.yaml"], args].concat());
        command.env("PASSWORD", SCRAM_USER.1);
        Running::start(command)
    };
    let (name, bootstrap) = (topic.name.as_str(), topic.bootstrap.as_str());
    let describe = (TOPIC, name, DESCRIBE);
    let (read, join) = ((TOPIC, name, READ), (GROUP, "readers", READ));

    // One after the other, as somebody would grant them.
    start(&[]).end().exits(2).says(&format!(
        "error: {bootstrap} does not let this user describe topic `{name}`: allow Describe and Read on it"
    ));
    allow(&kafka, CREATE, describe);
    start(&[]).end().exits(2).says(&format!(
        "error: {bootstrap} does not let this user read topic `{name}`: allow Read on it\n"
    ));
    allow(&kafka, CREATE, read);
    start(&[]).end().exits(2).says(&format!(
        "error: {bootstrap} does not let this user read in group `readers`: allow Read on the group, or name another by `source.kafka.group`\n"
    ));
    allow(&kafka, CREATE, join);

    let port = services::server::free_port();
    let mut reads = start(&["--log", "info", "--metrics", &format!("127.0.0.1:{port}")]);
    send(0..3);
    reads.until_it_says("step=\"finalise\"", 1);
    until_shown(port, "/readyz", 200, "ready");

    // Taken away while something comes, and again while nothing does.
    let shown = format!("acequia_lane_waiting{{lane=\"{name}-0\"}} 1.0");
    for (times, sent) in [(1, 3..6), (2, 6..6)] {
        allow(&kafka, DELETE, read);
        reads.until_it_says("reading failed, trying again", times);
        send(sent);
        let why = "not ready: a lane waits for its source; the log says why";
        until_shown(port, "/readyz", 503, why);
        until_shown(port, "/metrics", 200, &shown);
        // Long enough for it to ask again, and to be refused again.
        std::thread::park_timeout(Duration::from_secs(6));
        allow(&kafka, CREATE, read);
        reads.until_it_says("the broker answers again", times);
        until_shown(port, "/readyz", 200, "ready");
    }
    reads.until_it_says("step=\"finalise\"", 2);

    // Out of its group, and in it again.
    allow(&kafka, DELETE, join);
    until_shown(port, "/readyz", 503, "not ready: the source has not said what to read");
    allow(&kafka, CREATE, join);
    until_shown(port, "/readyz", 200, "ready");
    send(6..9);
    reads.until_it_says("step=\"finalise\"", 3);

    reads.signal(Signal::TERM);
    let ended = reads.end().exits(0);
    let said = |text: &str| ended.stderr.matches(text).count();
    assert_eq!(said("reading failed, trying again"), 2, "each said once: {}", ended.stderr);
    let refused = format!(
        "cannot fetch {name}-0: TopicAuthorizationFailed (Broker: Topic authorization failed)"
    );
    ended.says(&refused);
    let mut found = column(&rows(&folder.path("lake")), "_position");
    found.sort();
    let expected: Vec<String> = (0..9).map(|position| position.to_string()).collect();
    assert_eq!(found, expected, "nothing is lost, nothing is there twice");
}
