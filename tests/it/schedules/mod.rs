//! A topic on a real broker into a lake on S3, while proxies spoil exchanges with S3 and DynamoDB and
//! connections to the broker, the broker is killed, and tasks are killed or frozen at chosen steps.
//! Then a checker that knows nothing of the program reads the topic and the lake.
//!
//! Each schedule follows from its seed. More of them:
//! `ACEQUIA_SCHEDULES=200 cargo test --test it schedules -- --nocapture`, from another seed on:
//! `ACEQUIA_SCHEDULE_FIRST=200`, one alone: `ACEQUIA_SCHEDULE=17`.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use acequia::runtime::protocol::Step;
use acequia::testing::connection_proxy::ConnectionProxy;
use acequia::testing::fault_proxy::FaultProxy;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::aimed::{Moment, Reached, STEPS, Watched, note, rarest, times};
use crate::aws::place::{Bucket, make_table, unique};
use crate::kafka::broker::Topic;
use crate::kafka::value;
use crate::program::{Folder, PROGRAM, asked};
use crate::services::kafka::{Kafka, KafkaOptions, Proxied};
use crate::services::moto::{ENVIRONMENT, Moto};
use crate::services::server::free_port;
use crate::{lake, services};

const PARTITIONS: i32 = 3;
const MESSAGES: usize = 1_500;
/// A refused message now and then, so that dead letters are committed too.
const POISON_EVERY: usize = 97;
/// What a task may take, with everything that is spoiled.
const LONGEST: Duration = Duration::from_secs(120);

/// Where checkpoints are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Store {
    S3,
    Dynamodb,
}

/// A broker, and the proxy that the program talks to it by.
struct Broker {
    kafka: Kafka,
    proxy: ConnectionProxy,
    kills: u32,
}

impl Broker {
    fn start() -> Self {
        let port = free_port();
        let proxy = ConnectionProxy::start(SocketAddr::from(([127, 0, 0, 1], port)), 1).unwrap();
        let proxied = Some(Proxied { port, advertised: proxy.port() });
        let options = KafkaOptions { proxied, ..KafkaOptions::default() };
        Self { kafka: Kafka::start_with(options).unwrap(), proxy, kills: 0 }
    }

    /// `bootstrap.servers` for the program.
    fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.proxy.port())
    }
}

/// One schedule, while it runs.
struct Schedule<'a> {
    broker: &'a mut Broker,
    random: StdRng,
    topic: Topic,
    partitions: i32,
    sent: usize,
    folder: Folder,
    bucket: Bucket,
    proxy: FaultProxy,
}

impl<'a> Schedule<'a> {
    fn new(seed: u64, store: Store, broker: &'a mut Broker, moto: &Moto) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let upstream = SocketAddr::from(([127, 0, 0, 1], moto.port()));
        let proxy = FaultProxy::start(upstream, seed, random.random_range(0..=120)).unwrap();
        broker.proxy.spoil(random.random_range(0..=50));
        let topic = Topic::new(&broker.kafka.bootstrap(), "schedule", PARTITIONS);
        let bootstrap = broker.bootstrap();
        let (folder, bucket) = (Folder::new(), Bucket::new(moto, "schedule"));
        let checkpoint = match store {
            Store::S3 => format!("s3: {{ url: \"{}\" }}", bucket.url("checkpoints")),
            Store::Dynamodb => {
                let table = unique("schedule");
                bucket.wait(make_table(&bucket.aws, &table));
                format!("dynamodb: {{ table: {table} }}")
            }
        };
        folder.pipeline(&format!(
            "name: {0}\n\
             source: {{ kafka: {{ bootstrap: \"{bootstrap}\", topics: {0}, format: plain, op: insert, session_timeout: 1s }} }}\n\
             sinks: {{ lake: {{ parquet: {{ url: \"{1}\", partition: {{ by: month, time: timestamp }} }} }} }}\n\
             dead_letters: {{ url: \"{2}\" }}\n\
             checkpoint: {{ {checkpoint} }}\n\
             commit: {{ every: 200ms, size: 24KiB, min_size: 1KiB, max_age: 500ms }}\n\
             aws: {{ endpoint: \"{3}\", path_style: true }}\n",
            topic.name,
            bucket.url("lake"),
            bucket.url("letters"),
            proxy.endpoint()
        ));
        Self { broker, random, topic, partitions: PARTITIONS, sent: 0, folder, bucket, proxy }
    }

    fn send(&mut self, count: usize) {
        let numbers = self.sent..self.sent + count;
        self.sent += count;
        let partition = |number: usize| (number % self.partitions as usize) as i32;
        let text = |number| match number % POISON_EVERY {
            5 => "{\"user_id\": ".to_owned(),
            _ => value(number),
        };
        let messages: Vec<_> = numbers.map(|number| (partition(number), text(number))).collect();
        let given = messages.iter().map(|(partition, text)| (*partition, "", Some(text.as_str())));
        self.topic.send(given);
    }

    fn task(&self, moment: Option<Moment>, signal: Signal) -> Watched {
        let args = ["run", "pipeline.yaml", "--until-end", "--log", "info", "--log-format", "json"];
        let mut command = self.folder.command(PROGRAM, &args);
        command.envs(ENVIRONMENT).stdout(Stdio::null());
        let aim = match moment {
            Some(Moment::At { step, count }) => Some((step, count, signal)),
            _ => None,
        };
        Watched::start(command, aim)
    }

