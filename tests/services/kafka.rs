//! Apache Kafka: one node that is broker and controller, from the jars of its release.
//!
//! Its settings are those of a small test machine: internal topics with one partition and one
//! replica, groups that notice a lost member within seconds, and nothing deleted by age, since
//! tests write records with old timestamps. Topics are not created by being named.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::cache::{self, RunFolder};
use super::server::{Recipe, Server, free_port};
use super::{Missing, Service, Shared, java};

const VERSION: &str = "4.1.1";
/// Kafka itself, and the logging without which it would not say that it is ready.
const ARTEFACTS: [(&str, &str, &str); 3] = [
    ("org.apache.kafka", "kafka_2.13", VERSION),
    ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
];

/// A cluster of one needs no identity of its own: 16 bytes as base64.
const CLUSTER: &str = "QWNlcXVpYVNlcnZpY2VzIQ";
/// What a broker says last when it starts.
const READY: &str = "Kafka Server started";

/// Of `TlsKeys`; it keeps nothing secret.
const KEYSTORE_PASSWORD: &str = "acequia-tests";

/// What does not depend on ports and folders.
const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SASL_SSL:SASL_SSL
auto.create.topics.enable=false
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
# Age is told by the records' own timestamps: with a limit, old ones would be gone within minutes.
log.retention.ms=-1
# Groups, by the old protocol and by the new one: members come and go quickly in tests.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=6000
# A broker that was killed cannot come back before its session has ended.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=1500
";

/// Those who do not log in, the broker itself among them, may do anything.
const SETTINGS_AUTHORIZER: &str = "\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
";

/// A name and a password.
pub(crate) type User = (&'static str, &'static str);

/// Who may log in by `SCRAM-SHA-512` (and `SCRAM-SHA-256`).
pub(crate) const SCRAM_USER: User = ("alicia", "acequia-scram");
/// Who may log in by `PLAIN`.
pub(crate) const PLAIN_USER: User = ("carolina", "acequia-plain");

/// Whoever logs in by a token logs in again after this time at the latest, or is cut off. Any
/// unsecured JWT with `sub`, `iat` and `exp` is one.
const TOKEN_SESSION_MILLIS: u32 = 5000;

/// What a broker has beside a plain listener.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KafkaOptions {
    /// A second listener with TLS, passwords and tokens: [`Kafka::bootstrap_sasl`].
    pub(crate) sasl_ssl: bool,
    /// Whoever has logged in may do only what an ACL allows.
    pub(crate) authorizer: bool,
    /// A second plain listener, whose clients are told another port, that of a proxy before it:
    /// [`Proxied`].
    pub(crate) proxied: Option<Proxied>,
}

/// A listener behind a proxy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxied {
    /// Where the broker listens.
    pub(crate) port: u16,
    /// Where its clients are told to go.
    pub(crate) advertised: u16,
}

/// A broker that runs.
pub(crate) struct Kafka {
    /// Its process, to be stopped, killed, frozen and started again.
    pub(crate) server: Server,
    port: u16,
    port_sasl: Option<u16>,
}

static SHARED: Shared<Kafka> = Shared::new();

/// The broker that all tests of this process use, each with topics and groups of its own names.
pub(crate) fn shared() -> Result<&'static Kafka, Missing> {
    SHARED.get()
}

/// [`shared`] by the rule of [`super::or_skip`].
pub(crate) fn shared_or_skip(test: &str) -> Option<&'static Kafka> {
    SHARED.get_or_skip(test)
}

impl Service for Kafka {
    const NAME: &'static str = "Apache Kafka";

    fn fetch() -> Result<(), Missing> {
        libraries().map(drop)
    }

    fn start() -> Result<Self, Missing> {
        Self::start_with(KafkaOptions::default())
    }
}

impl Kafka {
    /// A broker with more than a plain listener, for the caller alone.
    pub(crate) fn start_with(options: KafkaOptions) -> Result<Self, Missing> {
        let libraries = libraries()?;
        let folder = RunFolder::new("kafka");
        let (port, port_controller) = (free_port(), free_port());
        let port_sasl = options.sasl_ssl.then(free_port);
        let mut settings =
            settings(folder.path(), port, port_controller, port_sasl, options.proxied);
        if port_sasl.is_some() {
            make_keys(&folder)?;
            settings.push_str(&settings_sasl(folder.path()));
        }
        if options.authorizer {
            settings.push_str(SETTINGS_AUTHORIZER);
        }
        fs::write(folder.join("server.properties"), settings).unwrap();
        fs::write(folder.join("log4j2.properties"), java::LOGGING).unwrap();
        format_data(&libraries, &folder, options)?;
        let recipe = Recipe {
            name: Self::NAME,
            program: "java".into(),
            arguments: java::arguments(&libraries, &["kafka.Kafka", "server.properties"]),
            is_ready: Box::new(|log| log.contains(READY)),
        };
        Ok(Self { server: Server::start(recipe, folder), port, port_sasl })
    }

