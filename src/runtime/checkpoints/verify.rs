//! Comparing the records with each other and with what lies in the lake, as after a restore from a
//! backup.

use std::collections::HashMap;

use super::Checkpoints;
use crate::component::Record;
use crate::error::Result;
use crate::event::PartitionId;
use crate::sinks::file_name::{FileName, partition_tag};
use crate::sinks::marker::Ownership;
use crate::sinks::staging::{self, Found};

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The partition, where it is about one.
    pub partition: Option<PartitionId>,
    /// What is wrong, and what to do.
    pub what: String,
}

/// What was compared, and what is wrong.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Records.
    pub records: u64,
    /// Visible files of this pipeline.
    pub files: u64,
    /// Files that records name and that are not completed yet: the next run does it.
    pub staged: u64,
    /// What is wrong; none where all is well.
    pub doubts: Vec<Doubt>,
}

impl Verified {
    fn doubt(&mut self, partition: Option<&PartitionId>, what: String) {
        self.doubts.push(Doubt { partition: partition.cloned(), what });
    }
}

impl Checkpoints {
    /// Compare everything, and change nothing.
    pub async fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        let records: Vec<Record> =
            self.records().await?.into_iter().map(|held| held.content).collect();
        verified.records = records.len() as u64;
        self.markers(&mut verified).await?;
        for record in &records {
            self.belongs(record, &mut verified);
            for file in record.pending.iter().flat_map(|pending| &pending.files) {
                match staging::look(self.place_of(file)?, file).await? {
                    Found::Visible => {}
                    Found::Staged => verified.staged += 1,
                    Found::Lost(reason) => {
                        let what = format!(
                            "file {} is lost: {reason}; `acequia checkpoint accept lost-file` reads \
                             its range again",
                            file.key
                        );
                        verified.doubt(Some(&record.partition), what);
                    }
                }
            }
        }
        self.files(&records, &mut verified).await?;
        Ok(verified)
    }

    /// Each place belongs to this pipeline and to this store.
    async fn markers(&self, verified: &mut Verified) -> Result<()> {
        let ownership = Ownership {
            pipeline: self.pipeline.clone(),
            domain: self.control.domain.clone(),
            store: self.store_of().identity().to_owned(),
        };
        for (name, staging) in &self.places {
            if !self.control.places.contains(staging.root()) {
                continue;
            }
            if let Err(error) = staging.claim(&ownership, true).await {
                if error.is_retryable() {
                    return Err(error);
                }
                verified.doubt(None, format!("{name}: {error}"));
            }
        }
        Ok(())
    }

    fn belongs(&self, record: &Record, verified: &mut Verified) {
        let store = self.store_of().identity();
        for (what, found, expected) in [
            ("pipeline", record.pipeline.as_str(), self.pipeline.as_str()),
            ("version domain", &record.domain, &self.control.domain),
            ("checkpoint store", &record.store, store),
        ] {
            if found != expected {
                let what = format!("belongs to {what} {found}, this is {what} {expected}");
                verified.doubt(Some(&record.partition), what);
            }
        }
    }

    /// No file is of an epoch that its record does not know: a record that stands behind the files
    /// came from a backup, and going on would write their rows again.
    async fn files(&self, records: &[Record], verified: &mut Verified) -> Result<()> {
        let by_tag: HashMap<String, &Record> = records
            .iter()
            .map(|record| (partition_tag(&self.pipeline, &record.partition), record))
            .collect();
        for (name, staging) in &self.places {
            let mut unknown = 0u64;
            for file in staging.visible().await? {
                let Some(parsed) = FileName::parse(&file) else { continue };
                verified.files += 1;
                let Some(record) = by_tag.get(&parsed.partition_tag) else {
                    unknown += 1;
                    continue;
                };
                if parsed.epoch > record.last_epoch() || parsed.token > record.token {
                    let what = format!(
                        "stands behind the files of {name}: {file} is of epoch {} and token {}, the \
                         record is at epoch {} and token {}; the checkpoint store came from an older \
                         copy, and a run would write rows again",
                        parsed.epoch,
                        parsed.token,
                        record.last_epoch(),
                        record.token
                    );
                    verified.doubt(Some(&record.partition), what);
                }
            }
            if unknown > 0 {
                let what = format!(
                    "{name}: {unknown} files under {} belong to partitions without a record: another \
                     pipeline wrote them, or the store has lost records",
                    staging.root()
                );
                verified.doubt(None, what);
            }
        }
        Ok(())
    }
}
