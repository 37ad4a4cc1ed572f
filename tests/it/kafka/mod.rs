//! Kafka topics on a real broker, read by the real program.

mod accept;
pub(crate) mod broker;
mod group;
mod permissions;
mod reading;
mod security;
mod tokens;
mod topics;
mod waits;

use std::time::{Duration, Instant};

use self::broker::Topic;
use crate::program::Folder;
use crate::services;

/// Settings under which a test sees many commits.
const OFTEN: &str = "commit: { every: 200ms, size: 64KiB, min_size: 1B, max_age: 200ms }\n";

/// Wait until the program that serves its metrics on `port` says at `path` what is expected.
#[track_caller]
fn until_shown(port: u16, path: &str, status: u16, text: &str) {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let shown = services::http::get(port, path);
        if shown.as_ref().is_ok_and(|(code, said)| *code == status && said.contains(text)) {
            return;
        }
        assert!(Instant::now() < end, "{path} does not show {status} {text:?}: {shown:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// A pipeline in `folder` that reads `topic`, with further settings of the source and further lines.
fn pipeline(folder: &Folder, topic: &Topic, settings: &str, more: &str) {
    let Topic { bootstrap, name } = topic;
    folder.pipeline(&format!(
        "name: {name}\n\
         source: {{ kafka: {{ bootstrap: \"{bootstrap}\", topics: {name}, format: plain{settings} }} }}\n\
         {more}"
    ));
}

/// The value of message `number`.
pub(crate) fn value(number: usize) -> String {
    format!(
        "{{\"user_id\":\"user-{number}\",\"timestamp\":\"2024-01-{:02}T10:30:00.000Z\",\
         \"session_id\":\"s\",\"message_id\":\"m{number}\",\"message_type\":\"text\",\
         \"role\":\"user\",\"content\":\"text {number}\"}}",
        1 + number % 28
    )
}
