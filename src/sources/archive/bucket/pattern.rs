//! Which keys a pattern names: the same that the pattern names among files on a disk.

use glob::Pattern;

use crate::error::{ErrorKind, Result, ResultExt};
use crate::sources::archive::files::{self, OPTIONS};

/// A pattern of keys. A key's parts stand between slashes, as the parts of a path do.
pub(super) struct KeyPattern {
    /// The parts before the first one with a wildcard, with their slashes.
    folder: String,
    /// The others as they are written.
    written: Vec<String>,
    /// And as they match.
    parts: Vec<Part>,
}

enum Part {
    /// `**`: any number of folders.
    Folders,
    /// One part.
    One(Pattern),
}

impl KeyPattern {
    /// Read what follows the bucket in a url.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let (mut folder, mut written) = (String::new(), Vec::new());
        let mut rest = text.split('/').peekable();
        while let Some(part) = rest.next() {
            let is_last = rest.peek().is_none();
            if written.is_empty() && !is_last && !files::has_wildcard(part) {
                folder.push_str(part);
                folder.push('/');
            } else {
                written.push(part.to_owned());
            }
        }
        let part = |part: &String| match part.as_str() {
            "**" => Ok(Part::Folders),
            part => Pattern::new(part)
                .or_error(ErrorKind::Config, || format!("`{text}` is no pattern of keys"))
                .map(Part::One),
        };
        let parts = written.iter().map(part).collect::<Result<_>>()?;
        Ok(Self { folder, written, parts })
    }

    /// What every key begins with that it may name.
    pub(super) fn beginning(&self) -> String {
        let first = self.written.first().map(String::as_str).unwrap_or_default();
        let literal = first.split(['*', '?', '[']).next().unwrap_or_default();
        format!("{}{literal}", self.folder)
    }

    /// Ends the keys of a listing where no deeper one can be named.
    pub(super) fn delimiter(&self) -> Option<String> {
        let is_flat = matches!(self.parts.as_slice(), [Part::One(_)]) && !self.is_one_key();
        is_flat.then(|| "/".to_owned())
    }

    /// True where it has no wildcard.
    pub(super) fn is_one_key(&self) -> bool {
        !self.written.iter().any(|part| files::has_wildcard(part))
    }

    /// The part of `key` below the fixed folder, where the pattern names it.
    pub(super) fn name_of<'a>(&self, key: &'a str) -> Option<&'a str> {
        let below = key.strip_prefix(&self.folder)?;
        // What ends in a slash is how consoles show an empty folder.
        if below.is_empty() || below.ends_with('/') {
            return None;
        }
        let written: Vec<&str> = self.written.iter().map(String::as_str).collect();
        let names: Vec<&str> = below.split('/').collect();
        let is_named = matches(&self.parts, &names);
        (is_named && !files::is_left_out(names.iter().copied(), &written)).then_some(below)
    }
}

fn matches(parts: &[Part], names: &[&str]) -> bool {
    match parts.split_first() {
        None => names.is_empty(),
        // Among files, too, a last `**` names folders only.
        Some((Part::Folders, [])) => false,
        Some((Part::Folders, rest)) => {
            (0..names.len()).any(|folders| matches(rest, names.get(folders..).unwrap_or_default()))
        }
        Some((Part::One(pattern), rest)) => names.split_first().is_some_and(|(name, others)| {
            pattern.matches_with(name, OPTIONS) && matches(rest, others)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::archive::disk;

    fn named<'a>(pattern: &str, keys: &[&'a str]) -> Vec<&'a str> {
        let pattern = KeyPattern::parse(pattern).unwrap();
        let inside = |key: &&&str| key.starts_with(&pattern.beginning());
        keys.iter().filter(inside).filter_map(|key| pattern.name_of(key)).collect()
    }

    /// Keys that are paths too.
    const PATHS: [&str; 17] = [
        "a.ndjson",
        "b.gz",
        "2024/a.ndjson",
        "2024/b.ndjson",
        "2024/05/a.ndjson",
        "2024/05/b c.ndjson",
        "2024/05/_old/a.ndjson",
        "2024/.hidden/a.ndjson",
        "2024/_d.ndjson",
        "2024/.e.ndjson",
        "2025/05/a.ndjson",
        "2025-x/a.ndjson",
        "x/year=2024/day=1/ñandú 100%.ndjson",
        "x/year=2024/day=2/a+b.ndjson",
        "x/year=2025/day=1/a.ndjson",
        "x/[1]/a.ndjson",
        "x/1/a.ndjson",
    ];

    #[test]
    fn a_pattern_names_the_same_keys_as_files() {
        let root = tempfile::tempdir().unwrap();
        for path in PATHS {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let mut all = 0;
        for pattern in [
            "*",
            "**",
            "**/*",
            "**/**/*",
            "**/*.ndjson",
            "**/a.ndjson",
            "2024/*",
            "2024/**",
            "2024/**/a.ndjson",
            "2024/**/*",
            "20*/a.ndjson",
            "20*/**/a*",
            "*/*/a.ndjson",
            "202[45]/*/?.ndjson",
            "2024/05/b c.ndjson",
            "2024/_*",
            "2024/**/_*/*",
            "2024/.hidden/*",
            "2024/.*",
            "x/year=2024/**/*",
            "x/**/day=1/*",
            "x/[[]1]/a.ndjson",
            "x/[1]/a.ndjson",
            "nothing/*",
            "a.ndjson",
            "2024/*/**/a.ndjson",
        ] {
            let mut found = named(pattern, &PATHS);
            found.sort_unstable();
            let on_disk = disk::list(root.path().join(pattern).to_str().unwrap()).unwrap();
            let mut expected: Vec<String> = on_disk.into_iter().map(|file| file.name).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{pattern}");
            all += found.len();
        }
        assert!(all > 50, "only {all} were named, which shows little");
    }

    #[test]
    fn what_only_keys_can_be() {
        let keys = ["a//b", "a/", "a/../b", "/b", "a/b", "a/b/"];
        assert_eq!(named("**/b", &keys), ["a//b", "/b", "a/b"], "`..` begins with a dot");
        assert_eq!(named("a/*/b", &keys), ["/b"]);
        assert_eq!(named("a/../b", &keys), ["b"]);
        assert_eq!(named("a/*", &keys), ["b"]);
    }

    #[test]
    fn no_more_is_listed_than_may_be_named() {
        let asked = |text: &str| {
            let pattern = KeyPattern::parse(text).unwrap();
            (pattern.beginning(), pattern.delimiter().is_some(), pattern.is_one_key())
        };
        assert_eq!(asked("*"), (String::new(), true, false));
        assert_eq!(asked("a/b/2024-*.gz"), ("a/b/2024-".into(), true, false));
        assert_eq!(asked("a/b?/c.gz"), ("a/b".into(), false, false));
        assert_eq!(asked("a/**/c.gz"), ("a/".into(), false, false));
        assert_eq!(asked("a/b/c.gz"), ("a/b/c.gz".into(), false, true));
    }
}
