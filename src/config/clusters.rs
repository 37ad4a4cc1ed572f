//! What is said about clusters of OpenSearch.

use hyper::Uri;

use super::load::Check;
use crate::document::Step;
use crate::location::hides_what_is_sent;
use crate::sinks::opensearch::OpensearchConfig;
use crate::sinks::opensearch::config::LoginConfig;

/// Bytes that the name of an index may have, with the `-1` behind it.
const LONGEST_NAME: usize = 250;
/// Bytes of the largest bulk: clusters take bodies of 100 MB at most, small ones of 10.
const MOST_BULK_BYTES: u64 = 64 << 20;

/// Addresses, names and logins.
pub(super) fn everything(check: &mut Check<'_>) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let mut findings = Vec::new();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for (name, sink) in &check.pipeline.sinks {
        let Some(search) = &sink.opensearch else { continue };
        let mut report = |key: &'static str, what: &str, allowed: &str| {
            let steps = ["sinks", name, "opensearch", key].map(Step::Key);
            findings.push(check.document.finding_at(&steps, what).allowed(allowed));
        };
        match address(&search.url) {
            Some(is_private) if !is_private && is_secret(search) => report(
                "url",
                "a password would cross the network as it is",
                "an address with `https://` (`http://` to this machine alone)",
            ),
            Some(_) => {}
            None => report(
                "url",
                "is no address of a cluster",
                "like `https://search.example.com:9200`; who logs in stands in `login`",
            ),
        }
        if !(1..=MOST_BULK_BYTES).contains(&search.bulk_size.bytes()) {
            report("bulk_size", "is no useful size", "from 1B to 64MiB");
        }
        if !is_index(&search.index) {
            report(
                "index",
                "is no name of an index",
                "lower-case letters, digits, `-`, `_` and `.`, a letter or a digit first",
            );
        }
        let place = (search.url.trim_end_matches('/'), search.index.as_str());
        if known.contains(&place) {
            report("index", "another sink writes this index", "each sink an index of its own");
        }
        known.push(place);
    }
    check.findings.extend(findings);
}

fn is_secret(search: &OpensearchConfig) -> bool {
    // Signatures prove who asks without telling anything.
    matches!(search.login, Some(LoginConfig::Basic(_)))
}

/// Whether nobody between can read what is sent; `None` for what is no address.
fn address(text: &str) -> Option<bool> {
    let uri: Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
        return None;
    }
    matches!(uri.scheme_str()?, "http" | "https").then(|| hides_what_is_sent(text))
}

fn is_index(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(inside)
}
