//! Names, numbers and addresses.

use std::net::SocketAddr;
#[cfg(feature = "kafka")]
use std::time::Duration;

use chrono::NaiveDate;

use super::folders;
use super::load::Check;
use crate::document::Step;
use crate::sources::SourceConfig;
#[cfg(feature = "kafka")]
use crate::sources::kafka::{GroupProtocol, KafkaConfig, Topics};
use crate::units::ByteSize;

/// Least memory with which lanes make progress.
const LEAST_MEMORY: ByteSize = ByteSize::mebibytes(32);

/// Longest name: it becomes part of file names and metric labels.
const LONGEST_NAME: usize = 63;

/// Names of the pipeline, the sinks and the tests.
pub(super) fn names(check: &mut Check<'_>) {
    let mut findings = Vec::new();
    let mut judge = |steps: &[Step<'_>], name: &str, is_key: bool| {
        if is_name(name) {
            return;
        }
        let what = "is not a name";
        let finding = match is_key {
            true => check.document.finding_at_key(steps, what),
            false => check.document.finding_at(steps, what),
        };
        let allowed = format!(
            "lower-case letters, digits and hyphens, a letter first, at most {LONGEST_NAME}"
        );
        let shown = value_is_shown(check, steps) || is_key;
        findings.push(finding.allowed(allowed).suggest(slug(name).filter(|_| shown)));
    };
    if check.is_sound(&["name"]) {
        judge(&[Step::Key("name")], &check.pipeline.name, false);
    }
    for name in check.pipeline.sinks.keys() {
        judge(&[Step::Key("sinks"), Step::Key(name)], name, true);
    }
    for (index, test) in check.pipeline.tests.iter().enumerate() {
        let earlier = check.pipeline.tests.iter().take(index);
        if earlier.into_iter().any(|earlier| earlier.name == test.name) {
            let steps = [Step::Key("tests"), Step::Item(index), Step::Key("name")];
            let finding = check.document.finding_at(&steps, "another test has this name");
            findings.push(finding.allowed("each test a name of its own"));
        }
    }
    check.findings.extend(findings);
}

fn is_name(name: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(inside)
        && name.len() <= LONGEST_NAME
}

/// A name that is nearly `name`.
fn slug(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let slug: String = name.chars().map(plain).collect();
    let slug = slug.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
    let slug = slug.trim_end_matches('-').to_owned();
    is_name(&slug).then_some(slug)
}

/// False where the value comes from a variable, which may be a secret.
fn value_is_shown(check: &Check<'_>, steps: &[Step<'_>]) -> bool {
    let node = check.document.root.at(steps);
    node.and_then(|node| node.scalar()).is_some_and(|scalar| !scalar.is_expanded())
}

/// Sizes, durations and dates that must agree with each other.
pub(super) fn numbers(check: &mut Check<'_>) {
    let mut wrong = Vec::new();
    if check.is_sound(&["commit"]) {
        commit(check, &mut wrong);
    }
    if let Some(memory) = check.pipeline.memory.filter(|memory| *memory < LEAST_MEMORY) {
        let what = format!("{memory} is too little");
        wrong.push((vec![Step::Key("memory")], what, format!("{LEAST_MEMORY} or more")));
    }
    source(check, &mut wrong);
    time_ranges(check, &mut wrong);
    let finding = |(steps, what, allowed): Wrong<'_>| {
        check.document.finding_at(&steps, what).allowed(allowed)
    };
    let findings: Vec<_> = wrong.into_iter().map(finding).collect();
    check.findings.extend(findings);
}

/// Where a setting stands, what is wrong with it, and what is allowed.
type Wrong<'a> = (Vec<Step<'a>>, String, String);

fn commit<'a>(check: &'a Check<'_>, wrong: &mut Vec<Wrong<'a>>) {
    let commit = &check.pipeline.commit;
    let mut report = |name: &'static str, what: String, allowed: &str| {
        wrong.push((vec![Step::Key("commit"), Step::Key(name)], what, allowed.to_owned()));
    };
    for (name, interval) in [("every", commit.every), ("max_age", commit.max_age)] {
        if interval.duration().is_zero() {
            report(name, "is no time at all".into(), "1ms or more");
        }
    }
    if commit.size.bytes() == 0 {
        report("size", "is no size at all".into(), "1B or more");
    }
    if commit.min_size > commit.size {
        let what = format!("{} is more than `size`, {}", commit.min_size, commit.size);
        report("min_size", what, "at most `size`");
    }
    if commit.every > commit.max_age {
        let what = format!("{} is more than `max_age`, {}", commit.every, commit.max_age);
        report("every", what, "at most `max_age`");
    }
}

