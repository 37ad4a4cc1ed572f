//! The stores of checkpoint documents in S3 and DynamoDB keep what every store promises.

use std::sync::Arc;

use acequia::aws::Aws;
use acequia::checkpoint::dynamodb::{DynamodbConfig, DynamodbStore};
use acequia::checkpoint::s3::{S3Config, S3Store};
use acequia::component::checkpoint::{Document, Expected, Key, Revision, SwapAnswer};
use acequia::component::{CheckpointStore, Context};
use acequia::event::PartitionId;
use acequia::testing::conformance::checkpoint::{Handles, check_store};
use acequia::testing::fault_proxy::FaultProxy;
use bytes::Bytes;
use serde_json::json;

use super::place::{Bucket, aws, context, make_table, unique};
use crate::services;

#[test]
fn a_bucket_keeps_the_promises_of_a_store() {
    let Some(moto) = services::moto::shared_or_skip("aws::checkpoint") else { return };
    let bucket = Bucket::new(moto, "store");
    let config = S3Config { url: bucket.url("checkpoints") };
    bucket.wait(check_store(|| async {
        let pipeline = unique("shop");
        let open =
            || async { S3Store::open(&config, &pipeline, &context(&bucket.aws)).await.unwrap() };
        Handles { first: Arc::new(open().await), second: Arc::new(open().await) }
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_the_promises_of_a_store() {
    let Some(moto) = services::moto::shared_or_skip("aws::checkpoint") else { return };
    // moto's conditional writes to a table are no single step: two writers may both be told yes.
    let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], moto.port()));
    let proxy = tokio::task::block_in_place(|| FaultProxy::start(upstream, 0, 0)).unwrap();
    let (aws, config) = (aws(&proxy.endpoint()), DynamodbConfig { table: unique("store") });
    make_table(&aws, &config.table).await;
    check_store(|| async {
        let pipeline = unique("shop");
        let open =
            || async { DynamodbStore::open(&config, &pipeline, &context(&aws)).await.unwrap() };
        Handles { first: Arc::new(open().await), second: Arc::new(open().await) }
    })
    .await;
}

fn long_body(revision: &Revision, bytes: usize) -> Bytes {
    let content = json!({ "text": "ñ".repeat(bytes / 2) });
    Document::new(revision.clone(), content).encode().unwrap()
}

async fn items(aws: &Aws, table: &str) -> usize {
    let mut pages = aws.dynamodb().await.scan().table_name(table).into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        count += page.unwrap().items().len();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_no_item_can_hold_is_cut_and_its_old_pieces_go() {
    let Some(moto) = services::moto::shared_or_skip("aws::checkpoint") else { return };
    let (aws, config) = (aws(&moto.endpoint()), DynamodbConfig { table: unique("long") });
    make_table(&aws, &config.table).await;
    let store = DynamodbStore::open(&config, "shop", &context(&aws)).await.unwrap();
    let key = Key::Record(PartitionId::new("a/b"));
    let mut expected = Expected::Absent;
    for (seq, bytes) in [(1, 1_000), (2, 1_500_000), (3, 900_000), (4, 500)] {
        let new = Revision { seq, nonce: format!("nonce/{seq}") };
        let body = long_body(&new, bytes);
        let answer = store.swap(&key, &expected, &new, body.clone()).await.unwrap();
        assert_eq!(answer, SwapAnswer::Stored { tag: None });
        let found = store.load(&key).await.unwrap().unwrap();
        assert_eq!((&found.revision, &found.body), (&new, &body), "{bytes} bytes");
        assert_eq!(store.partitions().await.unwrap(), [PartitionId::new("a/b")]);
        let pieces = if bytes > 300 << 10 { body.len().div_ceil(300 << 10) } else { 0 };
        // The identity and the record itself are two.
        assert_eq!(items(&aws, &config.table).await, 2 + pieces, "{bytes} bytes");
        // Who lost leaves no pieces that another write does not remove.
        let stale = Revision { seq: 9, nonce: "stale".into() };
        let wrong = Expected::Write { revision: stale, tag: None };
        let late = Revision { seq: seq + 1, nonce: "late".into() };
        let answer = store.swap(&key, &wrong, &late, long_body(&late, 10)).await.unwrap();
        assert_eq!(answer, SwapAnswer::Conflict);
        expected = Expected::Write { revision: new, tag: None };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said_with_what_to_do() {
    let Some(moto) = services::moto::shared_or_skip("aws::checkpoint") else { return };
    let context = context(&aws(&moto.endpoint()));
    let config = DynamodbConfig { table: "nowhere".into() };
    let error = DynamodbStore::open(&config, "shop", &context).await.err().unwrap();
    assert!(
        error.to_string().contains("aws dynamodb create-table --table-name nowhere"),
        "{error}"
    );
    let config = S3Config { url: "s3://nowhere/checkpoints".into() };
    let error = S3Store::open(&config, "shop", &context).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "cannot reach the bucket nowhere of the checkpoint: it does not exist"
    );
}

/// One process looks for the identity of a new store; before it hears that there is none, another
/// begins the store and writes its first document.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_begins_meanwhile_is_not_lost() {
    let Some(moto) = services::moto::shared_or_skip("aws::checkpoint") else { return };
    let upstream = std::net::SocketAddr::from(([127, 0, 0, 1], moto.port()));
    let proxy = tokio::task::block_in_place(|| FaultProxy::start(upstream, 0, 0)).unwrap();
    let direct = aws(&moto.endpoint());
    let (bucket, table) = (unique("begun"), DynamodbConfig { table: unique("begun") });
    direct.s3().await.create_bucket().bucket(&bucket).send().await.unwrap();
    make_table(&direct, &table.table).await;
    let prefix = S3Config { url: format!("s3://{bucket}/checkpoints") };
    let open = |in_table: bool, aws: Aws, process: u64| {
        let (table, prefix) = (table.clone(), prefix.clone());
        async move {
            // Each process draws an identity of its own.
            let context = Context { aws, ..acequia::testing::context(process) };
            let store: Arc<dyn CheckpointStore> = match in_table {
                true => Arc::new(DynamodbStore::open(&table, "shop", &context).await?),
                false => Arc::new(S3Store::open(&prefix, "shop", &context).await?),
            };
            acequia::Result::<_>::Ok(store)
        }
    };
    for (in_table, request) in [(false, ["GET ", "/store.json"]), (true, ["GetItem", "\"store\""])]
    {
        let hold = proxy.hold(&request);
        let late = tokio::spawn(open(in_table, aws(&proxy.endpoint()), 1));
        hold.met().await;
        let first = open(in_table, direct.clone(), 2).await.unwrap();
        let new = Revision { seq: 1, nonce: "first".into() };
        first.swap(&Key::Control, &Expected::Absent, &new, long_body(&new, 10)).await.unwrap();
        hold.release();
        let late = late.await.unwrap().unwrap();
        assert_eq!(late.identity(), first.identity());
    }
}
