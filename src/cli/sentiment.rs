//! `acequia sentiment`: tries the model on a text.

use std::io::{self, BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::terminal::Style;
use super::{Outcome, Terminal};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sentiment::columns::four_digits;
use crate::sentiment::{Judge, Judging, Label, Language, Model, Verdict};

/// Longest line that is judged, in bytes: more is no message.
const LONGEST_LINE: u64 = 1 << 20;
/// Words that `--explain` names, the strongest.
const MOST_REASONS: usize = 12;

/// Say whether a text is content, displeased or neither
///
/// By the model that the stage `sentiment` and the SQL function `sentiment()` have, on this machine
/// alone: nothing is sent anywhere. What the labels mean stands in docs/sentiment-labels.md.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
acequia sentiment \"nadie me contesta\"\n  \
acequia sentiment --explain \"tardó pero llegó perfecto, gracias\"\n  \
acequia sentiment --file messages.txt --json | jq .label\n  \
zcat messages.txt.gz | acequia sentiment --file - --json")]
pub(super) struct Options {
    /// The text
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// Judge each line of a file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The language of the texts, `es` or `en`; the model tells it by default
    #[arg(long, value_name = "TAG", value_parser = language)]
    language: Option<Language>,
    /// A text whose clauses feel the opposite of each other is MIXED
    #[arg(long)]
    mixed: bool,
    /// Show which words moved the score
    #[arg(long)]
    explain: bool,
    /// A model file of your own
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

fn language(tag: &str) -> Result<Language, String> {
    Language::of_tag(tag).ok_or_else(|| format!("the model judges es and en, not `{tag}`"))
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let model = match &options.model {
        Some(path) => crate::sentiment::model::read_file(path)?,
        None => Model::built_in()?,
    };
    let judging = Judging { mixed: options.mixed, ..Judging::default() };
    let mut trial = Trial { options, model, judging, judge: Judge::default(), terminal };
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match (&options.text, &options.file) {
        (Some(text), _) => trial.say(text, &mut out),
        (None, Some(file)) => trial.lines(file, &mut out)?,
        (None, None) => Ok(()),
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Outcome::Done),
        done => done
            .map(|()| Outcome::Done)
            .or_error(ErrorKind::Fatal, || "cannot write to standard output".to_owned()),
    }
}

struct Trial<'a> {
    options: &'a Options,
    model: Model,
    judging: Judging,
    judge: Judge,
    terminal: &'a Terminal,
}

impl Trial<'_> {
    /// Judge every line of `file`. The inner result is that of writing.
    fn lines(&mut self, file: &Path, out: &mut impl io::Write) -> Result<io::Result<()>> {
        let mut reader: Box<dyn BufRead> = match file == Path::new("-") {
            true => Box::new(io::stdin().lock()),
            false => {
                let opened = std::fs::File::open(file);
                let said = || format!("cannot open {}", file.display());
                Box::new(BufReader::new(opened.or_error(ErrorKind::Config, said)?))
            }
        };
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            let read = io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line);
            let said = || format!("cannot read {}", file.display());
            if read.or_error(ErrorKind::Fatal, said)? == 0 {
                break;
            }
            if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
                return Err(Error::config(format!(
                    "line {number} of {} is longer than {LONGEST_LINE} bytes",
                    file.display()
                )));
            }
            // What is no UTF-8 is shown as such, and judged without it.
            let text = String::from_utf8_lossy(&line);
            let written = self.say(text.trim_end_matches(['\n', '\r']), out);
            if written.is_err() {
                return Ok(written);
            }
        }
        Ok(Ok(()))
    }

    fn say(&mut self, text: &str, out: &mut impl io::Write) -> io::Result<()> {
        let language = self.options.language;
        let verdict = self.judge.judge(&self.model, text, language, &self.judging);
        let reasons = match self.options.explain {
            true => self.reasons(text),
            false => Vec::new(),
        };
        if self.options.json {
            let mut object = json!({
                "label": verdict.label.name(),
                "score": four_digits(verdict.score),
                "confidence": four_digits(verdict.confidence),
                "language": verdict.language.map(Language::code),
            });
            if self.options.explain {
                let reason = |(word, weight): &(String, f32)| json!({ "text": word, "weight": four_digits(*weight) });
                let list: Vec<_> = reasons.iter().map(reason).collect();
                if let Some(object) = object.as_object_mut() {
                    object.insert("reasons".to_owned(), list.into());
                }
            }
            return writeln!(out, "{object}");
        }
        writeln!(out, "{}", self.line(&verdict, text))?;
        for (word, weight) in reasons {
            writeln!(out, "  {weight:+.2}  {word}")?;
        }
        Ok(())
    }

    /// A verdict for people; with the text where there are many.
    fn line(&self, verdict: &Verdict, text: &str) -> String {
        let style = match verdict.label {
            Label::Positive => Style::Green,
            Label::Negative => Style::Red,
            Label::Neutral | Label::Mixed => Style::Cyan,
        };
        let label = self.terminal.paint(style, &format!("{:<8}", verdict.label.name()));
        let language = verdict.language.map_or("--", Language::code);
        let figures = format!("{:+.2}  {:>3.0} %", verdict.score, verdict.confidence * 100.0);
        match self.options.file {
            Some(_) => format!("{label}  {figures}  {language}  {text}"),
            None => format!("{label}  score {figures} sure, {language}"),
        }
    }

    /// The words that moved the score most, in the order of the text.
    fn reasons(&mut self, text: &str) -> Vec<(String, f32)> {
        let reasons = self.judge.explain(&self.model, text, self.options.language);
        let mut order: Vec<usize> = (0..reasons.len()).collect();
        let strength =
            |index: &usize| reasons.get(*index).map_or(0.0, |reason| reason.weight.abs());
        order.sort_by(|one, other| strength(other).total_cmp(&strength(one)));
        order.truncate(MOST_REASONS);
        order.sort_unstable();
        let shown = |index: usize| {
            let reason = reasons.get(index)?;
            Some((text.get(reason.span.clone())?.to_owned(), reason.weight))
        };
        order.into_iter().filter_map(shown).collect()
    }
}
