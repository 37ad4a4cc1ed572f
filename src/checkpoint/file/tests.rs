use std::time::Duration;

use rustix::fs::FlockOperation;
use tempfile::TempDir;

use super::*;
use crate::component::checkpoint::Document;
use crate::testing::conformance::checkpoint::{Handles, check_store};

fn context() -> Context {
    crate::testing::context(7)
}

async fn store(folder: &TempDir) -> FileStore {
    FileStore::open(folder.path(), &context()).await.unwrap()
}

fn revision(seq: u64) -> Revision {
    Revision { seq, nonce: format!("nonce {seq}") }
}

fn document(seq: u64) -> Bytes {
    Document::new(revision(seq), serde_json::Map::new()).encode().unwrap()
}

async fn put(store: &FileStore, key: &Key, seq: u64) -> Result<SwapAnswer> {
    let expected = match seq {
        1 => Expected::Absent,
        _ => Expected::Write { revision: revision(seq - 1), tag: None },
    };
    store.swap(key, &expected, &revision(seq), document(seq)).await
}

fn record() -> Key {
    Key::Record(PartitionId::new("1:a.ndjson"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_store_conforms() {
    let folder = TempDir::new().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    check_store(|| async {
        let own = folder
            .path()
            .join(number.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string());
        let context = context();
        let open = || FileStore::open(own.clone(), &context);
        Handles { first: Arc::new(open().await.unwrap()), second: Arc::new(open().await.unwrap()) }
    })
    .await;
}

#[tokio::test]
async fn an_identity_is_made_once() {
    let folder = TempDir::new().unwrap();
    let one = store(&folder).await;
    let other = FileStore::open(folder.path(), &crate::testing::context(8)).await.unwrap();
    assert_eq!(one.identity(), other.identity());
    assert_eq!(one.identity().len(), 32);
}

#[tokio::test]
async fn documents_without_an_identity_are_not_adopted() {
    let folder = TempDir::new().unwrap();
    put(&store(&folder).await, &record(), 1).await.unwrap();
    fs::remove_file(folder.path().join("store.json")).unwrap();
    let error = FileStore::open(folder.path(), &context()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
    assert!(error.to_string().contains("no identity (store.json)"), "{error}");
}

#[tokio::test]
async fn newer_formats_are_refused() {
    let folder = TempDir::new().unwrap();
    let opened = store(&folder).await;
    let newer = br#"{"v":2,"seq":1,"nonce":"x"}"#;
    fs::write(folder.path().join("control.json"), newer).unwrap();
    let error = opened.load(&Key::Control).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
    fs::write(folder.path().join("store.json"), r#"{"v":2,"identity":"x"}"#).unwrap();
    let error = FileStore::open(folder.path(), &context()).await.unwrap_err();
    assert!(error.to_string().contains("format 2"), "{error}");
}

#[tokio::test]
async fn what_a_crash_left_is_ignored_and_overwritten() {
    let folder = TempDir::new().unwrap();
    let opened = store(&folder).await;
    put(&opened, &record(), 1).await.unwrap();
    let left = folder.path().join("records/1:a.ndjson.json.tmp");
    fs::write(&left, r#"{"v":1,"seq":9,"#).unwrap();
    assert_eq!(opened.load(&record()).await.unwrap().unwrap().revision, revision(1));
    assert_eq!(opened.partitions().await.unwrap().len(), 1);
    assert_eq!(put(&opened, &record(), 2).await.unwrap(), SwapAnswer::Stored { tag: None });
    assert!(!left.exists());
}

#[tokio::test]
async fn a_swap_that_cannot_write_is_unclear_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let opened = store(&folder).await;
    put(&opened, &record(), 1).await.unwrap();
    // Stands for a disk that is full: the next version cannot be written.
    let next = folder.path().join("records/1:a.ndjson.json.tmp");
    fs::create_dir(&next).unwrap();
    let error = put(&opened, &record(), 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retryable, "{error}");
    assert_eq!(opened.load(&record()).await.unwrap().unwrap().revision, revision(1));
    fs::remove_dir(&next).unwrap();
    assert_eq!(put(&opened, &record(), 2).await.unwrap(), SwapAnswer::Stored { tag: None });
}

#[tokio::test]
async fn a_folder_that_is_gone_or_replaced_halts() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("state");
    let opened = FileStore::open(&inner, &context()).await.unwrap();
    put(&opened, &record(), 1).await.unwrap();
    fs::remove_dir_all(&inner).unwrap();
    let error = put(&opened, &record(), 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Halted, "{error}");
    FileStore::open(&inner, &crate::testing::context(8)).await.unwrap();
    let error = put(&opened, &record(), 1).await.unwrap_err();
    assert!(error.to_string().contains("was replaced"), "{error}");
}

#[tokio::test]
async fn a_path_that_cannot_be_a_folder_is_a_diagnostic() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FileStore::open(file.join("state"), &context()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_swap_waits_for_a_lock_that_is_held() {
    let folder = TempDir::new().unwrap();
    let opened = Arc::new(store(&folder).await);
    put(&opened, &record(), 1).await.unwrap();
    let held = fs::File::open(folder.path().join("records/1:a.ndjson.lock")).unwrap();
    rustix::fs::flock(&held, FlockOperation::LockExclusive).unwrap();
    let waiting = opened.clone();
    let swap = tokio::spawn(async move { put(&waiting, &record(), 2).await });
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(!swap.is_finished(), "it waits as long as the lock is held");
    assert!(opened.load(&record()).await.unwrap().is_some(), "a load never waits");
    drop(held);
    assert_eq!(swap.await.unwrap().unwrap(), SwapAnswer::Stored { tag: None });
}

#[tokio::test]
async fn a_second_run_is_refused_by_name_unless_it_takes_over() {
    let folder = TempDir::new().unwrap();
    store(&folder).await;
    let first = RunLock::acquire(folder.path(), false).unwrap();
    assert!(first.is_held());
    let error = RunLock::acquire(folder.path(), false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    let second = RunLock::acquire(folder.path(), true).unwrap();
    assert!(!second.is_held());
    drop(first);
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    while !second.is_held() {
        assert!(
            tokio::time::Instant::now() < end,
            "it takes the lock when the older run has ended"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    RunLock::acquire(folder.path(), false).unwrap_err();
    drop(second);
    assert!(RunLock::acquire(folder.path(), false).unwrap().is_held());
}
