//! What a pipeline says of an OpenSearch sink.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::sinks::documents::definition::Overrides;
use crate::sinks::documents::{OnExpire, SystemField};
use crate::units::ByteSize;

/// An index of OpenSearch: the last version of each key as a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpensearchConfig {
    /// Address of the cluster, like `https://search.example.com:9200`.
    pub url: String,
    /// What readers search: an alias. The documents lie in the index `INDEX-1` behind it, which is
    /// made where it is missing.
    #[schemars(length(min = 1))]
    pub index: String,
    /// How the cluster is logged in at. Without it: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginConfig>,
    /// Certificate authorities that the cluster's certificate is trusted by, beside those that the
    /// machine trusts: a PEM file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Settings of fields (OpenSearch's mapping parameters), by column, or `COLUMN.MEMBER` of a
    /// struct, in place of the contract's `search` and of what the type says.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub mapping: Overrides,
    /// What documents say of their event besides its columns, in fields of these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<SystemField>,
    /// What an expire does to its document: a time-to-live of the table is not the end of the fact.
    #[serde(default)]
    pub on_expire: OnExpire,
    /// Spread documents over shards by the values of this column instead of their ids: one of the
    /// contract's key, so that a document never changes its shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub routing: Option<String>,
    /// Keep documents in an index for each period, `INDEX-1-2026-01`, all behind the same alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<SplitConfig>,
    /// Primary shards of an index that is made.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub shards: u16,
    /// Copies of each shard of an index that is made.
    #[serde(default = "one")]
    pub replicas: u16,
    /// Bytes of one bulk request. A document that is larger goes alone.
    #[serde(default = "bulk_size")]
    pub bulk_size: ByteSize,
    /// Bulk requests of this process that are under way at once, at most. Fewer while the cluster
    /// says that it has too much to do.
    #[serde(default = "requests")]
    #[schemars(range(min = 1))]
    pub requests: u16,
    /// Send bodies compressed by gzip: less to carry, more to compute.
    #[serde(default)]
    pub compress: bool,
}

/// One index for each period of a key column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// The period.
    pub by: Period,
    /// The column that holds the instant: a timestamp or a date of the contract's key, so that a
    /// document never changes its index.
    pub time: String,
}

/// A period that an index is named after, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// `2026-01-31`
    Day,
    /// `2026-01`
    Month,
    /// `2026`
    Year,
}

fn one() -> u16 {
    1
}

fn requests() -> u16 {
    4
}

fn bulk_size() -> ByteSize {
    ByteSize::mebibytes(5)
}

/// How the cluster is logged in at: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoginConfig {
    /// A name and a password.
    Basic(BasicLogin),
    /// The AWS credentials of the process, for Amazon OpenSearch Service.
    #[cfg(feature = "aws")]
    Sigv4(Sigv4Login),
}

/// A name and a password.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicLogin {
    /// The user.
    pub username: String,
    /// The password; keep it in the environment: `"${OPENSEARCH_PASSWORD}"`.
    pub password: Secret,
}

/// Requests are signed with the AWS credentials of the process.
#[cfg(feature = "aws")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sigv4Login {
    /// What they are signed for.
    #[serde(default)]
    pub service: SigningService,
}

/// What requests are signed for.
#[cfg(feature = "aws")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SigningService {
    /// A domain of Amazon OpenSearch Service.
    #[default]
    Es,
    /// A collection of Amazon OpenSearch Serverless.
    Aoss,
}
