//! Brokers that encrypt and ask for passwords.

use std::fs;

use super::broker::Topic;
use super::{pipeline, value};
use crate::program::{Ended, Folder, PROGRAM, Running, column, rows};
use crate::services;
use crate::services::kafka::{Kafka, KafkaOptions, PLAIN_USER, SCRAM_USER, User};

/// The settings of a user who logs in; the password comes from the environment.
fn login(tls: &str, mechanism: &str, (name, _): User) -> String {
    format!(
        ", tls: {tls}, sasl: {{ mechanism: {mechanism}, username: {name}, password: \"${{PASSWORD}}\" }}"
    )
}

fn run(folder: &Folder, password: &str) -> Ended {
    let mut command = folder.command(PROGRAM, &["run", "pipeline.yaml", "--until-end"]);
    command.env("PASSWORD", password);
    Running::start(command).end()
}

#[test]
fn a_user_logs_in_over_tls_and_whoever_cannot_is_told_why() {
    let options = KafkaOptions { sasl_ssl: true, ..KafkaOptions::default() };
    let started = Kafka::start_with(options);
    let Some(kafka) = services::or_skip("kafka::security", started) else { return };
    let open = Topic::new(&kafka.bootstrap(), "secured", 1);
    let values: Vec<String> = (0..6).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        open.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    let topic = Topic { bootstrap: kafka.bootstrap_sasl(), name: open.name.clone() };
    let folder = Folder::new();
    folder.write("ca.pem", fs::read(kafka.certificate()).unwrap());
    let trusting = "{ ca: ca.pem }";

    send(0..3);
    pipeline(&folder, &topic, &login(trusting, "scram_sha512", SCRAM_USER), "");
    run(&folder, SCRAM_USER.1).exits(0);
    send(3..6);
    pipeline(&folder, &topic, &login(trusting, "plain", PLAIN_USER), "");
    run(&folder, PLAIN_USER.1).exits(0);
    assert_eq!(column(&rows(&folder.path("lake")), "user_id").len(), 6);

    let bootstrap = &topic.bootstrap;
    let refused = run(&folder, "a wrong password").exits(2);
    let refused = refused
        .fails_as(&format!("{bootstrap} does not let this user in: check `source.kafka.sasl`"));
    assert!(!refused.stderr.contains("a wrong password"), "{}", refused.stderr);

    pipeline(&folder, &topic, &login("{}", "scram_sha512", SCRAM_USER), "");
    run(&folder, SCRAM_USER.1).exits(2).fails_as(&format!(
        "cannot agree with {bootstrap} on encryption: check `source.kafka.tls`"
    ));

    pipeline(&folder, &topic, "", "");
    run(&folder, "").exits(2).fails_as(&format!(
        "no broker answers at {bootstrap}: check `source.kafka.bootstrap`, the network, and how the brokers want to be talked to (TLS, password)"
    ));

    let open_password = login(trusting, "plain", PLAIN_USER).replace("tls: { ca: ca.pem }, ", "");
    pipeline(&folder, &topic, &open_password, "");
    run(&folder, PLAIN_USER.1).exits(2).says(
        "source.kafka.sasl: would send the password as it is over an open connection; add `tls: {}`, or a SCRAM mechanism",
    );
}
