//! From a file to a checked pipeline.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind::{IsADirectory, NotFound};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use sha2::{Digest, Sha256};

#[cfg(feature = "opensearch")]
use super::clusters;
use super::pipeline::PipelineConfig;
use super::repair::sound_part;
use super::{buckets, environment, examples, folders, indices, resolve, stages, validate};
use crate::checkpoint::CheckpointConfig;
use crate::contract::Contract;
use crate::document::{Document, Finding, Findings, Step, closest, schema_of};
use crate::event::SystemSchema;

/// Most bytes of a pipeline file: far more than anyone writes.
const MOST_BYTES: u64 = 4 << 20;

/// A pipeline that can be built: every setting checked, every path absolute.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub pipeline: PipelineConfig,
    /// The contract of the rows.
    pub contract: Arc<Contract>,
    /// Where progress is kept: as the file says, or the default beside the first lake.
    pub checkpoint: CheckpointConfig,
    /// Folder for rows that do not fit into memory: on a local disk, outside every table.
    pub scratch: PathBuf,
    /// The system columns that the pipeline's rows have.
    pub system: SystemSchema,
    /// Some SQL reads what a broker carries around a message's value.
    pub reads_message: bool,
    /// The columns after the last stage, which are the sinks'.
    pub schema: SchemaRef,
    /// The file.
    pub file: PathBuf,
    /// The folder of the file: relative paths were taken from here.
    pub base_dir: PathBuf,
    /// SHA-256 of the file's text, in hex: tells one version of a pipeline from another.
    pub hash: String,
    /// What is allowed but probably not meant.
    pub warnings: Findings,
}

/// Load a pipeline file, with variables from the environment.
///
/// # Errors
/// Every mistake that can be found, in the order of its place; nothing has been written or opened
/// but the file and its contract.
pub fn load(path: &Path) -> Result<Loaded, Findings> {
    load_with(path, &environment::variable)
}

/// Load a pipeline file, with variables from `lookup`.
///
/// # Errors
/// See [`load`].
pub fn load_with(path: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Findings> {
    let shown = path.display().to_string();
    let text = read(path, &shown)?;
    let (document, mut findings) = Document::parse_all(&shown, &text);
    let Some(mut document) = document else { return Err(findings) };
    findings.extend(structure(&mut document, lookup));

    // Where it is known what was meant, the rest of the section is judged as if that were written.
    let unclear = findings.iter().filter(|finding| finding.suggestion.is_none());
    let blocked = unclear.map(|finding| section(&finding.path).to_owned()).collect();
    let pipeline = match sound_part(&document, &findings).deserialize() {
        Ok(pipeline) => pipeline,
        Err(unfit) if findings.is_empty() => return Err(unfit),
        Err(_) => return Err(findings),
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let base_dir = absolute.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut check = Check {
        document: &document,
        pipeline,
        base_dir,
        blocked,
        reads_message: false,
        findings: Findings::new(),
        warnings: Findings::new(),
    };
    let done = check.everything();
    findings.extend(check.findings);
    match done {
        Some((contract, system, schema, checkpoint)) if findings.is_empty() => Ok(Loaded {
            scratch: folders::scratch(&check.pipeline, &checkpoint),
            pipeline: check.pipeline,
            contract,
            checkpoint,
            system,
            reads_message: check.reads_message,
            schema,
            file: absolute,
            base_dir: check.base_dir,
            hash: format!("{:x}", Sha256::digest(text.as_bytes())),
            warnings: check.warnings,
        }),
        _ => Err(findings),
    }
}

/// The text of a file, or a finding that says how to get at it.
fn read(path: &Path, shown: &str) -> Result<String, Findings> {
    let wrong = |what: String| Finding::of_file(shown, what);
    let bytes = match fs::metadata(path).and_then(|metadata| {
        if metadata.is_dir() {
            return Err(IsADirectory.into());
        }
        if metadata.len() > MOST_BYTES {
            return Err(std::io::Error::other("larger than 4MiB"));
        }
        fs::read(path)
    }) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == NotFound => {
            return Err(wrong("no such file".into()).suggest(sibling(path)).into());
        }
        Err(error) if error.kind() == IsADirectory => {
            return Err(wrong("is a folder".into()).allowed("name a pipeline file").into());
        }
        Err(error) => return Err(wrong(format!("cannot be read: {error}")).into()),
    };
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("line {line} is not UTF-8")).allowed("save the file as UTF-8").into()
    })
}

/// A YAML file beside a missing one that has nearly its name.
fn sibling(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
        .collect();
    let name = closest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(name).display().to_string())
}

/// Expand variables and walk the schema. A value that could not be expanded is not judged too.
fn structure(document: &mut Document, lookup: &dyn Fn(&str) -> Option<String>) -> Findings {
    let mut findings = document.expand(lookup).err().unwrap_or_default();
    let unknown: Vec<String> = findings.iter().map(|finding| finding.path.clone()).collect();
    let differences = document.check(&schema_of::<PipelineConfig>());
    findings.extend(differences.into_iter().filter(|finding| !unknown.contains(&finding.path)));
    findings
}

