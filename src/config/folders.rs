//! Folders that must not overlap: whoever reads a table reads every file beneath its root, so
//! nothing else may lie there.

use std::path::{Path, PathBuf};

#[cfg(feature = "aws")]
use super::environment;
use super::load::Check;
use super::pipeline::PipelineConfig;
use crate::checkpoint::CheckpointConfig;
use crate::checkpoint::file::FileConfig;
use crate::document::Step;
use crate::sources::SourceConfig;
use crate::sources::archive::Paths;

/// Where progress is kept: as the file says, or beside the first lake.
pub(super) fn checkpoint(check: &mut Check<'_>) -> Option<CheckpointConfig> {
    if check.pipeline.checkpoint.is_some() || !check.is_sound(&["checkpoint", "sinks"]) {
        return check.pipeline.checkpoint.clone();
    }
    let lake = check.pipeline.sinks.values().find_map(|sink| sink.parquet.as_ref());
    let Some(lake) = lake else {
        let what = "required key is missing, since no sink is a local lake";
        let finding = check.document.finding_at(&[Step::Key("checkpoint")], what);
        check.report(finding.allowed("a mapping with one of the keys `dynamodb`, `s3`, `file`"));
        return None;
    };
    if lake.url.starts_with("s3://") {
        let what = "required key is missing, since the first lake is not a folder";
        let finding = check.document.finding_at(&[Step::Key("checkpoint")], what);
        check.report(finding.allowed("a mapping with one of the keys `dynamodb`, `s3`, `file`"));
        return None;
    }
    let path = format!("{}.checkpoint", lake.url.trim_end_matches('/'));
    Some(CheckpointConfig::File(FileConfig { path }))
}

/// Where rows wait that do not fit into memory.
pub(super) fn scratch(pipeline: &PipelineConfig, checkpoint: &CheckpointConfig) -> PathBuf {
    match (&pipeline.scratch, checkpoint) {
        (Some(scratch), _) => scratch.into(),
        (None, CheckpointConfig::File(file)) => Path::new(&file.path).join("scratch"),
        #[cfg(feature = "aws")]
        _ => environment::temporary_folder().join(format!("acequia-{}", pipeline.name)),
    }
}

/// One folder of the pipeline.
struct Folder<'a> {
    steps: Vec<Step<'a>>,
    path: PathBuf,
    /// What it is: `the table of sink \`lake\``.
    role: String,
    is_table: bool,
}

/// Report every two folders of which one holds the other.
pub(super) fn overlaps(check: &mut Check<'_>, checkpoint: Option<&CheckpointConfig>) {
    if !check.is_sound(&["sinks", "dead_letters", "checkpoint"]) {
        return;
    }
    let pipeline = &check.pipeline;
    let folders = folders_of(pipeline, checkpoint);
    let mut findings = Vec::new();
    for (index, folder) in folders.iter().enumerate() {
        // One finding a folder: the table that it touches, or else anything.
        let others = || folders.iter().take(index);
        let tables = others().filter(|other| other.is_table);
        let found = tables.chain(others()).find_map(|other| Some((other, overlap(folder, other)?)));
        let Some((other, what)) = found else { continue };
        let allowed = match folder.is_table || other.is_table {
            true => {
                "a folder outside every table, since readers of a table take every file beneath it"
            }
            false => "a folder of its own",
        };
        findings.push(check.document.finding_at(&folder.steps, what).allowed(allowed));
    }
    if let Some(scratch) = &pipeline.scratch {
        let is_around = |table: &&Folder<'_>| {
            table.is_table
                && (Path::new(scratch).starts_with(&table.path) || table.path.starts_with(scratch))
        };
        if let Some(table) = folders.iter().find(is_around) {
            let what = format!("touches {}", table.role);
            let finding = check.document.finding_at(&[Step::Key("scratch")], what);
            findings.push(finding.allowed("a folder outside every table"));
        }
    }
    for (steps, pattern) in patterns(&pipeline.source) {
        let fixed = fixed_folder(pattern);
        for table in folders.iter().filter(|folder| folder.is_table) {
            if fixed.starts_with(&table.path) {
                let what = format!("reads {}, which this pipeline writes", table.role);
                let finding = check.document.finding_at(&steps, what);
                findings.push(finding.allowed("files outside every table of the pipeline"));
            }
        }
    }
    check.findings.extend(findings);
}

