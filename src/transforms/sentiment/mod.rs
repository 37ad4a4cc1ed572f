//! Adds the sentiment of a text, judged by the model of [`crate::sentiment`] or by another engine.
//!
//! A row that a filter has let go is not judged: its new columns are NULL, and nobody reads them.

#[cfg(feature = "transformer")]
mod classifier;
#[cfg(feature = "comprehend")]
mod comprehend;
mod config;
#[cfg(any(feature = "comprehend", feature = "transformer"))]
mod engine;
mod engines;
mod intents;
#[cfg(test)]
mod tests;
#[cfg(feature = "transformer")]
mod transformer;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringViewArray, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;

#[cfg(any(feature = "comprehend", feature = "transformer"))]
use engine::Asking;

#[cfg(feature = "comprehend")]
pub use config::{ComprehendConfig, FallbackLanguage};
pub use config::{
    EmbeddedConfig, EngineConfig, IntentConfig, IntentRule, IntoColumns, Priors, SentimentConfig,
};
#[cfg(feature = "transformer")]
pub use config::{LabelNames, TransformerConfig};

use super::{Checked, SettingMistake};
use crate::component::{Context, Transform};
use crate::compute::{self, Compute};
use crate::document::closest;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::batch::BeforeImage;
use crate::event::{Batch, Operation, system};
use crate::sentiment::columns::{Judges, MEMBERS, Verdicts, Wanted};
use crate::sentiment::intent::Intents;
use crate::telemetry::metrics::Metrics;

/// The schema of the stage's rows, if its settings are sound.
pub fn check(config: &SentimentConfig, input: &SchemaRef) -> Result<Checked, SettingMistake> {
    let stage = Work::new(config, input)?;
    let warning = engines::check(config)?;
    Ok(Checked { schema: stage.schema, reads_message: false, warning })
}

/// The stage.
pub struct SentimentTransform {
    work: Arc<Work>,
    judge: Judge,
    compute: Arc<dyn Compute>,
    metrics: Metrics,
}

/// What judges.
enum Judge {
    Embedded(Arc<Judges>),
    #[cfg(any(feature = "comprehend", feature = "transformer"))]
    Engine(Arc<Asking>),
}

impl SentimentTransform {
    /// A stage over rows of schema `input`.
    pub fn new(
        config: &SentimentConfig,
        input: &SchemaRef,
        context: &Context,
    ) -> Result<Self, SettingMistake> {
        let work = Arc::new(Work::new(config, input)?);
        let judge = engines::build(config, context)?;
        let (compute, metrics) = (context.compute.clone(), context.metrics.clone());
        Ok(Self { work, judge, compute, metrics })
    }

    /// `rows` with the stage's columns, and how many of those that are wanted have each label.
    async fn judge(
        &self,
        rows: RecordBatch,
        wanted: BooleanBuffer,
    ) -> Result<(RecordBatch, [u64; 4])> {
        let work = self.work.clone();
        match &self.judge {
            Judge::Embedded(judges) => {
                let judges = judges.clone();
                let judge = move || {
                    let (texts, languages) = work.texts(&rows)?;
                    let verdicts = judges.verdicts(&texts, languages.as_ref(), is(&wanted));
                    let said = || "cannot judge the rows of a sentiment stage".to_owned();
                    work.answered(&rows, &wanted, verdicts.or_error(ErrorKind::Fatal, said)?)
                };
                compute::run(&self.compute, judge).await?
            }
            #[cfg(any(feature = "comprehend", feature = "transformer"))]
            Judge::Engine(engine) => self.ask(engine.clone(), rows, wanted).await,
        }
    }

    /// The same by an engine that is awaited; what takes a core before and behind does not wait.
    #[cfg(any(feature = "comprehend", feature = "transformer"))]
    async fn ask(
        &self,
        engine: Arc<Asking>,
        rows: RecordBatch,
        wanted: BooleanBuffer,
    ) -> Result<(RecordBatch, [u64; 4])> {
        let (work, asked) = (self.work.clone(), engine.clone());
        let prepared = compute::run(&self.compute, move || {
            let (texts, languages) = work.texts(&rows)?;
            let prepared = asked.prepare(&texts, languages.as_ref(), is(&wanted))?;
            Ok::<_, Error>((rows, wanted, prepared))
        });
        let (rows, wanted, (keys, questions)) = prepared.await??;
        engine.ask(questions).await?;
        let work = self.work.clone();
        compute::run(&self.compute, move || {
            let verdicts = engine.verdicts(&keys, is(&wanted))?;
            work.answered(&rows, &wanted, verdicts)
        })
        .await?
    }
}