/// The first part of a path: `sinks` of `sinks.lake.parquet`.
fn section(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or(path)
}

/// What the schema cannot check, over one loaded file.
pub(super) struct Check<'a> {
    pub document: &'a Document,
    pub pipeline: PipelineConfig,
    pub base_dir: PathBuf,
    /// Sections that the schema has found fault with: what depends on them is not judged.
    blocked: BTreeSet<String>,
    /// Some SQL reads what a broker carries around a message's value.
    pub reads_message: bool,
    pub findings: Findings,
    pub warnings: Findings,
}

/// What the checks bring to light.
type Done = (Arc<Contract>, SystemSchema, SchemaRef, CheckpointConfig);

impl Check<'_> {
    fn everything(&mut self) -> Option<Done> {
        validate::names(self);
        validate::numbers(self);
        validate::metrics(self);
        buckets::everything(self);
        #[cfg(feature = "opensearch")]
        clusters::everything(self);
        self.resolve_paths();
        let checkpoint = folders::checkpoint(self);
        folders::overlaps(self, checkpoint.as_ref());
        let contract = self.contract();
        let contract = contract.filter(|_| self.is_sound(&["source"]))?;
        let system = stages::system_schema(&self.pipeline.source, &contract);
        examples::inputs(self, &contract);
        let schema = stages::transforms(self, &contract, &system)?;
        stages::sinks(self, &schema, &system);
        indices::fields(self, &schema, &contract);
        examples::expectations(self, &schema, &system);
        Some((contract, system, schema, checkpoint?))
    }

    /// True where nothing is wrong with these sections by themselves.
    pub(super) fn is_sound(&self, sections: &[&str]) -> bool {
        sections.iter().all(|section| !self.blocked.contains(*section))
    }

    /// Report a mistake; the answer takes what is allowed and what was meant.
    pub(super) fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Make every path absolute.
    fn resolve_paths(&mut self) {
        let (document, base) = (self.document, self.base_dir.as_path());
        let mut findings = Vec::new();
        for (steps, location) in self.pipeline.locations() {
            let resolved = match location {
                Location::Path(text) => resolve::path(base, text)
                    .map(|path| *text = path.to_string_lossy().into_owned()),
                Location::Url(text) => resolve::url(base, text).map(|url| *text = url),
                Location::Pattern(text) => {
                    resolve::pattern(base, text).map(|pattern| *text = pattern)
                }
            };
            if let Err(wrong) = resolved {
                let steps: Vec<Step<'_>> = steps.iter().map(OwnedStep::step).collect();
                findings.push(document.finding_at(&steps, wrong.what).allowed(wrong.allowed));
            }
        }
        for finding in &findings {
            self.blocked.insert(section(&finding.path).to_owned());
        }
        self.findings.extend(findings);
    }

    /// The contract; its own mistakes are shown in its own file.
    fn contract(&mut self) -> Option<Arc<Contract>> {
        if !self.is_sound(&["contract"]) {
            return None;
        }
        let path = PathBuf::from(&self.pipeline.contract);
        if !path.is_file() {
            let what = match path.is_dir() {
                true => "is a folder",
                false => "no such file",
            };
            let finding = self.document.finding_at(&[Step::Key("contract")], what);
            let allowed = "an Open Data Contract Standard document, relative to this file";
            let meant = sibling(&path).map(|meant| relative(&self.base_dir, Path::new(&meant)));
            self.report(finding.allowed(allowed).suggest(meant));
            return None;
        }
        // Messages call it as seen from where the program was started, like the pipeline itself.
        let started_in = std::env::current_dir().unwrap_or_default();
        match crate::contract::load(path.strip_prefix(&started_in).unwrap_or(&path)) {
            Ok(contract) => Some(Arc::new(contract)),
            Err(findings) => {
                self.findings.extend(findings);
                None
            }
        }
    }
}

/// `path` as it is written in a file of folder `base`.
fn relative(base: &Path, path: &Path) -> String {
    let mut climbed = String::new();
    let mut folder = Some(base);
    while let Some(above) = folder {
        if let Ok(rest) = path.strip_prefix(above) {
            return format!("{climbed}{}", rest.display());
        }
        climbed += "../";
        folder = above.parent();
    }
    path.display().to_string()
}

/// A text of the settings that names a place.
pub(super) enum Location<'a> {
    /// On a local disk.
    Path(&'a mut String),
    /// On a local disk or in a bucket.
    Url(&'a mut String),
    /// Of files.
    Pattern(&'a mut String),
}

/// A [`Step`] that borrows nothing.
pub(super) enum OwnedStep {
    Key(String),
    Item(usize),
}

impl OwnedStep {
    fn step(&self) -> Step<'_> {
        match self {
            Self::Key(key) => Step::Key(key),
            Self::Item(index) => Step::Item(*index),
        }
    }
}
