//! One multipart upload in the making.

use std::collections::VecDeque;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::staging::Store;
use super::tail::Tail;
use crate::aws::Call;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::memory::Charge;
use crate::sinks::staging::{Upload, Uploaded};

/// Bytes of a part. All but the last are of this size: some stores of S3 ask for equal ones.
const PART_BYTES: usize = 8 << 20;

/// Collects bytes into parts and sends those beside the caller's work.
pub(super) struct BucketUpload {
    store: Store,
    key: String,
    id: String,
    /// Bytes of the next part.
    tail: Tail,
    charge: Option<Charge>,
    /// Parts on their way, in order, each to give its tag.
    parts: VecDeque<JoinHandle<Result<String>>>,
    /// Parts begun.
    begun: i32,
    bytes: u64,
    /// The upload stays when this is dropped.
    finished: bool,
}

impl BucketUpload {
    pub(super) fn new(store: Store, key: String, id: String) -> Self {
        Self {
            store,
            key,
            id,
            tail: Tail::default(),
            charge: None,
            parts: VecDeque::new(),
            begun: 0,
            bytes: 0,
            finished: false,
        }
    }

    /// Send the next part as soon as one of the process's places for parts is free.
    async fn send_part(&mut self) -> Result<()> {
        let place = self.store.aws.part_places().acquire_owned().await;
        let place =
            place.or_error(ErrorKind::Fatal, || "the places for parts are closed".into())?;
        let body = self.tail.take(PART_BYTES).await?;
        let charge = self.store.memory.charge(body.len());
        self.begun += 1;
        let number = self.begun;
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        self.parts.push_back(tokio::spawn(async move {
            let tag = store.upload_part(&key, &id, number, body).await;
            drop((charge, place));
            tag
        }));
        Ok(())
    }

    /// End what is on its way: afterwards no part arrives any more, unless S3 has it already.
    async fn stop(&mut self) {
        for part in &self.parts {
            part.abort();
        }
        for part in self.parts.drain(..) {
            // Its outcome no longer matters.
            let _ = part.await;
        }
    }
}

impl Store {
    async fn upload_part(&self, key: &str, id: &str, number: i32, body: Bytes) -> Result<String> {
        let sent = self
            .aws
            .s3()
            .await
            .upload_part()
            .bucket(&self.place.bucket)
            .key(self.place.key(key))
            .upload_id(id)
            .part_number(number)
            .body(ByteStream::from(body))
            .send()
            .await;
        let what = format!("upload a part of {}/{key}", self.place);
        let sent =
            sent.map_err(|error| Call { what: &what, needs: "s3:PutObject" }.failed(error))?;
        sent.e_tag
            .ok_or_else(|| Error::retryable(format!("cannot {what}: the answer has no tag of it")))
    }
}

impl Drop for BucketUpload {
    /// An upload that was never finished can be named by no record: a lane that is stopped in the
    /// middle of a flush leaves nothing behind, if the process lives long enough to say so.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.finished {
            return;
        }
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        let parts = std::mem::take(&mut self.parts);
        runtime.spawn(async move {
            for part in parts {
                part.abort();
                let _ = part.await;
            }
            // What stays is swept later.
            let _ = store.abort(&key, &id).await;
        });
    }
}

#[async_trait]
impl Upload for BucketUpload {
    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.tail.push(bytes);
        while self.tail.len() >= PART_BYTES as u64 {
            self.send_part().await?;
        }
        if let Some(scratch) = self.store.scratch.clone() {
            self.tail.settle(&scratch).await?;
        }
        self.charge = Some(self.store.memory.charge(self.tail.in_memory()));
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Uploaded> {
        if self.tail.len() > 0 || self.begun == 0 {
            self.send_part().await?;
        }
        let mut tags = Vec::with_capacity(self.parts.len());
        while let Some(part) = self.parts.front_mut() {
            let sent = part.await;
            // It has given its answer: nobody may wait for it again.
            self.parts.pop_front();
            tags.push(sent.or_error(ErrorKind::Fatal, || {
                "sending a part panicked; see the log".to_owned()
            })??);
        }
        self.finished = true;
        Ok(Uploaded { upload: self.id.clone(), parts: tags, bytes: self.bytes })
    }

    async fn abort(mut self: Box<Self>) {
        self.stop().await;
        self.finished = true;
        // What stays is swept later.
        let _ = self.store.abort(&self.key, &self.id).await;
    }
}