#[async_trait]
impl Transform for SentimentTransform {
    fn schema(&self) -> SchemaRef {
        self.work.schema.clone()
    }

    async fn apply(&self, mut batch: Batch) -> Result<Batch> {
        let wanted = self.work.wanted(&batch)?;
        let (rows, counts) = self.judge(batch.rows, wanted).await?;
        if let Some(before) = batch.before.take() {
            // An image is an item as it was: its text is judged whatever happened to it later.
            let wanted = match &before.kept {
                Some(kept) => &before.present & kept,
                None => before.present.clone(),
            };
            let (rows, _) = self.judge(before.rows, wanted).await?;
            batch.before = Some(BeforeImage { rows, ..before });
        }
        batch.rows = rows;
        self.metrics.judged(counts);
        Ok(batch)
    }
}

/// Whether a row is wanted.
fn is(wanted: &BooleanBuffer) -> impl Fn(usize) -> Wanted + '_ {
    |row| if wanted.value(row) { Wanted::Verdict } else { Wanted::Null }
}

/// The columns of the stage: which it reads, and which it adds.
struct Work {
    text: Column,
    language: Option<Column>,
    /// Which members of a verdict become columns.
    kept: [bool; 5],
    intents: Option<Intents>,
    schema: SchemaRef,
}

/// A column of text, or a member of a struct: the index of the column and those of the members.
#[derive(Debug)]
struct Column {
    first: usize,
    members: Vec<usize>,
}

impl Work {
    fn new(config: &SentimentConfig, input: &SchemaRef) -> Result<Self, SettingMistake> {
        let text = Column::find(&config.text, input, "text")?;
        let language = config.language.as_ref();
        let language = language.map(|path| Column::find(path, input, "language")).transpose()?;
        let schema = output_schema(config, input)?;
        let kept = config.into.names().map(|(_, name)| name.is_some());
        let intents = config.intent.as_ref().map(intents::read).transpose()?;
        Ok(Self { text, language, kept, intents, schema })
    }

    /// The rows that get a verdict: those that are kept, but for deletes without a text.
    fn wanted(&self, batch: &Batch) -> Result<BooleanBuffer> {
        let texts = self.text.take(&batch.rows)?;
        Ok(BooleanBuffer::collect_bool(batch.len(), |row| {
            let is_kept = batch.kept.as_ref().is_none_or(|kept| kept.value(row));
            let removes = || Operation::word_removes(batch.system.op.value(row));
            is_kept && (texts.is_valid(row) || !removes())
        }))
    }

    /// The texts of `rows`, and their languages where the data has them.
    fn texts(&self, rows: &RecordBatch) -> Result<(StringViewArray, Option<StringViewArray>)> {
        let languages = self.language.as_ref().map(|column| column.take(rows)).transpose()?;
        Ok((self.text.take(rows)?, languages))
    }

    /// `rows` with the columns of the verdicts and of the intents, and the verdicts' labels.
    fn answered(
        &self,
        rows: &RecordBatch,
        wanted: &BooleanBuffer,
        verdicts: Verdicts,
    ) -> Result<(RecordBatch, [u64; 4])> {
        let said = || "cannot add columns to rows of a sentiment stage".to_owned();
        let counts = verdicts.counts;
        let new = verdicts.columns().into_iter().zip(self.kept);
        let new = new.filter_map(|(column, is_kept)| is_kept.then_some(column));
        let mut columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain(new).collect();
        if let Some(intents) = &self.intents {
            let column = intents.column(&self.text.take(rows)?, |row| wanted.value(row));
            columns.push(column.or_error(ErrorKind::Fatal, said)?);
        }
        let rows = RecordBatch::try_new(self.schema.clone(), columns);
        Ok((rows.or_error(ErrorKind::Fatal, said)?, counts))
    }
}

