//! The servers of tests start, survive what tests do to them, and never outlive the tests.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, test_kill_process};

use crate::services::cache::RunFolder;
use crate::services::guard::Guarded;
use crate::services::kafka::{self, Kafka, KafkaOptions};
use crate::services::moto::{self, Moto};
use crate::services::server::free_port;
use crate::services::{Missing, Service, banner, http};

/// What has been told to end does so sooner than this.
const SOON: Duration = Duration::from_secs(20);

fn is_there(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// A process that goes on until it is killed.
fn endless(folder: &RunFolder) -> Guarded {
    Guarded::start(Path::new("sleep"), ["3600"], folder.path(), &folder.join("log"))
}

#[test]
fn a_server_ends_when_the_pipe_of_its_guard_closes() {
    let folder = RunFolder::new("guard");
    let mut guarded = endless(&folder);
    assert!(is_there(guarded.pid()) && guarded.ended().is_none());
    guarded.close_pipe();
    assert!(guarded.ends_within(SOON), "it outlives the pipe");
    assert!(!is_there(guarded.pid()));
}

#[test]
fn a_server_ends_when_its_handle_is_dropped() {
    let folder = RunFolder::new("guard");
    let guarded = endless(&folder);
    let pid = guarded.pid();
    assert!(is_there(pid));
    drop(guarded);
    assert!(!is_there(pid));
}

#[test]
fn a_program_that_is_not_there_says_so_in_the_log() {
    let folder = RunFolder::new("guard");
    let log = folder.join("log");
    let mut guarded = Guarded::start(Path::new("./no-such-program"), ["now"], folder.path(), &log);
    assert!(guarded.ends_within(SOON));
    assert_eq!(guarded.ended().unwrap().code(), Some(127));
    assert!(fs::read_to_string(log).unwrap().contains("no-such-program"));
}

#[test]
fn a_folder_goes_with_its_handle_and_not_before() {
    let folder = RunFolder::new("kept");
    let path = folder.path().to_owned();
    // Making another one sweeps those that nobody owns; another test may do so first.
    let orphan = path.with_extension("orphan");
    fs::create_dir_all(&orphan).unwrap();
    drop(RunFolder::new("other"));
    assert!(path.exists() && !orphan.exists());
    drop(folder);
    assert!(!path.exists());
}

#[test]
fn ports_are_free_and_given_once() {
    let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
    for (place, port) in ports.iter().enumerate() {
        assert!(*port < 32_768 && !ports[..place].contains(port), "{ports:?}");
    }
    let listen = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).unwrap();
    let _taken: Vec<_> = ports.iter().map(listen).collect();
}

#[test]
fn a_skip_names_the_test_and_the_remedy() {
    let missing = Missing { what: "`java` is not installed".to_owned(), remedy: "install Java" };
    let banner = banner("reads_a_topic", &missing);
    for part in ["NOT RUN: reads_a_topic", "`java` is not installed", "install Java"] {
        assert!(banner.contains(part), "{banner}");
    }
}

#[test]
fn kafka_is_shared() {
    let Some(kafka) = kafka::shared_or_skip("kafka_is_shared") else { return };
    TcpStream::connect(kafka.bootstrap()).unwrap();
    assert_eq!(kafka::shared().unwrap().server.pid(), kafka.server.pid());
}

#[test]
fn kafka_comes_back_on_the_same_port_and_data() {
    let test = "kafka_comes_back_on_the_same_port_and_data";
    let Some(mut kafka) = Kafka::start_or_skip(test) else { return };
    let (bootstrap, first) = (kafka.bootstrap(), kafka.server.pid());
    let data = kafka.server.folder().join("data/meta.properties");
    let made = fs::read_to_string(&data).unwrap();
    TcpStream::connect(&bootstrap).unwrap();

    kafka.server.kill();
    assert!(TcpStream::connect(&bootstrap).is_err() && kafka.server.pid().is_none());
    kafka.server.restart();
    TcpStream::connect(&bootstrap).unwrap();
    assert!(kafka.server.pid() != first && kafka.bootstrap() == bootstrap);
    assert_eq!(fs::read_to_string(&data).unwrap(), made);

    // The kernel takes connections for a frozen process, which hears a request to stop only later.
    kafka.server.freeze();
    TcpStream::connect(&bootstrap).unwrap();
    kafka.server.stop();
    assert!(TcpStream::connect(&bootstrap).is_err());

    let folder = kafka.server.folder().path().to_owned();
    drop(kafka);
    assert!(!folder.exists());
}

#[test]
fn kafka_listens_with_passwords_too() {
    let options = KafkaOptions { sasl_ssl: true, ..KafkaOptions::default() };
    let kafka =
        crate::services::or_skip("kafka_listens_with_passwords_too", Kafka::start_with(options));
    let Some(kafka) = kafka else { return };
    TcpStream::connect(kafka.bootstrap()).unwrap();
    TcpStream::connect(kafka.bootstrap_sasl()).unwrap();
    let certificate = fs::read_to_string(kafka.certificate()).unwrap();
    assert!(certificate.contains("-----BEGIN CERTIFICATE-----"), "{certificate}");
}

#[test]
fn moto_answers() {
    let Some(moto) = moto::shared_or_skip("moto_answers") else { return };
    let (status, page) = http::get(moto.port(), "/moto-api/").unwrap();
    assert!(status == 200 && page.contains("Moto"), "{status} {page}");
}

#[test]
fn moto_freezes_and_thaws() {
    let Some(mut moto) = Moto::start_or_skip("moto_freezes_and_thaws") else { return };
    moto.server.freeze();
    assert!(http::get(moto.port(), "/moto-api/").is_err());
    moto.server.thaw();
    assert_eq!(http::get(moto.port(), "/moto-api/").unwrap().0, 200);
}
