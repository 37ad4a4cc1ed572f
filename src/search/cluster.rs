//! Searches of an index of OpenSearch.

use opensearch::http::Method;
use serde_json::{Map, Value, json};

use super::filter::{Comparison, FieldValue};
use super::query::{Clause, Part};
use super::{Answer, Filter, HIGHLIGHT_CHARACTERS, Hit, MARKS, Page, Request};
use crate::component::Context;
use crate::error::{Error, Result};
use crate::sinks::opensearch::OpensearchConfig;
use crate::sinks::opensearch::client::Client;

/// Characters of a text that a highlight is looked for in; a cluster refuses more than a million.
const LONGEST_HIGHLIGHTED: usize = 900_000;

/// An index behind its alias.
pub(super) struct Cluster {
    client: Client,
    index: String,
}

impl Cluster {
    pub(super) async fn new(config: &OpensearchConfig, context: &Context) -> Result<Self> {
        Ok(Self { client: Client::new(config, context).await?, index: config.index.clone() })
    }

    pub(super) async fn search(&self, request: &Request, page: &Page) -> Result<Answer> {
        let [before, behind] = MARKS.map(String::from);
        let piece = json!({ "fragment_size": HIGHLIGHT_CHARACTERS, "number_of_fragments": 1 });
        let fields: Map<String, Value> =
            request.fields.iter().map(|field| (field.clone(), piece.clone())).collect();
        let mut body = json!({
            "query": query(request),
            "from": page.offset,
            "size": page.limit,
            "track_total_hits": true,
            "highlight": { "max_analyzer_offset": LONGEST_HIGHLIGHTED, "pre_tags": [before], "post_tags": [behind], "fields": fields },
        });
        if let (Some((field, is_descending)), Some(body)) = (&page.sort, body.as_object_mut()) {
            let order = if *is_descending { "desc" } else { "asc" };
            body.insert("sort".to_owned(), json!([{ field.as_str(): { "order": order } }]));
        }
        let found = self.ask(&body).await?;
        let hits = found.pointer("/hits/hits").and_then(Value::as_array);
        Ok(Answer {
            total: found.pointer("/hits/total/value").and_then(Value::as_u64).unwrap_or_default(),
            hits: hits.into_iter().flatten().map(hit).collect(),
        })
    }

    pub(super) async fn aggregate(&self, request: &Request, aggregations: &Value) -> Result<Value> {
        let body = json!({ "query": query(request), "size": 0, "aggs": aggregations });
        let mut found = self.ask(&body).await?;
        Ok(found.get_mut("aggregations").map(Value::take).unwrap_or_default())
    }

    async fn ask(&self, body: &Value) -> Result<Value> {
        let path = format!("/{}/_search", self.index);
        // Half of an answer would look like a whole one.
        let whole = [("allow_partial_search_results", "false")];
        let body = Some(body.to_string().into());
        let answer = self.client.ask(Method::Post, &path, &whole, body).await?;
        let (url, index) = (self.client.url(), &self.index);
        match answer.status {
            200 => Ok(answer.json()),
            404 => Err(Error::config(format!(
                "{url} has no index {index} yet: `acequia run` makes it"
            ))),
            429 | 500.. => {
                Err(Error::retryable(format!("{url} cannot search {index}: {}", answer.reason())))
            }
            _ => {
                Err(Error::config(format!("{url} refuses to search {index}: {}", answer.reason())))
            }
        }
    }
}

fn hit(found: &Value) -> Hit {
    let mut highlights = Map::new();
    for (field, pieces) in found.get("highlight").and_then(Value::as_object).into_iter().flatten() {
        if let Some(piece) = pieces.get(0) {
            highlights.insert(field.clone(), piece.clone());
        }
    }
    Hit {
        id: found.get("_id").and_then(Value::as_str).unwrap_or_default().to_owned(),
        score: found.get("_score").and_then(Value::as_f64),
        document: found.get("_source").cloned().unwrap_or_default(),
        highlights,
    }
}

/// The request in OpenSearch's own words.
fn query(request: &Request) -> Value {
    let (mut must, mut must_not, mut filter) = (Vec::new(), Vec::new(), Vec::new());
    for part in &request.text.parts {
        match part.is_excluded {
            true => must_not.push(part_query(part, &request.fields)),
            false => must.push(part_query(part, &request.fields)),
        }
    }
    for condition in &request.filters {
        match condition.comparison {
            Comparison::IsNot => must_not.push(condition_query(condition)),
            _ => filter.push(condition_query(condition)),
        }
    }
    json!({ "bool": { "must": must, "must_not": must_not, "filter": filter } })
}

fn part_query(part: &Part, fields: &[String]) -> Value {
    // What has no word that an index keeps (`de`, `!`) says nothing, but it must not exclude all.
    let empty = if part.is_excluded { "none" } else { "all" };
    let clause = |clause: &Clause| match clause {
        Clause::Word(word) => json!({ "multi_match": {
            "query": word, "fields": fields, "operator": "and", "zero_terms_query": empty,
        } }),
        Clause::Phrase(words) => json!({ "multi_match": {
            "query": words, "fields": fields, "type": "phrase", "zero_terms_query": empty,
        } }),
    };
    match part.any_of.as_slice() {
        [only] => clause(only),
        several => {
            let should: Vec<Value> = several.iter().map(clause).collect();
            json!({ "bool": { "should": should, "minimum_should_match": 1 } })
        }
    }
}

fn condition_query(condition: &Filter) -> Value {
    let value = match &condition.value {
        FieldValue::Text(text) => json!(text),
        FieldValue::Long(number) => json!(number),
        FieldValue::Double(number) => json!(number),
        FieldValue::Boolean(truth) => json!(truth),
        FieldValue::Time(millis) => json!(millis),
    };
    let field = condition.field.as_str();
    let range = |bound: &str| {
        let mut range = json!({ bound: value });
        if let (FieldValue::Time(_), Some(range)) = (&condition.value, range.as_object_mut()) {
            range.insert("format".to_owned(), json!("epoch_millis"));
        }
        json!({ "range": { field: range } })
    };
    match condition.comparison {
        Comparison::Above => range("gt"),
        Comparison::AtLeast => range("gte"),
        Comparison::Below => range("lt"),
        Comparison::AtMost => range("lte"),
        Comparison::Is | Comparison::IsNot => match &condition.value {
            FieldValue::Time(millis) => json!({ "range": { field: {
                "gte": millis, "lte": millis, "format": "epoch_millis",
            } } }),
            _ => json!({ "term": { field: value } }),
        },
    }
}
