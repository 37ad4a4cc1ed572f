use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::component::{EpochId, Published};
use crate::event::{PartitionId, Position};
use crate::randomness::Generator;
use crate::sinks::file_name::FileName;
use crate::sinks::staging::{discard, publish, staged_file};

/// In these tests a file's nonce is its first 32 bytes.
fn first_bytes(path: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(path).map_err(failed("read", path))?;
    Ok(bytes.get(..32).and_then(|nonce| String::from_utf8(nonce.to_vec()).ok()))
}

fn staging(root: &Path) -> FolderStaging {
    FolderStaging::new(root, first_bytes, Arc::new(Generator::seeded(1))).unwrap()
}

async fn stage(staging: &FolderStaging, folder: &str, number: u32) -> StagedFile {
    let epoch = EpochId {
        pipeline: "shop".into(),
        domain: "d".into(),
        partition: PartitionId::new("a"),
        token: 1,
        epoch: 1,
        from: Position::Offset(0),
        control: 1,
        tombstones: false,
        confirmation: crate::component::Confirmation::now(),
    };
    let nonce = format!("{number:032x}");
    let identity = FileIdentity::new(&epoch, nonce.clone());
    let key = format!("{folder}/{}.parquet", FileName::new(&epoch, number, &nonce));
    let mut upload = staging.create(&key, &identity).await.unwrap();
    upload.put(nonce.clone().into()).await.unwrap();
    upload.put(Bytes::from_static(b" and rows")).await.unwrap();
    let uploaded = upload.finish().await.unwrap();
    assert_eq!(uploaded.bytes, 41);
    staged_file("lake", staging.root(), &key, &identity, uploaded, 1)
}

fn ownership() -> Ownership {
    Ownership { pipeline: "shop".into(), domain: "d".into(), store: "s".into() }
}

#[tokio::test]
async fn files_appear_by_publishing_only() {
    for count in [3, 40] {
        let folder = tempfile::tempdir().unwrap();
        let staging = staging(folder.path());
        let mut files = Vec::new();
        for number in 0..count {
            files.push(stage(&staging, &format!("year=2024/day={number:02}"), number).await);
        }
        staging.settle(&files).await.unwrap();
        for file in &files {
            assert!(!folder.path().join(&file.key).exists());
        }
        assert_eq!(staging.list().await.unwrap().len(), files.len());
        assert_eq!(publish(&staging, &files).await.unwrap(), Published::All);
        // Again, as the one who recovers does.
        assert_eq!(publish(&staging, &files).await.unwrap(), Published::All);
        for file in &files {
            let found = std::fs::read(folder.path().join(&file.key)).unwrap();
            assert_eq!(found, format!("{} and rows", file.nonce).as_bytes());
        }
        assert!(staging.list().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_file_that_stands_there_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let file = stage(&staging, "day=01", 0).await;
    let visible = folder.path().join(&file.key);
    std::fs::write(&visible, "f".repeat(41)).unwrap();
    let Published::Lost { reason, .. } = publish(&staging, &[file]).await.unwrap() else {
        panic!("replaced a foreign file");
    };
    assert!(reason.contains("foreign"), "{reason}");
    assert_eq!(std::fs::read_to_string(visible).unwrap(), "f".repeat(41));
}

#[tokio::test]
async fn a_torn_staged_file_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let file = stage(&staging, "day=01", 0).await;
    let path = folder.path().join(&file.upload);
    OpenOptions::new().write(true).open(path).unwrap().set_len(5).unwrap();
    let Published::Lost { reason, .. } = publish(&staging, &[file.clone()]).await.unwrap() else {
        panic!("published a torn file");
    };
    assert!(reason.contains("5 bytes instead of 41"), "{reason}");
    assert!(!folder.path().join(&file.key).exists());
}

#[tokio::test]
async fn a_vanished_file_is_lost_and_a_discarded_one_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    let file = stage(&staging, "day=01", 0).await;
    discard(&staging, &[file.clone(), file.clone()]).await.unwrap();
    assert!(matches!(publish(&staging, &[file]).await.unwrap(), Published::Lost { .. }));
}

#[tokio::test]
async fn the_root_of_the_record_counts_not_that_of_the_configuration() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = stage(&staging(old.path()), "day=01", 0).await;
    assert_eq!(publish(&staging(new.path()), &[file.clone()]).await.unwrap(), Published::All);
    assert!(old.path().join(&file.key).exists());
}

#[tokio::test]
async fn the_marker_is_made_once_and_then_compared() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/table");
    let staging = staging(&root);
    staging.claim(&ownership(), false).await.unwrap();
    staging.claim(&ownership(), false).await.unwrap();
    let other = Ownership { store: "another".into(), ..ownership() };
    let error = staging.claim(&other, false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted);
    assert!(error.to_string().contains("deep/table/_acequia.json"), "{error}");
    std::fs::rename(&root, folder.path().join("elsewhere")).unwrap();
    let error = staging.claim(&ownership(), true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted, "what was written before is missed: {error}");
    assert!(!root.exists(), "and nothing stands in its place");
    std::fs::rename(folder.path().join("elsewhere"), &root).unwrap();
    let names: Vec<_> = std::fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [MARKER]);
}

#[tokio::test]
async fn a_root_that_cannot_be_a_folder_is_a_mistake_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("file");
    std::fs::write(&root, "").unwrap();
    for root in [root.clone(), root.join("below")] {
        let error = staging(&root).claim(&ownership(), false).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    }
    if rustix::process::geteuid().is_root() {
        return; // Root may write everywhere: the binary's tests drop root first.
    }
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let error = staging(&folder.path().join("table")).claim(&ownership(), false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_full_disk_may_be_tried_again_and_leaves_no_half_write() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        panic!("this test needs /dev/full");
    }
    let error = append(full, 0, b"rows").map_err(failed("write to", full)).unwrap_err();
    assert!(error.is_retryable());
    assert!(error.to_string().starts_with("cannot write to /dev/full: "), "{error}");
}

#[test]
fn a_second_name_of_the_same_file_counts_as_published() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&from, "x").unwrap();
    assert!(rename_new(&from, &to).unwrap());
    std::fs::write(&from, "y").unwrap();
    assert!(!rename_new(&from, &to).unwrap());
    assert_eq!(std::fs::read_to_string(to).unwrap(), "x");
}

#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let staging = staging(folder.path());
    stage(&staging, "day=01", 0).await;
    let key = "day=01/p0-0-t1-e1-0-0.parquet";
    let epoch = EpochId {
        pipeline: "shop".into(),
        domain: "d".into(),
        partition: PartitionId::new("a"),
        token: 1,
        epoch: 1,
        from: Position::Offset(0),
        control: 1,
        tombstones: false,
        confirmation: crate::component::Confirmation::now(),
    };
    let identity = FileIdentity::new(&epoch, "n".into());
    let mut upload = staging.create(key, &identity).await.unwrap();
    upload.put(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(staging.list().await.unwrap().len(), 2);
    drop(upload);
    assert_eq!(staging.list().await.unwrap().len(), 1);
}
