//! One multipart upload in the making.

use std::collections::VecDeque;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;

use super::staging::Store;
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
    /// Bytes of the next part, as they came.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    charge: Option<Charge>,
    /// The tags of the parts, in order, once they are sent.
    parts: Vec<JoinHandle<Result<String>>>,
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
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            charge: None,
            parts: Vec::new(),
            bytes: 0,
            finished: false,
        }
    }

    /// Take the bytes of one part out, in one piece.
    fn next_part(&mut self) -> Bytes {
        let length = self.waiting_bytes.min(PART_BYTES);
        self.waiting_bytes -= length;
        if let [first, ..] = self.waiting.make_contiguous()
            && first.len() >= length
        {
            let part = first.slice(..length);
            self.skip(length);
            return part;
        }
        let mut part = BytesMut::with_capacity(length);
        while part.len() < length {
            let Some(first) = self.waiting.front() else { break };
            let taken = first.len().min(length - part.len());
            part.extend_from_slice(first.get(..taken).unwrap_or_default());
            self.skip(taken);
        }
        part.freeze()
    }

    /// Take `length` bytes off the first piece.
    fn skip(&mut self, length: usize) {
        if let Some(first) = self.waiting.front_mut() {
            let _ = first.split_to(length.min(first.len()));
            if first.is_empty() {
                self.waiting.pop_front();
            }
        }
    }

    /// Send the next part as soon as one of the process's places for parts is free.
    async fn send_part(&mut self) -> Result<()> {
        let place = self.store.aws.part_places().acquire_owned().await;
        let place =
            place.or_error(ErrorKind::Fatal, || "the places for parts are closed".into())?;
        let body = self.next_part();
        let charge = self.store.memory.charge(body.len());
        let number = i32::try_from(self.parts.len() + 1).unwrap_or(i32::MAX);
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        self.parts.push(tokio::spawn(async move {
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
        self.waiting_bytes += bytes.len();
        if !bytes.is_empty() {
            self.waiting.push_back(bytes);
        }
        while self.waiting_bytes >= PART_BYTES {
            self.send_part().await?;
        }
        self.charge = Some(self.store.memory.charge(self.waiting_bytes));
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Uploaded> {
        if self.waiting_bytes > 0 || self.parts.is_empty() {
            self.send_part().await?;
        }
        let mut tags = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let tag = part
                .await
                .or_error(ErrorKind::Fatal, || "sending a part panicked; see the log".into())?;
            tags.push(tag?);
        }
        self.parts.clear();
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
