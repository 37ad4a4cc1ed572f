//! Files as streams of bytes: as they are, or decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read, Take};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::files::{Encoding, FILE_BYTES_END};
use crate::error::{Error, Result};

/// Compressed bytes read in one go.
const STORED_CHUNK_BYTES: usize = 128 << 10;

/// Gives bytes in order.
pub(super) trait ByteStream: Send {
    /// Put up to `bytes` more bytes behind those in `buffer`; 0 at the end.
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize>;
    /// Bytes of the file, as stored, that were read.
    fn stored_bytes(&self) -> u64;
}

/// Part of a file as it is.
pub(super) struct PlainStream {
    file: File,
    name: Arc<str>,
    from: u64,
    offset: u64,
    size: u64,
}

impl PlainStream {
    /// `file` from byte `from` to `size`, the length it was listed with.
    pub(super) fn new(file: File, name: Arc<str>, from: u64, size: u64) -> Self {
        Self { file, name, from, offset: from, size }
    }
}

impl ByteStream for PlainStream {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let bytes = bytes.min(left);
        if bytes == 0 {
            return Ok(0);
        }
        let before = buffer.len();
        buffer.reserve_exact(bytes);
        let read = loop {
            let spare = rustix::buffer::spare_capacity(buffer);
            match rustix::io::pread(&self.file, spare, self.offset) {
                Err(rustix::io::Errno::INTR) => {}
                Err(cause) => {
                    return Err(Error::fatal(format!(
                        "cannot read the archive file {} at byte {}",
                        self.name, self.offset
                    ))
                    .caused_by(cause));
                }
                // The buffer may have had more room than was asked for.
                Ok(read) => break read.min(bytes),
            }
        };
        buffer.truncate(before + read);
        if read == 0 {
            return Err(Error::halted(format!(
                "the archive file {} shrank while it was read: it ends at byte {}, and had {} when \
                 it was listed; restore it, or begin again with an empty checkpoint and lake",
                self.name, self.offset, self.size
            )));
        }
        self.offset += read as u64;
        Ok(read)
    }

    fn stored_bytes(&self) -> u64 {
        self.offset - self.from
    }
}

/// A compressed file, decompressed from its start.
pub(super) struct DecompressedStream {
    reader: Box<dyn Read + Send>,
    name: Arc<str>,
    /// Decompressed bytes before the place that was asked for, still to be thrown away.
    skip: u64,
    position: u64,
    stored: Arc<AtomicU64>,
    cancelled: Arc<AtomicBool>,
}

/// Counts what a decompressor takes.
struct Counted {
    file: Take<File>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl DecompressedStream {
    /// `file`, of which `size` bytes were listed, from byte `from` of what it holds. Where
    /// `cancelled` becomes true, nobody waits for it any more.
    pub(super) fn new(
        file: File,
        name: Arc<str>,
        encoding: Encoding,
        from: u64,
        size: u64,
        cancelled: Arc<AtomicBool>,
    ) -> Result<Self> {
        let stored = Arc::new(AtomicU64::new(0));
        let counted = Counted { file: file.take(size), read: stored.clone() };
        let input = BufReader::with_capacity(STORED_CHUNK_BYTES, counted);
        let reader: Box<dyn Read + Send> = match encoding {
            Encoding::Gzip => Box::new(MultiGzDecoder::new(input)),
            _ => Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(|cause| {
                Error::fatal("cannot start a zstd decompressor").caused_by(cause)
            })?),
        };
        Ok(Self { reader, name, skip: from, position: 0, stored, cancelled })
    }

    fn damaged(&self, cause: io::Error) -> Error {
        let (name, position) = (&self.name, self.position);
        if cause.raw_os_error().is_some() {
            return Error::fatal(format!("cannot read the archive file {name}")).caused_by(cause);
        }
        Error::halted(format!(
            "the archive file {name} is cut off or damaged at byte {position} of its decompressed \
             content; every whole record before is committed; `acequia run --skip-damaged` gives up \
             the rest"
        ))
        .caused_by(cause)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Error::fatal("the reader was dropped"));
        }
        loop {
            match self.reader.read(buffer) {
                Ok(read) => {
                    self.position += read as u64;
                    if self.position >= FILE_BYTES_END {
                        return Err(Error::halted(format!(
                            "the archive file {} holds 64 GiB or more; split it",
                            self.name
                        )));
                    }
                    return Ok(read);
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.damaged(cause)),
            }
        }
    }

    fn skip_to_start(&mut self) -> Result<()> {
        let mut scratch = vec![0; if self.skip == 0 { 0 } else { STORED_CHUNK_BYTES }];
        while self.skip > 0 {
            let part = usize::try_from(self.skip).unwrap_or(usize::MAX).min(scratch.len());
            let read = self.read(scratch.get_mut(..part).unwrap_or_default())?;
            if read == 0 {
                return Err(Error::halted(format!(
                    "the archive file {} ends at byte {} of its decompressed content, before the \
                     place where reading goes on",
                    self.name, self.position
                )));
            }
            self.skip -= read as u64;
        }
        Ok(())
    }
}

impl ByteStream for DecompressedStream {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        self.skip_to_start()?;
        let before = buffer.len();
        buffer.reserve_exact(bytes);
        buffer.resize(before + bytes, 0);
        let mut filled = before;
        let mut outcome = Ok(());
        // A decompressor gives as little as one block at a time; a batch is worth several.
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        buffer.truncate(filled);
        outcome.map(|()| filled - before)
    }

    fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}
