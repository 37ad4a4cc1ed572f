//! Checkpoint documents in a table of DynamoDB, changed by conditional writes.
//!
//! The table has the hash key `pipeline` and the range key `document`, both text. An item holds
//! `seq` and `nonce`, which a swap's condition compares, and the document in `body`. A document that
//! would pass the limit of an item (400 KB) lies in items of its own, `chunk/...`, which are written
//! before the item that counts them and removed when a later one stands. Reads are consistent ones.
//!
//! Source: "Condition expressions" and "Quotas" in the guide of Amazon DynamoDB.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use bytes::{Bytes, BytesMut};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{identity, names};
use crate::aws::{self, Call, Phase};
use crate::component::{CheckpointStore, Context, Expected, Key, Revision, Stored, SwapAnswer};
use crate::error::{Error, Result};
use crate::event::PartitionId;

/// A longer document is cut into chunks of this size: an item may have 409,600 bytes.
const CHUNK_BYTES: usize = 300 << 10;
/// How often a document is read anew whose chunks went while they were read.
const READS: u32 = 5;

const PIPELINE: &str = "pipeline";
const DOCUMENT: &str = "document";
const SEQ: &str = "seq";
const NONCE: &str = "nonce";
const BODY: &str = "body";
const CHUNKS: &str = "chunks";
const PARTITION: &str = "partition";
const STORE: &str = "store";
const RECORD: &str = "record/";

/// A table of DynamoDB, which several pipelines may share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DynamodbConfig {
    /// The table: hash key `pipeline` and range key `document`, both text.
    #[schemars(length(min = 1))]
    pub table: String,
}

type Item = HashMap<String, AttributeValue>;

/// A store in a table. Any number of processes may have it open.
pub struct DynamodbStore {
    client: Client,
    table: String,
    pipeline: String,
    identity: String,
    /// A document was written by this process.
    has_written: AtomicBool,
}

impl DynamodbStore {
    /// Open the store of `pipeline`; it takes a random identity where it is new. Every failure here
    /// that a person must mend is a diagnostic.
    pub async fn open(config: &DynamodbConfig, pipeline: &str, context: &Context) -> Result<Self> {
        let mut store = Self {
            client: context.aws.dynamodb().await.clone(),
            table: config.table.clone(),
            pipeline: pipeline.to_owned(),
            identity: String::new(),
            has_written: AtomicBool::new(false),
        };
        store.identity = store.find_identity(&context.randomness.nonce()).await?;
        Ok(store)
    }

