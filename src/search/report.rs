//! Counts over the documents of an index.
//!
//! Both engines are asked in the same words: aggregations in the form of OpenSearch.

use serde_json::{Map, Value, json};

use super::fields::IndexFields;
use crate::error::{Error, Result};

/// Groups of an aggregation by the values of a field are cut behind so many.
const MOST_GROUPS: usize = 1_000;

/// The reports that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// Messages of each day.
    DailyVolume,
    /// Messages of each sentiment.
    Sentiments,
    /// The commonest intents.
    TopIntents,
    /// The commonest intents of one user.
    UserTopics,
    /// Messages of each hour in which there are any.
    HourlyActivity,
    /// The average sentiment of each day.
    SentimentTrend,
}

/// What a field is to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// When.
    Time,
    /// Which sentiment.
    Sentiment,
    /// How strong a sentiment.
    Score,
    /// What it is about.
    Intent,
    /// Of whom.
    User,
}

impl Role {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Time, Self::Sentiment, Self::Score, Self::Intent, Self::User];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Sentiment => "sentiment",
            Self::Score => "score",
            Self::Intent => "intent",
            Self::User => "user",
        }
    }

    /// Paths of fields that it usually has.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Time => &["timestamp", "event_time", "created_at"],
            Self::Sentiment => &["sentiment", "sentiment.label", "metadata.sentiment"],
            Self::Score => &["sentiment_score", "sentiment.score", "metadata.sentiment_score"],
            Self::Intent => &["intent", "metadata.intent"],
            Self::User => &["user_id", "customer_id"],
        }
    }
}

/// Fields that somebody gave to roles.
#[derive(Debug, Clone, Default)]
pub struct Roles(Vec<(Role, String)>);

impl Roles {
    /// Read each `ROLE=FIELD`.
    ///
    /// # Errors
    /// `Config` where there is no such role or field.
    pub fn parse(given: &[String], fields: &IndexFields) -> Result<Self> {
        let one = |text: &String| {
            let role = text.split_once('=').and_then(|(role, path)| {
                Some((
                    Role::ALL.into_iter().find(|known| known.as_str() == role.trim())?,
                    path.trim(),
                ))
            });
            let Some((role, path)) = role else {
                let known = Role::ALL.map(Role::as_str).join(", ");
                return Err(Error::config(format!(
                    "`{text}` names no field of a report: write ROLE=FIELD, with one of the roles {known}"
                )));
            };
            Ok((role, fields.get(path)?.path.clone()))
        };
        given.iter().map(one).collect::<Result<_>>().map(Self)
    }

    fn field(&self, role: Role, fields: &IndexFields) -> Result<String> {
        if let Some((_, path)) = self.0.iter().find(|(given, _)| *given == role) {
            return Ok(path.clone());
        }
        let usual = role.usual();
        fields.first_of(usual).map(str::to_owned).ok_or_else(|| {
            let role = role.as_str();
            Error::config(format!(
                "no field of the index is called {}: say which one is meant by `--use {role}=FIELD`",
                usual.join(" or ")
            ))
        })
    }
}

/// A report, ready to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// What is asked.
    pub aggregations: Value,
    /// Groups that are shown, the first ones.
    most: usize,
    /// Groups come in the order of their time.
    is_by_time: bool,
}

/// The name of the outer aggregation, and of the one inside it.
const GROUPS: &str = "groups";
const AVERAGE: &str = "average";

impl Report {
    /// The report of that kind over an index with `fields`.
    ///
    /// # Errors
    /// `Config` where the index has none of the fields that it is about.
    pub fn new(kind: ReportKind, roles: &Roles, fields: &IndexFields) -> Result<Self> {
        let by_time = |interval: &str, unit, more: Value| {
            let histogram = json!({
                "field": roles.field(Role::Time, fields)?,
                "fixed_interval": interval,
                "min_doc_count": 1,
            });
            let mut columns = vec![unit, "documents"];
            let mut groups = json!({ "date_histogram": histogram });
            if let (Some(groups), false) = (groups.as_object_mut(), more.is_null()) {
                groups.insert("aggs".to_owned(), more);
                columns.push("average");
            }
            let aggregations = json!({ GROUPS: groups });
            Ok(Self { columns, aggregations, most: usize::MAX, is_by_time: true })
        };
        let by_value = |role: Role, column, most| {
            let field = roles.field(role, fields)?;
            let groups = json!({ "terms": { "field": field, "size": MOST_GROUPS } });
            let aggregations = json!({ GROUPS: groups });
            let columns = vec![column, "documents"];
            Ok(Self { columns, aggregations, most, is_by_time: false })
        };
        match kind {
            ReportKind::DailyVolume => by_time("1d", "day", Value::Null),
            ReportKind::HourlyActivity => by_time("1h", "hour", Value::Null),
            ReportKind::SentimentTrend => {
                let score = roles.field(Role::Score, fields)?;
                by_time("1d", "day", json!({ AVERAGE: { "avg": { "field": score } } }))
            }
            ReportKind::Sentiments => by_value(Role::Sentiment, "sentiment", MOST_GROUPS),
            ReportKind::TopIntents => by_value(Role::Intent, "intent", 20),
            ReportKind::UserTopics => by_value(Role::Intent, "intent", 10),
        }
    }

