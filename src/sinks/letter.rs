//! A dead letter as it is stored: one JSON object a line in a zstd file, and how to read it back.
//!
//! A file begins with a zstd skippable frame that carries its nonce; every zstd reader passes over
//! it, so `zstdcat` and DuckDB read the file as plain NDJSON.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::component::checkpoint::FORMAT;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{DeadLetter, Position};

/// What the files' names end in.
pub const EXTENSION: &str = ".ndjson.zst";

/// Magic number of the first kind of zstd skippable frame (RFC 8878, section 3.1.2).
const SKIPPABLE: u32 = 0x184D_2A50;
/// The longest identity frame that is read.
const LONGEST_FRAME: u32 = 64 << 10;

/// One stored dead letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredLetter {
    /// Format number.
    pub v: u32,
    /// Where the record was refused: `decode`, a transform, or `sink:NAME`.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// `_stream` of the event.
    pub stream: String,
    /// `_partition` of the event.
    pub partition: String,
    /// `_position` of the event.
    pub position: Position,
    /// `_version` of the event.
    pub version: i64,
    /// `_key`, where decoding came that far.
    pub key: Option<String>,
    /// `_event_time` in RFC 3339, where decoding came that far.
    pub event_time: Option<String>,
    /// Length of the whole record in bytes.
    pub length: u64,
    /// SHA-256 of the whole record, where only its beginning is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The record, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The record in base64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_base64: Option<String>,
}

impl From<&DeadLetter> for StoredLetter {
    fn from(letter: &DeadLetter) -> Self {
        let text = std::str::from_utf8(&letter.raw.bytes).ok();
        Self {
            v: FORMAT,
            stage: letter.stage.to_string(),
            reason: letter.reason.clone(),
            stream: letter.stream.to_string(),
            partition: letter.partition.to_string(),
            position: letter.position.clone(),
            version: letter.version,
            key: letter.key.clone(),
            event_time: letter.event_time.map(instant_text),
            length: letter.raw.length,
            sha256: letter.raw.sha256.clone(),
            raw: text.map(str::to_owned),
            raw_base64: text.is_none().then(|| STANDARD.encode(&letter.raw.bytes)),
        }
    }
}

impl StoredLetter {
    /// The bytes that were kept of the record.
    pub fn raw_bytes(&self) -> Result<Vec<u8>> {
        match (&self.raw, &self.raw_base64) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD
                .decode(text)
                .or_error(ErrorKind::Data, || "raw_base64 of a dead letter is damaged".to_owned()),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// An instant in RFC 3339; one outside the calendar as its number of microseconds.
fn instant_text(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros).map_or_else(
        || format!("{micros}us"),
        |instant| instant.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}

/// The skippable frame that a file begins with.
pub fn identity_frame(nonce: &str) -> Vec<u8> {
    let payload = format!("{{\"v\":{FORMAT},\"nonce\":\"{nonce}\"}}");
    let mut frame = SKIPPABLE.to_le_bytes().to_vec();
    frame.extend((payload.len() as u32).to_le_bytes());
    frame.extend(payload.as_bytes());
    frame
}

/// The nonce that a file carries; `None` where it does not begin as ours do.
pub fn read_nonce(path: &Path) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Identity {
        nonce: String,
    }
    let read = || -> io::Result<Option<Vec<u8>>> {
        let mut file = File::open(path)?;
        let mut word = [0; 4];
        file.read_exact(&mut word)?;
        if u32::from_le_bytes(word) != SKIPPABLE {
            return Ok(None);
        }
        file.read_exact(&mut word)?;
        let length = u32::from_le_bytes(word).min(LONGEST_FRAME);
        let mut payload = Vec::new();
        file.take(length.into()).read_to_end(&mut payload)?;
        Ok(Some(payload))
    };
    let payload = match read() {
        // Shorter than any of ours.
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => None,
        read => {
            read.or_error(ErrorKind::Retryable, || format!("cannot read {}", path.display()))?
        }
    };
    Ok(payload
        .and_then(|payload| serde_json::from_slice::<Identity>(&payload).ok())
        .map(|identity| identity.nonce))
}

/// One letter with where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLetter {
    /// Name of the file inside the pipeline's folder.
    pub file: String,
    /// Its line in the file, from 1.
    pub line: u64,
    /// The letter.
    pub letter: StoredLetter,
}

