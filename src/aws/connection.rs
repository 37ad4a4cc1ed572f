//! Clients of AWS, made when they are first asked for and shared by all components.

use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
};
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use tokio::sync::{OnceCell, Semaphore};

use super::AwsConfig;

/// How often a client sends a request before its caller learns of a failure. Waiting out an outage
/// is the caller's part.
const TRIES: u32 = 4;
/// Pauses between tries double from here, each shortened at random.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause between two tries is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A server that is not reached by then counts as away.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// No single try takes longer: a part of 8 MiB at 270 KiB/s.
const TRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Parts of uploads that a process sends at once.
const PARTS_AT_ONCE: usize = 4;

/// The clients of one process. Cheap to clone; nothing is looked up before the first use.
#[derive(Debug, Clone)]
pub struct Aws {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: AwsConfig,
    part_places: Arc<Semaphore>,
    found: OnceCell<SdkConfig>,
    s3: OnceCell<aws_sdk_s3::Client>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    #[cfg(feature = "comprehend")]
    comprehend: OnceCell<aws_sdk_comprehend::Client>,
}

impl Default for Aws {
    fn default() -> Self {
        Self::new(AwsConfig::default())
    }
}

impl Aws {
    /// AWS as `config` says.
    pub fn new(config: AwsConfig) -> Self {
        Self::with(config, OnceCell::new())
    }

    /// AWS as `found` says, and nothing else: no environment, no profile. `path_style` names buckets
    /// in paths.
    pub fn of(found: SdkConfig, path_style: bool) -> Self {
        let config = AwsConfig { path_style, ..AwsConfig::default() };
        Self::with(config, OnceCell::new_with(Some(found)))
    }

    fn with(config: AwsConfig, found: OnceCell<SdkConfig>) -> Self {
        let shared = Shared {
            config,
            part_places: Arc::new(Semaphore::new(PARTS_AT_ONCE)),
            found,
            s3: OnceCell::new(),
            dynamodb: OnceCell::new(),
            #[cfg(feature = "comprehend")]
            comprehend: OnceCell::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Places for parts of uploads on their way, for the whole process: they bound its memory.
    pub fn part_places(&self) -> Arc<Semaphore> {
        self.shared.part_places.clone()
    }

    /// The client of S3. Its bodies are checked by their signed SHA-256.
    pub async fn s3(&self) -> &aws_sdk_s3::Client {
        let make = || async {
            let config = aws_sdk_s3::config::Builder::from(self.found().await)
                .force_path_style(self.shared.config.path_style)
                .build();
            aws_sdk_s3::Client::from_conf(config)
        };
        self.shared.s3.get_or_init(make).await
    }

    /// The client of DynamoDB.
    pub async fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        let make = || async { aws_sdk_dynamodb::Client::new(self.found().await) };
        self.shared.dynamodb.get_or_init(make).await
    }

    /// The client of Comprehend.
    #[cfg(feature = "comprehend")]
    pub async fn comprehend(&self) -> &aws_sdk_comprehend::Client {
        let make = || async { aws_sdk_comprehend::Client::new(self.found().await) };
        self.shared.comprehend.get_or_init(make).await
    }

    /// Settings from the pipeline, the environment and the machine.
    pub(super) async fn found(&self) -> &SdkConfig {
        self.shared.found.get_or_init(|| find(&self.shared.config)).await
    }
}

/// The HTTP client of every client: TLS by rustls, with the certificates that the system trusts.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .build_https()
}

async fn find(config: &AwsConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(TRY_TIMEOUT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(TRIES)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(LONGEST_PAUSE);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client())
        .retry_config(retries)
        .timeout_config(timeouts)
        // A second sum would add nothing to the signed one, and other servers do not know it.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let found = loader.load().await;
    let Some(role) = &config.role else { return found };
    let mut taken =
        AssumeRoleProvider::builder(&role.arn).configure(&found).session_name("acequia");
    if let Some(id) = &role.external_id {
        taken = taken.external_id(id);
    }
    let taken = taken.build().await;
    found.into_builder().credentials_provider(SharedCredentialsProvider::new(taken)).build()
}
