//! Labelled messages.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::path::{Path, PathBuf};

use acequia::sentiment::features_of;
use acequia::sentiment::intent::MOST_INTENTS;
use sha2::{Digest, Sha256};

/// Languages that messages are labelled with; what they are changes figures only.
pub(crate) const LANGUAGES: [&str; 3] = ["es", "en", "mix"];

/// Parts that messages are dealt into.
pub(crate) const TENTHS: u64 = 10;

/// One message.
#[derive(Debug)]
pub(crate) struct Row {
    /// Its number among all intents.
    pub(crate) intent: usize,
    pub(crate) language: &'static str,
    pub(crate) text: String,
    pub(crate) features: Vec<u64>,
    /// Below [`TENTHS`]; its words alone decide.
    tenth: u64,
}

/// What one row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Train,
    Validation,
    Test,
}

impl Row {
    /// What it is for in the first turn or in a later one, in which the next tenth is held out.
    pub(crate) fn part(&self, turn: u64) -> Part {
        match (self.tenth + TENTHS - turn % TENTHS) % TENTHS {
            0 => Part::Test,
            1 => Part::Validation,
            _ => Part::Train,
        }
    }
}

/// All rows, and the files that they came from.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// In alphabetical order.
    pub(crate) intents: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) files: Vec<File>,
    /// Lines that are worth a look.
    pub(crate) remarks: Vec<String>,
}

/// One file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) rows: usize,
    /// Rows whose words were met before: they count once.
    pub(crate) repeated: usize,
    pub(crate) sha256: String,
}

impl Data {
    /// Read every file.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Box<dyn Error>> {
        let texts: Vec<(&PathBuf, String)> = paths
            .iter()
            .map(|path| {
                let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
                let bytes = std::fs::read(path).map_err(|error| said(&error))?;
                let text = String::from_utf8(bytes).map_err(|error| said(&error))?;
                Ok((path, text))
            })
            .collect::<Result<_, String>>()?;
        let mut intents = BTreeSet::new();
        for (path, text) in &texts {
            for line in lines(path, text) {
                intents.insert(line?.intent.to_owned());
            }
        }
        let mut data = Self { intents: intents.into_iter().collect(), ..Self::default() };
        let mut met = HashMap::new();
        for (path, text) in &texts {
            data.add(path, text, &mut met)?;
        }
        data.check()?;
        Ok(data)
    }

    /// Add the rows of one file; `met` has the words of those before, and what they were labelled.
    fn add(
        &mut self,
        path: &Path,
        text: &str,
        met: &mut HashMap<String, (usize, String)>,
    ) -> Result<(), String> {
        let (before, mut repeated) = (self.rows.len(), 0);
        for line in lines(path, text) {
            let Line { place, intent, language, text } = line?;
            let intent = self.intents.iter().position(|known| known == intent).unwrap_or_default();
            let features = features_of(text);
            let words = match features.words.is_empty() {
                true => text.to_owned(),
                false => features.words,
            };
            if let Some((other, first)) = met.get(&words) {
                repeated += 1;
                if *other != intent {
                    self.remarks.push(format!(
                        "{place}: left out: {first} has the same words and another intent"
                    ));
                }
                continue;
            }
            let digest = Sha256::digest(words.as_bytes());
            let number = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            met.insert(words, (intent, place));
            let (text, features) = (text.to_owned(), features.sentiment);
            self.rows.push(Row { intent, language, text, features, tenth: number % TENTHS });
        }
        let sha256 = format!("{:x}", Sha256::digest(text.as_bytes()));
        let rows = self.rows.len() - before;
        self.files.push(File { path: path.to_owned(), rows, repeated, sha256 });
        Ok(())
    }

    /// Refuses what nothing can be learned from.
    fn check(&self) -> Result<(), String> {
        if !(2..=MOST_INTENTS).contains(&self.intents.len()) {
            return Err(format!(
                "intents in the data: {}; from 2 to {MOST_INTENTS} can be told apart",
                self.intents.len()
            ));
        }
        for (index, name) in self.intents.iter().enumerate() {
            for (part, what) in
                [(Part::Train, "learn from"), (Part::Validation, "set the threshold by")]
            {
                let is_of = |row: &Row| row.intent == index && row.part(0) == part;
                if !self.rows.iter().any(is_of) {
                    return Err(format!("`{name}` has too few messages: none is left to {what}"));
                }
            }
        }
        Ok(())
    }
}

/// One line of a file.
struct Line<'a> {
    /// File and line, as errors name them.
    place: String,
    intent: &'a str,
    language: &'static str,
    text: &'a str,
}

/// The lines of a file, or what is wrong with one.
fn lines<'a>(path: &Path, text: &'a str) -> impl Iterator<Item = Result<Line<'a>, String>> {
    text.lines().enumerate().map(move |(number, line)| {
        let place = format!("{}:{}", path.display(), number + 1);
        read_line(line, &place).map_err(|what| format!("{place}: {what}"))
    })
}

fn read_line<'a>(line: &'a str, place: &str) -> Result<Line<'a>, String> {
    let mut fields = line.splitn(3, '\t');
    let (Some(intent), Some(language), Some(text)) = (fields.next(), fields.next(), fields.next())
    else {
        return Err("a line is intent, language, text, with tabs between".to_owned());
    };
    if intent.trim().is_empty() || intent.len() > 255 {
        return Err("the name of an intent has 1 to 255 bytes".to_owned());
    }
    let known = LANGUAGES.iter().copied().find(|known| *known == language);
    let language = known
        .ok_or_else(|| format!("`{language}` is no language: one of {}", LANGUAGES.join(", ")))?;
    // What says nothing has features too: of how it is written.
    if features_of(text).sentiment == features_of("").sentiment {
        return Err("there is no text".to_owned());
    }
    Ok(Line { place: place.to_owned(), intent, language, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_or_refused() {
        let read = |line: &str| {
            let line = read_line(line, "a.tsv:1");
            line.map(|line| format!("{} {} {}", line.intent, line.language, line.text))
        };
        let shown = |line: &str| read(line).unwrap_or_else(|what| what);
        assert_eq!(shown("billing\tes\tmi\trecibo"), "billing es mi\trecibo");
        assert_eq!(shown("billing es"), "a line is intent, language, text, with tabs between");
        assert_eq!(shown("\tes\thola"), "the name of an intent has 1 to 255 bytes");
        assert_eq!(shown("billing\tfr\tbonjour"), "`fr` is no language: one of es, en, mix");
        assert_eq!(shown("billing\tes\t "), "there is no text");
    }

    #[test]
    fn each_tenth_is_held_out_once() {
        for tenth in 0..TENTHS {
            let row =
                Row { intent: 0, language: "es", text: String::new(), features: Vec::new(), tenth };
            let parts: Vec<Part> = (0..TENTHS).map(|turn| row.part(turn)).collect();
            let count = |part| parts.iter().filter(|it| **it == part).count();
            assert_eq!((count(Part::Test), count(Part::Validation)), (1, 1));
        }
    }
}
