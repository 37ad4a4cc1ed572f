//! Folders of inputs and outputs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Beside the folders of outputs: what they held before, until the bench ends.
const REPLACED: &str = "replaced";

use acequia::{Error, ErrorKind, Result, ResultExt};

/// Make `folder` where it is not there.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .or_error(ErrorKind::Config, || format!("cannot make the folder {}", folder.display()))
}

/// Make `folder` anew, empty and with nothing left to be written to its disk. Otherwise the syncs
/// of one run would pay for what the run before left in the page cache.
///
/// What it held is set aside, not removed: for a minute or more after a removal ext4 looks through
/// the inodes that were freed whenever it makes a file, a tenth of the time of a run that makes many.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    let failed = || format!("cannot empty {}", folder.display());
    if folder.exists() {
        let aside = folder.with_file_name(REPLACED);
        make(&aside)?;
        let count = fs::read_dir(&aside).or_error(ErrorKind::Fatal, failed)?.count();
        fs::rename(folder, aside.join(count.to_string())).or_error(ErrorKind::Fatal, failed)?;
    }
    make(folder)?;
    let failed = || format!("cannot sync the file system of {}", folder.display());
    let opened = File::open(folder).or_error(ErrorKind::Fatal, failed)?;
    rustix::fs::syncfs(&opened).or_error(ErrorKind::Fatal, failed)
}

/// Remove what was set aside below `folder`, when nothing is measured any more.
pub(crate) fn remove_replaced(folder: &Path) -> Result<()> {
    let aside = folder.join(REPLACED);
    match fs::remove_dir_all(&aside) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(Error::fatal(format!("cannot remove {}", aside.display())).caused_by(cause))
        }
        _ => Ok(()),
    }
}

/// The Parquet files below `folder` that readers see: their number, and their bytes.
pub(crate) fn parquet_files(folder: &Path) -> Result<(u64, u64)> {
    let failed = || format!("cannot list {}", folder.display());
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).or_error(ErrorKind::Fatal, failed)? {
        let entry = entry.or_error(ErrorKind::Fatal, failed)?;
        let metadata = entry.metadata().or_error(ErrorKind::Fatal, failed)?;
        let path = entry.path();
        if metadata.is_dir() {
            let (files_below, bytes_below) = parquet_files(&path)?;
            files += files_below;
            bytes += bytes_below;
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files += 1;
            bytes += metadata.len();
        }
    }
    Ok((files, bytes))
}
