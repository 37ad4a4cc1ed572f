//! The pipeline file that most verbs work on.

use std::path::PathBuf;

use clap::Args;

use super::terminal::Terminal;
use crate::config::{self, Loaded};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Args)]
pub(super) struct PipelineFile {
    /// The pipeline file
    #[arg(value_name = "PIPELINE")]
    pub(super) path: PathBuf,
}

impl PipelineFile {
    /// Load the file; every mistake is shown before the error that counts them is returned.
    pub(super) fn load(&self, terminal: &Terminal) -> Result<Loaded> {
        config::load(&self.path).map_err(|findings| {
            terminal.show_findings(&findings);
            terminal.note("");
            let count = match findings.len() {
                1 => "1 mistake".to_owned(),
                count => format!("{count} mistakes"),
            };
            Error::config(format!("{count} in {}", self.shown()))
        })
    }

    /// The path as it was typed.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}
