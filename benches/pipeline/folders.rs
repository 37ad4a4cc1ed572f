//! Folders of inputs and outputs.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use acequia::{Error, ErrorKind, Result, ResultExt};

/// Make `folder` where it is not there.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .or_error(ErrorKind::Config, || format!("cannot make the folder {}", folder.display()))
}

/// Make `folder` anew, empty and with nothing left to be written to its disk. Otherwise the syncs
/// of one run would pay for what the run before left in the page cache.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if let Err(cause) = fs::remove_dir_all(folder)
        && cause.kind() != io::ErrorKind::NotFound
    {
        return Err(Error::fatal(format!("cannot empty {}", folder.display())).caused_by(cause));
    }
    make(folder)?;
    let failed = || format!("cannot sync the file system of {}", folder.display());
    let opened = File::open(folder).or_error(ErrorKind::Fatal, failed)?;
    rustix::fs::syncfs(&opened).or_error(ErrorKind::Fatal, failed)
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
