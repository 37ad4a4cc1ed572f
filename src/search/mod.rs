//! What reads the indices that a pipeline keeps: searches and reports, the same on both engines.
//!
//! [`query`] is what somebody types, [`filter`] what fields must be, [`report`] what is counted;
//! [`cluster`] asks OpenSearch, [`folder`] an embedded index.

#[cfg(feature = "opensearch")]
mod cluster;
pub mod fields;
pub mod filter;
#[cfg(feature = "search")]
mod folder;
pub mod query;
pub mod report;

use serde_json::{Map, Value};

pub use self::fields::IndexFields;
pub use self::filter::Filter;
pub use self::query::TextQuery;
pub use self::report::{Report, ReportKind, Roles};

use crate::component::Context;
use crate::contract::Contract;
use crate::error::{Error, Result};
use crate::sinks::SinkConfig;
use crate::sinks::documents::Definition;

/// An answer shows hits up to this place: further ones cost an engine more than they are worth.
pub const LAST_HIT: usize = 10_000;
/// What stands before and behind a word that was found, in a highlight: characters for private use.
pub const MARKS: [char; 2] = ['\u{E000}', '\u{E001}'];
/// Characters of a highlight, about.
const HIGHLIGHT_CHARACTERS: usize = 120;

/// What documents are looked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What they have.
    pub text: TextQuery,
    /// In which fields.
    pub fields: Vec<String>,
    /// What else holds.
    pub filters: Vec<Filter>,
}

/// Which hits are shown.
#[derive(Debug, Clone)]
pub struct Page {
    /// Hits that are left out before.
    pub offset: usize,
    /// Hits, at most; one at least.
    pub limit: usize,
    /// The field that they are ordered by, and whether its largest values come first; the best hits
    /// first without it.
    pub sort: Option<(String, bool)>,
}

/// One document of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// How well it fits, where hits are not ordered by a field.
    pub score: Option<f64>,
    /// The document.
    pub document: Value,
    /// Pieces of its fields with what was found between [`MARKS`].
    pub highlights: Map<String, Value>,
}

/// What a search finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Documents in all.
    pub total: u64,
    /// Those of the page.
    pub hits: Vec<Hit>,
}

/// The text of the field `path` of a document, where it is one.
pub fn text_at<'a>(document: &'a Value, path: &str) -> Option<&'a str> {
    document.pointer(&format!("/{}", path.replace('.', "/")))?.as_str()
}

/// An index of a pipeline, opened for reading.
pub struct Searcher(Engine);

enum Engine {
    #[cfg(feature = "opensearch")]
    Cluster(cluster::Cluster),
    #[cfg(feature = "search")]
    Folder(folder::Folder),
}

impl Searcher {
    /// The index of a sink that keeps documents by `definition`.
    ///
    /// # Errors
    /// `Config` where there is none yet, or where it cannot be reached.
    pub async fn open(
        sink: &SinkConfig,
        definition: &Definition,
        context: &Context,
    ) -> Result<Self> {
        let _ = context;
        #[cfg(feature = "opensearch")]
        if let Some(config) = &sink.opensearch {
            return Ok(Self(Engine::Cluster(cluster::Cluster::new(config, context).await?)));
        }
        #[cfg(feature = "search")]
        if let Some(config) = &sink.search {
            return Ok(Self(Engine::Folder(folder::Folder::open(config, definition)?)));
        }
        let _ = (sink, definition);
        Err(Error::config("the sink keeps no documents"))
    }

    /// Find documents.
    ///
    /// # Errors
    /// `Config` where the engine refuses the request, `Retryable` where it does not answer.
    pub async fn search(&self, request: &Request, page: &Page) -> Result<Answer> {
        match &self.0 {
            #[cfg(feature = "opensearch")]
            Engine::Cluster(cluster) => cluster.search(request, page).await,
            #[cfg(feature = "search")]
            Engine::Folder(folder) => folder.search(request, page),
        }
    }

    /// Count documents.
    ///
    /// # Errors
    /// See [`Searcher::search`].
    pub async fn count(&self, request: &Request, report: &Report) -> Result<Vec<Vec<Value>>> {
        let answer = match &self.0 {
            #[cfg(feature = "opensearch")]
            Engine::Cluster(cluster) => cluster.aggregate(request, &report.aggregations).await?,
            #[cfg(feature = "search")]
            Engine::Folder(folder) => folder.aggregate(request, &report.aggregations)?,
        };
        Ok(report.rows(&answer))
    }
}

/// The sinks of a pipeline that keep documents, with their indices.
pub fn indices<'a>(
    sinks: impl IntoIterator<Item = (&'a String, &'a SinkConfig)>,
    schema: &arrow::datatypes::SchemaRef,
    contract: &Contract,
) -> Vec<(&'a str, &'a SinkConfig, Definition)> {
    let index = |(name, sink): (&'a String, &'a SinkConfig)| {
        Some((name.as_str(), sink, sink.index(schema, contract)?))
    };
    sinks.into_iter().filter_map(index).collect()
}
