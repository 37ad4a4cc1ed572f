//! Rows into an index of OpenSearch, beside a client that sends the same number of documents in bulks
//! of the same size; and how soon an idle pipeline has an event in its index.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};
use acequia::{Error, ErrorKind, Result, ResultExt};
use opensearch::OpenSearch;
use opensearch::http::Method;
use opensearch::http::headers::HeaderMap;
use opensearch::http::transport::Transport;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::inputs::Input;
use crate::measurement::median;
use crate::report::grouped;
use crate::services::{self, Service as _};
use crate::{Setup, folders, program, watch};

/// What the ratio has to reach.
const BAR: f64 = 0.8;
/// Bytes of one bulk, the sink's default.
const BULK_BYTES: usize = 5 << 20;
/// Bulks under way at once, the sink's default.
const REQUESTS: usize = 4;
/// Events of the latency.
const SAMPLES: usize = 300;
/// A node that takes longer does not answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Measure and print.
pub(crate) fn run(rows: u64, setup: &Setup) -> Result<()> {
    println!("\n## rows into an index of OpenSearch, on one node with a heap of 512 MB");
    let missing = |missing: services::Missing| Error::config(missing.to_string());
    let node = services::opensearch::OpenSearch::start().map_err(missing)?;
    let node = Node::new(&node.url())?;
    let sample =
        BulkSample { seed: 1, rows, days: 30, order: RowOrder::Time, form: RowForm::Plain };
    let input = Input::ready(&setup.folder, sample)?;
    input.warm()?;
    println!("{} rows, {:.0} MB", grouped(rows), input.bytes as f64 / 1e6);
    let bodies = bodies(&input)?;
    let folder = setup.folder.join("acequia");
    let mut ratios = Vec::new();
    for round in 1..=setup.rounds {
        let ours = write(&node, &folder, &input)?;
        let bare = node.send_bare(&bodies, rows)?;
        let rate = |seconds: f64| grouped((rows as f64 / seconds) as u64);
        println!(
            "round {round}: acequia {ours:.2} s, {}/s; a bare client {bare:.2} s, {}/s; ratio {:.2}",
            rate(ours),
            rate(bare),
            bare / ours
        );
        ratios.push(bare / ours);
    }
    let middle = median(&ratios);
    let verdict = if middle >= BAR { "reached" } else { "MISSED" };
    println!("ratio {middle:.2}, the median of {ratios:.2?}; bar {BAR}: {verdict}");
    #[cfg(feature = "kafka")]
    latency(&node, &folder)?;
    Ok(())
}

fn failed(what: &'static str) -> impl FnOnce() -> String {
    move || format!("cannot {what}")
}

/// A client of the node that is not the program's.
struct Node {
    url: String,
    client: OpenSearch,
    runtime: Runtime,
}

impl Node {
    fn new(url: &str) -> Result<Self> {
        let transport =
            Transport::single_node(url).or_error(ErrorKind::Fatal, failed("make a client"))?;
        let runtime = Runtime::new().or_error(ErrorKind::Fatal, failed("start a runtime"))?;
        Ok(Self { url: url.to_owned(), client: OpenSearch::new(transport), runtime })
    }

    fn ask(&self, method: Method, path: &str, body: Option<String>) -> Result<(u16, Value)> {
        self.runtime.block_on(ask(&self.client, method, path, body))
    }