fn source<'a>(check: &'a Check<'_>, wrong: &mut Vec<Wrong<'a>>) {
    let source = &check.pipeline.source;
    let mut report = |kind: &'static str, name: &'static str, what: &str, allowed: &str| {
        let steps = vec![Step::Key("source"), Step::Key(kind), Step::Key(name)];
        wrong.push((steps, what.to_owned(), allowed.to_owned()));
    };
    for (kind, name, size) in source_sizes(source) {
        if size.bytes() == 0 {
            report(kind, name, "is no size at all", "1B or more");
        }
    }
    match source {
        SourceConfig::Archive(_) => {
            if folders::patterns(source).is_empty() {
                report("archive", "path", "the list is empty", "at least one pattern");
            }
        }
        #[cfg(feature = "kafka")]
        SourceConfig::Kafka(kafka) => {
            if kafka.topics.names().is_empty() {
                report("kafka", "topics", "the list is empty", "at least one topic");
            }
            for (what, allowed) in kafka.topics.names().iter().filter_map(|name| topic(name)) {
                report("kafka", "topics", &what, allowed);
            }
            if let Some((what, allowed)) = session_timeout(kafka) {
                report("kafka", "session_timeout", what, allowed);
            }
            let allowed = Duration::from_secs(1)..=Duration::from_secs(3600);
            if kafka.discovery_interval.is_some_and(|it| !allowed.contains(&it.duration())) {
                report("kafka", "discovery_interval", "is no useful time", "from 1s to 1h");
            }
            wrong.extend(sasl(kafka));
        }
    }
}

fn time_ranges<'a>(check: &'a Check<'_>, wrong: &mut Vec<Wrong<'a>>) {
    for (name, sink) in &check.pipeline.sinks {
        let Some(parquet) = &sink.parquet else { continue };
        let range = &parquet.partition.time_range;
        let mut report = |end: &'static str, what: String, allowed: &str| {
            let keys = ["sinks", name, "parquet", "partition", "time_range", end];
            wrong.push((keys.map(Step::Key).to_vec(), what, allowed.to_owned()));
        };
        let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let (from, to) = (day(&range.from), range.to.as_deref().map(day));
        if from.is_none() {
            report("from", "is not a day".into(), "a day like `2000-01-01`");
        }
        if to == Some(None) {
            report("to", "is not a day".into(), "a day like `2030-12-31`");
        }
        if let (Some(from), Some(Some(to))) = (from, to)
            && to < from
        {
            report("to", format!("lies before `from`, {from}"), "`from` or a later day");
        }
    }
}

/// What is wrong with the name of a topic or a pattern of names, and what is allowed.
#[cfg(feature = "kafka")]
fn topic(text: &str) -> Option<(String, &'static str)> {
    if !Topics::is_pattern(text) {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        return (text.is_empty() || !text.chars().all(is_allowed)).then(|| {
            let allowed =
                "letters, digits, `.`, `_` and `-`; a pattern begins with `^` and ends with `$`";
            (format!("`{text}` is no name of a topic"), allowed)
        });
    }
    if !text.ends_with('$') {
        let what = format!("the pattern `{text}` has no end");
        return Some((what, "`^` in front and `$` behind: a pattern is the whole name"));
    }
    let error = regex::Regex::new(text).err()?;
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
    Some((format!("the pattern `{text}` cannot be read: {reason}"), "a regular expression"))
}

/// What does not fit together in how a source logs in.
#[cfg(feature = "kafka")]
fn sasl<'a>(kafka: &KafkaConfig) -> impl Iterator<Item = Wrong<'a>> {
    let misfits = kafka.sasl.as_ref().map(|sasl| sasl.misfits(kafka.tls.is_some()));
    misfits.into_iter().flatten().map(|(key, what, allowed)| {
        let keys = ["source", "kafka", "sasl"].into_iter().chain(key);
        (keys.map(Step::Key).collect(), what, allowed.to_owned())
    })
}

/// What is wrong with a session timeout, and what is allowed.
#[cfg(feature = "kafka")]
fn session_timeout(kafka: &KafkaConfig) -> Option<(&'static str, &'static str)> {
    let timeout = kafka.session_timeout?.duration();
    if kafka.protocol == GroupProtocol::Consumer {
        return Some((
            "is not ours to say: with `protocol: consumer` the brokers decide",
            "leave it out",
        ));
    }
    let allowed = Duration::from_secs(1)..=Duration::from_secs(1800);
    (!allowed.contains(&timeout)).then_some(("is no useful time", "from 1s to 30m"))
}

/// The sizes that a source is set up with, each with the source's key and its own.
fn source_sizes(source: &SourceConfig) -> Vec<(&'static str, &'static str, ByteSize)> {
    match source {
        SourceConfig::Archive(archive) => vec![
            ("archive", "max_record_size", archive.max_record_size),
            ("archive", "range_size", archive.range_size),
        ],
        #[cfg(feature = "kafka")]
        SourceConfig::Kafka(kafka) => vec![("kafka", "max_record_size", kafka.max_record_size)],
    }
}

/// The address of the metrics endpoint.
pub(super) fn metrics(check: &mut Check<'_>) {
    let Some(metrics) = check.pipeline.metrics.as_ref().filter(|_| check.is_sound(&["metrics"]))
    else {
        return;
    };
    let steps = [Step::Key("metrics"), Step::Key("listen")];
    let finding = match metrics.listen.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() || metrics.allow_remote => return,
        Ok(address) => {
            let open = format!("127.0.0.1:{}", address.port());
            let shown = value_is_shown(check, &steps);
            let finding =
                check.document.finding_at(&steps, "other machines can reach this address");
            finding
                .allowed("a loopback address, or `allow_remote: true` beside it")
                .suggest(Some(open).filter(|_| shown))
        }
        Err(_) => check
            .document
            .finding_at(&steps, "is not an address with a port")
            .allowed("like `127.0.0.1:9464`; names are not looked up"),
    };
    check.report(finding);
}
