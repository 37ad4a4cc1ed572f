//! What is said about AWS and its objects.

use super::load::Check;
use crate::document::{Finding, Step};
use crate::sinks::bucket::{Encryption, ObjectConfig};

/// Most tags of an object.
const MOST_TAGS: usize = 10;

pub(super) fn everything(check: &mut Check<'_>) {
    let mut findings = Vec::new();
    if check.is_sound(&["aws"]) {
        findings.extend(aws(check));
    }
    if check.is_sound(&["sinks"]) {
        for (name, sink) in &check.pipeline.sinks {
            let Some(parquet) = &sink.parquet else { continue };
            let steps = ["sinks", name, "parquet", "s3"].map(Step::Key);
            findings.extend(objects(check, &steps, &parquet.url, parquet.s3.as_ref()));
        }
    }
    if check.is_sound(&["dead_letters"]) {
        let letters = &check.pipeline.dead_letters;
        let steps = ["dead_letters", "s3"].map(Step::Key);
        findings.extend(objects(check, &steps, &letters.url, letters.s3.as_ref()));
    }
    #[cfg(feature = "aws")]
    if let Some(crate::checkpoint::CheckpointConfig::S3(s3)) = &check.pipeline.checkpoint
        && check.is_sound(&["checkpoint"])
        && !s3.url.starts_with("s3://")
    {
        let steps = ["checkpoint", "s3", "url"].map(Step::Key);
        let finding = check.document.finding_at(&steps, "is no url of a bucket");
        findings.push(finding.allowed("like `s3://BUCKET/FOLDER`; for a folder the key `file`"));
    }
    check.findings.extend(findings);
}

fn aws(check: &Check<'_>) -> Vec<Finding> {
    let Some(aws) = &check.pipeline.aws else { return Vec::new() };
    let mut findings = Vec::new();
    let mut report = |keys: &[&'static str], what: &str, allowed: &str| {
        let steps: Vec<Step<'_>> = keys.iter().copied().map(Step::Key).collect();
        findings.push(check.document.finding_at(&steps, what).allowed(allowed));
    };
    let is_address = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    if aws.endpoint.as_ref().is_some_and(|endpoint| !is_address(endpoint)) {
        report(&["aws", "endpoint"], "is no address of a server", "like `http://127.0.0.1:9000`");
    }
    if aws.role.as_ref().is_some_and(|role| !role.arn.starts_with("arn:")) {
        let allowed = "like `arn:aws:iam::123456789012:role/acequia`";
        report(&["aws", "role", "arn"], "is no ARN", allowed);
    }
    findings
}

/// How objects are stored says something only where there are objects.
fn objects(
    check: &Check<'_>,
    steps: &[Step<'_>],
    url: &str,
    objects: Option<&ObjectConfig>,
) -> Vec<Finding> {
    let Some(objects) = objects else { return Vec::new() };
    let mut findings = Vec::new();
    if !url.starts_with("s3://") {
        let what = "says how objects of S3 are stored, and the url is none of S3";
        let finding = check.document.finding_at_key(steps, what);
        findings.push(finding.allowed("leave it out, or a url like `s3://BUCKET/FOLDER`"));
    }
    let below = |key| steps.iter().copied().chain([Step::Key(key)]).collect::<Vec<_>>();
    if objects.kms_key.is_some() && objects.encryption != Some(Encryption::Kms) {
        let finding = check.document.finding_at_key(&below("kms_key"), "the key is not used");
        findings.push(finding.allowed("`encryption: kms` beside it"));
    }
    if objects.tags.len() > MOST_TAGS {
        let what = format!("{} tags are too many", objects.tags.len());
        let finding = check.document.finding_at_key(&below("tags"), what);
        findings.push(finding.allowed(format!("at most {MOST_TAGS}")));
    }
    findings
}