    /// Seconds that a client takes to send the bodies, as many at once as the sink does.
    fn send_bare(&self, bodies: &[String], rows: u64) -> Result<f64> {
        let (_, made) = self.ask(Method::Get, "/bench-1", None)?;
        let [mappings, analysis] = ["/bench-1/mappings", "/bench-1/settings/index/analysis"]
            .map(|path| made.pointer(path).cloned().unwrap_or_default());
        let same = json!({
            "settings": { "number_of_shards": 1, "number_of_replicas": 0, "analysis": analysis },
            "mappings": mappings,
        });
        self.ask(Method::Delete, "/bare", None)?;
        let (status, said) = self.ask(Method::Put, "/bare", Some(same.to_string()))?;
        if status != 200 {
            return Err(Error::fatal(format!("cannot make the other index: {said}")));
        }
        let began = Instant::now();
        self.runtime.block_on(async {
            let places = Arc::new(Semaphore::new(REQUESTS));
            let mut sending = tokio::task::JoinSet::new();
            for body in bodies {
                let place = places.clone().acquire_owned().await;
                let (client, body) = (self.client.clone(), body.clone());
                sending.spawn(async move {
                    let _place = place;
                    let path = "/bare/_bulk?filter_path=errors,items.*.status,items.*.error";
                    ask(&client, Method::Post, path, Some(body)).await
                });
            }
            while let Some(sent) = sending.join_next().await {
                let (status, said) = sent.or_error(ErrorKind::Fatal, failed("send a bulk"))??;
                if status != 200 || said.get("errors") != Some(&json!(false)) {
                    let shown: String = said.to_string().chars().take(500).collect();
                    return Err(Error::fatal(format!("a bulk was answered {status}: {shown}")));
                }
            }
            Ok(())
        })?;
        let seconds = began.elapsed().as_secs_f64();
        self.count("bare", rows)?;
        Ok(seconds)
    }

    /// The index has so many documents.
    fn count(&self, index: &str, rows: u64) -> Result<()> {
        self.ask(Method::Post, &format!("/{index}/_refresh"), None)?;
        let (_, said) = self.ask(Method::Get, &format!("/{index}/_count"), None)?;
        match said.get("count").and_then(Value::as_u64) {
            Some(count) if count == rows => Ok(()),
            count => {
                Err(Error::fatal(format!("the index {index} has {count:?} documents of {rows}")))
            }
        }
    }
}

async fn ask(
    client: &OpenSearch,
    method: Method,
    path: &str,
    body: Option<String>,
) -> Result<(u16, Value)> {
    let (headers, none) = (HeaderMap::new(), None::<&str>);
    let answer = client
        .send(method, path, headers, none, body, Some(TIMEOUT))
        .await
        .or_error(ErrorKind::Fatal, failed("reach the node"))?;
    Ok((answer.status_code().as_u16(), answer.json().await.unwrap_or_default()))
}

/// The rows as bulks, each line a document under an id of the program's kind.
fn bodies(input: &Input) -> Result<Vec<String>> {
    let file = File::open(&input.path).or_error(ErrorKind::Fatal, failed("open the input"))?;
    let (mut bodies, mut body) = (Vec::new(), String::new());
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.or_error(ErrorKind::Fatal, failed("read the input"))?;
        let row: Value =
            serde_json::from_str(&line).or_error(ErrorKind::Fatal, failed("read a row"))?;
        // The program's id, to the letter: ids in the order of time would be found to be new at once.
        let member = |name| row.get(name).cloned().unwrap_or_default();
        let id =
            format!("{{\"user_id\":{},\"timestamp\":{}}}", member("user_id"), member("timestamp"));
        let action =
            json!({ "index": { "_id": id, "version": number + 1, "version_type": "external" } });
        // Writing to a text never fails.
        let _ = write!(body, "{action}\n{line}\n");
        if body.len() >= BULK_BYTES {
            bodies.push(std::mem::take(&mut body));
        }
    }
    bodies.push(body);
    bodies.retain(|body| !body.is_empty());
    Ok(bodies)
}

fn pipeline(node: &Node, folder: &Path, source: &str, more: &str) -> Result<()> {
    folders::empty(folder)?;
    let (contract, url) = (program::contract(), &node.url);
    let text = format!(
        "name: bench\n\
         contract: {contract:?}\n\
         source: {{ {source} }}\n\
         sinks: {{ search: {{ opensearch: {{ url: {url:?}, index: bench, replicas: 0 }} }} }}\n\
         dead_letters: {{ url: dead-letters }}\n\
         checkpoint: {{ file: {{ path: checkpoint }} }}\n{more}"
    );
    fs::write(folder.join("pipeline.yaml"), text)
        .or_error(ErrorKind::Fatal, failed("write the pipeline"))?;
    node.ask(Method::Delete, "/bench-1", None).map(drop)
}

