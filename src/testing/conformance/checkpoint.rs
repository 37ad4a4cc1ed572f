//! What every checkpoint store promises.
#![allow(clippy::unwrap_used, reason = "a suite reports by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::component::checkpoint::Document;
use crate::component::{CheckpointStore, Expected, Key, Revision, Stored, SwapAnswer};
use crate::event::PartitionId;

/// Two handles on one store, as two processes have them.
pub struct Handles {
    /// One.
    pub first: Arc<dyn CheckpointStore>,
    /// The other.
    pub second: Arc<dyn CheckpointStore>,
}

/// What [`swap`] says of success: it leaves the store's tag out.
const STORED: SwapAnswer = SwapAnswer::Stored { tag: None };

#[derive(Serialize, Deserialize)]
struct Content {
    text: String,
}

/// Run the whole suite. `fresh` makes an empty store each time.
pub async fn check_store<F: Future<Output = Handles>>(fresh: impl Fn() -> F) {
    absent_until_the_first_swap(fresh().await).await;
    replaces_only_what_is_expected(fresh().await).await;
    a_conflict_changes_nothing(fresh().await).await;
    keys_are_apart(fresh().await).await;
    odd_names_are_apart_and_listed(fresh().await).await;
    of_two_racing_writers_one_wins(fresh().await).await;
    both_creators_cannot_win(fresh().await).await;
}

fn record(partition: &str) -> Key {
    Key::Record(PartitionId::new(partition))
}

fn revision(seq: u64, nonce: &str) -> Revision {
    Revision { seq, nonce: nonce.into() }
}

fn body(revision: &Revision, text: &str) -> Bytes {
    Document::new(revision.clone(), Content { text: text.into() }).encode().unwrap()
}

fn text(stored: &Stored, key: &Key) -> String {
    Document::<Content>::decode(key, &stored.body).unwrap().content.text
}

fn write(revision: &Revision) -> Expected {
    Expected::Write { revision: revision.clone(), tag: None }
}

async fn swap(
    store: &Arc<dyn CheckpointStore>,
    key: &Key,
    expected: &Expected,
    new: &Revision,
    content: &str,
) -> SwapAnswer {
    match store.swap(key, expected, new, body(new, content)).await.unwrap() {
        SwapAnswer::Stored { .. } => STORED,
        conflict => conflict,
    }
}

async fn expected_now(store: &Arc<dyn CheckpointStore>, key: &Key) -> (Expected, u64) {
    match store.load(key).await.unwrap() {
        None => (Expected::Absent, 0),
        Some(found) => {
            let seq = found.revision.seq;
            (Expected::Write { revision: found.revision, tag: found.tag }, seq)
        }
    }
}

async fn absent_until_the_first_swap(Handles { first, second }: Handles) {
    assert!(!first.identity().is_empty(), "a store has an identity");
    assert_eq!(first.identity(), second.identity(), "one store, one identity");
    for key in [Key::Control, Key::Manifest, Key::Beginnings, Key::Run, record("a")] {
        assert!(first.load(&key).await.unwrap().is_none(), "{key} before its first write");
    }
    assert!(first.partitions().await.unwrap().is_empty());
    let one = revision(1, "one");
    let answer = swap(&first, &record("a"), &write(&revision(0, "")), &one, "x").await;
    assert_eq!(answer, SwapAnswer::Conflict, "nothing is there that could be replaced");
    assert!(first.load(&record("a")).await.unwrap().is_none(), "a conflict creates nothing");

    assert_eq!(swap(&first, &record("a"), &Expected::Absent, &one, "x").await, STORED);
    for store in [&first, &second] {
        let found = store.load(&record("a")).await.unwrap().unwrap();
        assert_eq!(found.revision, one);
        assert_eq!(found.body, body(&one, "x"), "the bytes come back as they were given");
    }
}

async fn replaces_only_what_is_expected(Handles { first, second }: Handles) {
    let key = record("a");
    let (one, two, three) = (revision(1, "one"), revision(2, "two"), revision(3, "three"));
    assert_eq!(swap(&first, &key, &Expected::Absent, &one, "1").await, STORED);
    let (expected, _) = expected_now(&second, &key).await;
    assert_eq!(swap(&second, &key, &expected, &two, "2").await, STORED);
    // The first handle still believes in its own write.
    assert_eq!(swap(&first, &key, &write(&one), &three, "3").await, SwapAnswer::Conflict);
    assert_eq!(swap(&first, &key, &Expected::Absent, &three, "3").await, SwapAnswer::Conflict);
    assert_eq!(text(&first.load(&key).await.unwrap().unwrap(), &key), "2");
}

