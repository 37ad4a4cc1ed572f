//! Inputs: made once, then kept, since making them takes longer than reading them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use acequia::sources::archive::sample::{BulkSample, RowForm, RowOrder};
use acequia::{Error, ErrorKind, Result, ResultExt};

/// Rows that tell whether the code that makes samples is still the same.
const PROBE_ROWS: u64 = 1_000;

/// A file of rows.
pub(crate) struct Input {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length.
    pub(crate) bytes: u64,
    /// What it holds.
    pub(crate) sample: BulkSample,
}

impl Input {
    /// The file of `sample` in `folder`, made unless it is there already.
    pub(crate) fn ready(folder: &Path, sample: BulkSample) -> Result<Self> {
        let path = folder.join(file_name(&sample));
        let card_path = path.with_extension("card");
        let made_by = origin(folder, &sample)?;
        let card = |bytes: u64| format!("{made_by}, {bytes} bytes\n");
        if let Ok(metadata) = fs::metadata(&path)
            && fs::read_to_string(&card_path).is_ok_and(|found| found == card(metadata.len()))
        {
            return Ok(Self { path, bytes: metadata.len(), sample });
        }
        eprintln!("making {}", path.display());
        let failed = || format!("cannot write {}", card_path.display());
        // No card while the file is half made.
        if let Err(cause) = fs::remove_file(&card_path)
            && cause.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::fatal(failed()).caused_by(cause));
        }
        let bytes = sample.write(&path)?;
        fs::write(&card_path, card(bytes)).or_error(ErrorKind::Fatal, failed)?;
        Ok(Self { path, bytes, sample })
    }

    /// Read it once, so that every program finds it in the page cache.
    pub(crate) fn warm(&self) -> Result<()> {
        let read = File::open(&self.path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
        read.map(|_| ())
            .or_error(ErrorKind::Fatal, || format!("cannot read {}", self.path.display()))
    }
}

fn file_name(sample: &BulkSample) -> String {
    let form = match sample.form {
        RowForm::Plain => "plain",
        RowForm::Dynamodb => "dynamodb",
    };
    let order = match sample.order {
        RowOrder::Time => "in-order",
        RowOrder::Random => "random",
    };
    let BulkSample { seed, rows, days, .. } = sample;
    format!("{form}-{rows}-rows-{days}-days-{order}-seed-{seed}.ndjson")
}

/// What a file of `sample` comes from: the sample, and a checksum of a few rows, which changes with
/// the code that makes them.
fn origin(folder: &Path, sample: &BulkSample) -> Result<String> {
    let path = folder.join("probe.ndjson");
    BulkSample { rows: PROBE_ROWS, ..*sample }.write(&path)?;
    let probe =
        fs::read(&path).or_error(ErrorKind::Fatal, || format!("cannot read {}", path.display()))?;
    Ok(format!("{sample:?}, made by {:08x}", crc32fast::hash(&probe)))
}
