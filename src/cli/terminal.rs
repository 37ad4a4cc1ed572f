//! Where the command line writes: results to standard output, everything else to standard error.

use std::io::{self, ErrorKind as IoErrorKind, IsTerminal, Write};

use crate::config::environment;
use crate::document::Findings;
use crate::error::{Error, ErrorKind};

/// What the two output streams of the process are.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    colors_out: bool,
    colors_err: bool,
    interactive: bool,
}

/// A style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Bold,
    Red,
    Green,
    Cyan,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Red => "1;31",
            Self::Green => "32",
            Self::Cyan => "36",
        }
    }
}

impl Terminal {
    /// Look at the streams of this process. Colours appear on a terminal only, and not where
    /// `NO_COLOR` is set to anything (<https://no-color.org>) or the terminal is a `dumb` one.
    pub fn detect() -> Self {
        let refused = environment::variable("NO_COLOR").is_some_and(|value| !value.is_empty())
            || environment::variable("TERM").is_some_and(|name| name == "dumb");
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self { colors_out: out && !refused, colors_err: err && !refused, interactive: err }
    }

    /// True where somebody watches standard error.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// True where standard error takes colours.
    pub fn colors_on_error(&self) -> bool {
        self.colors_err
    }

    /// Columns of standard output, where it is a terminal.
    pub(super) fn width(&self) -> Option<usize> {
        let out = io::stdout();
        if !out.is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(&out).ok()?;
        Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
    }

    /// This program as it was called, for commands that are worth trying next.
    pub(super) fn program(&self) -> String {
        std::env::args().next().unwrap_or_else(|| "acequia".to_owned())
    }

    /// Write a result. A reader that has seen enough (`| head`) ends the process quietly.
    pub fn print(&self, text: &str) {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == IoErrorKind::BrokenPipe => std::process::exit(0),
            // Standard output is gone in some other way: nothing could say so there.
            _ => {}
        }
    }

    /// Write a result and end the line.
    pub fn print_line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// A value as one JSON document, for scripts.
    pub(super) fn print_json(&self, value: &serde_json::Value) {
        self.print_line(&format!("{value:#}"));
    }

    /// Say something about the run, on standard error.
    pub fn note(&self, text: &str) {
        // Where standard error is closed there is nobody to tell.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Say why the process fails.
    pub fn complain(&self, error: &Error) {
        let label = match error.kind() {
            ErrorKind::Halted => "stopped",
            _ => "error",
        };
        let painted = paint(self.colors_err, Style::Red, &format!("{label}:"));
        self.note(&format!("{painted} {error}"));
    }

    /// Show every mistake of a document.
    pub(super) fn show_findings(&self, findings: &Findings) {
        self.note(&findings.render(self.colors_err));
    }

    /// `text` in `style`, for standard output.
    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        paint(self.colors_out, style, text)
    }
}

fn paint(colors: bool, style: Style, text: &str) -> String {
    match colors {
        true => format!("\u{1b}[{}m{text}\u{1b}[0m", style.code()),
        false => text.to_owned(),
    }
}
