//! Adds the sentiment of a text, judged by the model of [`crate::sentiment`].
//!
//! A row that a filter has let go is not judged: its new columns are NULL, and nobody reads them.

mod config;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringViewArray, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;

pub use config::{EmbeddedConfig, EngineConfig, IntoColumns, Priors, SentimentConfig};

use super::{Checked, SettingMistake};
use crate::component::{Context, Transform};
use crate::compute::{self, Compute};
use crate::document::closest;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::batch::BeforeImage;
use crate::event::{Batch, Operation, system};
use crate::sentiment::columns::{Judges, MEMBERS, Wanted};
use crate::sentiment::{Judging, Model, model};
use crate::telemetry::metrics::Metrics;

/// The schema of the stage's rows, if its settings are sound.
pub fn check(config: &SentimentConfig, input: &SchemaRef) -> Result<Checked, SettingMistake> {
    let stage = Work::new(config, input)?;
    Ok(Checked { schema: stage.schema, reads_message: false })
}

/// The stage.
pub struct SentimentTransform {
    work: Arc<Work>,
    compute: Arc<dyn Compute>,
    metrics: Metrics,
}

impl SentimentTransform {
    /// A stage over rows of schema `input`.
    pub fn new(
        config: &SentimentConfig,
        input: &SchemaRef,
        context: &Context,
    ) -> Result<Self, SettingMistake> {
        let work = Arc::new(Work::new(config, input)?);
        let (compute, metrics) = (context.compute.clone(), context.metrics.clone());
        Ok(Self { work, compute, metrics })
    }
}

#[async_trait]
impl Transform for SentimentTransform {
    fn schema(&self) -> SchemaRef {
        self.work.schema.clone()
    }

    async fn apply(&self, batch: Batch) -> Result<Batch> {
        let work = self.work.clone();
        let (batch, counts) = compute::run(&self.compute, move || work.apply(batch)).await??;
        self.metrics.judged(counts);
        Ok(batch)
    }
}

/// What the stage does, without the threads to do it on.
struct Work {
    text: Column,
    language: Option<Column>,
    judges: Arc<Judges>,
    /// Which members of a verdict become columns.
    kept: [bool; 5],
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
        let schema = output_schema(&config.into, input)?;
        let judges = judges(config)?;
        let kept = config.into.names().map(|(_, name)| name.is_some());
        Ok(Self { text, language, judges, kept, schema })
    }

    /// The batch with its new columns, and how many of its rows have each label.
    fn apply(&self, mut batch: Batch) -> Result<(Batch, [u64; 4])> {
        let removes = |row: usize| Operation::word_removes(batch.system.op.value(row));
        let (rows, counts) = self.judge(&batch.rows, batch.kept.as_ref(), removes)?;
        if let Some(before) = batch.before.take() {
            // An image is an item as it was: its text is judged whatever happened to it later.
            let wanted = match &before.kept {
                Some(kept) => &before.present & kept,
                None => before.present.clone(),
            };
            let (rows, _) = self.judge(&before.rows, Some(&wanted), |_| false)?;
            batch.before = Some(BeforeImage { rows, ..before });
        }
        batch.rows = rows;
        Ok((batch, counts))
    }

    /// `rows` with the columns of the verdicts. `removes` says of a row that it is a delete.
    fn judge(
        &self,
        rows: &RecordBatch,
        kept: Option<&BooleanBuffer>,
        removes: impl Fn(usize) -> bool,
    ) -> Result<(RecordBatch, [u64; 4])> {
        let texts = self.text.take(rows)?;
        let languages = self.language.as_ref().map(|column| column.take(rows)).transpose()?;
        let verdicts = self.judges.verdicts(&texts, languages.as_ref(), |row| {
            let is_kept = kept.is_none_or(|kept| kept.value(row));
            match is_kept && (texts.is_valid(row) || !removes(row)) {
                true => Wanted::Verdict,
                false => Wanted::Null,
            }
        });
        let counts = verdicts.counts;
        let new = verdicts.columns().into_iter().zip(self.kept);
        let new = new.filter_map(|(column, is_kept)| is_kept.then_some(column));
        let columns: Vec<ArrayRef> = rows.columns().iter().cloned().chain(new).collect();
        let said = || "cannot add columns to rows of a sentiment stage".to_owned();
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
fn output_schema(into: &IntoColumns, input: &SchemaRef) -> Result<SchemaRef, SettingMistake> {
    let mistake = |path, what: String, allowed: &str| SettingMistake {
        path,
        what,
        allowed: allowed.to_owned(),
        meant: None,
    };
    let mut fields: Vec<Arc<Field>> = input.fields().iter().cloned().collect();
    for ((setting, name), member) in into.names().into_iter().zip(MEMBERS.iter()) {
        let Some(name) = name else { continue };
        let wrong = |what: String, allowed| mistake(vec!["into", setting], what, allowed);
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
        fields.push(Arc::new(Field::new(name, member.data_type().clone(), true)));
    }
    if fields.len() == input.fields().len() {
        let all = "at least one of label, score, confidence, language, model";
        return Err(mistake(vec!["into"], "names no column".to_owned(), all));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// What judges by the settings.
fn judges(config: &SentimentConfig) -> Result<Arc<Judges>, SettingMistake> {
    let EngineConfig::Embedded(engine) = &config.engine;
    let mistake = |error: Error| SettingMistake {
        path: vec!["engine", "embedded", "model"],
        what: error.to_string(),
        allowed: "a model file that `train_sentiment` of this version wrote".to_owned(),
        meant: None,
    };
    let judging = Judging { mixed: config.mixed, ..Judging::default() };
    let judging = match config.priors {
        None => judging,
        Some(Priors { negative, neutral, positive }) => {
            judging.with_shares(negative, neutral, positive)
        }
    };
    let model = match &engine.model {
        None if judging == Judging::default() => return Judges::built_in().map_err(mistake),
        None => Model::built_in(),
        Some(path) => model::read_file(Path::new(path)),
    };
    Ok(Arc::new(Judges::new(model.map_err(mistake)?, judging)))
}
