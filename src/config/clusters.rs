//! What is said about clusters of OpenSearch.

use hyper::Uri;

use super::load::Check;
use crate::document::{Finding, Step};
use crate::location::hides_what_is_sent;
use crate::sinks::opensearch::OpensearchConfig;
use crate::sinks::opensearch::config::LoginConfig;
#[cfg(feature = "aws")]
use crate::sinks::opensearch::config::SigningService;

/// Bytes that the name of an index may have, with the `-1` behind it.
const LONGEST_NAME: usize = 250;
/// Bytes of the largest bulk: clusters take bodies of 100 MB at most, small ones of 10.
const MOST_BULK_BYTES: u64 = 64 << 20;

/// Addresses, names and logins.
pub(super) fn everything(check: &mut Check<'_>) {
    if !check.is_sound(&["sinks"]) {
        return;
    }
    let (mut findings, mut warnings) = (Vec::new(), Vec::new());
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
        warnings.extend(serverless(check, name, search));
    }
    check.findings.extend(findings);
    check.warnings.extend(warnings);
}

/// What a collection of Amazon OpenSearch Serverless does not promise.
#[cfg(feature = "aws")]
fn serverless(check: &Check<'_>, name: &str, search: &OpensearchConfig) -> Option<Finding> {
    let Some(LoginConfig::Sigv4(login)) = &search.login else { return None };
    if login.service != SigningService::Aoss {
        return None;
    }
    let steps = ["sinks", name, "opensearch", "login", "sigv4", "service"].map(Step::Key);
    let what = "Serverless forgets the versions of deleted documents when it likes, and its time series and vector collections take no ids of one's own";
    let allowed = "a SEARCH collection, with `acequia tombstones keep`; see docs/search.md";
    Some(check.document.finding_at(&steps, what).allowed(allowed))
}

#[cfg(not(feature = "aws"))]
fn serverless(_: &Check<'_>, _: &str, _: &OpensearchConfig) -> Option<Finding> {
    None
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
