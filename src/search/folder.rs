//! Searches of an embedded index.

use std::ops::Bound;
use std::path::Path;

use serde::Deserialize as _;
use serde_json::{Map, Value};
use tantivy::aggregation::agg_req::Aggregations;
use tantivy::aggregation::{AggContextParams, AggregationCollector};
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    AllQuery, BooleanQuery, ConstScoreQuery, DisjunctionMaxQuery, EmptyQuery, Occur, PhraseQuery,
    Query, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, FieldType, IndexRecordOption, Schema, Value as _};
use tantivy::snippet::SnippetGenerator;
use tantivy::{
    DateTime, DocAddress, Index, IndexReader, Order, ReloadPolicy, Searcher, TantivyDocument,
    TantivyError, Term,
};

use super::filter::{Comparison, FieldValue};
use super::query::{Clause, Part};
use super::{Answer, Filter, HIGHLIGHT_CHARACTERS, Hit, MARKS, Page, Request, text_at};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::sinks::documents::Definition;
use crate::sinks::search::fields::Fields;
use crate::sinks::search::{SearchConfig, open};

/// An index in a folder.
pub(super) struct Folder {
    index: Index,
    reader: IndexReader,
    fields: Fields,
    path: String,
}

type BoxedQuery = Box<dyn Query>;

impl Folder {
    pub(super) fn open(config: &SearchConfig, definition: &Definition) -> Result<Self> {
        let path = config.path.clone();
        if !Path::new(&path).join("meta.json").exists() {
            return Err(Error::config(format!(
                "there is no index in {path} yet: `acequia run` makes it"
            )));
        }
        let fields = Fields::of(definition);
        let index = open(Path::new(&path), &fields)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader =
            reader.or_error(ErrorKind::Retryable, || format!("cannot read the index {path}"))?;
        Ok(Self { index, reader, fields, path })
    }

    pub(super) fn search(&self, request: &Request, page: &Page) -> Result<Answer> {
        self.try_search(request, page).map_err(|cause| self.refused(cause))
    }

    pub(super) fn aggregate(&self, request: &Request, aggregations: &Value) -> Result<Value> {
        self.try_aggregate(request, aggregations).map_err(|cause| self.refused(cause))
    }

    fn refused(&self, cause: TantivyError) -> Error {
        Error::config(format!("cannot search the index {}", self.path)).caused_by(cause)
    }

    fn try_search(&self, request: &Request, page: &Page) -> tantivy::Result<Answer> {
        let searcher = self.reader.searcher();
        let query = self.query(request)?;
        let found = self.page(&searcher, &query, page)?;
        let total = searcher.search(&query, &Count)?;
        let mut generators = Vec::new();
        for path in &request.fields {
            let field = self.index.schema().get_field(path)?;
            let mut generator = SnippetGenerator::create(&searcher, &query, field)?;
            generator.set_max_num_chars(HIGHLIGHT_CHARACTERS);
            generators.push((path.as_str(), generator));
        }
        let hit = |(score, at): (Option<f64>, DocAddress)| {
            let stored: TantivyDocument = searcher.doc(at)?;
            let id =
                stored.get_first(self.fields.id).and_then(|id| id.as_str()).unwrap_or_default();
            let source = stored.get_first(self.fields.source).and_then(|source| source.as_bytes());
            let document: Value =
                serde_json::from_slice(source.unwrap_or_default()).unwrap_or_default();
            let highlights = highlights(&document, &generators);
            Ok(Hit { id: id.to_owned(), score, document, highlights })
        };
        let hits = found.into_iter().map(hit).collect::<tantivy::Result<_>>()?;
        Ok(Answer { total: total as u64, hits })
    }

    /// The hits of a page, with their scores where they are ordered by these.
    fn page(
        &self,
        searcher: &Searcher,
        query: &dyn Query,
        page: &Page,
    ) -> tantivy::Result<Vec<(Option<f64>, DocAddress)>> {
        let top = TopDocs::with_limit(page.limit.max(1)).and_offset(page.offset);
        let Some((path, is_descending)) = &page.sort else {
            let found = searcher.search(query, &top.order_by_score())?;
            return Ok(found.into_iter().map(|(score, at)| (Some(score.into()), at)).collect());
        };
        let order = if *is_descending { Order::Desc } else { Order::Asc };
        let schema = self.index.schema();
        let kind = schema.get_field_entry(schema.get_field(path)?).field_type().clone();
        macro_rules! by {
            ($type:ty) => {
                addresses(searcher.search(query, &top.order_by_fast_field::<$type>(path, order))?)
            };
        }
        Ok(match kind {
            FieldType::I64(_) => by!(i64),
            FieldType::F64(_) => by!(f64),
            FieldType::Bool(_) => by!(bool),
            FieldType::Date(_) => by!(DateTime),
            _ => addresses(searcher.search(query, &top.order_by_string_fast_field(path, order))?),
        })
    }

    fn try_aggregate(&self, request: &Request, aggregations: &Value) -> tantivy::Result<Value> {
        let unreadable = |cause: serde_json::Error| TantivyError::InternalError(cause.to_string());
        let asked = Aggregations::deserialize(aggregations).map_err(unreadable)?;
        let context = AggContextParams::new(Default::default(), self.index.tokenizers().clone());
        let collector = AggregationCollector::from_aggs(asked, context);
        let found = self.reader.searcher().search(&self.query(request)?, &collector)?;
        serde_json::to_value(found).map_err(unreadable)
    }