    /// One that was interrupted least so far, or any moment.
    fn draw(&mut self, reached: &Reached) -> Moment {
        if self.random.random_bool(0.2) {
            return Moment::After(Duration::from_millis(self.random.random_range(300..3_000)));
        }
        let step = rarest(&mut self.random, reached);
        let most = if matches!(step, Step::Fence | Step::Recover) { 3 } else { 6 };
        Moment::At { step, count: self.random.random_range(1..=most) }
    }

    /// A task that is killed at a step, beside another one or alone.
    fn killed(&mut self, reached: &mut Reached) {
        let moment = self.draw(reached);
        let beside = self.random.random_bool(0.3).then(|| self.task(None, Signal::KILL));
        let mut life = self.task(Some(moment), Signal::KILL);
        life.interrupt(moment, Signal::KILL);
        if !life.end(LONGEST).success() {
            note(reached, life.last());
        }
        if let Some(mut beside) = beside {
            if self.random.random_bool(0.5) {
                beside.signal(Signal::TERM);
            }
            beside.ends_well(LONGEST);
        }
    }

    /// A task that is frozen at a step, while another one finishes in its place.
    fn frozen(&mut self, reached: &mut Reached) {
        let moment = self.draw(reached);
        let mut life = self.task(Some(moment), Signal::STOP);
        life.interrupt(moment, Signal::STOP);
        if life.child.try_wait().unwrap().is_none() {
            note(reached, life.last());
        }
        let mut other = self.task(None, Signal::KILL);
        other.ends_well(LONGEST);
        life.signal(Signal::CONT);
        life.ends_well(LONGEST);
    }

    /// The broker is killed under a task that has begun, and comes back.
    fn broker_killed(&mut self) {
        let mut task = self.task(None, Signal::KILL);
        while task.last().is_none() && task.child.try_wait().unwrap().is_none() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        std::thread::park_timeout(Duration::from_millis(self.random.random_range(0..1_500)));
        self.broker.kafka.server.kill();
        self.broker.kills += 1;
        self.broker.kafka.server.restart();
        task.ends_well(LONGEST);
    }

    fn play(&mut self, reached: &mut Reached) {
        self.send(MESSAGES / 2);
        for _ in 0..self.random.random_range(1..=2) {
            match self.random.random_range(0..20) {
                0..3 => self.broker_killed(),
                3..8 => self.frozen(reached),
                _ => self.killed(reached),
            }
            if self.partitions == PARTITIONS && self.random.random_bool(0.2) {
                self.partitions += 1;
                self.topic.grow(self.partitions as usize);
            }
            self.send(MESSAGES / 4);
        }
        self.proxy.spoil(0);
        self.broker.proxy.spoil(0);
        let mut last = self.task(None, Signal::KILL);
        last.ends_well(LONGEST);
    }

    /// Every committed message is there once, and nothing is left behind.
    fn check(&self, python: &str) {
        let mut topic = String::new();
        for (partition, position, value) in self.topic.messages(self.partitions) {
            let line = json!({ "partition": partition, "position": position, "value": value });
            topic.push_str(&format!("{line}\n"));
        }
        self.folder.write("topic.ndjson", topic);
        for (key, bytes) in self.bucket.objects("") {
            if !key.ends_with(".json") {
                let key = key.replacen(&format!("letters/{}/", self.topic.name), "letters/", 1);
                self.folder.write(&key, bytes);
            }
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/schedules/check.py");
        let root = self.folder.path("");
        let output = Command::new(python).arg(script).arg(&root).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let wrong: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_right = wrong.as_object().unwrap().values().all(|count| *count == 0);
        assert!(is_right, "{wrong} of {} messages", self.sent);
        let uploads = self.bucket.uploads();
        assert!(uploads.is_empty(), "uploads are left: {uploads:?}");
        let lake = fs::read_dir(self.folder.path("lake")).unwrap().count();
        assert!(lake > 0, "nothing was written");
    }
}

#[test]
fn every_message_is_there_once_after_any_schedule() {
    let test = "schedules";
    // The shared one says whether there can be one at all; this one will be killed.
    let Some(_) = services::kafka::shared_or_skip(test) else { return };
    let mut broker = Broker::start();
    let Some(moto) = services::moto::shared_or_skip(test) else { return };
    let Some(python) = lake::python() else { return };
    let count = asked("ACEQUIA_SCHEDULES").unwrap_or(6);
    let first = asked("ACEQUIA_SCHEDULE_FIRST").unwrap_or(0);
    let seeds = match asked("ACEQUIA_SCHEDULE") {
        Some(seed) => seed..seed + 1,
        None => first..first + count,
    };
    let (mut s3, mut dynamodb) = (Reached::new(), Reached::new());
    for seed in seeds {
        let store = if seed % 2 == 0 { Store::S3 } else { Store::Dynamodb };
        let reached = if store == Store::S3 { &mut s3 } else { &mut dynamodb };
        let mut schedule = Schedule::new(seed, store, &mut broker, moto);
        let begun = std::time::Instant::now();
        println!("schedule {seed}: {store:?}");
        schedule.play(reached);
        let (spoiled, took) = (schedule.proxy.counts(), begun.elapsed());
        println!("schedule {seed}: {took:.1?}, spoiled {spoiled:?}");
        schedule.check(&python);
    }
    println!("the broker was killed {} times, spoiled {:?}", broker.kills, broker.proxy.counts());
    for (store, reached) in [("s3", &s3), ("dynamodb", &dynamodb)] {
        println!("{store}: interrupted after the announcement of {reached:?}");
        if count >= 200 {
            for step in STEPS {
                let count = times(reached, step);
                assert!(count >= 5, "{store}: {step} was interrupted {count} times only");
            }
        }
    }
}