    /// The identity that the store has; a new store takes `nonce`. Of two processes that start at
    /// once one gives it.
    async fn find_identity(&self, nonce: &str) -> Result<String> {
        let place = self.place();
        let read = || async {
            let found = self.get(STORE).await.map_err(|error| self.refused(error))?;
            let body = found.as_ref().and_then(|item| text(item, BODY));
            body.map(|body| identity::decode(&place, body.as_bytes())).transpose()
        };
        if let Some(found) = read().await? {
            return Ok(found);
        }
        let control = self.get(&name_of(&Key::Control)).await;
        if control.map_err(|error| self.refused(error))?.is_some()
            || !self.query(RECORD, Phase::Start).await?.is_empty()
        {
            // Another process may have begun the store between the two looks: its identity comes
            // before any document.
            return read().await?.ok_or_else(|| identity::lost(&place));
        }
        let body = String::from_utf8_lossy(&identity::encode(nonce)?).into_owned();
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(self.item(STORE, [(BODY, AttributeValue::S(body))])))
            .condition_expression("attribute_not_exists(document)")
            .send()
            .await;
        match put {
            Ok(_) => Ok(nonce.to_owned()),
            // Also after a lost answer to our own write.
            Err(error) if is_conflict(&error) => read().await?.ok_or_else(|| {
                Error::retryable(format!("another process is writing the identity of {place}"))
            }),
            Err(error) => {
                let what = format!("write to {place}");
                Err(Call { what: &what, needs: "dynamodb:PutItem" }.refused(error))
            }
        }
    }

    fn place(&self) -> String {
        format!("the checkpoint table {} of pipeline {}", self.table, self.pipeline)
    }

    /// A failure at the start, with how the table is made where there is none.
    fn refused(&self, error: SdkError<GetItemError>) -> Error {
        let table = &self.table;
        if aws::code(&error) == Some("ResourceNotFoundException") {
            return Error::config(format!(
                "there is no DynamoDB table `{table}` in this account and region; make it with: \
                 aws dynamodb create-table --table-name {table} --billing-mode PAY_PER_REQUEST \
                 --attribute-definitions AttributeName=pipeline,AttributeType=S \
                 AttributeName=document,AttributeType=S --key-schema \
                 AttributeName=pipeline,KeyType=HASH AttributeName=document,KeyType=RANGE"
            ));
        }
        let what = format!("read the checkpoint table {table}");
        Call { what: &what, needs: "dynamodb:GetItem" }.refused(error)
    }

    fn key(&self, document: &str) -> Item {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        HashMap::from([
            (PIPELINE.to_owned(), text(&self.pipeline)),
            (DOCUMENT.to_owned(), text(document)),
        ])
    }

    fn item<const N: usize>(&self, document: &str, more: [(&str, AttributeValue); N]) -> Item {
        let mut item = self.key(document);
        item.extend(more.map(|(name, value)| (name.to_owned(), value)));
        item
    }

    async fn get(&self, document: &str) -> Result<Option<Item>, SdkError<GetItemError>> {
        let found = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(self.key(document)))
            .consistent_read(true)
            .send()
            .await?;
        Ok(found.item)
    }

    /// Keys, and names of partitions, of the items whose document begins so.
    async fn query(&self, beginning: &str, phase: Phase) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("pipeline = :pipeline AND begins_with(document, :begins)")
                .projection_expression("document, #partition")
                .expression_attribute_names("#partition", PARTITION)
                .expression_attribute_values(":pipeline", AttributeValue::S(self.pipeline.clone()))
                .expression_attribute_values(":begins", AttributeValue::S(beginning.to_owned()))
                .set_exclusive_start_key(after)
                .send()
                .await;
            let what = format!("list the records in {}", self.place());
            let call = Call { what: &what, needs: "dynamodb:Query" };
            let page = page.map_err(|error| call.fail(phase, error))?;
            items.extend(page.items.unwrap_or_default());
            after = page.last_evaluated_key;
            if after.is_none() {
                return Ok(items);
            }
        }
    }

    fn unreadable(&self, key: &Key) -> Error {
        Error::halted(format!("the {key} in {} is not readable", self.place()))
    }

    async fn read(&self, key: &Key, document: &str) -> Result<Option<Item>> {
        self.get(document).await.map_err(|error| {
            let what = format!("read the {key} from {}", self.place());
            Call { what: &what, needs: "dynamodb:GetItem" }.failed(error)
        })
    }

    /// The whole body of a document; `None` where its chunks have gone meanwhile.
    async fn body(&self, key: &Key, document: &str, item: &Item) -> Result<Option<Bytes>> {
        if let Some(body) = text(item, BODY) {
            return Ok(Some(Bytes::copy_from_slice(body.as_bytes())));
        }
        let (chunks, seq) = (number(item, CHUNKS), number(item, SEQ));
        let nonce = text(item, NONCE);
        let (Some(chunks), Some(seq), Some(nonce)) = (chunks, seq, nonce) else {
            return Err(self.unreadable(key));
        };
        let revision = Revision { seq, nonce: nonce.to_owned() };
        let mut body = BytesMut::new();
        for index in 0..chunks {
            let chunk = self.read(key, &chunk_name(document, &revision, index)).await?;
            match chunk.as_ref().and_then(|chunk| chunk.get(BODY)) {
                Some(AttributeValue::B(bytes)) => body.extend_from_slice(bytes.as_ref()),
                _ => return Ok(None),
            }
        }
        Ok(Some(body.freeze()))
    }

    /// Write the chunks of a long document; the answer is their number.
    async fn write_chunks(&self, document: &str, new: &Revision, body: &[u8]) -> Result<u64> {
        let mut count = 0;
        for chunk in body.chunks(CHUNK_BYTES) {
            let name = chunk_name(document, new, count);
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(self.item(&name, [(BODY, AttributeValue::B(Blob::new(chunk)))])))
                .send()
                .await;
            let what = format!("write to {}", self.place());
            put.map_err(|error| Call { what: &what, needs: "dynamodb:PutItem" }.failed(error))?;
            count += 1;
        }
        Ok(count)
    }

    /// Remove the chunks of older writes, which nothing can name once `new` stands. What stays is
    /// removed by a later write.
    async fn remove_chunks_before(&self, document: &str, new: &Revision) {
        let Ok(found) = self.query(&format!("chunk/{document}/"), Phase::Run).await else { return };
        let own = chunk_beginning(document, new);
        for item in found {
            let Some(name) = text(&item, DOCUMENT) else { continue };
            let seq = name.rsplit('/').nth(2).and_then(|seq| seq.parse::<u64>().ok());
            if name.starts_with(&own) || seq.is_none_or(|seq| seq > new.seq) {
                continue;
            }
            let delete = self.client.delete_item().table_name(&self.table);
            let _ = delete.set_key(Some(self.key(name))).send().await;
        }
    }
}