    fn query(&self, request: &Request) -> tantivy::Result<BooleanQuery> {
        let schema = self.index.schema();
        let mut clauses: Vec<(Occur, BoxedQuery)> = vec![
            (Occur::MustNot, whole(Term::from_field_bool(self.fields.deleted, true))),
            // A query that only excludes finds nothing.
            (Occur::Must, Box::new(ConstScoreQuery::new(Box::new(AllQuery), 0.0))),
        ];
        for part in &request.text.parts {
            let occur = if part.is_excluded { Occur::MustNot } else { Occur::Must };
            clauses.push((occur, self.part(part, &request.fields, &schema)?));
        }
        for filter in &request.filters {
            let condition = condition(filter, schema.get_field(&filter.field)?);
            match filter.comparison {
                Comparison::IsNot => clauses.push((Occur::MustNot, condition)),
                // A condition says nothing of how well a document fits.
                _ => clauses.push((Occur::Must, Box::new(ConstScoreQuery::new(condition, 0.0)))),
            }
        }
        Ok(BooleanQuery::new(clauses))
    }

    fn part(&self, part: &Part, fields: &[String], schema: &Schema) -> tantivy::Result<BoxedQuery> {
        let mut any: Vec<BoxedQuery> = Vec::new();
        for clause in &part.any_of {
            let mut in_fields: Vec<BoxedQuery> = Vec::new();
            for path in fields {
                match self.clause(clause, schema.get_field(path)?)? {
                    Some(found) => in_fields.push(found),
                    // What has no word that a field keeps (`de`, `!`) says nothing of it.
                    None if part.is_excluded => {}
                    None => in_fields.push(Box::new(ConstScoreQuery::new(Box::new(AllQuery), 1.0))),
                }
            }
            any.push(match in_fields.len() {
                0 => Box::new(EmptyQuery),
                _ => Box::new(DisjunctionMaxQuery::new(in_fields)),
            });
        }
        Ok(Box::new(BooleanQuery::union(any)))
    }

    /// The clause in one field; `None` where none of its words is kept there.
    fn clause(&self, clause: &Clause, field: Field) -> tantivy::Result<Option<BoxedQuery>> {
        let (text, is_phrase) = match clause {
            Clause::Word(text) => (text, false),
            Clause::Phrase(text) => (text, true),
        };
        let mut analyzer = self.index.tokenizer_for_field(field)?;
        let mut terms = Vec::new();
        analyzer.token_stream(text).process(&mut |token| {
            terms.push((token.position, Term::from_field_text(field, &token.text)));
        });
        Ok(match terms.len() {
            0 => None,
            1 => terms.pop().map(|(_, term)| scored(term)),
            _ if is_phrase => Some(Box::new(PhraseQuery::new_with_offset(terms))),
            _ => {
                let words = terms.into_iter().map(|(_, term)| scored(term)).collect();
                Some(Box::new(BooleanQuery::intersection(words)))
            }
        })
    }
}

fn addresses<T>(found: Vec<(T, DocAddress)>) -> Vec<(Option<f64>, DocAddress)> {
    found.into_iter().map(|(_, at)| (None, at)).collect()
}

fn scored(term: Term) -> BoxedQuery {
    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))
}

fn whole(term: Term) -> BoxedQuery {
    Box::new(TermQuery::new(term, IndexRecordOption::Basic))
}

fn condition(filter: &Filter, field: Field) -> BoxedQuery {
    let term = match &filter.value {
        FieldValue::Text(text) => Term::from_field_text(field, text),
        FieldValue::Long(number) => Term::from_field_i64(field, *number),
        FieldValue::Double(number) => Term::from_field_f64(field, *number),
        FieldValue::Boolean(truth) => Term::from_field_bool(field, *truth),
        FieldValue::Time(millis) => {
            // Beyond what an index keeps there is nothing.
            let nanos = millis.saturating_mul(1_000_000);
            Term::from_field_date(field, DateTime::from_timestamp_nanos(nanos))
        }
    };
    let range = |lower, upper| -> BoxedQuery { Box::new(RangeQuery::new(lower, upper)) };
    match filter.comparison {
        Comparison::Above => range(Bound::Excluded(term), Bound::Unbounded),
        Comparison::AtLeast => range(Bound::Included(term), Bound::Unbounded),
        Comparison::Below => range(Bound::Unbounded, Bound::Excluded(term)),
        Comparison::AtMost => range(Bound::Unbounded, Bound::Included(term)),
        Comparison::Is | Comparison::IsNot => match filter.value {
            FieldValue::Text(_) | FieldValue::Boolean(_) => whole(term),
            _ => range(Bound::Included(term.clone()), Bound::Included(term)),
        },
    }
}

/// A piece of each field that words were found in.
fn highlights(document: &Value, generators: &[(&str, SnippetGenerator)]) -> Map<String, Value> {
    let mut found = Map::new();
    for (path, generator) in generators {
        let Some(text) = text_at(document, path) else { continue };
        let snippet = generator.snippet(text);
        if snippet.is_empty() {
            continue;
        }
        let (fragment, mut piece, mut at) = (snippet.fragment(), String::new(), 0);
        for range in snippet.highlighted() {
            piece.push_str(fragment.get(at..range.start).unwrap_or_default());
            piece.push(MARKS[0]);
            piece.push_str(fragment.get(range.clone()).unwrap_or_default());
            piece.push(MARKS[1]);
            at = range.end;
        }
        piece.push_str(fragment.get(at..).unwrap_or_default());
        found.insert((*path).to_owned(), piece.into());
    }
    found
}