async fn a_conflict_changes_nothing(Handles { first, .. }: Handles) {
    let key = record("a");
    let (one, two) = (revision(1, "one"), revision(2, "two"));
    assert_eq!(swap(&first, &key, &Expected::Absent, &one, "1").await, STORED);
    for wrong in [revision(1, "other"), revision(2, "one"), revision(0, "one")] {
        let answer = swap(&first, &key, &write(&wrong), &two, "2").await;
        assert_eq!(answer, SwapAnswer::Conflict, "number and nonce both count: {wrong:?}");
        let found = first.load(&key).await.unwrap().unwrap();
        assert_eq!((found.revision.clone(), text(&found, &key)), (one.clone(), "1".into()));
    }
    assert_eq!(first.partitions().await.unwrap(), [PartitionId::new("a")]);
}

async fn keys_are_apart(Handles { first, .. }: Handles) {
    let documents = [Key::Control, Key::Manifest, Key::Beginnings, Key::Run];
    let names = ["beginnings", "control", "manifest", "newest-run", "x"];
    let keys: Vec<Key> = documents.into_iter().chain(names.map(record)).collect();
    for (number, key) in keys.iter().enumerate() {
        let new = revision(1, &format!("nonce {number}"));
        let answer = swap(&first, key, &Expected::Absent, &new, &number.to_string()).await;
        assert_eq!(answer, STORED, "{key}");
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(text(&first.load(key).await.unwrap().unwrap(), key), number.to_string());
    }
    let listed = first.partitions().await.unwrap();
    assert_eq!(listed, names.map(PartitionId::new), "records only");
}

async fn odd_names_are_apart_and_listed(Handles { first, second }: Handles) {
    let long = "largo/".repeat(84);
    let longer = format!("{long}x");
    let names = [
        "a/b",
        "a%2Fb",
        "a",
        "a/",
        "/a",
        "..",
        "../..",
        ".",
        "...",
        "",
        " ",
        "*",
        "con\nlínea",
        "ñandú",
        "日本語",
        "A",
        "a.json",
        "a.lock",
        "a.json.tmp",
        "12:x.ndjson@0-99",
        "x\u{0}y",
        "%",
        "sha256=0",
        &long,
        &longer,
    ];
    for name in names {
        let answer = swap(&first, &record(name), &Expected::Absent, &revision(1, name), name).await;
        assert_eq!(answer, STORED, "{name:?}");
    }
    for name in names {
        let found = second.load(&record(name)).await.unwrap();
        assert_eq!(text(&found.unwrap(), &record(name)), name);
    }
    let mut sorted = names.map(PartitionId::new);
    sorted.sort();
    assert_eq!(second.partitions().await.unwrap(), sorted);
}

/// Two writers, each of which reads, adds one and swaps, until each has won some: no number may be
/// won twice, and none left out.
async fn of_two_racing_writers_one_wins(Handles { first, second }: Handles) {
    const WINS: usize = 20;
    let key = record("raced");
    let writer = |store: Arc<dyn CheckpointStore>, who: &'static str| {
        let key = key.clone();
        tokio::spawn(async move {
            let mut won = Vec::new();
            while won.len() < WINS {
                let (expected, seq) = expected_now(&store, &key).await;
                let new = revision(seq + 1, &format!("{who} {}", seq + 1));
                // Lets the other writer in between the load and the swap.
                tokio::task::yield_now().await;
                match swap(&store, &key, &expected, &new, who).await {
                    SwapAnswer::Stored { .. } => won.push(new.seq),
                    SwapAnswer::Conflict => {
                        let found = store.load(&key).await.unwrap();
                        assert!(found.is_some(), "a document vanished");
                    }
                }
            }
            won
        })
    };
    let (left, right) = (writer(first.clone(), "left"), writer(second, "right"));
    let mut winners = BTreeMap::new();
    for (who, won) in [("left", left.await.unwrap()), ("right", right.await.unwrap())] {
        for seq in won {
            assert_eq!(winners.insert(seq, who), None, "number {seq} was won twice");
        }
    }
    let numbers: Vec<u64> = winners.keys().copied().collect();
    assert_eq!(numbers, (1..=2 * WINS as u64).collect::<Vec<_>>(), "no number is left out");
    let last = first.load(&key).await.unwrap().unwrap();
    assert_eq!(Some(text(&last, &key).as_str()), winners.values().last().copied());
}

async fn both_creators_cannot_win(Handles { first, second }: Handles) {
    for round in 0..20 {
        let key = record(&format!("created {round}"));
        let (left, right) = (revision(1, "left"), revision(1, "right"));
        let (one, other) = futures::join!(
            swap(&first, &key, &Expected::Absent, &left, "left"),
            swap(&second, &key, &Expected::Absent, &right, "right"),
        );
        let winner = match (one, other) {
            (SwapAnswer::Stored { .. }, SwapAnswer::Conflict) => "left",
            (SwapAnswer::Conflict, SwapAnswer::Stored { .. }) => "right",
            both => panic!("exactly one creates: {both:?}"),
        };
        assert_eq!(text(&first.load(&key).await.unwrap().unwrap(), &key), winner);
    }
}
