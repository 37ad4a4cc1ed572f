//! Logs: lines on standard error, as text for people or as JSON for machines.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::{Error, ErrorKind, Result, ResultExt};

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One readable line.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Levels by target, as `tracing` writes them: `info`, `warn,acequia::runtime=debug`.
    pub filter: String,
    /// The form.
    pub format: LogFormat,
    /// Colours, in text.
    pub colors: bool,
}

/// Runs a write while whatever else draws on the terminal stands aside.
type Around = Box<dyn Fn(&mut dyn FnMut()) + Send>;

/// Where log lines go: standard error, shared with a progress bar. Cheap to clone.
#[derive(Clone, Default)]
pub struct LogOutput(Arc<Mutex<Option<Around>>>);

impl LogOutput {
    /// From now on each line is written inside `around`; `None`: directly.
    pub fn write_inside(&self, around: Option<Around>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = around;
    }
}

/// Begin to log. The answer lets a progress bar stand aside.
///
/// # Errors
/// A filter that is none (`Config`), or a process that logs already (`Fatal`).
pub fn start(settings: &LogSettings) -> Result<LogOutput> {
    let filter = EnvFilter::try_new(&settings.filter).or_error(ErrorKind::Config, || {
        format!(
            "`{}` is no log filter; write a level (error, warn, info, debug, trace) or \
             `target=level` pairs with commas between them",
            settings.filter
        )
    })?;
    let output = LogOutput::default();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(output.clone())
        .with_ansi(settings.colors);
    let started = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|cause| Error::fatal("cannot start the log").caused_by(cause))?;
    Ok(output)
}

impl<'a> MakeWriter<'a> for LogOutput {
    type Writer = LogLine;
    fn make_writer(&'a self) -> LogLine {
        LogLine { output: self.clone() }
    }
}

/// Writes one line whole: `tracing` hands each over in one call.
pub struct LogLine {
    output: LogOutput,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let around = self.output.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = Ok(());
        match around.as_ref() {
            Some(around) => around(&mut || written = io::stderr().write_all(line)),
            None => written = io::stderr().write_all(line),
        }
        written.map(|()| line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_line_is_written_inside_what_draws() {
        let output = LogOutput::default();
        let times = Arc::new(AtomicUsize::new(0));
        let counted = times.clone();
        output.write_inside(Some(Box::new(move |write| {
            counted.fetch_add(1, Ordering::Relaxed);
            write();
        })));
        assert_eq!(output.make_writer().write(b"").unwrap(), 0);
        output.write_inside(None);
        assert_eq!(output.make_writer().write(b"").unwrap(), 0);
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_filter_that_is_none_is_a_configuration_error() {
        let settings = LogSettings {
            filter: "loud".to_owned() + "=[",
            format: LogFormat::Text,
            colors: false,
        };
        let error = start(&settings).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
