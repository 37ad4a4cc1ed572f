//! Tasks that share a topic, on a bucket and a table: how long a killed one's partitions stand still,
//! what replacing every task adds to the lag, and how soon an idle pipeline has an event in its sinks.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use acequia::{Error, ErrorKind, Result, ResultExt};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::services::{self, Service as _};
use crate::{Setup, folders, program};

const PARTITIONS: i32 = 6;
/// Messages a second, as the bar asks.
const RATE: u64 = 5_000;
const SESSION: Duration = Duration::from_secs(6);
/// A broker that takes longer does not answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Events of the latency.
const SAMPLES: usize = 300;

/// Measure and print.
pub(crate) fn run(setup: &Setup) -> Result<()> {
    println!(
        "\n## tasks that share a topic of {PARTITIONS} partitions, lake and checkpoint on moto"
    );
    let missing = |missing: services::Missing| Error::config(missing.to_string());
    let kafka = services::kafka::Kafka::start().map_err(missing)?;
    let moto = services::moto::Moto::start().map_err(missing)?;
    services::http::put(moto.port(), "/bench")
        .or_error(ErrorKind::Fatal, || "cannot make a bucket".to_owned())?;
    let folder = setup.folder.join("acequia");
    let site = |topic: &'static str, commit: &'static str| Site {
        bootstrap: kafka.bootstrap(),
        endpoint: moto.endpoint(),
        topic,
        commit,
        folder: folder.clone(),
    };
    takeover(&site("taken", "every: 1s, min_size: 1B, max_age: 1s"))?;
    rolling(&site("rolled", "every: 5s, min_size: 1B, max_age: 5s"))?;
    latency(&site("idle", "every: 100ms, min_size: 1B, max_age: 100ms"))
}

/// A topic, and the pipeline that reads it.
struct Site {
    bootstrap: String,
    endpoint: String,
    topic: &'static str,
    commit: &'static str,
    folder: PathBuf,
}

/// A task; it is killed when this is dropped.
struct Task {
    child: Child,
    log: PathBuf,
}

