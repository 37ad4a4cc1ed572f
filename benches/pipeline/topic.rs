//! A topic into the lake, beside a client that consumes the same topic and discards it, and beside
//! the same rows from an archive.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};
use acequia::{Error, ErrorKind, Result, ResultExt};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::Setup;
use crate::inputs::Input;
use crate::measurement::{Measurement, median};
use crate::program::{self, From, Into};
use crate::report::{Column, FIGURES, figures, grouped, header, line};
use crate::services::{self, Service as _};

const TOPIC: &str = "bench";
const PARTITIONS: i32 = 4;
/// What the ratio has to reach.
const BAR: f64 = 0.8;
/// A broker that takes longer does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);

static ROUND: Column = Column::word("round", 6);
static WHAT: Column = Column::word("what", 18);

/// Measure and print the table.
pub(crate) fn run(rows: u64, setup: &Setup) -> Result<()> {
    println!("\n## a topic of {PARTITIONS} partitions, no compression, to zstd-1 Parquet by day");
    let missing = |missing: services::Missing| Error::config(missing.to_string());
    let kafka = services::kafka::Kafka::start().map_err(missing)?;
    let sample =
        BulkSample { seed: 1, rows, days: 30, order: RowOrder::Time, form: RowForm::Plain };
    let input = Input::ready(&setup.folder, sample)?;
    input.warm()?;
    fill(&kafka.bootstrap(), &input)?;
    println!("{} rows, {:.0} MB", grouped(rows), input.bytes as f64 / 1e6);
    let columns: Vec<&Column> = [&ROUND, &WHAT].into_iter().chain(&FIGURES).collect();
    println!("\n{}", header(&columns));
    #[cfg(feature = "aws")]
    let bucket = Bucket::new()?;
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=setup.rounds {
        let ours = setup.folder.join("acequia");
        let consumed = consume(&kafka.bootstrap(), rows)?;
        let topic = From::Topic { bootstrap: &kafka.bootstrap(), topic: TOPIC };
        println!(
            "{round:<6}  consume, discard    {consumed:>9.2}  {:>29}/s",
            grouped((rows as f64 / consumed) as u64)
        );
        let print = |what: &str, run: &Measurement| {
            let mut cells = vec![round.to_string(), what.to_owned()];
            cells.extend(figures(run, rows, input.bytes));
            println!("{}", line(&columns, &cells));
        };
        // The time of the one after the other is the sum of both: 1 / (1/c + 1/a).
        let ratio = |from_topic: &Measurement, from_archive: &Measurement| {
            (consumed + from_archive.counted_seconds) / from_topic.counted_seconds
        };
        let from_topic = program::run_from(&ours, topic, Into::Folder, rows, None)?;
        print("topic -> lake", &from_topic);
        let from_archive = program::run(&ours, &input, None)?;
        print("archive -> lake", &from_archive);
        ratios[0].push(ratio(&from_topic, &from_archive));
        #[cfg(feature = "aws")]
        {
            let run = |from, name: &str| {
                let prefix = bucket.prefix(&format!("{name}-{round}"));
                let into = Into::Bucket { endpoint: &bucket.endpoint, prefix: &prefix };
                program::run_from(&ours, from, into, rows, None)
            };
            let from_topic = run(topic, "topic")?;
            print("topic -> S3", &from_topic);
            let from_archive = run(From::Archive(&input), "archive")?;
            print("archive -> S3", &from_archive);
            ratios[1].push(ratio(&from_topic, &from_archive));
        }
    }
    for (place, ratios) in ["lake", "S3"].iter().zip(&ratios).filter(|(_, all)| !all.is_empty()) {
        let middle = median(ratios);
        let verdict = if middle >= BAR { "reached" } else { "MISSED" };
        println!(
            "topic -> {place}: ratio to 1 / (1/c + 1/a) {middle:.2}, the median of {ratios:.2?}; bar \
             {BAR}: {verdict}"
        );
    }
    Ok(())
}

/// A bucket on a server that answers on this machine, beside the program.
#[cfg(feature = "aws")]
struct Bucket {
    endpoint: String,
    _moto: services::moto::Moto,
}

#[cfg(feature = "aws")]
impl Bucket {
    fn new() -> Result<Self> {
        let missing = |missing: services::Missing| Error::config(missing.to_string());
        let moto = services::moto::Moto::start().map_err(missing)?;
        services::http::put(moto.port(), "/bench")
            .or_error(ErrorKind::Fatal, failed("make a bucket"))?;
        Ok(Self { endpoint: moto.endpoint(), _moto: moto })
    }

    fn prefix(&self, name: &str) -> String {
        format!("s3://bench/{name}")
    }
}

fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    config
}

fn failed(what: &'static str) -> impl FnOnce() -> String {
    move || format!("cannot {what}")
}

/// Make the topic, and send each line of `input` as a message.
fn fill(bootstrap: &str, input: &Input) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> =
        client(bootstrap).create().or_error(ErrorKind::Fatal, failed("talk to the broker"))?;
    let topic = NewTopic::new(TOPIC, PARTITIONS, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_error(ErrorKind::Fatal, failed("start a runtime"))?;
    runtime
        .block_on(admin.create_topics([&topic], &AdminOptions::new()))
        .or_error(ErrorKind::Fatal, failed("make the topic"))?;
    let producer: BaseProducer = client(bootstrap)
        .set("queue.buffering.max.kbytes", "65536")
        .create()
        .or_error(ErrorKind::Fatal, failed("make a producer"))?;
    let file = File::open(&input.path).or_error(ErrorKind::Fatal, failed("open the input"))?;
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.or_error(ErrorKind::Fatal, failed("read the input"))?;
        let partition = i32::try_from(number % PARTITIONS as usize).unwrap_or_default();
        let mut record: BaseRecord<'_, [u8], str> =
            BaseRecord::to(TOPIC).partition(partition).payload(line.as_str());
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    producer.poll(Duration::from_millis(10));
                }
                Err((error, _)) => {
                    return Err(Error::fatal("cannot send a message").caused_by(error));
                }
            }
        }
    }
    producer.flush(TIMEOUT).or_error(ErrorKind::Fatal, failed("send every message"))
}

/// Seconds that the same client library takes to consume the topic and discard it.
fn consume(bootstrap: &str, rows: u64) -> Result<f64> {
    let began = Instant::now();
    let consumer: BaseConsumer = client(bootstrap)
        .set("group.id", "discards")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()
        .or_error(ErrorKind::Fatal, failed("make a consumer"))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(TOPIC, partition, Offset::Beginning)
            .or_error(ErrorKind::Fatal, failed("name a partition"))?;
    }
    consumer.assign(&list).or_error(ErrorKind::Fatal, failed("assign the partitions"))?;
    let mut count = 0;
    while count < rows {
        match consumer.poll(TIMEOUT) {
            Some(Ok(_)) => count += 1,
            Some(Err(error)) => return Err(Error::fatal("cannot consume").caused_by(error)),
            None => return Err(Error::fatal(format!("only {count} messages came"))),
        }
    }
    Ok(began.elapsed().as_secs_f64())
}