    /// `bootstrap.servers` of a client that neither encrypts nor logs in. The same after a restart.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port of [`Kafka::bootstrap`].
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `bootstrap.servers` of a client with `security.protocol=SASL_SSL`, which logs in as
    /// [`SCRAM_USER`], as [`PLAIN_USER`] or by a token, and trusts [`Kafka::certificate`].
    ///
    /// # Panics
    ///
    /// Where the broker was started without `sasl_ssl`.
    pub(crate) fn bootstrap_sasl(&self) -> String {
        let port = self.port_sasl.expect("this broker was started without `sasl_ssl`");
        format!("127.0.0.1:{port}")
    }

    /// The certificate that the broker shows, as PEM, which signs itself: a client's
    /// `ssl.ca.location`. There is none without `sasl_ssl`.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.server.folder().join("ca.pem")
    }
}

/// The folder with the jars. Asked for once a process, so that a machine without a network tries
/// only once.
fn libraries() -> Result<PathBuf, Missing> {
    static LIBRARIES: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    LIBRARIES
        .get_or_init(|| {
            java::find()?;
            cache::artefact(&format!("kafka-{VERSION}"), |folder| java::fetch(folder, &ARTEFACTS))
        })
        .clone()
}

fn settings(
    folder: &Path,
    port: u16,
    port_controller: u16,
    port_sasl: Option<u16>,
    proxied: Option<Proxied>,
) -> String {
    let mut advertised = format!("PLAINTEXT://127.0.0.1:{port}");
    if let Some(port) = port_sasl {
        write!(advertised, ",SASL_SSL://127.0.0.1:{port}").unwrap();
    }
    let mut listeners = advertised.clone();
    if let Some(Proxied { port, advertised: told }) = proxied {
        write!(listeners, ",PROXIED://127.0.0.1:{port}").unwrap();
        write!(advertised, ",PROXIED://127.0.0.1:{told}").unwrap();
    }
    format!(
        "{SETTINGS}\
         listeners={listeners},CONTROLLER://127.0.0.1:{port_controller}\n\
         advertised.listeners={advertised}\n\
         controller.quorum.voters=1@127.0.0.1:{port_controller}\n\
         log.dirs={}\n",
        folder.join("data").display()
    )
}

fn settings_sasl(folder: &Path) -> String {
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let token = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"broker\";";
    let (name, password) = PLAIN_USER;
    format!(
        "sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config={plain} user_{name}=\"{password}\";\n\
         listener.name.sasl_ssl.oauthbearer.sasl.jaas.config={token}\n\
         listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms={TOKEN_SESSION_MILLIS}\n\
         ssl.keystore.type=PKCS12\n\
         ssl.keystore.location={}\n\
         ssl.keystore.password={KEYSTORE_PASSWORD}\n",
        folder.join("keys.p12").display()
    )
}

/// A key with a certificate for the loopback interface, and the certificate by itself.
fn make_keys(folder: &RunFolder) -> Result<(), Missing> {
    let keytool = |task: &str, rest: &[&str]| {
        let mut command = Command::new("keytool");
        command.args([task, "-keystore", "keys.p12", "-storepass", KEYSTORE_PASSWORD]);
        command.args(["-alias", "broker"]).args(rest).current_dir(folder.path());
        cache::run(&mut command, java::INSTALL)
    };
    let names = "san=ip:127.0.0.1,dns:localhost";
    let key = ["-storetype", "PKCS12", "-keyalg", "EC", "-groupname", "secp256r1"];
    let certificate = ["-validity", "30", "-dname", "CN=localhost", "-ext", names];
    keytool("-genkeypair", &[key, certificate].concat())?;
    let pem = keytool("-exportcert", &["-rfc"])?;
    fs::write(folder.join("ca.pem"), pem).unwrap();
    Ok(())
}

/// Make an empty log folder, which a broker wants to find; users of SCRAM lie in it.
fn format_data(libraries: &Path, folder: &RunFolder, options: KafkaOptions) -> Result<(), Missing> {
    let mut command = Command::new("java");
    let tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", "server.properties"];
    command.args(java::arguments(libraries, &tool)).current_dir(folder.path());
    if options.sasl_ssl {
        let (name, password) = SCRAM_USER;
        for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256"] {
            let user = format!("{mechanism}=[name={name},password={password}]");
            command.arg("--add-scram").arg(user);
        }
    }
    let said = cache::run(&mut command, java::INSTALL);
    said.map(drop).map_err(|failure| panic!("Kafka cannot format its folder: {failure}"))
}