impl Drop for Task {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Task {
    fn signal(&self, signal: Signal) {
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// Lines of the log.
    fn lines(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The partitions for which a step was announced after `since` lines.
    fn partitions_at(&self, step: &str, since: usize) -> Vec<String> {
        let lines = self.lines().into_iter().skip(since);
        let mut found: Vec<String> = lines
            .filter(|line| line.step.as_deref() == Some(step))
            .filter_map(|line| line.partition)
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// Wait for its end; seconds, and whether it ended well.
    fn end(&mut self) -> Result<(f64, bool)> {
        let began = Instant::now();
        let status =
            self.child.wait().or_error(ErrorKind::Fatal, || "cannot wait for a task".into())?;
        Ok((began.elapsed().as_secs_f64(), status.success()))
    }
}

/// A line of the log, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Line {
    step: Option<String>,
    partition: Option<String>,
}

fn failed(what: &'static str) -> impl FnOnce() -> String {
    move || format!("cannot {what}")
}

fn message(number: u64) -> String {
    format!(
        "{{\"user_id\":\"user-{}\",\"timestamp\":\"2024-01-15T10:30:00.000Z\",\"session_id\":\"s\",\
         \"message_id\":\"m{number}\",\"message_type\":\"text\",\"role\":\"user\",\
         \"content\":\"{:0>300}\"}}",
        number % 10_000,
        number
    )
}

impl Site {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Make the topic, the table and the pipeline file.
    fn make(&self) -> Result<()> {
        folders::empty(&self.folder)?;
        let runtime = tokio::runtime::Runtime::new().or_error(ErrorKind::Fatal, failed("start"))?;
        let admin: AdminClient<DefaultClientContext> =
            self.client().create().or_error(ErrorKind::Fatal, failed("talk to the broker"))?;
        let topic = NewTopic::new(self.topic, PARTITIONS, TopicReplication::Fixed(1));
        runtime
            .block_on(admin.create_topics([&topic], &AdminOptions::new()))
            .or_error(ErrorKind::Fatal, failed("make the topic"))?;
        let Self { bootstrap, endpoint, topic, commit, .. } = self;
        let contract = program::contract();
        let session = SESSION.as_secs();
        let text = format!(
            "name: {topic}\n\
             contract: {contract:?}\n\
             source: {{ kafka: {{ bootstrap: {bootstrap:?}, topics: {topic}, format: plain, op: insert, session_timeout: {session}s }} }}\n\
             sinks: {{ lake: {{ parquet: {{ url: \"s3://bench/{topic}/lake\", partition: {{ by: day, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: \"s3://bench/{topic}/letters\" }}\n\
             checkpoint: {{ s3: {{ url: \"s3://bench/{topic}/checkpoint\" }} }}\n\
             commit: {{ {commit} }}\n\
             aws: {{ endpoint: \"{endpoint}\", path_style: true }}\n"
        );
        fs::write(self.folder.join("pipeline.yaml"), text)
            .or_error(ErrorKind::Fatal, failed("write the pipeline"))
    }

    fn task(&self, name: &str, more: &[&str]) -> Result<Task> {
        let log = self.folder.join(format!("{name}.log"));
        let file = File::create(&log).or_error(ErrorKind::Fatal, failed("make a log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_acequia"));
        command
            .arg("run")
            .arg(self.folder.join("pipeline.yaml"))
            .args(["--log", "info", "--log-format", "json"])
            .args(more)
            .envs(services::moto::ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let child = command.spawn().or_error(ErrorKind::Fatal, failed("start a task"))?;
        Ok(Task { child, log })
    }

    /// Send [`RATE`] messages a second until told to stop.
    fn produce(&self, over: &AtomicBool, sent: &AtomicU64) -> Result<()> {
        let producer: BaseProducer =
            self.client().create().or_error(ErrorKind::Fatal, failed("make a producer"))?;
        let (began, mut number) = (Instant::now(), 0);
        while !over.load(Ordering::Relaxed) {
            let due = (began.elapsed().as_secs_f64() * RATE as f64) as u64;
            while number < due {
                let text = message(number);
                let partition = i32::try_from(number % PARTITIONS as u64).unwrap_or_default();
                let record: BaseRecord<'_, [u8], str> =
                    BaseRecord::to(self.topic).partition(partition).payload(text.as_str());
                if producer.send(record).is_err() {
                    break;
                }
                number += 1;
            }
            sent.store(number, Ordering::Relaxed);
            producer.poll(Duration::from_millis(5));
        }
        producer.flush(TIMEOUT).or_error(ErrorKind::Fatal, failed("send every message"))
    }

    /// Messages that are visible, by the group's offsets.
    fn committed(&self, consumer: &BaseConsumer) -> u64 {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            list.add_partition(self.topic, partition);
        }
        let Ok(offsets) = consumer.committed_offsets(list, TIMEOUT) else { return 0 };
        let offset = |one: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            u64::try_from(one.offset().to_raw().unwrap_or_default()).unwrap_or_default()
        };
        offsets.elements().iter().map(offset).sum()
    }

    fn group(&self) -> Result<BaseConsumer> {
        self.client()
            .set("group.id", self.topic)
            .create()
            .or_error(ErrorKind::Fatal, failed("make a consumer"))
    }
}

/// Wait until `is_so`, for a minute at most.
fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<f64> {
    let began = Instant::now();
    while !is_so() {
        if began.elapsed() > Duration::from_secs(60) {
            return Err(Error::fatal(format!("{what} does not come")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed().as_secs_f64())
}

/// Kill one of two tasks under load: seconds until the other one reads its partitions.
fn takeover(site: &Site) -> Result<()> {
    site.make()?;
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    thread::scope(|scope| {
        let producer = scope.spawn(|| site.produce(&over, &sent));
        let measured = (|| {
            let mut seconds = Vec::new();
            let mut stays = site.task("stays", &[])?;
            until("the first task", || stays.partitions_at("run", 0).len() == PARTITIONS as usize)?;
            for round in 0..3 {
                let dies = site.task(&format!("dies-{round}"), &[])?;
                until("the second task", || dies.partitions_at("advise", 0).len() >= 2)?;
                let theirs = dies.partitions_at("run", 0);
                let seen = stays.lines().len();
                dies.signal(Signal::KILL);
                seconds.push(until("the partitions of the killed task", || {
                    let back = stays.partitions_at("run", seen);
                    theirs.iter().all(|partition| back.contains(partition))
                })?);
            }
            stays.signal(Signal::TERM);
            stays.end()?;
            Ok::<_, Error>(seconds)
        })();
        over.store(true, Ordering::Relaxed);
        let produced = producer.join();
        let seconds = measured?;
        produced.unwrap_or(Ok(()))?;
        let bar = SESSION.as_secs_f64() + 2.0;
        println!(
            "a killed task's partitions are read by another after {seconds:.1?} s; session timeout {} s; \
             bar {bar} s and the completion of pending uploads",
            SESSION.as_secs()
        );
        Ok(())
    })
}

/// Replace three tasks one by one under load.
fn rolling(site: &Site) -> Result<()> {
    site.make()?;
    let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let group = site.group()?;
    let lag =
        || sent.load(Ordering::Relaxed).saturating_sub(site.committed(&group)) as f64 / RATE as f64;
    let most_for = |time: Duration| {
        let (began, mut most) = (Instant::now(), 0f64);
        while began.elapsed() < time {
            most = most.max(lag());
            thread::sleep(Duration::from_millis(100));
        }
        most
    };
    thread::scope(|scope| {
        let producer = scope.spawn(|| site.produce(&over, &sent));
        let measured = (|| {
            let mut tasks = Vec::new();
            for number in 0..3 {
                tasks.push(site.task(&format!("old-{number}"), &[])?);
            }
            most_for(Duration::from_secs(20));
            let before = most_for(Duration::from_secs(20));
            let (mut during, mut drains, mut all_well) = (0f64, Vec::new(), true);
            for number in 0..3 {
                let new = site.task(&format!("new-{number}"), &[])?;
                during = during.max(most_for(Duration::from_secs(6)));
                let mut old = tasks.remove(0);
                old.signal(Signal::TERM);
                let told = Instant::now();
                while old.child.try_wait().ok().flatten().is_none() {
                    during = during.max(lag());
                    thread::sleep(Duration::from_millis(50));
                }
                drains.push(told.elapsed().as_secs_f64());
                all_well &= old.end()?.1;
                during = during.max(most_for(Duration::from_secs(6)));
                tasks.push(new);
            }
            during = during.max(most_for(Duration::from_secs(10)));
            Ok::<_, Error>((before, during, drains, all_well, tasks))
        })();
        over.store(true, Ordering::Relaxed);
        let produced = producer.join();
        let (before, during, drains, all_well, mut tasks) = measured?;
        produced.unwrap_or(Ok(()))?;
        let sent = sent.load(Ordering::Relaxed);
        until("the rest", || site.committed(&group) >= sent)?;
        for task in &tasks {
            task.signal(Signal::TERM);
        }
        for task in &mut tasks {
            task.end()?;
        }
        println!(
            "three tasks replaced one by one at {RATE} messages/s: most lag {before:.1} s before and \
             {during:.1} s during it, added {:.1} s, bar 15 s; each drained in {drains:.1?} s, exit 0: \
             {all_well}; {sent} messages sent, {} committed",
            during - before,
            site.committed(&group)
        );
        Ok(())
    })
}

/// One event at a time through an idle pipeline, until its epoch is open.
fn latency(site: &Site) -> Result<()> {
    site.make()?;
    let port = services::server::free_port();
    let listen = format!("127.0.0.1:{port}");
    let mut task = site.task("idle", &["--metrics", &listen])?;
    let age = || {
        let page = services::http::get(port, "/metrics").map(|(_, page)| page).unwrap_or_default();
        let ages = page.lines().filter(|line| line.starts_with("acequia_lane_epoch_age_seconds{"));
        let ages = ages.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        ages.fold(f64::NAN, f64::max)
    };
    until("the task", || task.partitions_at("run", 0).len() == PARTITIONS as usize)?;
    let producer: BaseProducer = site
        .client()
        .set("linger.ms", "0")
        .create()
        .or_error(ErrorKind::Fatal, failed("make a producer"))?;
    let mut seconds = Vec::with_capacity(SAMPLES);
    for number in 0..SAMPLES as u64 {
        until("an idle moment", || age() == 0.0)?;
        thread::sleep(Duration::from_millis(50 + number * 7 % 100));
        let text = message(number);
        let record: BaseRecord<'_, [u8], str> =
            BaseRecord::to(site.topic).partition(0).payload(text.as_str());
        let began = Instant::now();
        producer.send(record).map_err(|(error, _)| Error::fatal("cannot send").caused_by(error))?;
        let has_come = || age() > 0.0;
        while !has_come() {
            producer.poll(Duration::ZERO);
            if began.elapsed() > TIMEOUT {
                return Err(Error::fatal("an event does not come"));
            }
        }
        seconds.push(began.elapsed().as_secs_f64());
    }
    task.signal(Signal::TERM);
    task.end()?;
    seconds.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (seconds.len() as f64 * part) as usize;
        seconds.get(index).copied().unwrap_or_default() * 1000.0
    };
    println!(
        "an event in the sinks of an idle pipeline: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms of {SAMPLES}; \
         bar p99 50 ms",
        at(0.5),
        at(0.99),
        at(0.9999)
    );
    Ok(())
}
