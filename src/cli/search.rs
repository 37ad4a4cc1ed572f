//! `acequia search`: documents of the indices that a pipeline keeps, and counts over them.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::figures::{Align, table};
use super::pipeline_file::PipelineFile;
use super::terminal::Style;
use super::{Outcome, Terminal, block_on};
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::runtime::build;
use crate::search::{
    self, Answer, Filter, Hit, IndexFields, LAST_HIT, MARKS, Page, Report, ReportKind, Request,
    Roles, Searcher, TextQuery,
};
use crate::sinks::SinkConfig;
use crate::sinks::documents::{Definition, Kind};

/// Characters of a text that is shown without a highlight.
const SHOWN_CHARACTERS: usize = 120;

/// Find documents in the index of a pipeline, whichever engine keeps it, and count them
///
/// Words must all be in a document; a word finds its other forms, with accents or without.
/// `"words in this order"` stand one behind the other, `-word` excludes, `this OR that` is enough.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
acequia search pipelines/quickstart.yaml \"envio tarde\"\n  \
acequia search pipelines/quickstart.yaml '\"cambiar la dirección\" -cancelado' --where role=user --sort timestamp:desc\n  \
acequia search pipeline.yaml --report daily-volume --where 'timestamp>=2026-01-01' --json\n  \
acequia search pipeline.yaml --report user-topics --where user_id=whatsapp:+5215512345678")]
pub(super) struct Options {
    #[command(flatten)]
    pipeline: PipelineFile,
    /// What to find; every document without it
    #[arg(value_name = "QUERY", default_value = "", hide_default_value = true)]
    query: String,
    /// Look for the words in this field alone; may be given several times
    #[arg(long = "field", value_name = "FIELD")]
    fields: Vec<String>,
    /// A condition, like `role=user` or `timestamp>=2026-01-01`; may be given several times
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// Order by a field, `FIELD:desc` from the largest value down; the best hits first without it
    #[arg(long, value_name = "FIELD[:desc]", conflicts_with = "report")]
    sort: Option<String>,
    /// Hits to show
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
    /// Hits to leave out before
    #[arg(long, default_value_t = 0)]
    offset: u16,
    /// Count instead of showing documents
    #[arg(long, value_enum, value_name = "NAME")]
    report: Option<ReportOption>,
    /// Which field a report takes for what it is about, like `intent=metadata.intent`
    #[arg(long = "use", value_name = "ROLE=FIELD", requires = "report")]
    roles: Vec<String>,
    /// The sink whose index it is, where there are several
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReportOption {
    /// Documents of each day
    DailyVolume,
    /// Documents of each sentiment
    SentimentDistribution,
    /// The commonest intents
    TopIntents,
    /// The commonest intents of one user, who is named by `--where`
    UserTopics,
    /// Documents of each hour
    HourlyActivity,
    /// The average sentiment of each day
    SentimentTrend,
}

impl ReportOption {
    fn kind(self) -> ReportKind {
        match self {
            Self::DailyVolume => ReportKind::DailyVolume,
            Self::SentimentDistribution => ReportKind::Sentiments,
            Self::TopIntents => ReportKind::TopIntents,
            Self::UserTopics => ReportKind::UserTopics,
            Self::HourlyActivity => ReportKind::HourlyActivity,
            Self::SentimentTrend => ReportKind::SentimentTrend,
        }
    }
}

pub(super) fn execute(options: &Options, terminal: &Terminal) -> Result<Outcome> {
    let loaded = options.pipeline.load(terminal)?;
    let (sink, definition) = index(&loaded, options.sink.as_deref())?;
    let fields = IndexFields::of(&definition);
    let request = request(options, &fields)?;
    let report = report(options, &fields, &request)?;
    let page = page(options, &fields)?;
    block_on(async {
        let context = build::context(&loaded)?;
        let searcher = Searcher::open(sink, &definition, &context).await?;
        match report {
            Some(report) => {
                let rows = searcher.count(&request, &report).await?;
                show_report(&report, &rows, options, terminal);
            }
            None => {
                let answer = searcher.search(&request, &page).await?;
                show(&answer, &request, options, terminal);
            }
        }
        Ok(Outcome::Done)
    })?
}

/// The index that is meant.
fn index<'a>(loaded: &'a Loaded, sink: Option<&str>) -> Result<(&'a SinkConfig, Definition)> {
    let indices = search::indices(&loaded.pipeline.sinks, &loaded.schema, &loaded.contract);
    let names: Vec<&str> = indices.iter().map(|(name, ..)| *name).collect();
    let names = names.join(", ");
    let count = indices.len();
    let found = indices.into_iter().find(|(name, ..)| sink.is_none_or(|sink| sink == *name));
    match (found, sink) {
        (Some(_), None) if count > 1 => Err(Error::config(format!(
            "several sinks keep documents: say which one by `--sink`, one of {names}"
        ))),
        (Some((_, config, definition)), _) => Ok((config, definition)),
        (None, Some(sink)) if count > 0 => {
            Err(Error::config(format!("no sink `{sink}` keeps documents; those that do: {names}")))
        }
        _ => Err(Error::config(
            "the pipeline has neither an `opensearch` nor a `search` sink to look into",
        )),
    }
}

