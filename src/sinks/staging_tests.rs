use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;

use super::*;
use crate::component::{Expected, Pending, Revision, Stored, SwapAnswer};
use crate::event::Position;
use crate::testing::staging::{FaultPoint, MemoryStaging};

fn epoch(partition: &str, token: u64) -> EpochId {
    EpochId {
        pipeline: "shop".into(),
        domain: "d".into(),
        partition: PartitionId::new(partition),
        token,
        epoch: 1,
        from: Position::Offset(0),
        control: 1,
        tombstones: false,
        confirmation: crate::component::Confirmation::now(),
    }
}

async fn stage(staging: &MemoryStaging, epoch: &EpochId, number: u32) -> StagedFile {
    let nonce = format!("{number:032x}");
    let identity = FileIdentity::new(epoch, nonce.clone());
    let key = format!("day=01/{}.parquet", FileName::new(epoch, number, &nonce));
    let mut upload = staging.create(&key, &identity).await.unwrap();
    upload.put(Bytes::from_static(b"rows")).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    staged_file("lake", staging.root(), &key, &identity, uploaded, 1)
}

/// Fails at one point, once.
struct FailAt(Mutex<Option<&'static str>>);

impl FailAt {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(name))))
    }
}

#[async_trait]
impl FaultPoint for FailAt {
    async fn point(&self, name: &str) -> Result<()> {
        let mut at = self.0.lock().unwrap();
        if at.is_some_and(|at| at == name) {
            *at = None;
            return Err(Error::retryable("the answer is lost"));
        }
        Ok(())
    }
}

#[tokio::test]
async fn publishing_is_idempotent_and_survives_a_lost_answer() {
    let staging = MemoryStaging::new("root");
    let files =
        [stage(&staging, &epoch("a", 1), 0).await, stage(&staging, &epoch("a", 1), 1).await];
    let shaky = staging.with_faults(FailAt::new("complete:after"));
    assert!(publish(&shaky, &files).await.unwrap_err().is_retryable());
    assert_eq!(staging.files().visible.len(), 1);
    assert_eq!(publish(&shaky, &files).await.unwrap(), Published::All);
    assert_eq!(publish(&staging, &files).await.unwrap(), Published::All);
    assert_eq!(staging.files().visible.len(), 2);
}

#[tokio::test]
async fn a_file_that_is_gone_is_lost() {
    let staging = MemoryStaging::new("root");
    let file = stage(&staging, &epoch("a", 1), 0).await;
    staging.files().staged.clear();
    let Published::Lost { key, reason } = publish(&staging, &[file.clone()]).await.unwrap() else {
        panic!("published a file that is gone");
    };
    assert_eq!(key, file.key);
    assert!(reason.contains("neither visible nor staged"), "{reason}");
}

#[tokio::test]
async fn a_foreign_file_of_equal_size_under_its_name_is_lost() {
    let staging = MemoryStaging::new("root");
    let file = stage(&staging, &epoch("a", 1), 0).await;
    {
        let mut files = staging.files();
        let mut foreign = files.staged.values().next().unwrap().clone();
        foreign.identity.nonce = "f".repeat(32);
        files.visible.insert(file.key.clone(), foreign);
    }
    let Published::Lost { reason, .. } = publish(&staging, &[file]).await.unwrap() else {
        panic!("took a foreign file for its own");
    };
    assert!(reason.contains("foreign"), "{reason}");
}

#[tokio::test]
async fn an_unfinished_completion_may_be_tried_again() {
    let staging = MemoryStaging::new("root");
    let file = stage(&staging, &epoch("a", 1), 0).await;
    staging.files().staged.values_mut().for_each(|upload| upload.finished = false);
    assert!(publish(&staging, &[file.clone()]).await.unwrap_err().is_retryable());
    staging.files().staged.values_mut().for_each(|upload| upload.finished = true);
    assert_eq!(publish(&staging, &[file]).await.unwrap(), Published::All);
}

