//! Names of the files that staged sinks write: unique, readable, and enough to apply the token rule.
//!
//! `p<partition>-<from>-t<token>-e<epoch>-<number>-<nonce>` with an extension behind it: the
//! partition as 16 hexadecimal digits of a hash, so that no text of an event or a source reaches
//! the file system; where the epoch begins; the fencing token and the epoch it was written under;
//! the file's number inside its epoch; the first 8 digits of its nonce. The name is fixed before
//! the end of the epoch is known. It serves audits and the sweep: whether two files are the same is
//! decided by the nonce inside them.

use sha2::{Digest, Sha256};

use crate::component::EpochId;
use crate::event::{PartitionId, Position};

/// The part of a file's name that Acequia gives meaning to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// [`partition_tag`] of the partition it was written for.
    pub partition_tag: String,
    /// Where its epoch begins, for people.
    pub from: String,
    /// The fencing token it was written under.
    pub token: u64,
    /// The epoch it belongs to.
    pub epoch: u64,
    /// Its number inside the epoch, from 0.
    pub number: u32,
    /// The first digits of its nonce.
    pub nonce_prefix: String,
}

/// Digits of the nonce that a name carries.
const NONCE_DIGITS: usize = 8;
/// The longest position that is written out; a longer one appears as a hash.
const LONGEST_POSITION: usize = 40;

/// Names a partition of a pipeline in 16 hexadecimal digits.
pub fn partition_tag(pipeline: &str, partition: &PartitionId) -> String {
    digest(&[pipeline.as_bytes(), b"\0", partition.as_str().as_bytes()])
}

fn digest(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl FileName {
    /// The name of file `number` of `epoch`, whose nonce is `nonce`.
    pub fn new(epoch: &EpochId, number: u32, nonce: &str) -> Self {
        let from = match &epoch.from {
            Position::Offset(offset) => format!("{offset:012}"),
            Position::Sequence(digits)
                if digits.len() <= LONGEST_POSITION
                    && digits.bytes().all(|digit| digit.is_ascii_digit()) =>
            {
                digits.to_string()
            }
            Position::Sequence(digits) => format!("h{}", digest(&[digits.as_bytes()])),
        };
        Self {
            partition_tag: partition_tag(&epoch.pipeline, &epoch.partition),
            from,
            token: epoch.token,
            epoch: epoch.epoch,
            number,
            nonce_prefix: nonce.chars().take(NONCE_DIGITS).collect(),
        }
    }

    /// Read a name back; folders before it and extensions behind it are passed over. `None` where
    /// it is not a name of ours.
    pub fn parse(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let stem = name.split('.').next()?;
        let mut parts = stem.split('-');
        let mut tagged = |tag: char| parts.next()?.strip_prefix(tag);
        let partition_tag = tagged('p')?.to_owned();
        let from = parts.next()?.to_owned();
        let mut tagged = |tag: char| parts.next()?.strip_prefix(tag);
        let token = tagged('t')?.parse().ok()?;
        let epoch = tagged('e')?.parse().ok()?;
        let number = parts.next()?.parse().ok()?;
        let nonce_prefix = parts.next()?.to_owned();
        parts.next().is_none().then_some(Self {
            partition_tag,
            from,
            token,
            epoch,
            number,
            nonce_prefix,
        })
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "p{}-{}-t{:06}-e{:06}-{:03}-{}",
            self.partition_tag, self.from, self.token, self.epoch, self.number, self.nonce_prefix
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(partition: &str, from: Position) -> EpochId {
        EpochId {
            pipeline: "conversations".into(),
            domain: "d".into(),
            partition: PartitionId::new(partition),
            token: 7,
            epoch: 12,
            from,
            control: 1,
            tombstones: false,
            confirmation: crate::component::Confirmation::now(),
        }
    }

    #[test]
    fn a_name_reads_back() {
        let long = Position::Sequence("9".repeat(129).into());
        for from in [Position::Offset(0), Position::Sequence("4905".into()), long] {
            let name = FileName::new(&epoch("a/b", from), 3, "0123456789abcdef");
            let path = format!("year=2024/month=01/{name}.parquet.staged");
            assert_eq!(FileName::parse(&path), Some(name));
        }
    }

    #[test]
    fn no_text_of_a_source_reaches_the_file_system() {
        let name = FileName::new(
            &epoch("../../etc/passwd", Position::Sequence("../x".into())),
            0,
            "0123456789abcdef",
        )
        .to_string();
        assert!(!name.contains("..") && !name.contains('/') && !name.contains("etc"), "{name}");
        assert!(name.len() < 120, "{name}");
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in ["", "conversations.parquet", "p1-2-t3-e4-5", "p1-2-t3-e4-x-6", "p-a-b-c-d-e"] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
