//! The files of an archive, numbered for good.
//!
//! The manifest is one document of the checkpoint store, extended at its end only: the number of a
//! file is part of the version of every event in it, so a file that appears later takes the next
//! number whatever its name, and a listed file must stay what it was.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::files::{self, Encoding, FoundFile, POSITION_BITS};
use super::place::{self, Identity, Listed, Wanted};
use super::ranges::{self, Range, Splitting};
use crate::aws::Phase;
use crate::component::checkpoint::Document;
use crate::component::{CheckpointStore, Context, Expected, Key, Revision, SwapAnswer};
use crate::error::{Error, Result};
use crate::event::PartitionId;

/// Versions have 63 bits, of which the position takes [`POSITION_BITS`].
const FILES_END: u64 = 1 << (63 - POSITION_BITS);
/// Times that another process may get in between before something must be wrong.
const ATTEMPTS: usize = 16;
/// Files that a message names one by one.
const NAMED_FILES: usize = 5;
/// New files that are looked into at once.
const LOOKS_AT_ONCE: usize = 32;

/// The document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Number `n` is at place `n - 1`.
    pub(super) files: Vec<ListedFile>,
}

/// A file as it was first listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct ListedFile {
    /// From 1.
    pub(super) number: u64,
    /// Its path below the fixed folder of its pattern.
    pub(super) path: String,
    /// Stored bytes.
    pub(super) size: u64,
    /// What it is told by.
    #[serde(flatten)]
    pub(super) identity: Identity,
    /// How it is stored.
    pub(super) encoding: Encoding,
    /// The partitions it is split into.
    pub(super) ranges: Vec<Range>,
}

impl ListedFile {
    /// The partition of `range`: number and path, and the range where there are several.
    pub(super) fn partition(&self, range: Range) -> PartitionId {
        let Self { number, path, ranges, .. } = self;
        match (ranges.len(), range.to) {
            (2.., Some(to)) => PartitionId::new(format!("{number}:{path}@{}-{to}", range.from)),
            _ => PartitionId::new(format!("{number}:{path}")),
        }
    }

    /// What it was, to open it by.
    pub(super) fn listed(&self) -> Listed {
        Listed {
            name: format!("`{}` (number {})", self.path, self.number),
            size: self.size,
            identity: self.identity.clone(),
        }
    }
}

/// Load the manifest, check the files that it lists, and add those that are new. Answers with the
/// manifest and the number of files that were added.
///
/// A listed file that grew, shrank, was modified, or is gone with something left to read halts:
/// `closed` holds the partitions that were read to their end.
pub(super) async fn settle(
    store: &dyn CheckpointStore,
    found: Vec<FoundFile>,
    splitting: Splitting,
    closed: &HashSet<PartitionId>,
    context: &Context,
) -> Result<(Manifest, usize)> {
    let mut split: HashMap<String, (Encoding, Vec<Range>)> = HashMap::new();
    for _ in 0..ATTEMPTS {
        let (mut manifest, expected, seq) =
            Document::<Manifest>::load_or_default(store, &Key::Manifest).await?;
        verify(&manifest, &found, closed)?;
        let listed: HashSet<String> = manifest.files.iter().map(|file| file.path.clone()).collect();
        let added: Vec<FoundFile> =
            found.iter().filter(|file| !listed.contains(&file.name)).cloned().collect();
        if added.is_empty() {
            return Ok((manifest, 0));
        }
        if split.is_empty() {
            split = split_files(added.clone(), splitting, context).await?;
        }
        for file in &added {
            append(&mut manifest, file, &split)?;
        }
        let new = Revision { seq: seq + 1, nonce: context.randomness.nonce() };
        let body = Document::new(new.clone(), manifest.clone()).encode()?;
        let answer = store.swap(&Key::Manifest, &expected, &new, body).await?;
        if matches!(answer, SwapAnswer::Stored { .. }) {
            if matches!(expected, Expected::Write { .. }) {
                report(&manifest, added.len());
            }
            return Ok((manifest, added.len()));
        }
    }
    Err(Error::retryable("other processes keep changing the archive manifest"))
}

