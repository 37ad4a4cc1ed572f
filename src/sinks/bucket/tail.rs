//! Bytes of an upload that do not make a part yet. A file may wait for its next row group through a
//! whole epoch, and many files may: what is more than a little waits on the local disk.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// More bytes than this of one upload do not wait in memory.
const IN_MEMORY_BYTES: usize = 128 << 10;

/// The unsent end of one upload.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The bytes before those in memory, between the two places; the file has no name.
    file: Option<Arc<File>>,
    start: u64,
    end: u64,
    memory: VecDeque<Bytes>,
    in_memory: usize,
}

impl Tail {
    /// Bytes that wait.
    pub(super) fn len(&self) -> u64 {
        self.end - self.start + self.in_memory as u64
    }

    /// Bytes that wait in memory.
    pub(super) fn in_memory(&self) -> usize {
        self.in_memory
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.in_memory += bytes.len();
        if !bytes.is_empty() {
            self.memory.push_back(bytes);
        }
    }

    /// Put what waits in memory into a file in `folder`, if it is much.
    pub(super) async fn settle(&mut self, folder: &Path) -> Result<()> {
        if self.in_memory <= IN_MEMORY_BYTES {
            return Ok(());
        }
        let (pieces, at) = (std::mem::take(&mut self.memory), self.end);
        let (file, folder) = (self.file.clone(), folder.to_owned());
        let written = std::mem::take(&mut self.in_memory) as u64;
        let work = move || -> io::Result<Arc<File>> {
            let file = match file {
                Some(file) => file,
                None => {
                    std::fs::create_dir_all(&folder)?;
                    Arc::new(tempfile::tempfile_in(&folder)?)
                }
            };
            let mut at = at;
            for piece in pieces {
                file.write_all_at(&piece, at)?;
                at += piece.len() as u64;
            }
            Ok(file)
        };
        self.file = Some(blocking(work).await?);
        self.end += written;
        Ok(())
    }

    /// Take the first `length` bytes, or all where there are fewer, in one piece.
    pub(super) async fn take(&mut self, length: usize) -> Result<Bytes> {
        let length = usize::try_from(self.len()).unwrap_or(usize::MAX).min(length);
        let mut part = BytesMut::with_capacity(length);
        let stored = usize::try_from(self.end - self.start).unwrap_or(usize::MAX).min(length);
        if let Some(file) = self.file.clone().filter(|_| stored > 0) {
            let at = self.start;
            let read = move || {
                let mut bytes = vec![0; stored];
                file.read_exact_at(&mut bytes, at).map(|()| bytes)
            };
            part.extend_from_slice(&blocking(read).await?);
            self.start += stored as u64;
        }
        if self.start == self.end {
            // Written over from its beginning.
            (self.start, self.end) = (0, 0);
        }
        while part.len() < length {
            let Some(first) = self.memory.front_mut() else { break };
            let taken = first.split_to(first.len().min(length - part.len()));
            self.in_memory -= taken.len();
            part.extend_from_slice(&taken);
            if first.is_empty() {
                self.memory.pop_front();
            }
        }
        Ok(part.freeze())
    }
}

/// Disk work where it may block; a full disk passes, and the epoch is read again.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|cause| Error::fatal("disk work panicked; see the log").caused_by(cause))?
        .or_error(ErrorKind::Retryable, || "cannot keep an unsent part on disk".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_in_order_from_disk_and_memory() {
        let folder = tempfile::tempdir().unwrap();
        let (mut tail, mut given, mut taken) = (Tail::default(), Vec::new(), Vec::new());
        for round in 0..60usize {
            let bytes = vec![u8::try_from(round).unwrap(); 1 + round * 1709 % 90_000];
            given.extend_from_slice(&bytes);
            tail.push(bytes.into());
            tail.settle(folder.path()).await.unwrap();
            assert!(tail.in_memory() <= IN_MEMORY_BYTES);
            while tail.len() >= 300_000 {
                taken.extend_from_slice(&tail.take(300_000).await.unwrap());
            }
            assert_eq!(taken.len() as u64 + tail.len(), given.len() as u64);
        }
        taken.extend_from_slice(&tail.take(usize::MAX).await.unwrap());
        assert_eq!((tail.len(), tail.in_memory()), (0, 0));
        assert!(given == taken);
    }
}
