//! Documents that stand for deleted ones, counted and removed.

use opensearch::http::Method;
use serde_json::{Value, json};

use super::OpensearchSink;
use super::actions::DELETED;
use super::client::Answer;
use crate::error::{Error, Result};

/// Documents of one page, and of one bulk.
const PAGE: usize = 1_000;
/// How long the cluster keeps a page's place.
const KEPT: &str = "2m";

impl OpensearchSink {
    /// How many documents of the index stand for deleted ones.
    ///
    /// # Errors
    /// `Config` where the cluster refuses, `Retryable` where it does not answer.
    pub async fn tombstones(&self) -> Result<u64> {
        let body = json!({ "query": { "term": { DELETED: true } } });
        let found = self.ask("_count", "", &body).await?;
        Ok(found.get("count").and_then(Value::as_u64).unwrap_or_default())
    }

    /// Remove every document that stands for a deleted one, unless it has become a newer one
    /// meanwhile; `progress` is told how many are gone so far.
    ///
    /// # Errors
    /// See [`OpensearchSink::tombstones`].
    pub async fn purge(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<u64> {
        let body = json!({
            "size": PAGE, "version": true, "_source": false, "sort": ["_doc"],
            "query": { "term": { DELETED: true } },
        });
        let mut page = self.ask("_search", &format!("?scroll={KEPT}"), &body).await?;
        let mut gone = 0;
        loop {
            let hits = page.pointer("/hits/hits").and_then(Value::as_array).cloned();
            let hits = hits.unwrap_or_default();
            let scroll =
                page.get("_scroll_id").and_then(Value::as_str).unwrap_or_default().to_owned();
            if hits.is_empty() {
                let client = self.shared.client().await?;
                let body = json!({ "scroll_id": scroll }).to_string();
                // What is not given back now goes by itself.
                let _ = client.ask(Method::Delete, "/_search/scroll", &[], Some(body.into())).await;
                return Ok(gone);
            }
            gone += self.remove(&hits).await?;
            progress(gone);
            let next = json!({ "scroll": KEPT, "scroll_id": scroll });
            let answer = self.post("/_search/scroll", next.to_string()).await?;
            page = answer.json();
        }
    }

    /// Delete these documents at the versions that they have.
    async fn remove(&self, hits: &[Value]) -> Result<u64> {
        let mut body = String::new();
        for hit in hits {
            let member = |name: &str| hit.get(name).cloned().unwrap_or_default();
            let mut action = json!({
                "_index": member("_index"), "_id": member("_id"), "version": member("_version"),
                "version_type": "external_gte",
            });
            if let (Some(routing), Some(action)) = (hit.get("_routing"), action.as_object_mut()) {
                action.insert("routing".to_owned(), routing.clone());
            }
            body.push_str(&format!("{}\n", json!({ "delete": action })));
        }
        let answer = self.post("/_bulk", body).await?.json();
        let items = answer.get("items").and_then(Value::as_array);
        let mut gone = 0;
        for item in items.into_iter().flatten() {
            match item.pointer("/delete/status").and_then(Value::as_u64) {
                Some(200) => gone += 1,
                // It is a newer document by now, or another purge was faster.
                Some(404 | 409) => {}
                _ => return Err(Error::retryable(format!("a document was not removed: {item}"))),
            }
        }
        Ok(gone)
    }

    async fn ask(&self, what: &str, query: &str, body: &Value) -> Result<Value> {
        let index = &self.shared.rules.index;
        let names = match self.shared.rules.split {
            None => index.clone(),
            Some(_) => format!("{index}-*"),
        };
        let answer = self.post(&format!("/{names}/{what}{query}"), body.to_string()).await?;
        Ok(answer.json())
    }

    async fn post(&self, path: &str, body: String) -> Result<Answer> {
        let client = self.shared.client().await?;
        let answer = client.ask(Method::Post, path, &[], Some(body.into())).await?;
        match answer.status {
            200 if has_failures(&answer) => {
                Err(Error::retryable("a part of the index does not answer".to_owned()))
            }
            200 => Ok(answer),
            429 | 500.. => Err(Error::retryable(answer.reason())),
            _ => Err(Error::config(format!("{} refuses: {}", client.url(), answer.reason()))),
        }
    }
}

/// True where not every shard has said something.
fn has_failures(answer: &Answer) -> bool {
    let said = answer.json();
    said.pointer("/_shards/failed").and_then(Value::as_u64).is_some_and(|failed| failed > 0)
}
