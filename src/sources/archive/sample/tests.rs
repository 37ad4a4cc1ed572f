use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::*;

fn good(content: &[u8]) -> Vec<Value> {
    let events = content.split(|byte| *byte == b'\n');
    events
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|record| record.get("eventSourceARN").is_some())
        .collect()
}

fn image<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    event["dynamodb"].get(name)
}

#[test]
fn a_seed_gives_the_same_archive_and_another_seed_another() {
    let (one, _) = ArchiveSample { seed: 1 }.contents();
    assert_eq!(one, ArchiveSample { seed: 1 }.contents().0);
    assert_ne!(one, ArchiveSample { seed: 2 }.contents().0);
}

#[test]
fn the_summary_counts_what_is_there() {
    let (contents, summary) = ArchiveSample { seed: 1 }.contents();
    let mut kinds: HashMap<String, u64> = HashMap::new();
    for event in contents.iter().flat_map(|content| good(content)) {
        let is_expire = event.get("userIdentity").is_some();
        let name = if is_expire { "EXPIRE" } else { event["eventName"].as_str().unwrap() };
        *kinds.entry(name.to_owned()).or_default() += 1;
    }
    assert_eq!(kinds["INSERT"], summary.inserts);
    assert_eq!(kinds["MODIFY"], summary.modifies);
    assert_eq!(kinds["REMOVE"], summary.deletes);
    assert_eq!(kinds["EXPIRE"], summary.expires);
    let lines = |content: &Vec<u8>| content.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(contents.iter().map(lines).sum::<u64>(), summary.events() + summary.poison);
    assert!((30_000..30_200).contains(&summary.events()), "{summary:?}");
    assert_eq!(summary.poison, 40);
    assert!(summary.modifies > 4_000 && summary.deletes > 200 && summary.expires > 2_000);
}

/// The history of each key is one that a table could have had, and stands in one file in order.
#[test]
fn the_events_of_a_key_are_a_history() {
    let (contents, _) = ArchiveSample { seed: 1 }.contents();
    let mut users: HashMap<String, usize> = HashMap::new();
    for (file, content) in contents.iter().enumerate() {
        let mut now: HashMap<String, Value> = HashMap::new();
        let mut gone = HashSet::new();
        let mut last = 0;
        for event in good(content) {
            let time = event["dynamodb"]["ApproximateCreationDateTime"].as_u64().unwrap();
            assert!(time >= last, "events of a file are in order of time");
            last = time;
            let keys = image(&event, "Keys").unwrap();
            let user = keys["user_id"]["S"].as_str().unwrap().to_owned();
            assert_eq!(*users.entry(user).or_insert(file), file, "a user is in one file");
            let key = keys.to_string();
            assert!(!gone.contains(&key), "nothing follows a delete");
            assert_eq!(
                now.get(&key),
                image(&event, "OldImage"),
                "the image before is the last one"
            );
            match image(&event, "NewImage") {
                Some(new) => {
                    now.insert(key, new.clone());
                }
                None => {
                    now.remove(&key);
                    gone.insert(key);
                }
            }
        }
    }
}

#[test]
fn bulk_rows_have_keys_of_their_own_and_both_forms_the_same_items() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.ndjson");
    for order in [RowOrder::Time, RowOrder::Random] {
        let sample = BulkSample { seed: 3, rows: 5_000, days: 400, order, form: RowForm::Plain };
        let bytes = sample.write(&path).unwrap();
        let rows: Vec<Value> = serde_json::Deserializer::from_slice(&std::fs::read(&path).unwrap())
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert!((450..650).contains(&(bytes / 5_000)), "{} bytes a row", bytes / 5_000);
        let times: Vec<&str> = rows.iter().map(|row| row["timestamp"].as_str().unwrap()).collect();
        assert_eq!(times.is_sorted(), order == RowOrder::Time);
        let keys: HashSet<String> =
            rows.iter().map(|row| format!("{} {}", row["user_id"], row["timestamp"])).collect();
        assert_eq!(keys.len(), 5_000);
        let days: HashSet<&str> = times.iter().map(|time| &time[..10]).collect();
        assert_eq!(days.len(), 400);

        BulkSample { form: RowForm::Dynamodb, ..sample }.write(&path).unwrap();
        let events = good(&std::fs::read(&path).unwrap());
        for (row, event) in rows.iter().zip(&events) {
            let item = image(event, "NewImage").unwrap();
            assert_eq!(item["message_id"]["S"], row["message_id"]);
            assert_eq!(item["content"]["S"], row["content"]);
        }
        assert_eq!(events.len(), rows.len());
    }
}

/// The quickstart's files are this archive: whoever changes the generator writes them again with
/// `acequia sample --seed 1 --out pipelines/quickstart`.
#[test]
fn the_quickstart_holds_the_sample_of_seed_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/quickstart");
    let mut stored_bytes = 0;
    for (number, content) in (1..).zip(ArchiveSample { seed: 1 }.contents().0) {
        let stored = fs::read(folder.join(format!("events-{number:04}.ndjson.zst"))).unwrap();
        stored_bytes += stored.len();
        let found = zstd::decode_all(stored.as_slice()).unwrap();
        // Not assert_eq: it would print megabytes.
        assert!(found == content, "events-{number:04}.ndjson.zst is not the sample of seed 1");
    }
    assert!(stored_bytes <= 2 << 20, "{stored_bytes} bytes are too many for a repository");
}
