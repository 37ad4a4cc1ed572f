//! Kafka topics on a real broker, read by the real program.

mod accept;
pub(crate) mod broker;
mod group;
mod reading;
mod security;
mod topics;

use self::broker::Topic;
use crate::program::Folder;

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