fn is_conflict<E: aws_sdk_dynamodb::error::ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    aws::code(error) == Some("ConditionalCheckFailedException")
}

/// Name of a document inside the pipeline.
fn name_of(key: &Key) -> String {
    match key {
        Key::Record(partition) => format!("{RECORD}{}", names::escape(partition.as_str())),
        Key::Control => "control".into(),
        Key::Manifest => "manifest".into(),
        Key::Beginnings => "beginnings".into(),
        Key::Run => "newest-run".into(),
    }
}

fn chunk_beginning(document: &str, revision: &Revision) -> String {
    format!("chunk/{document}/{}/{}/", revision.seq, names::escape(&revision.nonce))
}

fn chunk_name(document: &str, revision: &Revision, index: u64) -> String {
    format!("{}{index}", chunk_beginning(document, revision))
}

fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

#[async_trait]
impl CheckpointStore for DynamodbStore {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        let document = name_of(key);
        for _ in 0..READS {
            let Some(item) = self.read(key, &document).await? else { return Ok(None) };
            if let Some(body) = self.body(key, &document, &item).await? {
                let revision = Revision::of(key, &body)
                    .map_err(|error| error.context(format!("in {}", self.place())))?;
                return Ok(Some(Stored { revision, tag: None, body }));
            }
        }
        Err(Error::retryable(format!("the {key} in {} changes while it is read", self.place())))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        new.require(key, &body)?;
        let document = name_of(key);
        let count = |number: u64| AttributeValue::N(number.to_string());
        let mut item = self.item(
            &document,
            [(SEQ, count(new.seq)), (NONCE, AttributeValue::S(new.nonce.clone()))],
        );
        if let Key::Record(partition) = key {
            item.insert(PARTITION.into(), AttributeValue::S(partition.as_str().to_owned()));
        }
        match std::str::from_utf8(&body) {
            Ok(text) if text.len() <= CHUNK_BYTES => {
                item.insert(BODY.into(), AttributeValue::S(text.to_owned()));
            }
            _ => {
                let chunks = self.write_chunks(&document, new, &body).await?;
                item.insert(CHUNKS.into(), count(chunks));
            }
        }
        let is_cut = item.contains_key(CHUNKS);
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values(ReturnValue::AllOld);
        let put = match expected {
            Expected::Absent => put.condition_expression("attribute_not_exists(document)"),
            Expected::Write { revision, .. } => put
                .condition_expression("seq = :seq AND nonce = :nonce")
                .expression_attribute_values(":seq", count(revision.seq))
                .expression_attribute_values(":nonce", AttributeValue::S(revision.nonce.clone())),
        };
        match put.send().await {
            Ok(written) => {
                self.has_written.store(true, Ordering::Relaxed);
                let was_cut = written.attributes.is_some_and(|old| old.contains_key(CHUNKS));
                if is_cut || was_cut {
                    self.remove_chunks_before(&document, new).await;
                }
                Ok(SwapAnswer::Stored { tag: None })
            }
            Err(error) if is_conflict(&error) => Ok(SwapAnswer::Conflict),
            Err(error) => {
                let what = format!("write the {key} to {}", self.place());
                let has_written = self.has_written.load(Ordering::Relaxed);
                Err(Call { what: &what, needs: "dynamodb:PutItem" }
                    .failed_write(has_written, error))
            }
        }
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        let mut partitions = Vec::new();
        for item in self.query(RECORD, Phase::Run).await? {
            let partition = text(&item, PARTITION).ok_or_else(|| {
                Error::halted(format!("{} holds a record without a partition", self.place()))
            })?;
            partitions.push(PartitionId::new(partition));
        }
        partitions.sort();
        Ok(partitions)
    }
}
