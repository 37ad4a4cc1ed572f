//! Requests to the cluster.

use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use opensearch::auth::Credentials;
use opensearch::cert::{Certificate, CertificateValidation};
use opensearch::http::headers::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use opensearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use opensearch::http::{Method, Url};
use serde_json::Value;

use super::config::{LoginConfig, OpensearchConfig};
use crate::component::Context;
use crate::error::{Error, ErrorKind, Result, ResultExt, innermost};

/// How long an answer is waited for. With the time since a partition was last known to be one's own
/// it bounds how late a request can arrive.
///
/// It also ends a wait for what was never sent: a request that is handed to a kept connection in the
/// moment in which the cluster closes that can stay in the channel between the two, without an error
/// (hyper, issue 4122: tokio's channels take what is sent while their receiver is dropped).
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What the cluster said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// Its body, where that is JSON; else nothing.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Why the cluster refused, in its own words.
    pub fn reason(&self) -> String {
        let said = self.json();
        match reason_of(said.get("error").unwrap_or(&Value::Null)) {
            Some(reason) => format!("{reason} (HTTP {})", self.status),
            None => format!("HTTP {}", self.status),
        }
    }
}

/// Type and reason of an error, with the innermost cause, which says what the others do not.
pub(super) fn reason_of(error: &Value) -> Option<String> {
    if let Some(text) = error.as_str() {
        return Some(text.to_owned());
    }
    let text = |error: &Value| {
        let member = |name| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (member("type"), member("reason")) {
            (kind, reason) if reason.is_empty() => kind,
            (kind, reason) => format!("{kind}: {reason}"),
        }
    };
    let mut last = error;
    let mut told = text(error);
    while let Some(cause) = last.get("caused_by") {
        last = cause;
        told = format!("{told}: {}", text(cause));
    }
    (!told.is_empty()).then_some(told)
}

/// Asks a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    compress: bool,
    url: String,
}

impl Client {
    /// A client of the cluster that `config` names. Nothing is asked of it yet.
    ///
    /// # Errors
    /// `Config` where an address, a certificate or the credentials of the process are no good.
    pub async fn new(config: &OpensearchConfig, context: &Context) -> Result<Self> {
        let url = Url::parse(&config.url)
            .or_error(ErrorKind::Config, || format!("`{}` is no address", config.url))?;
        let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url)).disable_proxy();
        if let Some(path) = &config.ca {
            let failed = || format!("cannot read the certificates in {path}");
            let pem = std::fs::read(path).or_error(ErrorKind::Config, failed)?;
            let trusted = Certificate::from_pem(&pem).or_error(ErrorKind::Config, failed)?;
            builder = builder.cert_validation(CertificateValidation::Full(trusted));
        }
        builder = match &config.login {
            None => builder,
            Some(LoginConfig::Basic(login)) => builder.auth(Credentials::Basic(
                login.username.clone(),
                login.password.reveal().to_owned(),
            )),
            #[cfg(feature = "aws")]
            Some(LoginConfig::Sigv4(login)) => {
                let (credentials, region) = context.aws.signer().await?;
                let service = match login.service {
                    super::config::SigningService::Es => "es",
                    super::config::SigningService::Aoss => "aoss",
                };
                builder.auth(Credentials::AwsSigV4(credentials, region)).service_name(service)
            }
        };
        let _ = context;
        let transport = builder
            .build()
            .or_error(ErrorKind::Config, || format!("cannot make a client of {}", config.url))?;
        Ok(Self { transport, compress: config.compress, url: config.url.clone() })
    }

    /// The address, for messages.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Send a request, whatever the answer's status.
    ///
    /// # Errors
    /// `Retryable` where no whole answer came: what became of the request is not known.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        if path.ends_with("_bulk") {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        }
        let body = match body {
            Some(body) if self.compress => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Some(compressed(&body)?)
            }
            body => body,
        };
        let failed = |cause: opensearch::Error| {
            let why = innermost(&cause);
            Error::retryable(format!("no answer of {}: {why}", self.url))
        };
        let answer = async {
            let sent = self.transport.send(method, path, headers, Some(query), body, None);
            let answer = sent.await.map_err(failed)?;
            let status = answer.status_code().as_u16();
            Ok(Answer { status, body: answer.bytes().await.map_err(failed)? })
        };
        // The only one: around the signature too, which may ask for credentials.
        let late = || Error::retryable(format!("no answer of {} in {TIMEOUT:?}", self.url));
        tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| late())?
    }
}

fn compressed(body: &[u8]) -> Result<Bytes> {
    let pack = || -> std::io::Result<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        std::io::Write::write_all(&mut encoder, body)?;
        encoder.finish()
    };
    pack().map(Bytes::from).or_error(ErrorKind::Fatal, || "cannot compress a request".to_owned())
}
