//! Engines beside the embedded model: slower ones, which are asked for a text once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, AsArray as _, StringViewArray};
use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sentiment::columns::{Builder, Judges, Verdicts, Wanted};
use crate::sentiment::{Label, Language, Verdict};

/// Answers that are kept in each of two generations; one takes about a hundred bytes.
const GENERATION: usize = 50_000;

/// What an engine says of one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    pub(super) label: Label,
    /// Probability of positive less that of negative.
    pub(super) score: f32,
    /// Probability of the label.
    pub(super) confidence: f32,
}

/// A judge of texts that is asked in batches.
#[async_trait]
pub(super) trait Engine: Send + Sync {
    /// What is stamped on the rows that it judges.
    fn name(&self) -> &str;

    /// Texts of one question at most.
    fn batch_size(&self) -> usize;

    /// Questions on their way at once.
    fn at_once(&self) -> usize;

    /// Judge `texts`, at most [`Engine::batch_size`] of them, of one language where it is known: an
    /// answer for each, none for one that the engine refuses for good. An error is asked again.
    async fn judge(
        &self,
        language: Option<Language>,
        texts: &[String],
    ) -> Result<Vec<Option<Judged>>>;
}

/// A text with its language: its SHA-256, so that no text is kept.
type Key = [u8; 32];

/// Answers by text: those of the last texts, at least one generation of them.
#[derive(Debug, Default)]
struct Answers {
    newer: HashMap<Key, Option<Judged>>,
    older: HashMap<Key, Option<Judged>>,
}

impl Answers {
    fn get(&self, key: &Key) -> Option<Option<Judged>> {
        self.newer.get(key).or_else(|| self.older.get(key)).copied()
    }

    fn put(&mut self, key: Key, answer: Option<Judged>) {
        if self.newer.len() >= GENERATION {
            self.older = std::mem::take(&mut self.newer);
        }
        self.newer.insert(key, answer);
    }
}

/// Asks an engine for the texts of a column, each of them once, in the language that the embedded
/// model tells where none is given.
pub(super) struct Asking {
    engine: Box<dyn Engine>,
    languages: Arc<Judges>,
    answers: Mutex<Answers>,
}

/// Texts of a language that are not answered yet, each with its key.
pub(super) type Questions = BTreeMap<Option<&'static str>, Vec<(Key, String)>>;

/// What each row is asked for, and in which language: none where it is not wanted or says nothing.
pub(super) type Keys = Vec<Option<(Option<Language>, Key)>>;

impl Asking {
    pub(super) fn new(engine: Box<dyn Engine>) -> Result<Self> {
        Ok(Self { engine, languages: Judges::built_in()?, answers: Mutex::default() })
    }

    /// What there is to ask for these texts. A text that says nothing is not asked for. Takes a core.
    pub(super) fn prepare(
        &self,
        texts: &StringViewArray,
        languages: Option<&StringViewArray>,
        wanted: impl Fn(usize) -> Wanted,
    ) -> Result<(Keys, Questions)> {
        let said = || "cannot tell the languages of a sentiment stage".to_owned();
        let told = self.languages.verdicts(texts, languages, &wanted);
        let keys = keys(texts, &told.or_error(ErrorKind::Fatal, said)?, wanted);
        let questions = self.questions(texts, &keys);
        Ok((keys, questions))
    }

    /// Verdicts on texts that were asked for, as [`Judges::verdicts`] gives them. A text that says
    /// nothing is neutral; one that the engine refuses has none.
    pub(super) fn verdicts(
        &self,
        keys: &Keys,
        wanted: impl Fn(usize) -> Wanted,
    ) -> Result<Verdicts> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut builder = Builder::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            match key {
                _ if wanted(row) == Wanted::Null => builder.push_null(),
                None => builder.push(&Verdict::NOTHING),
                Some((language, key)) => match answers.get(key) {
                    Some(Some(Judged { label, score, confidence })) => {
                        builder.push(&Verdict { label, score, confidence, language: *language });
                    }
                    Some(None) => builder.push_null(),
                    // Others have asked for so much meanwhile that it is forgotten again.
                    None => return Err(Error::retryable("answers were forgotten: asking again")),
                },
            }
        }
        let said = || "cannot make the columns of a sentiment stage".to_owned();
        builder.finish(self.engine.name()).or_error(ErrorKind::Fatal, said)
    }

    fn questions(&self, texts: &StringViewArray, keys: &Keys) -> Questions {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut questions, mut asked) = (Questions::new(), std::collections::HashSet::new());
        for (row, key) in keys.iter().enumerate() {
            let Some((language, key)) = key else { continue };
            if answers.get(key).is_none() && asked.insert(*key) {
                let all = questions.entry(language.map(Language::code)).or_default();
                all.push((*key, texts.value(row).to_owned()));
            }
        }
        questions
    }

    /// Ask all, several at once. The first error comes when the others are done; answers that came are
    /// kept, so that they are not asked for again.
    pub(super) async fn ask(&self, questions: Questions) -> Result<()> {
        let size = self.engine.batch_size().max(1);
        let mut batches = Vec::new();
        for (language, mut texts) in questions {
            let language = language.and_then(Language::of_tag);
            while !texts.is_empty() {
                let rest = texts.split_off(size.min(texts.len()));
                batches.push((language, std::mem::replace(&mut texts, rest)));
            }
        }
        let asked = batches.into_iter().map(|(language, texts)| self.ask_one(language, texts));
        let results: Vec<Result<()>> =
            stream::iter(asked).buffer_unordered(self.engine.at_once().max(1)).collect().await;
        results.into_iter().collect()
    }

    async fn ask_one(&self, language: Option<Language>, texts: Vec<(Key, String)>) -> Result<()> {
        let (keys, texts): (Vec<Key>, Vec<String>) = texts.into_iter().unzip();
        let answers = self.engine.judge(language, &texts).await?;
        if answers.len() != keys.len() {
            let (asked, given) = (keys.len(), answers.len());
            return Err(Error::retryable(format!(
                "{asked} texts were asked for, {given} answered"
            )));
        }
        let mut kept = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        keys.into_iter().zip(answers).for_each(|(key, answer)| kept.put(key, answer));
        Ok(())
    }
}

fn keys(texts: &StringViewArray, told: &Verdicts, wanted: impl Fn(usize) -> Wanted) -> Keys {
    let confidences = told.confidence.as_primitive_opt::<arrow::datatypes::Float64Type>();
    let languages = told.language.as_string_view_opt();
    let key = |row: usize| {
        let says_something = confidences.is_some_and(|confidences| confidences.value(row) > 0.0);
        if !says_something || wanted(row) == Wanted::Null {
            return None;
        }
        let language = languages.filter(|languages| languages.is_valid(row));
        let language = language.and_then(|languages| Language::of_tag(languages.value(row)));
        let code = language.map_or("", Language::code);
        let digest = Sha256::new().chain_update(code).chain_update([0]);
        Some((language, digest.chain_update(texts.value(row)).finalize().into()))
    };
    (0..texts.len()).map(key).collect()
}