/// The folders of a pipeline, in the order in which they are judged.
fn folders_of<'a>(
    pipeline: &'a PipelineConfig,
    checkpoint: Option<&CheckpointConfig>,
) -> Vec<Folder<'a>> {
    let mut folders = Vec::new();
    for (name, sink) in &pipeline.sinks {
        #[cfg(feature = "search")]
        if let Some(search) = &sink.search {
            let keys = ["sinks", name, "search", "path"];
            folders.push(Folder {
                steps: keys.into_iter().map(Step::Key).collect(),
                path: PathBuf::from(&search.path),
                role: format!("the index of sink `{name}`"),
                is_table: false,
            });
        }
        let Some(parquet) = &sink.parquet else { continue };
        let keys = ["sinks", name, "parquet", "url"];
        folders.push(Folder {
            steps: keys.into_iter().map(Step::Key).collect(),
            path: PathBuf::from(&parquet.url),
            role: format!("the table of sink `{name}`"),
            is_table: true,
        });
    }
    folders.push(Folder {
        steps: vec![Step::Key("dead_letters"), Step::Key("url")],
        path: PathBuf::from(&pipeline.dead_letters.url),
        role: "the dead letters".into(),
        is_table: false,
    });
    #[cfg(feature = "aws")]
    if let Some(CheckpointConfig::S3(s3)) = checkpoint {
        folders.push(Folder {
            steps: vec![Step::Key("checkpoint"), Step::Key("s3"), Step::Key("url")],
            path: PathBuf::from(&s3.url),
            role: "the checkpoint".into(),
            is_table: false,
        });
    }
    if let Some(CheckpointConfig::File(file)) = checkpoint {
        let role = match pipeline.checkpoint {
            Some(_) => "the checkpoint",
            None => "the checkpoint, which lies beside the lake unless `checkpoint` is given",
        };
        folders.push(Folder {
            steps: vec![Step::Key("checkpoint"), Step::Key("file"), Step::Key("path")],
            path: PathBuf::from(&file.path),
            role: role.into(),
            is_table: false,
        });
        // Shown where the file says something: an implied folder has no line.
        if pipeline.checkpoint.is_none() {
            folders.rotate_right(1);
        }
    }
    folders
}

fn overlap(folder: &Folder<'_>, other: &Folder<'_>) -> Option<String> {
    let role = &other.role;
    if folder.path == other.path {
        Some(format!("is also the folder of {role}"))
    } else if folder.path.starts_with(&other.path) {
        Some(format!("lies inside {role}"))
    } else if other.path.starts_with(&folder.path) {
        Some(format!("holds {role}"))
    } else {
        None
    }
}

/// The archive's patterns with their places.
pub(super) fn patterns(source: &SourceConfig) -> Vec<(Vec<Step<'_>>, &str)> {
    // The others name no files.
    #[allow(irrefutable_let_patterns, reason = "the archive is the only source without features")]
    let SourceConfig::Archive(archive) = source else { return Vec::new() };
    let steps = vec![Step::Key("source"), Step::Key("archive"), Step::Key("path")];
    match &archive.path {
        Paths::One(pattern) => vec![(steps, pattern)],
        Paths::Many(patterns) => {
            let place = |(index, pattern)| {
                let mut steps = steps.clone();
                steps.push(Step::Item(index));
                (steps, String::as_str(pattern))
            };
            patterns.iter().enumerate().map(place).collect()
        }
    }
}

/// The folder above the first part of a pattern that is not literal.
fn fixed_folder(pattern: &str) -> PathBuf {
    let literal = |part: &std::path::Component<'_>| {
        !part.as_os_str().to_string_lossy().contains(['*', '?', '['])
    };
    Path::new(pattern).components().take_while(literal).collect()
}
