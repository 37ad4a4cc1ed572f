//! What is fetched once per machine, and the folders of servers that run.
//!
//! All of it lies in one folder: `$ACEQUIA_SERVICES_CACHE`, else `~/.cache/acequia-services`. It
//! may be deleted whenever nothing runs.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::Missing;

/// How much of a failed command's output is shown.
const OUTPUT_LINES_SHOWN: usize = 15;
/// Names of folders that are being filled begin so.
const FILLING: &str = "filling-";
/// The file in a server's folder that is locked while its owner lives.
const OWNER: &str = ".owner";

/// The artefact `name`, a folder of the cache. Where it is not there yet, `fill` gets an empty
/// folder to put it into; one process of this machine at a time does so, others wait for it.
///
/// The name carries the version: what is there is never looked at again. `fill` must not write the
/// folder's own path into it, since the folder moves to its name only when it is whole; an
/// interrupted fetch leaves nothing half under that name.
pub(crate) fn artefact(
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), Missing>,
) -> Result<PathBuf, Missing> {
    let root = root();
    let there = root.join(name);
    if there.exists() {
        return Ok(there);
    }
    let lock = lock(&root);
    if !there.exists() {
        sweep_fillings(&root);
        let filling = tempfile::Builder::new().prefix(FILLING).tempdir_in(&root).unwrap();
        fill(filling.path())?;
        fs::rename(filling.path(), &there).unwrap();
        // Nothing is left under its old name.
        let _ = filling.keep();
    }
    drop(lock);
    Ok(there)
}

/// Run a command that fetches something or asks whether it is there, and return what it wrote on
/// standard output. Where it fails it is missing, and `remedy` says what to install.
pub(crate) fn run(command: &mut Command, remedy: &'static str) -> Result<String, Missing> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::NotFound => format!("`{program}` is not installed"),
            _ => format!("`{program}` cannot be started: {error}"),
        };
        Missing { what, remedy }
    })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let said = said + &String::from_utf8_lossy(&output.stderr);
    let tail = tail(&said, OUTPUT_LINES_SHOWN);
    Err(Missing { what: format!("{command:?} failed, {}:\n{tail}", output.status), remedy })
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all.split_at(all.len().saturating_sub(lines)).1.join("\n")
}

/// The folder of one server: its settings, data and log. It goes when this is dropped; those of
/// processes that were killed go when the next one is made.
pub(crate) struct RunFolder {
    folder: TempDir,
    /// Locked as long as this process lives.
    _owner: File,
}

impl RunFolder {
    /// An empty folder; its name begins with `name`.
    pub(crate) fn new(name: &str) -> Self {
        let runs = root().join("runs");
        // Without it a folder could be swept before its owner has locked it.
        let _lock = lock(&runs);
        sweep_runs(&runs);
        let folder = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&runs);
        let folder = folder.unwrap();
        let owner = File::create(folder.path().join(OWNER)).unwrap();
        flock(&owner, FlockOperation::LockExclusive).unwrap();
        Self { folder, _owner: owner }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where `name` lies in it, or would.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn root() -> PathBuf {
    #[allow(clippy::disallowed_methods, reason = "a setting of tests, not of the program")]
    let named = std::env::var_os("ACEQUIA_SERVICES_CACHE").filter(|path| !path.is_empty());
    named.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::home_dir().unwrap_or_else(std::env::temp_dir);
        home.join(".cache/acequia-services")
    })
}

/// Wait for the lock of `folder`, which is made where it is missing. Closing the file, or the end
/// of the process, unlocks it.
fn lock(folder: &Path) -> File {
    let attempt = || -> io::Result<File> {
        fs::create_dir_all(folder)?;
        let file = File::create(folder.join(".lock"))?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    attempt().unwrap_or_else(|error| {
        panic!(
            "cannot lock {}: {error}; ACEQUIA_SERVICES_CACHE names another folder",
            folder.display()
        )
    })
}

/// Remove what interrupted fetches have left. The lock is held, so nobody is filling.
fn sweep_fillings(root: &Path) {
    for folder in folders(root) {
        if folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FILLING)) {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Remove the folders whose owner has ended. The lock is held, so nobody is making one.
fn sweep_runs(runs: &Path) {
    for folder in folders(runs) {
        let is_owned = File::open(folder.join(OWNER))
            .is_ok_and(|owner| flock(&owner, FlockOperation::NonBlockingLockExclusive).is_err());
        if !is_owned {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