fn acequia(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_acequia"));
    command.arg("run").arg(folder.join("pipeline.yaml"));
    command
}

/// Seconds that the program takes.
fn write(node: &Node, folder: &Path, input: &Input) -> Result<f64> {
    let path = glob::Pattern::escape(&input.path.to_string_lossy());
    pipeline(node, folder, &format!("archive: {{ path: {path:?}, format: plain }}"), "")?;
    let finished = watch::run(acequia(folder).args(["--json", "--log", "error"]), "acequia")?;
    node.count("bench-1", input.sample.rows)?;
    println!("         peak {:.0} MiB", finished.memory.peak as f64 / f64::from(1 << 20));
    Ok(finished.seconds)
}

/// One event at a time through an idle pipeline, until its document is there.
#[cfg(feature = "kafka")]
fn latency(node: &Node, folder: &Path) -> Result<()> {
    use rdkafka::ClientConfig;
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

    let missing = |missing: services::Missing| Error::config(missing.to_string());
    let kafka = services::kafka::Kafka::start().map_err(missing)?;
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", kafka.bootstrap()).set("linger.ms", "0");
    let admin: AdminClient<DefaultClientContext> =
        settings.create().or_error(ErrorKind::Fatal, failed("talk to the broker"))?;
    let topic = NewTopic::new("idle", 1, TopicReplication::Fixed(1));
    node.runtime
        .block_on(admin.create_topics([&topic], &AdminOptions::new()))
        .or_error(ErrorKind::Fatal, failed("make the topic"))?;
    let bootstrap = kafka.bootstrap();
    let source = format!("kafka: {{ bootstrap: {bootstrap:?}, topics: idle, format: plain }}");
    pipeline(node, folder, &source, "commit: { every: 1s, min_size: 1B, max_age: 1s }\n")?;
    let mut task = acequia(folder)
        .args(["--log", "error"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .or_error(ErrorKind::Fatal, failed("start the program"))?;
    let producer: BaseProducer =
        settings.create().or_error(ErrorKind::Fatal, failed("make a producer"))?;
    let measured = (0..=SAMPLES).map(|number| {
        let user = format!("user-{number}");
        let text = json!({ "user_id": user, "timestamp": "2024-01-15T10:30:00.000Z", "role": "user",
                           "content": "¿Dónde está mi pedido?" });
        let text = text.to_string();
        std::thread::sleep(Duration::from_millis(100 + number as u64 * 7 % 100));
        let record: BaseRecord<'_, [u8], str> = BaseRecord::to("idle").payload(text.as_str());
        let began = Instant::now();
        producer.send(record).map_err(|(error, _)| Error::fatal("cannot send").caused_by(error))?;
        let id = format!("%7B%22user_id%22%3A%22{user}%22%2C%22timestamp%22%3A%222024-01-15T10%3A30%3A00.000Z%22%7D");
        loop {
            producer.poll(Duration::ZERO);
            // By its id a document is found before it can be searched.
            let path = format!("/bench-1/_doc/{id}?_source=false");
            if node.ask(Method::Get, &path, None)?.0 == 200 {
                return Ok(began.elapsed().as_secs_f64());
            }
            if began.elapsed() > TIMEOUT {
                return Err(Error::fatal("an event does not come"));
            }
        }
    });
    let measured: Result<Vec<f64>> = measured.collect();
    let _ = producer.flush(TIMEOUT);
    let _ = task.kill();
    let _ = task.wait();
    // The first one waits for the start.
    let mut seconds = measured?.split_off(1);
    seconds.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let index = (seconds.len() as f64 * part) as usize;
        seconds.get(index).copied().unwrap_or_default() * 1000.0
    };
    println!(
        "an event of an idle pipeline in its index: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms of {SAMPLES}; \
         bar p99 100 ms",
        at(0.5),
        at(0.99),
        at(0.9999)
    );
    Ok(())
}
