//! What a refusal of AWS means, in words that say what to do.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use super::Phase;
use crate::error::{Error, ErrorKind, innermost};

/// One call, for the message of its failure.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What was tried on what: `write s3://bucket/key`.
    pub what: &'a str,
    /// The permission that it takes: `s3:PutObject`.
    pub needs: &'a str,
}

/// What stands behind a refusal, as far as its answer tells.
enum Meaning {
    Away(String),
    NoCredentials(String),
    WrongCredentials,
    Forbidden,
    ClockSkew,
    WrongRegion(Option<String>),
    NoRegion,
    NotAtHand,
    Busy,
    Missing,
    Other(String),
}

/// Codes that say that a later try may succeed.
const BUSY: [&str; 9] = [
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "InternalServerError",
    "RequestTimeout",
    "ThrottlingException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TransactionInProgressException",
];
const FORBIDDEN: [&str; 4] =
    ["AccessDenied", "AccessDeniedException", "Forbidden", "KMS.AccessDeniedException"];
const WRONG_CREDENTIALS: [&str; 8] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
];
const CLOCK: [&str; 2] = ["RequestTimeTooSkewed", "RequestExpired"];
const REGION: [&str; 4] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];
/// What the client says where it has no region to sign for.
const NO_REGION: [&str; 2] = ["region must be set", "missing region"];
const NOT_AT_HAND: &str = "InvalidObjectState";
const MISSING: [&str; 4] = ["NoSuchBucket", "ResourceNotFoundException", "NotFound", "NoSuchKey"];

impl Call<'_> {
    /// [`Call::refused`] or [`Call::failed`].
    pub fn fail<E>(&self, phase: Phase, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match phase {
            Phase::Start => self.refused(error),
            Phase::Run => self.failed(error),
        }
    }

    /// In mid-run every failure is a wait: what it means may be mended meanwhile.
    pub fn failed<E>(&self, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let (_, message) = self.explain(&error);
        Error::retryable(message)
    }

    /// The failure of a write whose caller `has_written` before. Until then a refused permission was
    /// never given, and waiting would not mend it.
    pub fn failed_write<E>(&self, has_written: bool, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        match meaning(&error) {
            Meaning::Forbidden if !has_written => self.refused(error),
            _ => self.failed(error),
        }
    }

    /// At the start what a person must mend is a diagnostic, and what passes by itself is not.
    pub fn refused<E>(&self, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let (passes, message) = self.explain(&error);
        Error::new(if passes { ErrorKind::Retryable } else { ErrorKind::Config }, message)
    }

    /// True where the failure passes by itself, and the message.
    fn explain<E>(&self, error: &SdkError<E>) -> (bool, String)
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let Self { what, needs } = self;
        let said = error.message().map(|said| format!(" ({said})")).unwrap_or_default();
        let (passes, why) = match meaning(error) {
            Meaning::Away(cause) => (false, format!("the server was not reached: {cause}")),
            Meaning::NoCredentials(cause) => (false, no_credentials(&cause)),
            Meaning::WrongCredentials => {
                (false, format!("AWS does not accept the credentials: renew or replace them{said}"))
            }
            Meaning::Forbidden => (
                false,
                format!("the credentials do not allow it: grant them `{needs}` there{said}"),
            ),
            Meaning::ClockSkew => (
                false,
                format!(
                    "the clock of this machine is more than minutes away from that of AWS, which \
                     refuses its signatures: set the clock, best by NTP{said}"
                ),
            ),
            Meaning::WrongRegion(Some(region)) => {
                (false, format!("the bucket is in region {region}: set `aws.region: {region}`"))
            }
            Meaning::WrongRegion(None) => {
                (false, format!("the bucket is in another region: set `aws.region` to it{said}"))
            }
            Meaning::NoRegion => (
                false,
                "no region is known: set `aws.region`, AWS_REGION, or the region of the profile"
                    .to_owned(),
            ),
            Meaning::NotAtHand => (
                false,
                format!(
                    "its storage class has to be restored from before it can be read: restore it \
                     (`aws s3api restore-object`), or keep it out{said}"
                ),
            ),
            Meaning::Busy => (true, format!("the server is busy or failing{said}")),
            Meaning::Missing => (false, format!("it does not exist{said}")),
            Meaning::Other(cause) => (false, cause),
        };
        (passes, format!("cannot {what}: {why}"))
    }
}

/// What to do where the chain of providers ends without credentials.
pub(super) fn no_credentials(cause: &str) -> String {
    format!(
        "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, \
         AWS_PROFILE, or give the task a role ({cause})"
    )
}