/// Completes the upload just before it is asked whether it still exists.
struct CompletesElsewhere(MemoryStaging, StagedFile);

#[async_trait]
impl FaultPoint for CompletesElsewhere {
    async fn point(&self, name: &str) -> Result<()> {
        if name == "exists:before" {
            let mut files = self.0.files();
            files.staged.values_mut().for_each(|upload| upload.finished = true);
            assert_eq!(files.complete(&self.1), Completion::Done);
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_completion_by_another_process_between_two_looks_is_no_loss() {
    let staging = MemoryStaging::new("root");
    let file = stage(&staging, &epoch("a", 1), 0).await;
    staging.files().staged.values_mut().for_each(|upload| upload.finished = false);
    let shaky = staging.with_faults(Arc::new(CompletesElsewhere(staging.clone(), file.clone())));
    assert_eq!(publish(&shaky, &[file]).await.unwrap(), Published::All);
}

/// Records that were written once.
struct FixedRecords(Vec<Record>);

#[async_trait]
impl CheckpointStore for FixedRecords {
    fn identity(&self) -> &str {
        "store"
    }
    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        let record = self.0.iter().find(|record| Key::Record(record.partition.clone()) == *key);
        let revision = Revision { seq: 1, nonce: "n".into() };
        Ok(record.map(|record| Stored {
            body: Document::new(revision.clone(), record.clone()).encode().unwrap(),
            revision,
            tag: None,
        }))
    }
    async fn swap(&self, _: &Key, _: &Expected, _: &Revision, _: Bytes) -> Result<SwapAnswer> {
        unreachable!("a sweep writes no record")
    }
    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        Ok(self.0.iter().map(|record| record.partition.clone()).collect())
    }
}

fn record(partition: &str, token: u64, files: Vec<StagedFile>) -> Record {
    let pending = (!files.is_empty()).then(|| Pending {
        epoch: 1,
        from: Position::Offset(0),
        to: Position::Offset(9),
        ordinal_from: 0,
        config_hash: String::new(),
        files,
    });
    Record {
        pipeline: "shop".into(),
        partition: PartitionId::new(partition),
        domain: "d".into(),
        store: "store".into(),
        token,
        control: 1,
        owner: None,
        source: Value::Null,
        start: Position::Offset(0),
        next: Position::Offset(0),
        ordinal_next: 0,
        done: 0,
        pending,
        gaps: Vec::new(),
        closed: false,
        version_base: 0,
        label: None,
    }
}

#[tokio::test]
async fn the_sweep_obeys_the_token_rule() {
    let staging = MemoryStaging::new("root");
    let named = stage(&staging, &epoch("a", 1), 0).await;
    let stray = stage(&staging, &epoch("a", 1), 1).await;
    let present = stage(&staging, &epoch("a", 2), 2).await;
    let ahead = stage(&staging, &epoch("a", 3), 3).await;
    let unknown = stage(&staging, &epoch("nobody", 1), 4).await;
    let records = FixedRecords(vec![record("a", 2, vec![named.clone()])]);
    // A file of another pipeline under the same root has another tag, so it has no record here.
    let foreign = EpochId { pipeline: "other".into(), ..epoch("a", 1) };
    let foreign = stage(&staging, &foreign, 5).await;
    let swept = sweep(&staging, &records, "shop").await.unwrap();
    assert_eq!(swept, Swept { removed: 1, kept: 5 });
    let files = staging.files();
    assert!(!files.staged.contains_key(&stray.upload));
    for kept in [named, present, ahead, unknown, foreign] {
        assert!(files.staged.contains_key(&kept.upload), "{}", kept.key);
    }
}

#[tokio::test]
async fn discarding_removes_and_does_not_mind_what_is_gone() {
    let staging = MemoryStaging::new("root");
    let file = stage(&staging, &epoch("a", 1), 0).await;
    discard(&staging, &[file.clone(), file]).await.unwrap();
    assert!(staging.files().staged.is_empty());
}
