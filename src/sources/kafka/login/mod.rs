//! Tokens for brokers that want one (SASL OAUTHBEARER, RFC 7628).
//!
//! The first is got before the consumer is made, so that a start without one says why; [`renewal`]
//! gets the next in the background, before the present one expires, and gives it to librdkafka.
//! Neither holds up the thread that polls. The event by which librdkafka asks for a token itself is
//! passed over: it comes at the same time, on that thread.

mod endpoint;
mod jwt;
#[cfg(feature = "aws")]
mod msk;
mod renewal;

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};

use self::endpoint::Endpoint;
#[cfg(feature = "aws")]
use self::msk::Msk;
pub(super) use self::renewal::Renewal;
use super::config::KafkaConfig;
use super::sasl::Login;
use crate::clock::Clock;
use crate::component::Context;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::secret::Secret;

/// No token is longer.
const LONGEST_TOKEN_BYTES: u64 = 64 << 10;

/// A token, which stands for a user until it expires.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: Secret,
    /// In microseconds since 1970.
    pub(super) expires_micros: i64,
}

/// Where tokens come from.
pub(super) struct Tokens {
    way: Way,
    clock: Arc<dyn Clock>,
}

enum Way {
    Endpoint(Endpoint),
    File(String),
    #[cfg(feature = "aws")]
    Msk(Msk),
}

impl Tokens {
    /// Where the tokens for `config` come from; `None` where it logs in without.
    pub(super) async fn of(config: &KafkaConfig, context: &Context) -> Result<Option<Self>> {
        let way = match config.sasl.as_ref().and_then(|sasl| sasl.login()) {
            None | Some(Login::Password { .. }) => return Ok(None),
            Some(Login::ClientCredentials(client)) => Way::Endpoint(Endpoint::new(client)),
            Some(Login::TokenFile(path)) => Way::File(path),
            #[cfg(feature = "aws")]
            Some(Login::MskIam(region)) => {
                Way::Msk(Msk::new(context.aws.clone(), region, &config.bootstrap).await?)
            }
        };
        Ok(Some(Self { way, clock: context.clock.clone() }))
    }

    /// The first token: whatever is wrong is a mistake to be mended.
    pub(super) async fn first(&self) -> Result<Token> {
        self.fetch().await.map_err(|error| Error::config(error.to_string()))
    }

    /// A token that can be used now.
    ///
    /// Errors are `Retryable`, and never hold the token.
    async fn fetch(&self) -> Result<Token> {
        let now_micros = self.clock.now_micros();
        let (token, origin) = match &self.way {
            Way::Endpoint(endpoint) => (endpoint.fetch(now_micros).await?, endpoint.url()),
            Way::File(path) => (read(path).await?, path.as_str()),
            #[cfg(feature = "aws")]
            Way::Msk(msk) => (msk.sign(now_micros).await?, "the AWS credentials"),
        };
        check(&token, origin, now_micros)?;
        Ok(token)
    }

    fn now_micros(&self) -> i64 {
        self.clock.now_micros()
    }
}

/// A token that brokers would refuse is not shown to them. librdkafka would repeat one with strange
/// characters in its message.
fn check(token: &Token, origin: &str, now_micros: i64) -> Result<()> {
    let text = token.text.reveal();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::retryable(format!(
            "the token of {origin} is empty or holds characters that no token has"
        )));
    }
    if token.expires_micros <= now_micros {
        let time = DateTime::from_timestamp_micros(token.expires_micros).unwrap_or_default();
        let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        return Err(Error::retryable(format!(
            "the token of {origin} has expired at {time}: renew it, and see that the clock of this machine is right"
        )));
    }
    Ok(())
}

/// The token in the file at `path`.
async fn read(path: &str) -> Result<Token> {
    let owned = path.to_owned();
    let read = move || {
        let mut text = String::new();
        File::open(owned)?.take(LONGEST_TOKEN_BYTES).read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let text = tokio::task::spawn_blocking(read)
        .await
        .or_error(ErrorKind::Fatal, || "reading a token panicked; see the log".to_owned())?
        .or_error(ErrorKind::Retryable, || {
            format!("cannot read the token in {path}, see `source.kafka.sasl.token_file`")
        })?;
    let text = text.trim();
    let expires_micros = jwt::expiry_micros(text).ok_or_else(|| {
        Error::retryable(format!(
            "{path} holds no token that says when it expires: `source.kafka.sasl.token_file` wants a JWT with the claim `exp`"
        ))
    })?;
    Ok(Token { text: text.to_owned().into(), expires_micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_brokers_would_refuse_is_not_shown() {
        let token =
            |text: &str, expires_micros| Token { text: text.to_owned().into(), expires_micros };
        check(&token("a.b.", 2_000_000), "f", 1_999_999).unwrap();
        let expired = check(&token("a.b.", 2_000_000), "f", 2_000_000).unwrap_err();
        assert_eq!(
            expired.to_string(),
            "the token of f has expired at 1970-01-01T00:00:02Z: renew it, and see that the clock of this machine is right"
        );
        for strange in ["", "se cret", "se\ncret", "sécret", "se\0cret"] {
            let refused = check(&token(strange, 2_000_000), "f", 0).unwrap_err();
            assert!(!refused.to_string().contains("cret"), "{refused}");
        }
        assert_eq!(format!("{:?}", token("secret", 1)), "Token { text: ***, expires_micros: 1 }");
    }
}
