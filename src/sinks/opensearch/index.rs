//! The index: made where it is missing, compared where it is there.

use opensearch::http::Method;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::actions::DELETED;
use super::client::{Answer, Client};
use super::config::OpensearchConfig;
use crate::component::checkpoint::FORMAT;
use crate::error::{Error, Result};
use crate::sinks::documents::Definition;
use crate::sinks::marker::Ownership;

/// How long a shard remembers the version of a document that was deleted: longer than any request
/// of an older holder can be late.
const DELETES_REMEMBERED: &str = "1h";

/// What an index is made by, and compared with.
pub(super) struct Index<'a> {
    pub(super) client: &'a Client,
    pub(super) config: &'a OpensearchConfig,
    pub(super) sink: &'a str,
    /// Its own name, behind the aliases.
    pub(super) name: String,
    /// The alias that is written to, which nothing but this makes.
    pub(super) write_alias: String,
    pub(super) definition: &'a Definition,
    pub(super) ownership: &'a Ownership,
    pub(super) contract_version: &'a str,
}

impl Index<'_> {
    /// See that the index is there and is this pipeline's, and make it where it is missing and was
    /// not `written_before`.
    pub(super) async fn prepare(&self, written_before: bool) -> Result<()> {
        let found = self.look().await?;
        match found.status {
            200 => {
                let found = found.json();
                let found = found.get(&self.name).unwrap_or(&Value::Null);
                self.compare(found)?;
                self.compare_settings(found)
            }
            404 if written_before => Err(self.gone()),
            404 => self.make().await,
            _ => Err(self.refused("look at", &found)),
        }
    }

    async fn look(&self) -> Result<Answer> {
        self.ask(Method::Get, &format!("/{}", self.name), None).await
    }

    /// The error for an index that was there and is not any more.
    pub(super) fn gone(&self) -> Error {
        Error::halted(format!(
            "the index {} of this pipeline is gone from {}, and with it every document: restore it from a snapshot, or begin again with an empty checkpoint",
            self.name,
            self.client.url()
        ))
    }

    /// The periods that have an index whose name begins with this one's.
    pub(super) async fn periods(&self) -> Result<Vec<String>> {
        let path = format!("/{}-*/_settings/index.uuid", self.name);
        let found = self.ask(Method::Get, &path, None).await?;
        if found.status != 200 {
            return Err(self.refused("look for indices behind", &found));
        }
        let before = format!("{}-", self.name);
        let names = found.json();
        let names = names.as_object().into_iter().flatten();
        Ok(names.filter_map(|(name, _)| name.strip_prefix(&before).map(str::to_owned)).collect())
    }

    async fn make(&self) -> Result<()> {
        let body = json!({
            "settings": {
                "index": {
                    "number_of_shards": self.config.shards,
                    "number_of_replicas": self.config.replicas,
                    "gc_deletes": DELETES_REMEMBERED,
                },
                "analysis": self.definition.analysis(),
            },
            "mappings": self.definition.mappings(self.meta()),
            "aliases": {
                // Readers are shown no document that stands for a deleted one.
                self.config.index.as_str(): {
                    "filter": { "bool": { "must_not": { "term": { DELETED: true } } } },
                },
                self.write_alias.as_str(): {},
            },
        });
        let made = self.ask(Method::Put, &format!("/{}", self.name), Some(body)).await?;
        let kind = made.json();
        let kind = kind.pointer("/error/type").and_then(Value::as_str).unwrap_or_default();
        match made.status {
            200 => Ok(()),
            // Another task was faster.
            400 if kind == "resource_already_exists_exception" => match self.look().await? {
                made if made.status == 200 => {
                    self.compare(made.json().get(&self.name).unwrap_or(&Value::Null))
                }
                made => Err(self.refused("look at", &made)),
            },
            _ => Err(self.refused("make", &made)),
        }
    }

    fn meta(&self) -> Value {
        json!({
            "v": FORMAT,
            "pipeline": self.ownership.pipeline,
            "sink": self.sink,
            "domain": self.ownership.domain,
            "contract": self.contract_version,
        })
    }

    /// The index that is there must be this pipeline's, and its fields must be those of the
    /// definition. More fields than these do no harm.
    fn compare(&self, found: &Value) -> Result<()> {
        let mappings = found.get("mappings").unwrap_or(&Value::Null);
        let meta = mappings.pointer("/_meta/acequia");
        let said = |name: &str| meta.and_then(|meta| meta.get(name)).and_then(Value::as_str);
        let (name, url) = (&self.name, self.client.url());
        match (said("pipeline"), said("domain")) {
            (None, _) => {
                return Err(Error::halted(format!(
                    "the index {name} of {url} was not made by Acequia: name another by `index`, or remove it"
                )));
            }
            (Some(pipeline), _) if pipeline != self.ownership.pipeline => {
                return Err(Error::halted(format!(
                    "the index {name} of {url} belongs to pipeline `{pipeline}`, this is pipeline `{}`: name another by `index`",
                    self.ownership.pipeline
                )));
            }
            _ if said("sink") != Some(self.sink) => {
                return Err(Error::halted(format!(
                    "the index {name} of {url} belongs to sink `{}` of this pipeline: name another by `index`",
                    said("sink").unwrap_or_default()
                )));
            }
            (_, domain) if domain != Some(&self.ownership.domain) => {
                return Err(Error::halted(format!(
                    "the index {name} of {url} was written under another checkpoint store: versions in it do not compare with this one's; restore that store, or remove the index and begin again"
                )));
            }
            _ => {}
        }
        let wanted = self.definition.properties();
        let there = mappings.get("properties").and_then(Value::as_object);
        let differences = differences("", wanted, there.unwrap_or(&Map::new()));
        match differences.as_slice() {
            [] => Ok(()),
            some => Err(Error::config(format!(
                "the fields of the index {name} of {url} are not those that this pipeline wants: {}; the fields of an index do not change: make another one, name it by `index`, and fill it anew",
                some.join("; ")
            ))),
        }
    }

    /// The aliases lead to it, and it remembers deletes for long enough.
    fn compare_settings(&self, found: &Value) -> Result<()> {
        let (name, url) = (&self.name, self.client.url());
        for alias in [&self.config.index, &self.write_alias] {
            let leads = found.get("aliases").and_then(|aliases| aliases.get(alias)).is_some();
            if !leads {
                return Err(Error::halted(format!(
                    "the alias {alias} of {url} does not lead to the index {name} any more: put it back, or name another index by `index`"
                )));
            }
        }
        let remembered = found.pointer("/settings/index/gc_deletes").and_then(Value::as_str);
        if remembered != Some(DELETES_REMEMBERED) {
            warn!(
                index = %name,
                "the setting `gc_deletes` of the index is {}, it was made with {DELETES_REMEMBERED}: what is sent late may bring deleted documents back",
                remembered.unwrap_or("60s, the default")
            );
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<Answer> {
        let body = body.map(|body| body.to_string().into());
        self.client.ask(method, path, &[], body).await
    }

    fn refused(&self, what: &str, answer: &Answer) -> Error {
        let (name, url, why) = (&self.name, self.client.url(), answer.reason());
        match answer.status {
            401 => Error::config(format!("{url} does not let this user in: {why}; check `login`")),
            403 => Error::config(format!(
                "{url} does not let this user {what} the index {name}: {why}; allow `indices:admin/*` and `indices:data/write/*` on it"
            )),
            429 | 500.. => Error::retryable(format!("cannot {what} the index {name}: {why}")),
            _ => Error::config(format!("cannot {what} the index {name} of {url}: {why}")),
        }
    }
}

/// What is not as it is wanted, each in a few words.
fn differences(path: &str, wanted: &Map<String, Value>, there: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, wanted) in wanted {
        let path = format!("{path}{name}");
        let Some(there) = there.get(name) else {
            found.push(format!("`{path}` is missing"));
            continue;
        };
        // The type `object` is left out of what an index shows.
        let kind = |field: &Value| {
            field.get("type").and_then(Value::as_str).unwrap_or("object").to_owned()
        };
        if kind(wanted) != kind(there) {
            found.push(format!("`{path}` is {}, not {}", kind(there), kind(wanted)));
            continue;
        }
        let analyzer = |field: &Value| field.get("analyzer").cloned().unwrap_or_default();
        if analyzer(wanted) != analyzer(there) {
            let (is, wants) = (analyzer(there), analyzer(wanted));
            found.push(format!("`{path}` has the analyzer {is}, not {wants}"));
        }
        for inner in ["properties", "fields"] {
            let members = |field: &Value| field.get(inner).and_then(Value::as_object).cloned();
            if let Some(wanted) = members(wanted) {
                let there = members(there).unwrap_or_default();
                found.extend(differences(&format!("{path}."), &wanted, &there));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_the_paths_of_fields() {
        let fields = |value: Value| value.as_object().unwrap().clone();
        let wanted = fields(json!({
            "a": { "type": "keyword" },
            "b": { "type": "text", "analyzer": "spanish", "fields": { "raw": { "type": "keyword" } } },
            "c": { "type": "object", "properties": { "d": { "type": "long" }, "e": { "type": "date" } } },
        }));
        assert!(differences("", &wanted, &wanted).is_empty());
        let there = fields(json!({
            "a": { "type": "text" },
            "b": { "type": "text", "fields": {} },
            "c": { "properties": { "d": { "type": "long" } } },
            "more": { "type": "long" },
        }));
        assert_eq!(
            differences("", &wanted, &there),
            [
                "`a` is text, not keyword",
                "`b` has the analyzer null, not \"spanish\"",
                "`b.raw` is missing",
                "`c.e` is missing"
            ]
        );
    }
}
