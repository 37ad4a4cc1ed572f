use super::*;
use crate::event::{PartitionId, Position, RawImage, Stage};
use crate::sinks::letter::FoundLetter;
use crate::testing::staging::MemoryStaging;

fn context() -> Context {
    crate::testing::context(3)
}

fn ownership(pipeline: &str) -> Ownership {
    Ownership { pipeline: pipeline.into(), domain: "d".into(), store: "s".into() }
}

fn epoch(number: u64) -> EpochId {
    EpochId {
        pipeline: "shop".into(),
        domain: "d".into(),
        partition: PartitionId::new("orders.ndjson"),
        token: 1,
        epoch: number,
        from: Position::Offset(number * 100),
        control: 1,
        tombstones: false,
        confirmation: crate::component::Confirmation::now(),
    }
}

fn dead_letter(position: u64, raw: &[u8]) -> DeadLetter {
    DeadLetter {
        stage: Stage::Sink("lake".into()),
        reason: "timestamp 9999-12-31 is out of range".into(),
        raw: RawImage::whole(Bytes::copy_from_slice(raw)),
        stream: "shop".into(),
        partition: "orders.ndjson".into(),
        position: Position::Offset(position),
        version: position as i64 + 1,
        key: Some("{\"id\":1}".into()),
        event_time: Some(1_705_312_800_000_000),
    }
}

#[tokio::test]
async fn letters_come_back_as_they_went() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let config = DeadLettersConfig { url: url.clone(), s3: None, limit: 10 };
    let sink = DeadLetterSink::new(&config, ownership("shop"), context()).unwrap();
    sink.prepare(false).await.unwrap();
    let mut oversized = dead_letter(3, b"{\"cut");
    oversized.raw.length = 5_000_000;
    oversized.raw.sha256 = Some("ab".repeat(32));
    let letters =
        [dead_letter(1, "{\"a\":\"ñ\n\"}".as_bytes()), dead_letter(2, b"\xff\x00\xfe"), oversized];
    let mut staged = Vec::new();
    for (number, letter) in letters.iter().enumerate() {
        let mut writer = sink.begin(&epoch(number as u64)).await.unwrap();
        writer.write_dead_letters(vec![letter.clone()]).await.unwrap();
        let flushed = writer.flush().await.unwrap();
        assert_eq!(flushed.rows, 1);
        staged.extend(flushed.staged);
    }
    assert_eq!(
        read(&url, "shop", &Aws::default()).unwrap().count(),
        0,
        "staged letters are not visible"
    );
    assert_eq!(sink.publish(&staged).await.unwrap(), Published::All);
    // Once more, as after a crash: the nonce inside the files is what says that they are there.
    assert_eq!(sink.publish(&staged).await.unwrap(), Published::All);
    let found: Vec<FoundLetter> =
        read(&url, "shop", &Aws::default()).unwrap().collect::<Result<_>>().unwrap();
    let expected: Vec<StoredLetter> = letters.iter().map(StoredLetter::from).collect();
    assert_eq!(found.iter().map(|found| found.letter.clone()).collect::<Vec<_>>(), expected);
    for (found, letter) in found.iter().zip(&letters) {
        assert_eq!(found.letter.raw_bytes().unwrap(), letter.raw.bytes);
        assert_eq!(found.line, 1);
    }
    assert_eq!(found[0].letter.event_time.as_deref(), Some("2024-01-15T10:00:00.000000Z"));
    assert_eq!(found[2].letter.length, 5_000_000);
}

#[tokio::test]
async fn a_foreign_file_under_the_name_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        DeadLettersConfig { url: folder.path().display().to_string(), s3: None, limit: 10 };
    let sink = DeadLetterSink::new(&config, ownership("shop"), context()).unwrap();
    sink.prepare(false).await.unwrap();
    let mut writer = sink.begin(&epoch(0)).await.unwrap();
    writer.write_dead_letters(vec![dead_letter(1, b"{}")]).await.unwrap();
    let staged = writer.flush().await.unwrap().staged;
    let visible = folder.path().join("shop").join(&staged[0].key);
    std::fs::write(&visible, vec![0; staged[0].bytes as usize]).unwrap();
    assert!(matches!(sink.publish(&staged).await.unwrap(), Published::Lost { .. }));
}

#[tokio::test]
async fn no_letters_no_file_and_an_abandoned_file_is_gone() {
    let store = MemoryStaging::new("root");
    let sink = DeadLetterSink::with_staging(Arc::new(store.clone()), ownership("shop"), context());
    let flushed = sink.begin(&epoch(0)).await.unwrap().flush().await.unwrap();
    assert!(flushed.staged.is_empty());
    let mut writer = sink.begin(&epoch(0)).await.unwrap();
    writer.write_dead_letters(vec![dead_letter(1, b"x")]).await.unwrap();
    assert_eq!(store.files().staged.len(), 1);
    writer.abandon().await;
    assert!(store.files().staged.is_empty());
}

#[tokio::test]
async fn many_letters_go_out_in_parts_and_read_back_through_a_cut_file() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let config = DeadLettersConfig { url: url.clone(), s3: None, limit: 10 };
    let sink = DeadLetterSink::new(&config, ownership("shop"), context()).unwrap();
    sink.prepare(false).await.unwrap();
    let mut writer = sink.begin(&epoch(0)).await.unwrap();
    let randomness = crate::randomness::Generator::seeded(9);
    for round in 0..40 {
        use crate::randomness::Randomness as _;
        let raw: String = (0..4000).map(|_| randomness.nonce()).collect();
        writer.write_dead_letters(vec![dead_letter(round, raw.as_bytes())]).await.unwrap();
    }
    let staged = writer.flush().await.unwrap().staged;
    assert!(staged[0].bytes > PART_BYTES as u64, "{} bytes", staged[0].bytes);
    assert_eq!(sink.publish(&staged).await.unwrap(), Published::All);
    assert_eq!(read(&url, "shop", &Aws::default()).unwrap().filter(Result::is_ok).count(), 40);
    let path = folder.path().join("shop").join(&staged[0].key);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(staged[0].bytes / 2).unwrap();
    let found: Vec<_> = read(&url, "shop", &Aws::default()).unwrap().collect();
    assert!(found.len() > 1 && found.len() < 40, "{}", found.len());
    assert!(found.last().unwrap().is_err());
}

#[test]
fn names_of_pipelines_stay_below_the_root() {
    let Location::Folder(folder) = place_of("/dead", "../a/b").unwrap() else { panic!() };
    assert_eq!(folder.parent(), Some(std::path::Path::new("/dead")));
    assert_ne!(place_of("/dead", "a.b").unwrap(), place_of("/dead", "a_b").unwrap());
    assert_eq!(place_of("/dead", "shop").unwrap(), Location::Folder("/dead/shop".into()));
}
