//! Files on a local disk.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader};
use parquet::file::metadata::ParquetMetaData;

use super::files::{self, FoundFile, OPTIONS};
use super::manifest;
use super::place::{Identity, Listed, OpenFile, Place, RowGroups};
use super::rows::{self, Selection};
use super::streams::{ByteStream, PlainStream};
use crate::aws::Phase;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// The files that `pattern` names now, in no order.
pub(super) fn list(pattern: &str) -> Result<Vec<FoundFile>> {
    let path = Path::new(pattern);
    if path.is_dir() {
        return Err(files::is_folder(pattern));
    }
    let (folder, names) = fixed_folder(path);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let entries = glob::glob_with(pattern, OPTIONS)
        .or_error(ErrorKind::Config, || format!("`{pattern}` is no path pattern"))?;
    let mut files = Vec::new();
    let mut folders = BTreeSet::from([folder.clone()]);
    for entry in entries {
        let path = entry
            .or_error(ErrorKind::Config, || format!("cannot look for files of `{pattern}`"))?;
        let failed = || format!("cannot examine the archive file {}", path.display());
        let below = path.strip_prefix(&folder).unwrap_or(&path);
        let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
        if files::is_left_out(parts.iter().map(AsRef::as_ref), &names) {
            continue;
        }
        let metadata = fs::metadata(&path).or_error(ErrorKind::Config, failed)?;
        if metadata.is_dir() {
            folders.insert(path);
            continue;
        }
        if !metadata.is_file() {
            continue;
        }
        folders.extend(path.parent().map(Path::to_owned));
        let name = below
            .to_str()
            .ok_or_else(|| Error::config(failed()).caused_by("its name is not UTF-8"))?
            .to_owned();
        let (size, modified_ns) = stamp(&metadata);
        let identity = Identity::Modified { modified_ns };
        files.push(FoundFile { place: Place::Disk(path), name, size, modified_ns, identity });
    }
    folders.iter().try_for_each(|folder| readable_names(folder))?;
    Ok(files)
}

/// The pattern language knows text only and passes over any other name in silence: a file that
/// nobody reads must not go unnoticed.
fn readable_names(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let odd = |name: &OsString| name.to_str().is_none();
    match entries.flatten().map(|entry| entry.file_name()).find(odd) {
        None => Ok(()),
        Some(name) => Err(Error::config(format!(
            "the archive file {} has a name that is not UTF-8: rename it, or keep it elsewhere",
            folder.join(name).display()
        ))),
    }
}

/// The folders of `pattern` before its first part with a wildcard, and the parts after them.
fn fixed_folder(pattern: &Path) -> (PathBuf, Vec<String>) {
    let mut folder = PathBuf::new();
    let mut names = Vec::new();
    let parts: Vec<Component<'_>> = pattern.components().collect();
    for (index, part) in parts.iter().enumerate() {
        let text = part.as_os_str().to_string_lossy();
        let last = index + 1 == parts.len();
        if names.is_empty() && !last && !files::has_wildcard(&text) {
            folder.push(part);
        } else {
            names.push(text.into_owned());
        }
    }
    (folder, names)
}

/// Size and time of modification of an open or named file.
fn stamp(metadata: &fs::Metadata) -> (u64, i64) {
    let nanoseconds =
        metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    (metadata.len(), nanoseconds)
}

/// A file of a disk that is open.
pub(super) struct DiskFile {
    file: Arc<File>,
    name: Arc<str>,
    listed: Listed,
    phase: Phase,
}

impl DiskFile {
    pub(super) fn open(path: &Path, listed: Listed, phase: Phase) -> Result<Self> {
        let kind = match phase {
            Phase::Start => ErrorKind::Config,
            Phase::Run => ErrorKind::Halted,
        };
        let file = File::open(path)
            .or_error(kind, || format!("cannot open the archive file {}", path.display()))?;
        let name = path.to_string_lossy().into();
        Ok(Self { file: Arc::new(file), name, listed, phase })
    }
}

impl OpenFile for DiskFile {
    fn stream(&self, from: u64, _: u64) -> Box<dyn ByteStream> {
        let (file, name) = (self.file.clone(), self.name.clone());
        Box::new(PlainStream::new(file, name, from, self.listed.size))
    }

    fn row_groups(&self) -> Result<Box<dyn RowGroups>> {
        let footer = ArrowReaderMetadata::load(&*self.file, Default::default())
            .map_err(|cause| rows::unreadable_footer(&self.name, self.phase, cause))?;
        let (file, name) = (self.file.clone(), self.name.clone());
        Ok(Box::new(DiskRowGroups { file, name, footer }))
    }

    fn unchanged(&self) -> Result<()> {
        let failed = || format!("cannot look at the archive file {}", self.name);
        let metadata = self.file.metadata().or_error(ErrorKind::Fatal, failed)?;
        let (size, modified_ns) = stamp(&metadata);
        match self.listed.difference(size, &Identity::Modified { modified_ns }) {
            None => Ok(()),
            Some(difference) => {
                Err(manifest::changed(&[format!("{} {difference}", self.listed.name)]))
            }
        }
    }
}

/// All row groups are read through the same file, one after the other.
struct DiskRowGroups {
    file: Arc<File>,
    name: Arc<str>,
    footer: ArrowReaderMetadata,
}

impl RowGroups for DiskRowGroups {
    fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    fn open(&mut self, groups: &[usize], selection: Selection) -> Result<ParquetRecordBatchReader> {
        let file = self.file.try_clone();
        let file =
            file.or_error(ErrorKind::Fatal, || format!("cannot open {} again", self.name))?;
        rows::select(file, &self.footer, groups, selection)
            .map_err(|cause| rows::unreadable(&self.name, cause))
    }

    fn failure(&mut self) -> Option<Error> {
        None
    }
}