fn append(
    manifest: &mut Manifest,
    file: &FoundFile,
    split: &HashMap<String, (Encoding, Vec<Range>)>,
) -> Result<()> {
    let number = manifest.files.len() as u64 + 1;
    if number >= FILES_END {
        return Err(Error::config(format!("an archive has at most {} files", FILES_END - 1)));
    }
    let (encoding, ranges) = split.get(&file.name).cloned().ok_or_else(|| {
        Error::retryable(format!("the archive manifest lost the file {}", file.name))
    })?;
    manifest.files.push(ListedFile {
        number,
        path: file.name.clone(),
        size: file.size,
        identity: file.identity.clone(),
        encoding,
        ranges,
    });
    Ok(())
}

/// Look into the new files, away from the asynchronous threads.
async fn split_files(
    added: Vec<FoundFile>,
    splitting: Splitting,
    context: &Context,
) -> Result<HashMap<String, (Encoding, Vec<Range>)>> {
    // Dropped with this call, which ends every look that waits for a bucket.
    let (_wanted, stop) = Wanted::new();
    let one = |file: FoundFile| {
        let (stop, context) = (stop.clone(), context.clone());
        let look = move || {
            let open = place::open(&file.place, file.listed(), Phase::Start, &stop, &context)?;
            let encoding = files::encoding(&*open, &file.place)?;
            let ranges = ranges::split(&*open, file.size, encoding, splitting)?;
            Ok((file.name, (encoding, ranges)))
        };
        async {
            let looked = tokio::task::spawn_blocking(look).await;
            looked.map_err(|cause| {
                Error::fatal("looking into the archive ended early").caused_by(cause)
            })?
        }
    };
    // The first failure in the order of the files is the one that is told.
    stream::iter(added).map(one).buffered(LOOKS_AT_ONCE).try_collect().await
}

fn report(manifest: &Manifest, added: usize) {
    let before = manifest.files.len() - added;
    for file in manifest.files.iter().skip(before) {
        tracing::info!(
            file = file.path,
            number = file.number,
            "a file appeared in the archive: it comes after all that were listed before"
        );
    }
}

/// Check every listed file against what is there.
fn verify(manifest: &Manifest, found: &[FoundFile], closed: &HashSet<PartitionId>) -> Result<()> {
    let found: HashMap<&str, &FoundFile> =
        found.iter().map(|file| (file.name.as_str(), file)).collect();
    let mut problems = Vec::new();
    for (place, file) in manifest.files.iter().enumerate() {
        if file.number != place as u64 + 1 {
            return Err(Error::halted(format!(
                "the archive manifest is damaged: file {} has number {}",
                place + 1,
                file.number
            )));
        }
        let is_finished =
            || file.ranges.iter().all(|range| closed.contains(&file.partition(*range)));
        let problem = match found.get(file.path.as_str()) {
            Some(now) => file.listed().difference(now.size, &now.identity),
            None if is_finished() => None,
            None => {
                Some("is gone, or no pattern names it any more, and is not read to its end".into())
            }
        };
        if let Some(problem) = problem {
            problems.push(format!("`{}` (number {}) {problem}", file.path, file.number));
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(changed(&problems)) }
}

/// The error for listed files that are no longer what they were.
pub(super) fn changed(problems: &[String]) -> Error {
    let named: Vec<&str> = problems.iter().take(NAMED_FILES).map(String::as_str).collect();
    let mut message =
        format!("the archive changed since its files were listed: {}", named.join("; "));
    if problems.len() > NAMED_FILES {
        // Writing to a string cannot fail.
        let _ = write!(message, "; and {} more", problems.len() - NAMED_FILES);
    }
    message.push_str(
        "; restore each file as it was, on a disk with its time of modification, and put new \
         records into a new file; to read changed files again, begin with an empty checkpoint and lake",
    );
    Error::halted(message)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
