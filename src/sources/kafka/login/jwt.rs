//! What a JSON Web Token (RFC 7519) says of itself. Its signature is the brokers' to check.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// When `token` expires, in microseconds since 1970; `None` where it is no JWT or does not say so.
pub(super) fn expiry_micros(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (_header, claims) = (parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    // Seconds, of which there may be fractions.
    let seconds = claims.get("exp")?.as_f64().filter(|seconds| *seconds > 0.0)?;
    Some((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn its_expiry_is_read_from_its_claims() {
        assert_eq!(expiry_micros(&token(r#"{"exp":1700000000}"#)), Some(1_700_000_000_000_000));
        assert_eq!(expiry_micros(&token(r#"{"exp":1.5,"sub":"a"}"#)), Some(1_500_000));
        for odd in ["", "opaque", "a.b.c", &token("{}"), &token(r#"{"exp":"1"}"#), &token("no")] {
            assert_eq!(expiry_micros(odd), None, "{odd}");
        }
    }
}
