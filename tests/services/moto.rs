//! moto: S3, DynamoDB with its streams, Glue, Athena, Secrets Manager and more, in one Python
//! process that keeps everything in memory. Any credentials will do; it checks no signatures.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cache::{self, RunFolder};
use super::server::{Recipe, Server, free_port};
use super::{Missing, Service, Shared, http};

const VERSION: &str = "5.2.5";
const INSTALL_PYTHON: &str = "install Python with venv (Debian: apt-get install python3 python3-venv), and let pip \
                              reach its index once";

/// Keys that a listing gives at once: few, so that whoever lists meets several pages.
const KEYS_OF_A_PAGE: &str = "MOTO_S3_DEFAULT_MAX_KEYS=100";

/// What AWS clients want to be told and moto does not look at, as environment variables.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_REGION", "us-east-1")];

/// A moto server that runs.
pub(crate) struct Moto {
    /// Its process. A restart forgets all that was stored.
    pub(crate) server: Server,
    port: u16,
}

static SHARED: Shared<Moto> = Shared::new();

/// The server that all tests of this process use, each with buckets and tables of its own names.
pub(crate) fn shared() -> Result<&'static Moto, Missing> {
    SHARED.get()
}

/// [`shared`] by the rule of [`super::or_skip`].
pub(crate) fn shared_or_skip(test: &str) -> Option<&'static Moto> {
    SHARED.get_or_skip(test)
}

impl Service for Moto {
    const NAME: &'static str = "moto";

    fn fetch() -> Result<(), Missing> {
        python().map(drop)
    }

    fn start() -> Result<Self, Missing> {
        let python = python()?;
        let port = free_port();
        // While it waits for its turn at the port, somebody else's server may answer there.
        let own_line = format!("Running on http://127.0.0.1:{port}");
        // The script `moto_server` names the folder in which it was installed; the module does not.
        let mut arguments: Vec<OsString> = vec![KEYS_OF_A_PAGE.into(), python.into()];
        arguments.extend(["-m", "moto.server", "-H", "127.0.0.1", "-p"].map(Into::into));
        arguments.push(port.to_string().into());
        let recipe = Recipe {
            name: Self::NAME,
            program: "env".into(),
            arguments,
            is_ready: Box::new(move |log| {
                log.contains(&own_line)
                    && http::get(port, "/moto-api/").is_ok_and(|(status, _)| status == 200)
            }),
        };
        Ok(Self { server: Server::start(recipe, RunFolder::new("moto")), port })
    }
}

impl Moto {
    /// The address of every service that it offers: `AWS_ENDPOINT_URL`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The port of [`Moto::endpoint`].
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// The Python that has moto. Asked for once a process, so that a machine without a network tries
/// only once.
fn python() -> Result<PathBuf, Missing> {
    static PYTHON: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    PYTHON
        .get_or_init(
            || Ok(cache::artefact(&format!("moto-{VERSION}"), install)?.join("bin/python")),
        )
        .clone()
}

fn install(folder: &Path) -> Result<(), Missing> {
    cache::run(Command::new("python3").args(["-m", "venv"]).arg(folder), INSTALL_PYTHON)?;
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.arg(format!("moto[server,all]=={VERSION}"));
    cache::run(&mut pip, INSTALL_PYTHON).map(drop)
}
