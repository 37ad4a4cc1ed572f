//! Addresses that carry a permission with them: signed by the credentials of the process.

use std::time::{Duration, UNIX_EPOCH};

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Aws;
use super::failure::no_credentials;
use crate::error::{Error, ErrorKind, Result, ResultExt, innermost};
use crate::secret::Secret;

/// What is to be signed: `GET` of an address.
#[derive(Debug, Clone, Copy)]
pub struct Presigning<'a> {
    /// The address, with its query.
    pub url: &'a str,
    /// The service as signatures name it: `kafka-cluster`.
    pub service: &'a str,
    /// Its region.
    pub region: &'a str,
    /// The time of the signature, in microseconds since 1970.
    pub now_micros: i64,
    /// How long it holds.
    pub lifetime: Duration,
}

/// A signed address.
#[derive(Debug, Clone)]
pub struct Presigned {
    /// The address with its signature.
    pub url: Secret,
    /// When it is of no use any more, in microseconds since 1970: it or the credentials expire.
    pub expires_micros: i64,
}

/// How long credentials are used before they are asked for again.
const REMEMBERED: Duration = Duration::from_secs(60);

/// Credentials for whoever signs many requests: a role's are not asked for each time.
#[derive(Debug)]
struct Remembered {
    provider: SharedCredentialsProvider,
    last: Mutex<Option<(Instant, Credentials)>>,
}

impl ProvideCredentials for Remembered {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let mut last = self.last.lock().await;
            if let Some((at, credentials)) = &*last
                && at.elapsed() < REMEMBERED
            {
                return Ok(credentials.clone());
            }
            let credentials = self.provider.provide_credentials().await?;
            *last = Some((Instant::now(), credentials.clone()));
            Ok(credentials)
        })
    }
}

impl Aws {
    /// The region of the pipeline, the environment or the profile.
    pub async fn region(&self) -> Option<String> {
        self.found().await.region().map(ToString::to_string)
    }

    /// What requests are signed with: the credentials of the process, and the region.
    ///
    /// # Errors
    /// `Config` where there are none of either.
    pub async fn signer(&self) -> Result<(SharedCredentialsProvider, Region)> {
        let found = self.found().await;
        let credentials = found
            .credentials_provider()
            .ok_or_else(|| Error::config(no_credentials("this process is set up without any")))?;
        let region = found.region().cloned().ok_or_else(|| {
            Error::config("no AWS region is known: set `aws.region`, or AWS_REGION")
        })?;
        let remembered = Remembered { provider: credentials, last: Mutex::default() };
        Ok((SharedCredentialsProvider::new(remembered), region))
    }

    /// Sign by AWS Signature Version 4, in the query of the address.
    ///
    /// # Errors
    /// `Retryable` where no credentials are found, or their provider does not answer.
    pub async fn presign(&self, what: &Presigning<'_>) -> Result<Presigned> {
        let provider = self.found().await.credentials_provider();
        let provider = provider.ok_or_else(|| {
            Error::retryable(no_credentials("this process is set up without any"))
        })?;
        let credentials = provider
            .provide_credentials()
            .await
            .map_err(|cause| Error::retryable(no_credentials(&innermost(&cause))))?;
        let micros = |time: std::time::SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        };
        let now = UNIX_EPOCH + Duration::from_micros(what.now_micros.try_into().unwrap_or(0));
        let expires = micros(now + what.lifetime);
        let expires_micros = credentials.expiry().map_or(expires, |end| micros(end).min(expires));

        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(what.lifetime);
        let identity = credentials.into();
        let failed = || format!("cannot sign an address of {}", what.service);
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(what.region)
            .name(what.service)
            .time(now)
            .settings(settings)
            .build()
            .or_error(ErrorKind::Fatal, failed)?
            .into();
        let body = SignableBody::Bytes(&[]);
        let request = SignableRequest::new("GET", what.url, std::iter::empty(), body)
            .or_error(ErrorKind::Fatal, failed)?;
        let (instructions, _) =
            sign(request, &params).or_error(ErrorKind::Fatal, failed)?.into_parts();
        let mut request =
            hyper::Request::builder().uri(what.url).body(()).or_error(ErrorKind::Fatal, failed)?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(Presigned { url: request.uri().to_string().into(), expires_micros })
    }
}
