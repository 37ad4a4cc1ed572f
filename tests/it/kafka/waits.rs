//! A broker that goes away while it is read: shown, waited for, and read on.

use rustix::process::Signal;

use super::broker::Topic;
use super::{OFTEN, pipeline, until_shown, value};
use crate::program::{Folder, column, rows};
use crate::services::kafka::Kafka;
use crate::services::{self, Service as _};

#[test]
fn a_broker_that_is_away_is_shown_and_said_once_and_read_on_when_it_is_back() {
    let Some(mut kafka) = Kafka::start_or_skip("kafka::waits") else { return };
    let topic = Topic::new(&kafka.bootstrap(), "away", 1);
    let values: Vec<String> = (0..6).map(value).collect();
    let send = |range: std::ops::Range<usize>| {
        topic.send(range.map(|number| (0, "", Some(values[number].as_str()))));
    };
    let folder = Folder::new();
    // A machine under load needs long to bring a broker back: the group waits for its member.
    pipeline(&folder, &topic, ", session_timeout: 10m", OFTEN);
    let port = services::server::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut reads = folder.start(&["run", "pipeline.yaml", "--log", "info", "--metrics", &address]);
    send(0..3);
    reads.until_it_says("step=\"finalise\"", 1);
    until_shown(port, "/readyz", 200, "ready");

    for times in 1..=2 {
        match times {
            1 => kafka.server.kill(),
            _ => kafka.server.freeze(),
        }
        reads.until_it_says("reading failed, trying again", times);
        until_shown(port, "/readyz", 503, "a lane waits for its source");
        let waits = format!("acequia_lane_waiting{{lane=\"{}-0\"}} 1.0", topic.name);
        until_shown(port, "/metrics", 200, &waits);
        match times {
            1 => kafka.server.restart(),
            _ => kafka.server.thaw(),
        }
        until_shown(port, "/readyz", 200, "ready");
    }
    send(3..6);
    reads.until_it_says("step=\"finalise\"", 2);
    reads.signal(Signal::TERM);
    let ended = reads.end().exits(0);
    let what = format!("no broker that has {}-0 is reached", topic.name);
    assert_eq!(ended.stderr.matches(&what).count(), 2, "{}", ended.stderr);
    let mut found = column(&rows(&folder.path("lake")), "_position");
    found.sort();
    assert_eq!(found, ["0", "1", "2", "3", "4", "5"]);
}
