//! Tokens for Amazon MSK: an address that the AWS credentials of the process sign, in base64url.
//!
//! The form is that of AWS's own signers (`aws-msk-iam-sasl-signer`): a presigned `GET` of
//! `https://kafka.REGION.amazonaws.com/?Action=kafka-cluster:Connect` that holds for fifteen minutes,
//! with the name of the client behind the signature.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Token;
use crate::aws::{Aws, Presigning};
use crate::error::{Error, Result};

/// How long a token holds.
const LIFETIME: Duration = Duration::from_secs(900);
/// Who says so; nobody checks it.
const USER_AGENT: &str = concat!("acequia%2F", env!("CARGO_PKG_VERSION"));

/// Signs tokens for the brokers of one region.
pub(super) struct Msk {
    aws: Aws,
    region: String,
}

impl Msk {
    /// For `region`, else that in the name of a broker of `bootstrap`, else that of `aws`.
    pub(super) async fn new(aws: Aws, region: Option<String>, bootstrap: &str) -> Result<Self> {
        let named = region.or_else(|| region_of(bootstrap));
        let region = match named {
            Some(region) => Some(region),
            None => aws.region().await,
        };
        let region = region.ok_or_else(|| {
            Error::config(format!(
                "cannot tell in which region the brokers {bootstrap} are: set `source.kafka.sasl.region`"
            ))
        })?;
        Ok(Self { aws, region })
    }

    pub(super) async fn sign(&self, now_micros: i64) -> Result<Token> {
        let region = self.region.as_str();
        let url = format!("https://kafka.{region}.amazonaws.com/?Action=kafka-cluster%3AConnect");
        let wanted = Presigning {
            url: &url,
            service: "kafka-cluster",
            region,
            now_micros,
            lifetime: LIFETIME,
        };
        let signed = self
            .aws
            .presign(&wanted)
            .await
            .map_err(|error| error.context("cannot sign a token for Amazon MSK"))?;
        let url = format!("{}&User-Agent={USER_AGENT}", signed.url.reveal());
        let text = URL_SAFE_NO_PAD.encode(url).into();
        Ok(Token { text, expires_micros: signed.expires_micros })
    }
}

/// The region in the name of the first broker that MSK has given a name:
/// `b-1.NAME.ID.c2.kafka.REGION.amazonaws.com:9098`, or `kafka-serverless` in the same place.
fn region_of(bootstrap: &str) -> Option<String> {
    bootstrap.split(',').find_map(|broker| {
        let host = broker.trim().split(':').next()?;
        let host = host.strip_suffix(".amazonaws.com").or(host.strip_suffix(".amazonaws.com.cn"))?;
        let (service, region) = host.rsplit_once('.')?;
        let service = service.rsplit('.').next()?;
        ["kafka", "kafka-serverless"].contains(&service).then(|| region.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use aws_config::{Region, SdkConfig};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    use super::*;

    /// 2026-01-02T03:04:05Z
    const NOW: i64 = 1_767_323_045_000_000;

    fn aws(token: Option<&str>, lifetime: Option<Duration>) -> Aws {
        let end = lifetime.map(|lifetime| {
            std::time::UNIX_EPOCH + Duration::from_micros(NOW.unsigned_abs()) + lifetime
        });
        let key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let keys = Credentials::new("AKIDEXAMPLE", key, token.map(str::to_owned), end, "test");
        let config = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .region(Region::new("eu-central-1"));
        Aws::of(config.build(), false)
    }

    async fn signed(aws: Aws) -> (String, i64) {
        let msk = Msk::new(aws, Some("eu-west-1".to_owned()), "127.0.0.1:1").await.unwrap();
        let token = msk.sign(NOW).await.unwrap();
        let url = URL_SAFE_NO_PAD.decode(token.text.reveal()).unwrap();
        (String::from_utf8(url).unwrap(), token.expires_micros)
    }

    /// The parameters of a url, in the order of their names.
    fn parameters(url: &str) -> Vec<&str> {
        let (address, query) = url.split_once('?').unwrap();
        assert_eq!(address, "https://kafka.eu-west-1.amazonaws.com/");
        let mut parameters: Vec<&str> = query.split('&').collect();
        parameters.sort_unstable();
        parameters
    }

    /// The same request, signed by `SigV4QueryAuth` of botocore 1.44.8.
    #[tokio::test]
    async fn the_signature_is_that_of_another_signer() {
        let (url, expires) = signed(aws(None, None)).await;
        let botocore = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
            &X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Fkafka-cluster%2Faws4_request\
            &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
            &X-Amz-Signature=7cc178453342e479def8e0e69cbff443ca929b5b0426af0f4b64554172c7195d";
        let agent = format!("&User-Agent={USER_AGENT}");
        assert_eq!(parameters(&url), parameters(&format!("{botocore}{agent}")));
        assert!(url.ends_with(&agent), "{url}");
        assert_eq!(expires, NOW + 900_000_000);

        // Of a role, whose credentials end before the token would.
        let session = aws(Some("session/token+with=signs"), Some(Duration::from_secs(60)));
        let (url, expires) = signed(session).await;
        let botocore = "https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect\
            &X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-west-1%2Fkafka-cluster%2Faws4_request\
            &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
            &X-Amz-Security-Token=session%2Ftoken%2Bwith%3Dsigns\
            &X-Amz-Signature=7ab65d3ab506f4a0bcc61f27ac87442fa48f91584097e4f9a43841e1ea20f3eb";
        assert_eq!(parameters(&url), parameters(&format!("{botocore}{agent}")));
        assert_eq!(expires, NOW + 60_000_000);
    }

    #[tokio::test]
    async fn the_region_is_told_by_the_pipeline_the_broker_or_aws() {
        let broker = "b-1.events.x1y2z3.c2.kafka.us-east-1.amazonaws.com:9098";
        let serverless = "boot-x1.c1.kafka-serverless.us-west-2.amazonaws.com:9098";
        for (region, bootstrap, found) in [
            (Some("eu-west-1"), broker, "eu-west-1"),
            (None, broker, "us-east-1"),
            (None, serverless, "us-west-2"),
            (None, "broker.internal:9098,b.kafka.cn-north-1.amazonaws.com.cn:9098", "cn-north-1"),
            (None, "ec2-1.us-east-1.compute.amazonaws.com:9098", "eu-central-1"),
        ] {
            let msk = Msk::new(aws(None, None), region.map(str::to_owned), bootstrap).await;
            assert_eq!(msk.unwrap().region, found, "{bootstrap}");
        }
        let nowhere = Aws::of(SdkConfig::builder().build(), false);
        let lost = Msk::new(nowhere, None, "127.0.0.1:1").await.err().unwrap();
        assert_eq!(
            lost.to_string(),
            "cannot tell in which region the brokers 127.0.0.1:1 are: set `source.kafka.sasl.region`"
        );
    }

    #[tokio::test]
    async fn without_credentials_it_says_where_they_are_looked_for() {
        let nobody = Aws::of(SdkConfig::builder().build(), false);
        let msk = Msk::new(nobody, Some("eu-west-1".to_owned()), "").await.unwrap();
        assert_eq!(
            msk.sign(NOW).await.unwrap_err().to_string(),
            "cannot sign a token for Amazon MSK: no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the task a role (this process is set up without any)"
        );
    }
}
