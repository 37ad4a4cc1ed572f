//! How AWS is reached, for every component that does: its settings, its clients, and what its
//! refusals mean.

pub mod config;
#[cfg(feature = "aws")]
mod connection;
#[cfg(feature = "aws")]
mod failure;
#[cfg(feature = "aws")]
pub mod objects;
#[cfg(feature = "aws")]
mod signing;

pub use self::config::{AwsConfig, RoleConfig};
#[cfg(feature = "aws")]
pub use self::connection::{Aws, http_client};
#[cfg(feature = "aws")]
pub use self::failure::{Call, code, is_absent, status};
#[cfg(feature = "aws")]
pub use self::signing::{Presigned, Presigning};

/// When a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Before anything was read: a person looks on.
    Start,
    /// In mid-run.
    Run,
}

/// Without the feature `aws` there are no clients.
#[cfg(not(feature = "aws"))]
#[derive(Debug, Clone, Default)]
pub struct Aws(());

#[cfg(not(feature = "aws"))]
impl Aws {
    /// Nothing can be reached.
    pub fn new(_config: AwsConfig) -> Self {
        Self(())
    }
}
