//! The real program and a real node of OpenSearch: what is found in the index is the last version of
//! each key, whatever happens in between.

#[cfg(all(feature = "aws", feature = "kafka"))]
mod conversations;
mod delivery;
mod index;
#[cfg(feature = "kafka")]
mod outage;
mod schedules;

use std::collections::BTreeMap;

use ::opensearch::OpenSearch as Node;
use ::opensearch::http::Method;
use ::opensearch::http::headers::HeaderMap;
use ::opensearch::http::transport::Transport;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::kafka::broker::unique;
use crate::program::Folder;
use crate::services::opensearch::OpenSearch;

/// Documents that are looked at, at most.
const MOST_DOCUMENTS: usize = 10_000;

/// An index of a test's own, through a client that is not the program's.
struct Index {
    url: String,
    /// What readers search.
    name: String,
    node: Node,
    runtime: Runtime,
}

/// A document: its version, and what it says.
type Document = (u64, Value);

impl Index {
    fn new(node: &OpenSearch, name: &str) -> Self {
        Self::at(node.url(), &unique(name))
    }

    fn at(url: String, name: &str) -> Self {
        let node = Node::new(Transport::single_node(&url).unwrap());
        Self { url, name: name.to_owned(), node, runtime: Runtime::new().unwrap() }
    }

    /// The index behind the alias.
    fn behind(&self) -> String {
        format!("{}-1", self.name)
    }

    /// Ask the node, and get what it says with its status.
    fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.runtime.block_on(async {
            let body = body.map(|body| body.to_string());
            let (none, headers) = (None::<&str>, HeaderMap::new());
            let answer = self.node.send(method, path, headers, none, body, None).await.unwrap();
            (answer.status_code().as_u16(), answer.json().await.unwrap_or_default())
        })
    }

    /// Every document by its id.
    fn documents(&self) -> BTreeMap<String, Document> {
        self.ask(Method::Post, &format!("/{}/_refresh", self.behind()), None);
        let query =
            json!({ "size": MOST_DOCUMENTS, "version": true, "query": { "match_all": {} } });
        let (status, found) =
            self.ask(Method::Post, &format!("/{}/_search", self.name), Some(query));
        assert_eq!(status, 200, "{found}");
        let hits = found["hits"]["hits"].as_array().unwrap();
        assert!(hits.len() < MOST_DOCUMENTS);
        let document = |hit: &Value| {
            let version = hit["_version"].as_u64().unwrap();
            (hit["_id"].as_str().unwrap().to_owned(), (version, hit["_source"].clone()))
        };
        hits.iter().map(document).collect()
    }

    /// How many documents there are.
    fn count(&self) -> u64 {
        self.ask(Method::Post, &format!("/{}/_refresh", self.behind()), None);
        let (_, said) = self.ask(Method::Get, &format!("/{}/_count", self.behind()), None);
        said["count"].as_u64().unwrap_or_default()
    }

    /// The ids of documents that a search finds.
    fn search(&self, query: Value) -> Vec<String> {
        let body = json!({ "size": MOST_DOCUMENTS, "query": query });
        let (status, found) =
            self.ask(Method::Post, &format!("/{}/_search", self.name), Some(body));
        assert_eq!(status, 200, "{found}");
        let hits = found["hits"]["hits"].as_array().unwrap();
        let mut ids: Vec<String> =
            hits.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    }
}

/// A pipeline from `*.ndjson` into the index and a lake; `settings` are more of the sink, `tail` more
/// of the pipeline.
fn pipeline(folder: &Folder, index: &Index, settings: &str, tail: &str) {
    folder.pipeline(&format!(
        "sinks:\n  \
         lake: {{ parquet: {{ url: lake, partition: {{ by: month, time: timestamp }} }} }}\n  \
         search: {{ opensearch: {{ url: \"{}\", index: {}, replicas: 0{settings} }} }}\n{tail}",
        index.url, index.name
    ));
}
