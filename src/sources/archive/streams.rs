//! Files as streams of bytes: as they are, or decompressed.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::files::{Encoding, FILE_BYTES_END};
use super::place::Stop;
use crate::error::{Error, Result};

/// Compressed bytes read in one go.
const STORED_CHUNK_BYTES: usize = 128 << 10;

/// Gives bytes in order.
pub(super) trait ByteStream: Send {
    /// Put up to `bytes` more bytes behind those in `buffer`; 0 at the end. What a failed call has
    /// put there counts, and after a retryable failure the next call goes on behind it.
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize>;
    /// Bytes of the file, as stored, that were read.
    fn stored_bytes(&self) -> u64;
}

impl ByteStream for Box<dyn ByteStream> {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        (**self).fill(buffer, bytes)
    }
    fn stored_bytes(&self) -> u64 {
        (**self).stored_bytes()
    }
}

/// Part of a file on a local disk, as it is.
pub(super) struct PlainStream {
    file: Arc<File>,
    name: Arc<str>,
    from: u64,
    offset: u64,
    size: u64,
}

impl PlainStream {
    /// `file` from byte `from` to `size`, the length it was listed with.
    pub(super) fn new(file: Arc<File>, name: Arc<str>, from: u64, size: u64) -> Self {
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
            match rustix::io::pread(&*self.file, spare, self.offset) {
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
    stop: Stop,
}

/// What a decompressor takes from, counted.
struct Stored {
    stream: Box<dyn ByteStream>,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were taken.
    taken: usize,
    read: Arc<AtomicU64>,
}

impl BufRead for Stored {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.chunk.len() {
            self.taken = 0;
            self.chunk.clear();
            let filled = self.stream.fill(&mut self.chunk, STORED_CHUNK_BYTES);
            self.read.fetch_add(self.chunk.len() as u64, Ordering::Relaxed);
            filled.map_err(|error| match error.is_retryable() {
                // A decompressor goes on after it as after a file that would block.
                true => io::Error::new(ErrorKind::WouldBlock, error),
                false => io::Error::other(error),
            })?;
        }
        Ok(self.chunk.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, bytes: usize) {
        self.taken = (self.taken + bytes).min(self.chunk.len());
    }
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl DecompressedStream {
    /// The file whose stored bytes `stream` gives, from byte `from` of what it holds. It ends where
    /// `stop` is told.
    pub(super) fn new(
        stream: Box<dyn ByteStream>,
        name: Arc<str>,
        encoding: Encoding,
        from: u64,
        stop: Stop,
    ) -> Result<Self> {
        let stored = Arc::new(AtomicU64::new(0));
        let input = Stored { stream, chunk: Vec::new(), taken: 0, read: stored.clone() };
        let reader: Box<dyn Read + Send> = match encoding {
            Encoding::Gzip => Box::new(MultiGzDecoder::new(input)),
            _ => Box::new(zstd::stream::read::Decoder::with_buffer(input).map_err(|cause| {
                Error::fatal("cannot start a zstd decompressor").caused_by(cause)
            })?),
        };
        Ok(Self { reader, name, skip: from, position: 0, stored, stop })
    }

    fn damaged(&self, cause: io::Error) -> Error {
        let (name, position) = (&self.name, self.position);
        let cause = match cause.downcast::<Error>() {
            // The stored bytes failed, not what they hold.
            Ok(error) => return error,
            Err(cause) => cause,
        };
        Error::halted(format!(
            "the archive file {name} is cut off or damaged at byte {position} of its decompressed \
             content; every whole record before is committed; `acequia run --skip-damaged` gives up \
             the rest"
        ))
        .caused_by(cause)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.stop.is_told() {
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
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::sources::archive::place::Wanted;

    /// Gives a few bytes at a time, and fails at every other call.
    struct Interrupted {
        content: Vec<u8>,
        at: usize,
        calls: usize,
    }

    impl ByteStream for Interrupted {
        fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
            self.calls += 1;
            let end = (self.at + bytes.min(7)).min(self.content.len());
            buffer.extend_from_slice(&self.content[self.at..end]);
            let given = end - self.at;
            self.at = end;
            if self.calls % 2 == 1 { Err(Error::retryable("interrupted")) } else { Ok(given) }
        }
        fn stored_bytes(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_decompressor_goes_on_where_its_file_was_interrupted() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        let (one, two) = text.split_at(text.len() / 3);
        let gzip = |part: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(part).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = |part: &[u8]| zstd::encode_all(part, 1).unwrap();
        for (encoding, content) in [
            (Encoding::Gzip, [gzip(one), gzip(two)].concat()),
            (Encoding::Zstd, [zstd(one), zstd(two)].concat()),
        ] {
            let stored = content.len() as u64;
            let stream = Box::new(Interrupted { content, at: 0, calls: 0 });
            let (_wanted, stop) = Wanted::new();
            let mut stream =
                DecompressedStream::new(stream, "file".into(), encoding, 11, stop).unwrap();
            let (mut found, mut interruptions) = (Vec::new(), 0);
            loop {
                match stream.fill(&mut found, 1000) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        assert!(error.is_retryable(), "{error}");
                        interruptions += 1;
                    }
                }
            }
            assert!(found == text[11..], "{encoding:?}");
            assert!(interruptions > 1000, "{encoding:?}: {interruptions}");
            assert_eq!(stream.stored_bytes(), stored, "{encoding:?}");
        }
    }

    #[test]
    fn a_reader_that_nobody_wants_ends() {
        let content = zstd::encode_all(&b"text"[..], 1).unwrap();
        let stream = Box::new(Interrupted { content, at: 0, calls: 1 });
        let (wanted, stop) = Wanted::new();
        let mut stream =
            DecompressedStream::new(stream, "file".into(), Encoding::Zstd, 0, stop).unwrap();
        drop(wanted);
        let error = stream.fill(&mut Vec::new(), 10).unwrap_err();
        assert_eq!(error.to_string(), "the reader was dropped");
    }
}