/// Where files of letters lie.
pub trait LetterFiles {
    /// The place, for messages.
    fn place(&self) -> String;
    /// The names of all published files.
    fn names(&self) -> Result<Vec<String>>;
    /// The bytes of one file.
    fn open(&self, name: &str) -> Result<Box<dyn Read>>;
}

/// The published letters of one pipeline, file by file in the order of their names. Staged files
/// are passed over. One file is open at a time.
pub struct Letters {
    place: Box<dyn LetterFiles>,
    files: std::vec::IntoIter<String>,
    open: Option<OpenLetters>,
}

struct OpenLetters {
    name: String,
    line: u64,
    reader: BufReader<zstd::Decoder<'static, BufReader<Box<dyn Read>>>>,
}

impl LetterFiles for PathBuf {
    fn place(&self) -> String {
        self.display().to_string()
    }
    fn names(&self) -> Result<Vec<String>> {
        let failed = || format!("cannot list the dead letters in {}", self.display());
        let entries = match std::fs::read_dir(self) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.or_error(ErrorKind::Retryable, failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.or_error(ErrorKind::Retryable, failed)?;
            names.extend(entry.file_name().into_string());
        }
        Ok(names)
    }
    fn open(&self, name: &str) -> Result<Box<dyn Read>> {
        let path = self.join(name);
        let file = File::open(&path)
            .or_error(ErrorKind::Retryable, || format!("cannot open {}", path.display()))?;
        Ok(Box::new(file))
    }
}

impl Letters {
    /// The letters in a folder; one that does not exist holds none.
    pub fn in_folder(folder: &Path) -> Result<Self> {
        Self::of(folder.to_owned())
    }

    /// The letters in any place.
    pub fn of(place: impl LetterFiles + 'static) -> Result<Self> {
        let mut files = place.names()?;
        files.retain(|name| name.ends_with(EXTENSION));
        files.sort();
        Ok(Self { place: Box::new(place), files: files.into_iter(), open: None })
    }

    fn next_letter(&mut self) -> Result<Option<FoundLetter>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(name) = self.files.next() else { return Ok(None) };
                let reader = zstd::Decoder::new(self.place.open(&name)?)
                    .or_error(ErrorKind::Retryable, || {
                        format!("cannot read {}/{name}", self.place.place())
                    })?;
                self.open = Some(OpenLetters { name, line: 0, reader: BufReader::new(reader) });
                continue;
            };
            open.line += 1;
            let folder = self.place.place();
            let place = |open: &OpenLetters| format!("{folder}/{}:{}", open.name, open.line);
            let mut text = Vec::new();
            open.reader
                .read_until(b'\n', &mut text)
                .or_error(ErrorKind::Data, || format!("{} is damaged", place(open)))?;
            if text.is_empty() {
                self.open = None;
                continue;
            }
            let letter = parse(&text).map_err(|error| error.context(place(open)))?;
            return Ok(Some(FoundLetter { file: open.name.clone(), line: open.line, letter }));
        }
    }
}

fn parse(text: &[u8]) -> Result<StoredLetter> {
    #[derive(Deserialize)]
    struct Format {
        v: u32,
    }
    let no_letter = || "this is no dead letter".to_owned();
    let format: Format = serde_json::from_slice(text).or_error(ErrorKind::Data, no_letter)?;
    if format.v > FORMAT {
        return Err(Error::data(format!(
            "the dead letter has format {}, this build reads up to {FORMAT}: use a newer acequia",
            format.v
        )));
    }
    serde_json::from_slice(text).or_error(ErrorKind::Data, no_letter)
}

impl Iterator for Letters {
    type Item = Result<FoundLetter>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_letter();
        if next.is_err() {
            // The rest of a damaged file cannot be trusted; the next file can.
            self.open = None;
        }
        next.transpose()
    }
}