/// The error code in a service's answer.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// The HTTP status of a service's answer.
pub fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// True where the answer says that there is no such thing.
pub fn is_absent<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    status(error) == Some(404) && code(error) != Some("NoSuchBucket")
}

fn meaning<E>(error: &SdkError<E>) -> Meaning
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if let Some(cause) = credentials_error(error) {
        return match cause {
            CredentialsError::CredentialsNotLoaded(_) => Meaning::NoCredentials(cause.to_string()),
            other => Meaning::NoCredentials(DisplayErrorContext(other).to_string()),
        };
    }
    let is_sent = matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_));
    let cause = innermost(error);
    if !is_sent && NO_REGION.iter().any(|told| cause.to_lowercase().contains(told)) {
        return Meaning::NoRegion;
    }
    match error {
        SdkError::TimeoutError(_) => return Meaning::Away("no answer in time".to_owned()),
        SdkError::DispatchFailure(cause) => {
            let cause = cause.as_connector_error().map(|cause| innermost(cause));
            return Meaning::Away(cause.unwrap_or_else(|| "the connection failed".to_owned()));
        }
        SdkError::ConstructionFailure(_) => return Meaning::Other(cause),
        _ => {}
    }
    let code = code(error).unwrap_or_default();
    let told = error.message().unwrap_or_default();
    let is_late = told.contains("Signature expired") || told.contains("Signature not yet current");
    let header = |name| error.raw_response().and_then(|response| response.headers().get(name));
    match (status(error), code) {
        (_, code) if CLOCK.contains(&code) || is_late => Meaning::ClockSkew,
        (Some(301 | 307), _) => Meaning::WrongRegion(header("x-amz-bucket-region").map(Into::into)),
        (_, code) if REGION.contains(&code) => {
            Meaning::WrongRegion(header("x-amz-bucket-region").map(Into::into))
        }
        (_, code) if WRONG_CREDENTIALS.contains(&code) => Meaning::WrongCredentials,
        (_, code) if BUSY.contains(&code) => Meaning::Busy,
        (_, code) if MISSING.contains(&code) => Meaning::Missing,
        (_, NOT_AT_HAND) => Meaning::NotAtHand,
        (_, code) if FORBIDDEN.contains(&code) => Meaning::Forbidden,
        (Some(401 | 403), _) => Meaning::Forbidden,
        (Some(404), _) => Meaning::Missing,
        (Some(429 | 500..), _) => Meaning::Busy,
        _ => Meaning::Other(cause),
    }
}

/// The error of who looked for credentials, somewhere in the chain.
fn credentials_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<CredentialsError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;
    use aws_sdk_s3::operation::put_object::PutObjectError;
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn refusal(status: u16, code: &str, message: &str) -> SdkError<PutObjectError> {
        let mut response = aws_sdk_s3::config::http::HttpResponse::new(
            status.try_into().unwrap(),
            SdkBody::empty(),
        );
        response.headers_mut().insert("x-amz-bucket-region", "eu-west-1");
        let meta = ErrorMetadata::builder().code(code).message(message).build();
        SdkError::service_error(PutObjectError::generic(meta), response)
    }

    #[test]
    fn each_refusal_says_what_to_do() {
        let call = Call { what: "write s3://lake/a", needs: "s3:PutObject" };
        for (status, code, message, kind, says) in [
            (403, "AccessDenied", "Denied", ErrorKind::Config, "grant them `s3:PutObject` there"),
            (403, "RequestTimeTooSkewed", "x", ErrorKind::Config, "set the clock"),
            (
                400,
                "InvalidSignatureException",
                "Signature expired: 1 is now",
                ErrorKind::Config,
                "set the clock",
            ),
            (403, "InvalidAccessKeyId", "x", ErrorKind::Config, "does not accept the credentials"),
            (301, "PermanentRedirect", "x", ErrorKind::Config, "set `aws.region: eu-west-1`"),
            (403, "InvalidObjectState", "x", ErrorKind::Config, "aws s3api restore-object"),
            (404, "NoSuchBucket", "No.", ErrorKind::Config, "it does not exist (No.)"),
            (503, "SlowDown", "x", ErrorKind::Retryable, "busy or failing"),
            (500, "Unheard", "x", ErrorKind::Retryable, "busy or failing"),
        ] {
            let error = call.refused(refusal(status, code, message));
            assert_eq!(error.kind(), kind, "{code}");
            assert!(error.to_string().starts_with("cannot write s3://lake/a: "), "{error}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(call.failed(refusal(status, code, message)).is_retryable(), "{code}");
            assert!(call.failed_write(true, refusal(status, code, message)).is_retryable());
            let first = call.failed_write(false, refusal(status, code, message));
            assert_eq!(first.is_retryable(), code != "AccessDenied", "{code}");
        }
    }
}