    /// The field whose one value the report is about; it needs a condition on it.
    ///
    /// # Errors
    /// `Config` where the index has none.
    pub fn subject(
        kind: ReportKind,
        roles: &Roles,
        fields: &IndexFields,
    ) -> Result<Option<String>> {
        match kind {
            ReportKind::UserTopics => roles.field(Role::User, fields).map(Some),
            _ => Ok(None),
        }
    }

    /// The rows, from what an engine answers to [`Report::aggregations`].
    pub fn rows(&self, answer: &Value) -> Vec<Vec<Value>> {
        let buckets = answer.pointer(&format!("/{GROUPS}/buckets")).and_then(Value::as_array);
        let mut rows: Vec<Vec<Value>> =
            buckets.into_iter().flatten().map(|bucket| self.row(bucket)).collect();
        if !self.is_by_time {
            // Where counts are the same, engines have orders of their own.
            rows.sort_by(|left, right| {
                let count = |row: &[Value]| row.get(1).and_then(Value::as_u64).unwrap_or(0);
                let name = |row: &[Value]| row.first().map(ToString::to_string);
                count(right).cmp(&count(left)).then_with(|| name(left).cmp(&name(right)))
            });
        }
        rows.truncate(self.most);
        rows
    }

    fn row(&self, bucket: &Value) -> Vec<Value> {
        let key = bucket.get("key").cloned().unwrap_or_default();
        let key = match self.is_by_time {
            true => time_of(&key, self.columns.first() == Some(&"day")),
            false => key,
        };
        let mut row = vec![key, bucket.get("doc_count").cloned().unwrap_or_default()];
        if self.columns.len() > 2 {
            let average = bucket.pointer(&format!("/{AVERAGE}/value")).and_then(Value::as_f64);
            // Engines add in orders of their own.
            let rounded = average.map(|value| (value * 1e6).round() / 1e6);
            row.push(rounded.map_or(Value::Null, Value::from));
        }
        row
    }

    /// The rows as objects, for scripts.
    pub fn objects(&self, rows: &[Vec<Value>]) -> Vec<Value> {
        let object = |row: &Vec<Value>| {
            let members = self.columns.iter().zip(row);
            let members = members.map(|(name, value)| ((*name).to_owned(), value.clone()));
            Value::Object(members.collect::<Map<String, Value>>())
        };
        rows.iter().map(object).collect()
    }
}

/// The day or the hour that begins at so many milliseconds since 1970.
fn time_of(key: &Value, is_day: bool) -> Value {
    let millis = key.as_i64().or_else(|| key.as_f64().map(|millis| millis as i64));
    let time = millis.and_then(chrono::DateTime::from_timestamp_millis);
    let form = if is_day { "%Y-%m-%d" } else { "%Y-%m-%dT%H:00Z" };
    time.map_or_else(|| key.clone(), |time| time.format(form).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fields::tests::fields;

    #[test]
    fn a_report_is_about_the_fields_that_there_are() {
        let roles = Roles::default();
        let report = Report::new(ReportKind::TopIntents, &roles, &fields()).unwrap();
        let asked = json!({ "groups": { "terms": { "field": "metadata.intent", "size": 1000 } } });
        assert_eq!(report.aggregations, asked);
        let error = Report::new(ReportKind::SentimentTrend, &roles, &fields()).unwrap_err();
        assert!(error.to_string().contains("`--use score=FIELD`"), "{error}");
        let given = ["score=confidence_score".to_owned()];
        let roles = Roles::parse(&given, &fields()).unwrap();
        let report = Report::new(ReportKind::SentimentTrend, &roles, &fields()).unwrap();
        assert_eq!(report.columns, ["day", "documents", "average"]);
        Roles::parse(&["mood=role".to_owned()], &fields()).unwrap_err();
        Roles::parse(&["time=when".to_owned()], &fields()).unwrap_err();
    }

    #[test]
    fn rows_stand_in_one_order_whatever_the_engine_says() {
        let roles = Roles::default();
        let report = Report::new(ReportKind::TopIntents, &roles, &fields()).unwrap();
        let bucket = |key: &str, count: u64| json!({ "key": key, "doc_count": count });
        let answer =
            json!({ "groups": { "buckets": [bucket("b", 2), bucket("c", 3), bucket("a", 2)] } });
        let rows = report.rows(&answer);
        assert_eq!(rows, [[json!("c"), json!(3)], [json!("a"), json!(2)], [json!("b"), json!(2)]]);
        assert_eq!(report.objects(&rows)[1], json!({ "intent": "a", "documents": 2 }));
        let daily = Report::new(ReportKind::DailyVolume, &roles, &fields()).unwrap();
        let bucket = json!({ "key": 1_767_225_600_000.0, "doc_count": 7 });
        let rows = daily.rows(&json!({ "groups": { "buckets": [bucket] } }));
        assert_eq!(rows, [[json!("2026-01-01"), json!(7)]]);
    }
}
