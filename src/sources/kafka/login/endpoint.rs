//! Tokens from an authorization server, by client credentials (RFC 6749, section 4.4).

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::http::HttpError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde_json::Value;

use super::{LONGEST_TOKEN_BYTES, Token, jwt};
use crate::error::{Error, ErrorKind, Result, ResultExt, innermost};
use crate::sources::kafka::sasl::ClientCredentials;

/// How long the server may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a server says of a refusal is cut here.
const LONGEST_REASON: usize = 200;

/// An authorization server, for one client.
pub(super) struct Endpoint {
    client: ClientCredentials,
    connector: Connector,
}

impl Endpoint {
    pub(super) fn new(client: ClientCredentials) -> Self {
        let provider = Provider::rustls(CryptoMode::Ring);
        Self { client, connector: Connector::builder().tls_provider(provider).build() }
    }

    pub(super) fn url(&self) -> &str {
        &self.client.token_url
    }

    /// Ask for a token, at `now_micros`.
    pub(super) async fn fetch(&self, now_micros: i64) -> Result<Token> {
        let failed = || format!("cannot get a token of {}", self.url());
        let request = self.request().or_error(ErrorKind::Fatal, failed)?;
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let (status, body) = answer
            .unwrap_or_else(|_| Err(Error::retryable("it gives no answer in time")))
            .map_err(|error| {
                error.context(format!(
                    "{}, see `source.kafka.sasl.token_url` and the network",
                    failed()
                ))
            })?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status != 200 {
            return Err(Error::retryable(format!("{}: {}", failed(), self.refusal(status, &body))));
        }
        token(&body, now_micros).ok_or_else(|| {
            Error::retryable(format!(
                "{}: its answer holds no `access_token` with a time at which it expires: see that `source.kafka.sasl.token_url` is the token endpoint",
                failed()
            ))
        })
    }

    fn request(&self) -> Result<HttpRequest, HttpError> {
        let ClientCredentials { token_url, client_id, client_secret, scope } = &self.client;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = scope {
            form.append_pair("scope", scope);
        }
        // As the clients of Kafka do it, which do not encode them as forms first.
        let known_by = STANDARD.encode(format!("{client_id}:{}", client_secret.reveal()));
        let mut request = HttpRequest::new(form.finish().into());
        request.set_method("POST")?;
        request.set_uri(token_url.as_str())?;
        let headers = request.headers_mut();
        headers.try_insert("authorization", format!("Basic {known_by}"))?;
        headers.try_insert("content-type", "application/x-www-form-urlencoded")?;
        headers.try_insert("accept", "application/json")?;
        Ok(request)
    }

    /// The status and body of the answer.
    async fn exchange(&self, request: HttpRequest) -> Result<(u16, Bytes)> {
        let answer = self.connector.call(request).await.map_err(|cause| {
            Error::retryable(format!("the server was not reached ({})", innermost(&cause)))
        })?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LONGEST_TOKEN_BYTES as usize);
        let body = body
            .collect()
            .await
            .map_err(|cause| Error::retryable("its answer broke off").caused_by(cause))?;
        Ok((status, body.to_bytes()))
    }

    /// What a refusal means; the server's words (section 5.2) unless they repeat the secret.
    fn refusal(&self, status: u16, body: &Value) -> String {
        let said = ["error", "error_description"].map(|key| body.get(key).and_then(Value::as_str));
        let said: Vec<&str> = said.into_iter().flatten().collect();
        let said = said.join(": ");
        // Looked for before the text is cut: a cut secret is no longer found, and still told.
        let said: String = match said.contains(self.client.client_secret.reveal()) {
            true => String::new(),
            false => said.chars().take(LONGEST_REASON).collect(),
        };
        let said = if said.is_empty() { String::new() } else { format!(", {said}") };
        match status {
            400 | 401 | 403 => format!(
                "it refuses the client ({status}{said}): check `client_id`, `client_secret` and `scope` in `source.kafka.sasl`"
            ),
            404 | 405 => format!(
                "there is no token endpoint ({status}{said}): check `source.kafka.sasl.token_url`"
            ),
            _ => format!("it answers {status}{said}: look into that server's log"),
        }
    }
}

/// The token in an answer (section 5.1). One that does not say how long it holds may be a JWT.
fn token(body: &Value, now_micros: i64) -> Option<Token> {
    let text = body.get("access_token")?.as_str()?;
    // A number; some servers write it as text.
    let lifetime = body.get("expires_in");
    let lifetime = lifetime.and_then(|some| some.as_f64().or_else(|| some.as_str()?.parse().ok()));
    let expires_micros = match lifetime {
        Some(seconds) => now_micros.saturating_add((seconds * 1e6) as i64),
        None => jwt::expiry_micros(text)?,
    };
    Some(Token { text: text.to_owned().into(), expires_micros })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(ClientCredentials {
            token_url: "https://idp/token".to_owned(),
            client_id: "acequia".to_owned(),
            client_secret: "pass:word".to_owned().into(),
            scope: Some("kafka read+write".to_owned()),
        })
    }

    #[test]
    fn the_request_is_that_of_the_standard() {
        let request = endpoint().request().unwrap();
        assert_eq!((request.method(), request.uri()), ("POST", "https://idp/token"));
        // `acequia:pass:word`
        let basic = request.headers().get("authorization");
        assert_eq!(basic, Some("Basic YWNlcXVpYTpwYXNzOndvcmQ="));
        let body = request.body().bytes();
        let form: &[u8] = b"grant_type=client_credentials&scope=kafka+read%2Bwrite";
        assert_eq!(body, Some(form));
    }

    #[test]
    fn its_lifetime_is_what_the_answer_says_or_the_token_itself() {
        let expiry = |body: Value| token(&body, 1_000_000).map(|token| token.expires_micros);
        assert_eq!(expiry(json!({ "access_token": "opaque", "expires_in": 60 })), Some(61_000_000));
        assert_eq!(expiry(json!({ "access_token": "a", "expires_in": "60" })), Some(61_000_000));
        // {"exp":5}
        assert_eq!(expiry(json!({ "access_token": "e30.eyJleHAiOjV9." })), Some(5_000_000));
        assert_eq!(expiry(json!({ "access_token": "opaque" })), None);
        assert_eq!(expiry(json!({ "expires_in": 60 })), None);
    }

    #[test]
    fn a_refusal_is_told_without_the_secret() {
        let body = json!({ "error": "invalid_client", "error_description": "no client acequia" });
        assert_eq!(
            endpoint().refusal(401, &body),
            "it refuses the client (401, invalid_client: no client acequia): check `client_id`, `client_secret` and `scope` in `source.kafka.sasl`"
        );
        let repeats = json!({ "error": "bad secret pass:word" });
        assert!(!endpoint().refusal(401, &repeats).contains("pass:word"));
        let late = format!("{}pass:word", "x".repeat(LONGEST_REASON - 5));
        assert!(!endpoint().refusal(401, &json!({ "error": late })).contains("pass"));
        assert_eq!(
            endpoint().refusal(503, &Value::Null),
            "it answers 503: look into that server's log"
        );
    }
}
