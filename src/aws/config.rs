//! What a pipeline says about AWS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How AWS is reached. Whatever is left out is found as by every tool of AWS: in the environment
/// (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_S3`), in the profile, or from the task itself;
/// credentials always are, web identity and the roles of tasks among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// The region, like `eu-west-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Address of a server that speaks the APIs in the place of AWS, like `http://127.0.0.1:9000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name a bucket in the path of a url instead of its host. Most other servers of S3 want it.
    #[serde(default)]
    pub path_style: bool,
    /// A role to take on, with the credentials that were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleConfig>,
}

/// A role of AWS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleConfig {
    /// The role, like `arn:aws:iam::123456789012:role/acequia`.
    #[schemars(length(min = 1))]
    pub arn: String,
    /// What the role asks for, where it belongs to somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
}
