//! Rules of the bucket that would abort uploads which a checkpoint record still names.
//!
//! An upload that a record names must outlive any stop of the pipeline: one that the bucket aborts
//! is a lost file. Source: "Configuring a bucket lifecycle configuration to delete incomplete
//! multipart uploads" in the guide of Amazon S3; days count from the upload's beginning.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};
use tracing::warn;

use super::staging::Store;
use crate::aws::{self, Call};
use crate::error::{Error, Result};

/// A rule that aborts earlier than this is refused.
const LEAST_DAYS: i32 = 3;
/// A rule that aborts earlier than this is worth a warning.
const SAFE_DAYS: i32 = 7;

/// Refuse a bucket that would abort uploads below the prefix too early.
pub(super) async fn check(store: &Store) -> Result<()> {
    let bucket = &store.place.bucket;
    let client = store.aws.s3().await;
    let rules = client.get_bucket_lifecycle_configuration().bucket(bucket).send().await;
    let rules = match rules {
        Ok(found) => found.rules.unwrap_or_default(),
        Err(error) if aws::code(&error) == Some("NoSuchLifecycleConfiguration") => return Ok(()),
        // Other servers know no such rules.
        Err(error) if matches!(aws::status(&error), Some(405 | 501)) => return Ok(()),
        Err(error) if aws::code(&error) == Some("AccessDenied") => {
            warn!(
                %bucket,
                "cannot read the bucket's lifecycle rules: grant `s3:GetLifecycleConfiguration`, or \
                 see to it that none aborts incomplete uploads below {} before {SAFE_DAYS} days",
                store.place
            );
            return Ok(());
        }
        Err(error) => {
            let what = format!("read the lifecycle rules of s3://{bucket}");
            let call = Call { what: &what, needs: "s3:GetLifecycleConfiguration" };
            return Err(call.refused(error));
        }
    };
    match shortest(&rules, &store.place.beginning()) {
        Some((days, rule)) if days < LEAST_DAYS => Err(Error::config(format!(
            "the lifecycle rule `{rule}` of s3://{bucket} aborts incomplete uploads below {} after \
             {days} days: a pipeline that stops for longer would lose what it has committed; set \
             `DaysAfterInitiation` to {SAFE_DAYS} or more, at least {LEAST_DAYS}",
            store.place
        ))),
        Some((days, rule)) if days < SAFE_DAYS => {
            warn!(
                %bucket, rule, days,
                "the bucket aborts incomplete uploads early: a pipeline that stops for longer loses \
                 what it has committed; {SAFE_DAYS} days or more are safe"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The rule that aborts uploads below `beginning` first, with its days and its name.
fn shortest<'a>(rules: &'a [LifecycleRule], beginning: &str) -> Option<(i32, &'a str)> {
    let aborts = |rule: &'a LifecycleRule| {
        let days = rule.abort_incomplete_multipart_upload()?.days_after_initiation()?;
        let is_on = *rule.status() == ExpirationStatus::Enabled;
        // Rules for tags or sizes do not abort uploads.
        let prefix = match rule.filter() {
            Some(filter) => filter.prefix().unwrap_or_default(),
            #[allow(deprecated, reason = "older rules have it, and still count")]
            None => rule.prefix().unwrap_or_default(),
        };
        let meets = beginning.starts_with(prefix) || prefix.starts_with(beginning);
        (is_on && meets).then(|| (days, rule.id().unwrap_or("without a name")))
    };
    rules.iter().filter_map(aborts).min_by_key(|(days, _)| *days)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, LifecycleRuleFilter};

    use super::*;

    fn rule(name: &str, prefix: &str, days: i32, status: ExpirationStatus) -> LifecycleRule {
        let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(days).build();
        LifecycleRule::builder()
            .id(name)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .status(status)
            .abort_incomplete_multipart_upload(abort)
            .build()
            .unwrap()
    }

    #[test]
    fn only_rules_that_meet_the_prefix_count() {
        let on = ExpirationStatus::Enabled;
        let rules = [
            rule("elsewhere", "logs/", 1, on.clone()),
            rule("off", "", 1, ExpirationStatus::Disabled),
            rule("all", "", 9, on.clone()),
            rule("inside", "lake/conversations/year=2024/", 5, on),
        ];
        assert_eq!(shortest(&rules, "lake/conversations/"), Some((5, "inside")));
        assert_eq!(shortest(&rules, "lake/orders/"), Some((9, "all")));
        assert_eq!(shortest(&rules[..2], "lake/"), None);
    }
}
