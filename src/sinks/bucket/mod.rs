//! Staged files in a bucket of S3: multipart uploads, invisible until they are completed.

mod config;
#[cfg(feature = "aws")]
mod lifecycle;
#[cfg(feature = "aws")]
mod objects;
#[cfg(feature = "aws")]
mod staging;
#[cfg(feature = "aws")]
mod tail;
#[cfg(feature = "aws")]
mod upload;

pub use self::config::{Encryption, ObjectConfig, StorageClass};
#[cfg(feature = "aws")]
pub use self::objects::Objects;
#[cfg(feature = "aws")]
pub use self::staging::BucketStaging;