fn request(options: &Options, fields: &IndexFields) -> Result<Request> {
    let text = TextQuery::parse(&options.query)?;
    let filters = options.conditions.iter().map(|text| Filter::parse(text, fields));
    let filters = filters.collect::<Result<Vec<_>>>()?;
    let looked_in = match options.fields.as_slice() {
        [] => fields.texts(),
        given => {
            for path in given {
                if !matches!(fields.get(path)?.kind, Some(Kind::Text(_) | Kind::Keyword(_))) {
                    return Err(Error::config(format!(
                        "`{path}` holds no text: ask for its values by `--where`"
                    )));
                }
            }
            given.to_vec()
        }
    };
    if looked_in.is_empty() && !text.parts.is_empty() {
        return Err(Error::config(
            "no field of the index is text: name a keyword by `--field`, or ask by `--where`",
        ));
    }
    Ok(Request { text, fields: looked_in, filters })
}

fn page(options: &Options, fields: &IndexFields) -> Result<Page> {
    let (offset, limit) = (usize::from(options.offset), usize::from(options.limit));
    if offset + limit > LAST_HIT {
        return Err(Error::config(format!(
            "--offset and --limit reach beyond hit {LAST_HIT}: narrow the search by a condition"
        )));
    }
    let sort = options.sort.as_ref().map(|text| {
        let (path, is_descending) = match text.rsplit_once(':') {
            Some((path, "desc")) => (path, true),
            Some((path, "asc")) => (path, false),
            _ => (text.as_str(), false),
        };
        match fields.get(path)?.kind {
            Some(Kind::Text(_) | Kind::Stored) => Err(Error::config(format!(
                "`{path}` has no order: take a keyword, a number or a date"
            ))),
            _ => Ok((path.to_owned(), is_descending)),
        }
    });
    Ok(Page { offset, limit, sort: sort.transpose()? })
}

fn report(options: &Options, fields: &IndexFields, request: &Request) -> Result<Option<Report>> {
    let Some(kind) = options.report.map(ReportOption::kind) else { return Ok(None) };
    let roles = Roles::parse(&options.roles, fields)?;
    if let Some(subject) = Report::subject(kind, &roles, fields)?
        && !request.filters.iter().any(|filter| filter.field == subject)
    {
        return Err(Error::config(format!(
            "the report is about one user: say whom by `--where {subject}=...`"
        )));
    }
    Report::new(kind, &roles, fields).map(Some)
}

fn show_report(report: &Report, rows: &[Vec<Value>], options: &Options, terminal: &Terminal) {
    if options.json {
        terminal.print_json(&Value::Array(report.objects(rows)));
        return;
    }
    let cell = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    };
    let mut lines = vec![report.columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(|row| row.iter().map(cell).collect()));
    let aligns: Vec<Align> = (0..report.columns.len())
        .map(|column| if column == 0 { Align::Left } else { Align::Right })
        .collect();
    terminal.print(&table(&aligns, &lines));
}

fn show(answer: &Answer, request: &Request, options: &Options, terminal: &Terminal) {
    if options.json {
        let hits: Vec<Value> = answer.hits.iter().map(described).collect();
        terminal.print_json(&json!({ "total": answer.total, "hits": hits }));
        return;
    }
    let noun = if answer.total == 1 { "document" } else { "documents" };
    let shown = match (options.offset, answer.hits.len() as u64) {
        (0, shown) if shown == answer.total => String::new(),
        (_, 0) => ", none of them shown".to_owned(),
        (offset, shown) => {
            let first = u64::from(offset) + 1;
            format!(", {first} to {} shown", u64::from(offset) + shown)
        }
    };
    terminal.print_line(&format!("{} {noun}{shown}", answer.total));
    for hit in &answer.hits {
        terminal.print_line(&format!("\n{}", terminal.paint(Style::Bold, &plain(&hit.id))));
        for (field, text) in pieces(hit, request) {
            let text = plain(&text);
            let mut line = String::new();
            for (at, piece) in text.split(MARKS).enumerate() {
                // Marks come in pairs, so that every second piece was found.
                match at % 2 {
                    1 => line.push_str(&terminal.paint(Style::Green, piece)),
                    _ => line.push_str(piece),
                }
            }
            terminal.print_line(&format!("  {field}: {}", line.trim()));
        }
    }
}

/// What of a document is shown: where something was found, or else the beginning of its texts.
fn pieces(hit: &Hit, request: &Request) -> Vec<(String, String)> {
    if !hit.highlights.is_empty() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        return hit.highlights.iter().map(|(field, value)| (field.clone(), text(value))).collect();
    }
    let text = |field: &String| {
        let text = search::text_at(&hit.document, field)?;
        let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Some((field.clone(), shown))
    };
    request.fields.iter().filter_map(text).collect()
}

fn described(hit: &Hit) -> Value {
    let unmarked = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        json!(text.replace(MARKS[0], "<em>").replace(MARKS[1], "</em>"))
    };
    let highlights: serde_json::Map<String, Value> =
        hit.highlights.iter().map(|(field, value)| (field.clone(), unmarked(value))).collect();
    json!({ "id": hit.id, "score": hit.score, "document": hit.document, "highlights": highlights })
}

/// A text that somebody else wrote, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc\u{9b}d"), "a [31mb  c d");
    }
}
