//! The servers that tests use, for trying things by hand: `cargo run --example services`.

#[path = "../tests/services/mod.rs"]
mod services;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::services::kafka::{Kafka, KafkaOptions, PLAIN_USER, SCRAM_USER};
use self::services::moto::{self, Moto};
use self::services::opensearch::OpenSearch;
use self::services::{Missing, Service};

/// Start real servers on this machine, say how to reach them, and stop them at the end
///
/// What they need is fetched once, into $ACEQUIA_SERVICES_CACHE or else ~/.cache/acequia-services:
/// Kafka and OpenSearch with Maven and Java 17 or later, moto with Python. They listen on the loopback interface
/// only, on free ports. Standard output has `export` lines for a shell; Ctrl-C or the end of
/// standard input stops the servers and removes their data.
#[derive(Debug, Parser)]
#[command(name = "cargo run --example services --", max_term_width = 100)]
struct Options {
    /// What to start; all by default
    #[arg(value_enum)]
    services: Vec<Choice>,
    /// Give Kafka a second listener with TLS and passwords
    #[arg(long)]
    sasl: bool,
    /// Only fetch what is not in the cache, and start nothing
    #[arg(long)]
    fetch_only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Apache Kafka, one node
    Kafka,
    /// moto, which plays S3, DynamoDB and other services of AWS
    Moto,
    /// OpenSearch, one node without its security plugin
    Opensearch,
}

/// A service that runs for as long as this is held, and the variables that lead to it.
struct Running {
    _service: Box<dyn std::any::Any>,
    variables: Vec<(&'static str, String)>,
}

impl Choice {
    fn fetch(self) -> Result<(), Missing> {
        match self {
            Self::Kafka => Kafka::fetch(),
            Self::Moto => Moto::fetch(),
            Self::Opensearch => OpenSearch::fetch(),
        }
    }

    fn start(self, options: &Options) -> Result<Running, Missing> {
        match self {
            Self::Kafka => {
                kafka(KafkaOptions { sasl_ssl: options.sasl, ..KafkaOptions::default() })
            }
            Self::Moto => moto(),
            Self::Opensearch => opensearch(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kafka => Kafka::NAME,
            Self::Moto => Moto::NAME,
            Self::Opensearch => OpenSearch::NAME,
        }
    }
}

fn kafka(options: KafkaOptions) -> Result<Running, Missing> {
    let kafka = Kafka::start_with(options)?;
    let mut variables = vec![("KAFKA_BOOTSTRAP", kafka.bootstrap())];
    if options.sasl_ssl {
        let (scram, plain) = (SCRAM_USER, PLAIN_USER);
        variables.extend([
            ("KAFKA_SASL_BOOTSTRAP", kafka.bootstrap_sasl()),
            ("KAFKA_SASL_CERTIFICATE", kafka.certificate().display().to_string()),
            ("KAFKA_SCRAM_USER", scram.0.to_owned()),
            ("KAFKA_SCRAM_PASSWORD", scram.1.to_owned()),
            ("KAFKA_PLAIN_USER", plain.0.to_owned()),
            ("KAFKA_PLAIN_PASSWORD", plain.1.to_owned()),
        ]);
    }
    Ok(Running { _service: Box::new(kafka), variables })
}

fn moto() -> Result<Running, Missing> {
    let moto = Moto::start()?;
    let mut variables = vec![("AWS_ENDPOINT_URL", moto.endpoint())];
    variables.extend(moto::ENVIRONMENT.map(|(name, value)| (name, value.to_owned())));
    Ok(Running { _service: Box::new(moto), variables })
}

fn opensearch() -> Result<Running, Missing> {
    let node = OpenSearch::start()?;
    let variables = vec![("OPENSEARCH_URL", node.url())];
    Ok(Running { _service: Box::new(node), variables })
}

/// Wait for Ctrl-C, a request to end, or the end of standard input.
async fn asked_to_stop() -> io::Result<()> {
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (at_end, end) = oneshot::channel();
    // A thread of its own, since nothing can cancel a read and the runtime would wait for it.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = at_end.send(());
    });
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = end => {}
    }
    Ok(())
}

fn run(options: &Options, chosen: &[Choice]) -> Result<(), Box<dyn Error>> {
    for service in chosen {
        eprintln!("fetching {}, where it is not in the cache", service.name());
        service.fetch()?;
    }
    if options.fetch_only {
        return Ok(());
    }
    let mut running = Vec::new();
    for service in chosen {
        eprintln!("starting {}", service.name());
        running.push(service.start(options)?);
    }
    let mut lines = String::new();
    for (name, value) in running.iter().flat_map(|service| &service.variables) {
        lines.push_str(&format!("export {name}={value}\n"));
    }
    // A reader that has gone away needs no lines.
    let _ = io::stdout().write_all(lines.as_bytes());
    eprintln!("ready; Ctrl-C stops them");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(asked_to_stop())?;
    eprintln!("stopping");
    Ok(())
}

fn main() -> ExitCode {
    let options = Options::parse();
    let chosen = match options.services.as_slice() {
        [] => Choice::value_variants(),
        some => some,
    };
    match run(&options, chosen) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
