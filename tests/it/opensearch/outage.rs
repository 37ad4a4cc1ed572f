//! A node that is dead for long, while messages keep coming.
//!
//! For longer: `ACEQUIA_OUTAGE_SECONDS=600 cargo test --test it opensearch::outage -- --nocapture`.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::Index;
use crate::kafka::broker::Topic;
use crate::kafka::value;
use crate::program::{Folder, column, files, rows};
use crate::services::Service as _;
use crate::services::opensearch::OpenSearch;
use crate::services::{self, http};

const PARTITIONS: usize = 2;
/// Messages of each half second.
const MESSAGES: usize = 250;
/// How much more memory a task may have at the end of an outage than soon after its beginning.
const FLAT_BYTES: u64 = 24 << 20;

/// What the kernel keeps in memory for a process.
fn resident(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

fn lake_rows(folder: &Folder) -> usize {
    match files(&folder.path("lake"), ".parquet").is_empty() {
        true => 0,
        false => column(&rows(&folder.path("lake")), "_op").len(),
    }
}

/// Send messages every half second until told to stop; the answer is how many.
fn send(topic: &Topic, is_over: &AtomicBool, sent: &AtomicUsize) {
    while !is_over.load(Ordering::Relaxed) {
        let first = sent.load(Ordering::Relaxed);
        let messages: Vec<_> = (first..first + MESSAGES)
            .map(|number| ((number % PARTITIONS) as i32, value(number)))
            .collect();
        topic.send(messages.iter().map(|(partition, text)| (*partition, "", Some(text.as_str()))));
        sent.fetch_add(MESSAGES, Ordering::Relaxed);
        std::thread::park_timeout(Duration::from_millis(500));
    }
}

#[test]
fn a_dead_node_holds_everything_and_loses_nothing() {
    let test = "opensearch::outage";
    let Some(kafka) = services::kafka::shared_or_skip(test) else { return };
    let Some(mut node) = OpenSearch::start_or_skip(test) else { return };
    let outage = crate::program::asked("ACEQUIA_OUTAGE_SECONDS").unwrap_or(26);
    // The alarm comes at half of it, well before the end.
    let kept = Duration::from_secs(outage * 3 / 2);
    let topic = Topic::with_retention(&kafka.bootstrap(), "outage", PARTITIONS as i32, kept);
    let (folder, index) = (Folder::new(), Index::new(&node, "outage"));
    let port = services::server::free_port();
    folder.pipeline(&format!(
        "name: {0}\n\
         source: {{ kafka: {{ bootstrap: \"{1}\", topics: {0}, format: plain }} }}\n\
         sinks:\n  \
         lake: {{ parquet: {{ url: lake, partition: {{ by: month, time: timestamp }} }} }}\n  \
         search: {{ on_outage: hold, opensearch: {{ url: \"{2}\", index: {3}, replicas: 0 }} }}\n\
         commit: {{ every: 500ms, min_size: 1B, max_age: 500ms }}\n\
         metrics: {{ listen: \"127.0.0.1:{port}\" }}\n",
        topic.name,
        kafka.bootstrap(),
        index.url,
        index.name
    ));
    let (is_over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stops = Stops(&is_over);
        scope.spawn(|| send(&topic, &is_over, &sent));
        let mut task = folder.start(&["run", "pipeline.yaml"]);
        let begun = Instant::now();
        while lake_rows(&folder) < 4 * MESSAGES {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing comes");
            std::thread::park_timeout(Duration::from_millis(200));
        }
        node.server.kill();
        let began = Instant::now();
        // What was already with the node may be committed.
        std::thread::park_timeout(Duration::from_secs(3));
        let (held, mut memory) = (lake_rows(&folder), Vec::new());
        while began.elapsed() < Duration::from_secs(outage) {
            memory.push(resident(task.pid()));
            std::thread::park_timeout(Duration::from_millis(500));
        }
        assert_eq!(lake_rows(&folder), held, "the lake got ahead of the index");
        let third = memory.len() / 3;
        let most = |part: &[u64]| part.iter().copied().max().unwrap();
        let (first, last) = (most(&memory[..third]), most(&memory[2 * third..]));
        println!(
            "dead for {:.0?}, {} messages meanwhile; resident {} MiB in the first third, {} MiB in the last",
            began.elapsed(),
            sent.load(Ordering::Relaxed) - held,
            first >> 20,
            last >> 20
        );
        assert!(last <= first + FLAT_BYTES, "memory grows: {memory:?}");
        task.until_it_says("a sink has taken nothing for", 1);
        let (_, metrics) = http::get(port, "/metrics").unwrap();
        let alarm =
            |line: &&str| line.starts_with("acequia_lane_loses_soon") && line.ends_with(" 1.0");
        assert!(metrics.lines().any(|line| alarm(&line)), "{metrics}");
        assert_eq!(http::get(port, "/readyz").unwrap().0, 503);

        node.server.restart();
        is_over.store(true, Ordering::Relaxed);
        let late = Instant::now() + Duration::from_secs(120);
        while lake_rows(&folder) < sent.load(Ordering::Relaxed) {
            assert!(Instant::now() < late, "not everything comes after the outage");
            std::thread::park_timeout(Duration::from_millis(500));
        }
        let (_, metrics) = http::get(port, "/metrics").unwrap();
        assert!(!metrics.lines().any(|line| alarm(&line)), "the alarm stays");
        task.signal(Signal::TERM);
        task.end().exits(0);
    });
    let sent = sent.load(Ordering::Relaxed);
    assert_eq!(lake_rows(&folder), sent, "each message once");
    assert_eq!(index.count(), sent as u64);
}

/// Ends the sender, whatever becomes of the test.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
