//! Logins by tokens, which expire: from a file, and from a token endpoint.
//!
//! The broker is a real one, which takes any unsecured JWT that holds `sub` and has not expired. The
//! endpoint is a stub: it answers as an authorization server would, and keeps what it was asked.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acequia::clock::{Clock as _, SystemClock};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;

use super::broker::Topic;
use super::{OFTEN, pipeline, until_shown, value};
use crate::program::{Ended, Folder, PROGRAM, Running, column, rows};
use crate::services;
use crate::services::kafka::{Kafka, KafkaOptions};

const SECRET: &str = "an-open-secret";

/// An unsecured JWT that holds for so many seconds.
fn token(subject: &str, seconds: i64) -> String {
    let now = SystemClock.now_micros() / 1_000_000;
    let claims = format!("{{\"sub\":\"{subject}\",\"iat\":{},\"exp\":{}}}", now - 1, now + seconds);
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part(r#"{"alg":"none"}"#), part(&claims))
}

/// A broker that takes tokens, a topic of it, and a folder whose pipeline logs in by `sasl`.
struct Setting {
    kafka: Kafka,
    topic: Topic,
    folder: Folder,
    values: Vec<String>,
}

impl Setting {
    fn new(test: &str) -> Option<Self> {
        let options = KafkaOptions { sasl_ssl: true, ..KafkaOptions::default() };
        let kafka = services::or_skip(test, Kafka::start_with(options))?;
        let name = Topic::new(&kafka.bootstrap(), "tokens", 1).name;
        let topic = Topic { bootstrap: kafka.bootstrap_sasl(), name };
        let folder = Folder::new();
        folder.write("ca.pem", fs::read(kafka.certificate()).unwrap());
        Some(Self { kafka, topic, folder, values: (0..20).map(value).collect() })
    }

    fn send(&self, numbers: Range<usize>) {
        let open = Topic { bootstrap: self.kafka.bootstrap(), name: self.topic.name.clone() };
        open.send(numbers.map(|number| (0, "", Some(self.values[number].as_str()))));
    }

    fn logs_in_by(&self, sasl: &str) {
        let settings =
            format!(", tls: {{ ca: ca.pem }}, sasl: {{ mechanism: oauthbearer, {sasl} }}");
        pipeline(&self.folder, &self.topic, &settings, OFTEN);
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut command = self.folder.command(PROGRAM, &[&["run", "pipeline.yaml"], args].concat());
        command.env("SECRET", SECRET);
        Running::start(command)
    }

    /// Start without success, showing nobody `hidden`.
    #[track_caller]
    fn is_refused(&self, hidden: &str, message: &str) -> Ended {
        let refused = self.start(&[]).end().exits(2).says(message);
        assert!(!refused.stderr.contains(hidden), "{}", refused.stderr);
        refused
    }

    #[track_caller]
    fn lake_holds(&self, numbers: Range<usize>) {
        let mut found = column(&rows(&self.folder.path("lake")), "user_id");
        found.sort();
        let mut expected: Vec<_> = numbers.map(|number| format!("user-{number}")).collect();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_token_in_a_file_is_renewed_while_the_run_goes_on() {
    let Some(setting) = Setting::new("kafka::tokens") else { return };
    let write = |text: &str| setting.folder.write("token.jwt", text);
    setting.logs_in_by("token_file: token.jwt");
    write(&format!("{}\n", token("olivia", 8)));
    let port = services::server::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut reads = setting.start(&["--log", "info,acequia=debug", "--metrics", &address]);
    setting.send(0..3);
    reads.until_it_says("step=\"finalise\"", 1);
    // The next one lies there in time: connections log in again by it, and nobody notices.
    write(&token("olivia", 16));
    reads.until_it_says("the token for the brokers is renewed", 1);
    // The first has expired by then.
    std::thread::park_timeout(Duration::from_secs(6));
    setting.send(3..6);
    reads.until_it_says("step=\"finalise\"", 2);

    // This time nobody writes a newer one.
    reads.until_it_says("cannot renew the token for the brokers, trying again", 1);
    until_shown(port, "/readyz", 503, "a lane waits for its source");
    setting.send(6..9);
    write(&token("olivia", 600));
    reads.until_it_says("the token for the brokers is renewed again", 1);
    reads.until_it_says("step=\"finalise\"", 3);
    until_shown(port, "/readyz", 200, "ready");
    reads.signal(Signal::TERM);
    let ended = reads.end().exits(0);
    let said = |text: &str| ended.stderr.matches(text).count();
    assert_eq!(said("cannot renew the token"), 1, "{}", ended.stderr);
    assert_eq!(said("reading failed, trying again"), 1, "{}", ended.stderr);
    let (header, claims) = ("eyJhbGciOiJub25lIn0", "eyJzdWIiOi");
    assert_eq!((said(header), said(claims)), (0, 0), "{}", ended.stderr);
    setting.lake_holds(0..9);
}

#[test]
fn a_token_that_is_of_no_use_is_refused_at_the_start() {
    let Some(setting) = Setting::new("kafka::tokens") else { return };
    let path = setting.folder.path("token.jwt").display().to_string();
    setting.logs_in_by("token_file: token.jwt");
    setting.is_refused(
        "eyJ",
        &format!(
            "error: cannot read the token in {path}, see `source.kafka.sasl.token_file`: No such file or directory (os error 2)\n"
        ),
    );
    setting.folder.write("token.jwt", "opaque");
    setting.is_refused(
        "opaque",
        &format!(
            "error: {path} holds no token that says when it expires: `source.kafka.sasl.token_file` wants a JWT with the claim `exp`\n"
        ),
    );
    // {"alg":"none"} {"sub":"olivia","exp":1767323045}
    let expired = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJvbGl2aWEiLCJleHAiOjE3NjczMjMwNDV9.";
    setting.folder.write("token.jwt", expired);
    setting.is_refused(
        "eyJ",
        &format!(
            "error: the token of {path} has expired at 2026-01-02T03:04:05Z: renew it, and see that the clock of this machine is right\n"
        ),
    );
    // The broker wants a name.
    setting.folder.write("token.jwt", token("", 600));
    let bootstrap = &setting.topic.bootstrap;
    setting
        .is_refused(
            "eyJ",
            &format!("error: {bootstrap} does not let this user in: check `source.kafka.sasl` ("),
        )
        .says("invalid_token");
}

/// What the stub answers: a status and a body.
type Answer = Arc<Mutex<(u16, String)>>;

/// A stub of a token endpoint: gives `answer` to every request, and keeps the requests.
fn stub(port: u16, answer: Answer) -> Arc<Mutex<Vec<String>>> {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = asked.clone();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let (mut request, mut length) = (String::new(), 0);
            while !request.ends_with("\r\n\r\n") {
                let at = request.len();
                if stream.read_line(&mut request).unwrap_or_default() == 0 {
                    break;
                }
                let line = request[at..].to_lowercase();
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            if stream.read_exact(&mut body).is_err() || length == 0 {
                continue;
            }
            kept.lock().unwrap().push(request + &String::from_utf8(body).unwrap());
            let (status, body) = answer.lock().unwrap().clone();
            let _ = write!(
                stream.get_mut(),
                "HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    asked
}

#[test]
fn a_client_gets_its_tokens_from_an_endpoint() {
    let Some(setting) = Setting::new("kafka::tokens") else { return };
    let port = services::server::free_port();
    let url = format!("http://127.0.0.1:{port}/oauth2/token");
    setting.logs_in_by(&format!(
        "token_url: \"{url}\", client_id: acequia, client_secret: \"${{SECRET}}\", scope: kafka.read"
    ));
    setting.is_refused(
        SECRET,
        &format!(
            "error: cannot get a token of {url}, see `source.kafka.sasl.token_url` and the network: the server was not reached (Connection refused (os error 111))\n"
        ),
    );

    let refusal = r#"{"error":"invalid_client","error_description":"unknown client"}"#;
    let answer: Answer = Arc::new(Mutex::new((401, refusal.to_owned())));
    let say = |status: u16, body: String| *answer.lock().unwrap() = (status, body);
    let asked = stub(port, answer.clone());
    setting.is_refused(
        SECRET,
        &format!(
            "error: cannot get a token of {url}: it refuses the client (401, invalid_client: unknown client): check `client_id`, `client_secret` and `scope` in `source.kafka.sasl`\n"
        ),
    );
    let request = asked.lock().unwrap().pop().unwrap();
    // `acequia:an-open-secret`
    assert!(request.starts_with("POST /oauth2/token HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Basic YWNlcXVpYTphbi1vcGVuLXNlY3JldA==\r\n"), "{request}");
    let body = "\r\n\r\ngrant_type=client_credentials&scope=kafka.read";
    assert!(request.ends_with(body), "{request}");

    let granted = |seconds: i64| {
        let token = token("olivia", seconds);
        format!(
            "{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}"
        )
    };
    say(200, granted(8));
    setting.send(0..3);
    let mut reads = setting.start(&["--log", "info"]);
    reads.until_it_says("step=\"finalise\"", 1);
    // The server fails when the token has to be renewed, and comes back.
    say(503, String::new());
    let waits = format!(
        "cannot renew the token for the brokers, trying again error=cannot get a token of {url}: it answers 503: look into that server's log"
    );
    reads.until_it_says(&waits, 1);
    std::thread::park_timeout(Duration::from_secs(6));
    setting.send(3..6);
    say(200, granted(600));
    reads.until_it_says("the token for the brokers is renewed again", 1);
    reads.until_it_says("step=\"finalise\"", 2);
    reads.signal(Signal::TERM);
    let ended = reads.end().exits(0);
    assert!(!ended.stderr.contains(SECRET) && !ended.stderr.contains("eyJ"), "{}", ended.stderr);
    setting.lake_holds(0..6);
}
