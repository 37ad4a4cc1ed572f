//! One object, read by ranges.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::columns::Columns;
use super::stream::{Ahead, ObjectStream};
use super::{ObjectName, quoted};
use crate::aws::objects::content_range;
use crate::aws::{self, Call, Phase};
use crate::component::Context;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sources::archive::manifest;
use crate::sources::archive::place::{Identity, Listed, OpenFile, RowGroups, Stop};
use crate::sources::archive::streams::ByteStream;

/// Requests of one open object that are on their way at once.
const REQUESTS_AT_ONCE: usize = 16;
/// Bodies that may break one after the other without a new byte, before the caller learns of it.
const EMPTY_BODIES: u32 = 4;
/// Pauses before a body is asked for again double from here, each shortened at random.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// An object as it was listed. Every request names its tag, so that no byte of another object of the
/// same name is ever taken for its own.
pub(in crate::sources::archive) struct Object {
    shared: Arc<Shared>,
}

/// What the requests of an object need.
pub(super) struct Shared {
    pub(super) name: ObjectName,
    pub(super) listed: Listed,
    pub(super) phase: Phase,
    pub(super) context: Context,
    tag: String,
    stop: Stop,
    places: Semaphore,
}

impl Object {
    /// The object called `name`; nothing is asked of the bucket yet.
    pub(in crate::sources::archive) fn new(
        name: ObjectName,
        listed: Listed,
        phase: Phase,
        stop: Stop,
        context: &Context,
    ) -> Result<Self> {
        let Identity::Tag { tag } = &listed.identity else {
            let difference = listed.difference(listed.size, &Identity::Tag { tag: String::new() });
            return Err(changed(phase, &name, &listed, &difference.unwrap_or_default()));
        };
        let (tag, context) = (tag.clone(), context.clone());
        let places = Semaphore::new(REQUESTS_AT_ONCE);
        let shared = Shared { name, listed, phase, context, tag, stop, places };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl OpenFile for Object {
    fn stream(&self, from: u64, until: u64) -> Box<dyn ByteStream> {
        Box::new(ObjectStream::new(self.shared.clone(), from, until, Ahead::default()))
    }

    fn row_groups(&self) -> Result<Box<dyn RowGroups>> {
        Ok(Box::new(Columns::open(self.shared.clone())?))
    }

    /// Each byte was asked for by the tag that was listed.
    fn unchanged(&self) -> Result<()> {
        Ok(())
    }
}

/// The error for an object that is not what was listed. While it is being listed it is listed again.
fn changed(phase: Phase, name: &ObjectName, listed: &Listed, how: &str) -> Error {
    match phase {
        Phase::Start => Error::retryable(format!("{name} {how} while the archive was listed")),
        Phase::Run => manifest::changed(&[format!("{} {how}", listed.name)]),
    }
}

impl Shared {
    /// Begin to read `range`, which is not empty. Its bytes come whole.
    pub(super) fn begin(self: &Arc<Self>, range: Range<u64>) -> Fetch {
        let object = self.clone();
        let task = tokio::spawn(async move { object.read(range).await });
        Fetch { task }
    }

    /// Wait for `fetch`, on a thread that may block, unless nobody wants it any more.
    pub(super) fn wait(&self, fetch: &mut Fetch) -> Result<Bytes> {
        let dropped = || Error::fatal(format!("the reader of {} was dropped", self.name));
        if self.stop.is_told() {
            return Err(dropped());
        }
        let read = self.block_on(async {
            tokio::select! {
                biased;
                read = &mut fetch.task => Some(read),
                () = self.stop.told() => None,
            }
        });
        read.ok_or_else(dropped)?.or_error(ErrorKind::Fatal, || {
            format!("reading {} ended early; see the log", self.name)
        })?
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        Handle::current().block_on(work)
    }

    /// Read `range`. The client sends a request again that fails; a body that breaks is none, and is
    /// asked for again from its break.
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let closed = || format!("the requests of {} are closed", self.name);
        let _place = self.places.acquire().await.or_error(ErrorKind::Fatal, closed)?;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(length);
        let mut empty_bodies = 0;
        loop {
            let at = range.start + bytes.len() as u64;
            let answer = self.ask(at..range.end).await?;
            self.check(&answer, at..range.end)?;
            let (before, mut body) = (bytes.len(), answer.body);
            let broken = loop {
                match body.try_next().await {
                    Ok(Some(part)) => bytes.extend_from_slice(&part),
                    Ok(None) if bytes.len() == length => return Ok(bytes.freeze()),
                    Ok(None) => break "it ended early".to_owned(),
                    Err(cause) => {
                        break aws_sdk_s3::error::DisplayErrorContext(cause).to_string();
                    }
                }
            };
            if bytes.len() >= length {
                // A checksum that differs is told behind the last byte.
                bytes.truncate(before);
            }
            empty_bodies = if bytes.len() > before { 0 } else { empty_bodies + 1 };
            if empty_bodies >= EMPTY_BODIES {
                let at = range.start + bytes.len() as u64;
                return Err(Error::retryable(format!(
                    "cannot read {}: the answers break at byte {at}: {broken}",
                    self.name
                )));
            }
            self.pause(empty_bodies).await;
        }
    }

    async fn ask(&self, range: Range<u64>) -> Result<GetObjectOutput> {
        let ObjectName { bucket, key } = &self.name;
        let client = self.context.aws.s3().await;
        let request = client.get_object().bucket(&**bucket).key(key).if_match(&self.tag);
        let request = request.range(format!("bytes={}-{}", range.start, range.end - 1));
        request.send().await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: SdkError<GetObjectError>) -> Error {
        if aws::status(&error) == Some(412) {
            return self.changed("was replaced: its tag differs");
        }
        if aws::code(&error) == Some("NoSuchKey") {
            return self.changed("is gone");
        }
        let what = format!("read {}", self.name);
        // Without the right to list, S3 answers 403 where nothing is.
        Call { what: &what, needs: "s3:GetObject, s3:ListBucket" }.fail(self.phase, error)
    }

    fn changed(&self, how: &str) -> Error {
        changed(self.phase, &self.name, &self.listed, how)
    }

    /// The answer is of this object and of this range. A server that knows no conditions, or no
    /// ranges, must not pass for one that does.
    fn check(&self, answer: &GetObjectOutput, range: Range<u64>) -> Result<()> {
        if answer.e_tag().is_some_and(|tag| quoted(tag) != self.tag) {
            return Err(self.changed("was replaced: its tag differs"));
        }
        match answer.content_range().and_then(content_range) {
            Some((given, size)) if given == range && size == self.listed.size => Ok(()),
            Some((_, size)) if size != self.listed.size => {
                Err(self.changed(&format!("has {size} bytes now, not {}", self.listed.size)))
            }
            _ => Err(Error::fatal(format!(
                "cannot read {}: asked for bytes {} to {}, the server gave others",
                self.name, range.start, range.end
            ))),
        }
    }

    async fn pause(&self, empty_bodies: u32) {
        let whole = (FIRST_PAUSE * (1 << empty_bodies)).as_millis() as u64;
        let pause = whole / 2 + self.context.randomness.next_u64() % (whole / 2);
        self.context.metrics.retried();
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// A range that is on its way; dropping it ends the request.
pub(super) struct Fetch {
    task: JoinHandle<Result<Bytes>>,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
