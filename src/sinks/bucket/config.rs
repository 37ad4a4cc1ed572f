//! What a pipeline says about the objects that it writes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How objects are stored, where the url is one of S3.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectConfig {
    /// The storage class. Without it: the bucket's own, `standard`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<StorageClass>,
    /// Who keeps the key that objects are encrypted with. Without it: as the bucket says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// The key of KMS, by its ARN or alias, where `encryption` is `kms`. Without it: the account's
    /// key for S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kms_key: Option<String>,
    /// Tags of each object, at most 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Classes of storage whose objects can be read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StorageClass {
    /// For what is read often.
    Standard,
    /// For what is read seldom.
    StandardIa,
    /// For what is read seldom and can be made anew.
    OnezoneIa,
    /// Moved by S3 as it is read.
    IntelligentTiering,
    /// For what is hardly read, still at once.
    GlacierIr,
}

/// Who keeps the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encryption {
    /// S3 itself (SSE-S3).
    S3,
    /// The key service (SSE-KMS).
    Kms,
}