impl Column {
    /// The column of text that `path` names. `setting` is the setting that names it.
    fn find(path: &str, schema: &Schema, setting: &'static str) -> Result<Self, SettingMistake> {
        let texts = texts(schema);
        let mistake = |what: String| SettingMistake {
            path: vec![setting],
            what,
            allowed: match texts.is_empty() {
                true => "a column of text; this stage has none before it".to_owned(),
                false => format!("columns with text: {}", texts.join(", ")),
            },
            meant: closest(path, texts.iter().map(String::as_str)).map(str::to_owned),
        };
        let no_such = || mistake("no such column before this stage".to_owned());
        let (first, rest) = match schema.column_with_name(path) {
            Some((index, _)) => (index, None),
            None => {
                let (column, rest) = path.split_once('.').ok_or_else(no_such)?;
                let (index, _) = schema.column_with_name(column).ok_or_else(no_such)?;
                (index, Some(rest))
            }
        };
        let mut kind = schema.field(first).data_type();
        let mut members = Vec::new();
        for name in rest.iter().flat_map(|rest| rest.split('.')) {
            let DataType::Struct(fields) = kind else { return Err(no_such()) };
            let (index, field) = fields.find(name).ok_or_else(no_such)?;
            members.push(index);
            kind = field.data_type();
        }
        match kind {
            DataType::Utf8View => Ok(Self { first, members }),
            _ => Err(mistake("this column holds no text".to_owned())),
        }
    }

    /// The texts, null where one of the structs around them is.
    fn take(&self, rows: &RecordBatch) -> Result<StringViewArray> {
        let defect = || Error::fatal("a column of a sentiment stage is not where it was planned");
        let mut column = rows.columns().get(self.first).ok_or_else(defect)?.clone();
        let mut nulls: Option<NullBuffer> = column.logical_nulls();
        for member in &self.members {
            let members = column.as_struct_opt().ok_or_else(defect)?;
            let next = members.columns().get(*member).ok_or_else(defect)?.clone();
            nulls = NullBuffer::union(nulls.as_ref(), next.logical_nulls().as_ref());
            column = next;
        }
        let column =
            match self.members.is_empty() {
                true => column,
                false => {
                    let data = column.to_data().into_builder().nulls(nulls);
                    make_array(data.build().or_error(ErrorKind::Fatal, || {
                        "cannot read a member of a struct".to_owned()
                    })?)
                }
            };
        column.as_string_view_opt().cloned().ok_or_else(defect)
    }
}

/// Every column of text, and every member of a struct that is one.
fn texts(schema: &Schema) -> Vec<String> {
    fn add(texts: &mut Vec<String>, path: String, field: &Field) {
        match field.data_type() {
            DataType::Utf8View => texts.push(path),
            DataType::Struct(members) => {
                for member in members {
                    add(texts, format!("{path}.{}", member.name()), member);
                }
            }
            _ => {}
        }
    }
    let mut texts = Vec::new();
    for field in schema.fields() {
        add(&mut texts, field.name().clone(), field);
    }
    texts
}

/// The columns of `input` and those that the stage adds.
fn output_schema(config: &SentimentConfig, input: &SchemaRef) -> Result<SchemaRef, SettingMistake> {
    let mistake = |path, what: String, allowed: &str| SettingMistake {
        path,
        what,
        allowed: allowed.to_owned(),
        meant: None,
    };
    let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
    let mut add = |path: [&'static str; 2], name: &str, kind: &DataType| {
        let wrong = |what: String, allowed| mistake(path.to_vec(), what, allowed);
        if name.is_empty() || system::NAMES.contains(&name) {
            let what = format!("`{name}` is no name for a column");
            return Err(wrong(what, "a name that is not empty and not one of the system columns"));
        }
        if fields.iter().any(|field| field.name() == name) {
            let what = format!("there is a column `{name}` already");
            return Err(wrong(
                what,
                "a new name; rename the old column in a SQL stage before this one",
            ));
        }
        fields.push(Arc::new(Field::new(name, kind.clone(), true)));
        Ok(())
    };
    for ((setting, name), member) in config.into.names().into_iter().zip(MEMBERS.iter()) {
        if let Some(name) = name {
            add(["into", setting], name, member.data_type())?;
        }
    }
    if let Some(intent) = &config.intent {
        add(["intent", "into"], &intent.into, &DataType::Utf8View)?;
    }
    if fields.len() == input.fields().len() {
        let all = "at least one of label, score, confidence, language, model";
        return Err(mistake(vec!["into"], "names no column".to_owned(), all));
    }
    Ok(Arc::new(Schema::new(fields)))
}
