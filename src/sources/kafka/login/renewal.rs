//! The next token, before the present one expires.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::{Token, Tokens};
use crate::error::{ErrorKind, Result, ResultExt};
use crate::sources::kafka::client::Consumer;
use crate::sources::kafka::native;

/// A token is renewed when this share of its life is over. Connections log in again at nine tenths
/// of it (KIP-368).
const RENEWED_AT: f64 = 0.8;
/// Time between two tries to get one.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// A token that is about to expire is not got more often.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Renews the token of a consumer until it is dropped.
pub(in crate::sources::kafka) struct Renewal(JoinHandle<()>);

impl Renewal {
    /// Give `first` to the consumer, and each later token of `tokens` in its time.
    pub(in crate::sources::kafka) fn start(
        consumer: &Arc<Consumer>,
        tokens: Tokens,
        first: &Token,
    ) -> Result<Self> {
        show(consumer, first)?;
        let pause = pause(first, tokens.now_micros());
        Ok(Self(tokio::spawn(keep_fresh(Arc::downgrade(consumer), tokens, pause))))
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A failure leaves the present token in its place: connections stay until brokers want a new login,
/// and come back with the token that is got at last.
async fn keep_fresh(consumer: Weak<Consumer>, tokens: Tokens, mut pause: Duration) {
    let mut has_failed = false;
    loop {
        tokio::time::sleep(pause).await;
        let fetched = tokens.fetch().await;
        let Some(consumer) = consumer.upgrade() else { return };
        match fetched.and_then(|token| show(&consumer, &token).map(|()| token)) {
            Ok(token) => {
                if std::mem::take(&mut has_failed) {
                    info!("the token for the brokers is renewed again");
                }
                debug!("the token for the brokers is renewed");
                pause = self::pause(&token, tokens.now_micros());
            }
            Err(error) => {
                if !std::mem::replace(&mut has_failed, true) {
                    warn!(%error, "cannot renew the token for the brokers, trying again");
                }
                pause = TRY_AGAIN;
            }
        }
    }
}

fn show(consumer: &Consumer, token: &Token) -> Result<()> {
    native::set_token(consumer, token.text.reveal(), token.expires_micros / 1000)
        .or_error(ErrorKind::Retryable, || "the Kafka client does not take the token".to_owned())
}

/// How long `token` is good enough from `now_micros` on.
fn pause(token: &Token, now_micros: i64) -> Duration {
    let left = u64::try_from(token.expires_micros - now_micros).unwrap_or_default();
    Duration::from_micros(left).mul_f64(RENEWED_AT).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_well_before_it_expires() {
        let token = Token { text: "a".to_owned().into(), expires_micros: 110_000_000 };
        assert_eq!(pause(&token, 10_000_000), Duration::from_secs(80));
        assert_eq!(pause(&token, 109_900_000), SHORTEST_PAUSE);
        assert_eq!(pause(&token, 200_000_000), SHORTEST_PAUSE);
    }
}
