//! Where rows go.

pub mod bucket;
pub mod dead_letters;
pub mod documents;
pub mod file_name;
pub mod folder;
pub mod letter;
pub mod marker;
#[cfg(feature = "opensearch")]
pub mod opensearch;
pub mod parquet;
#[cfg(feature = "search")]
pub mod search;
pub mod staging;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{Context, Sink, SinkKind};
use crate::contract::Contract;
use crate::error::{Error, Result};
use crate::event::SystemSchema;
use crate::event::filter::FilterRule;
use crate::location::Location;

use self::bucket::ObjectConfig;
use self::folder::{FolderStaging, NonceReader};
use self::staging::Staging;

/// One sink: an optional filter and exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = kinds()))]
pub struct SinkConfig {
    /// One more filter, for this sink alone: a SQL condition over the last stage's columns.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What happens while the sink takes nothing.
    #[serde(default)]
    pub on_outage: OnOutage,
    /// The lake: Hive-partitioned Parquet in a folder or a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<parquet::ParquetConfig>,
    /// The last version of each key as a document of an OpenSearch index.
    #[cfg(feature = "opensearch")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opensearch: Option<opensearch::OpensearchConfig>,
    /// The last version of each key as a document of an index in a folder of this machine.
    #[cfg(feature = "search")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<search::SearchConfig>,
}

/// What happens while a sink takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnOutage {
    /// Each partition waits at its open epoch, for every sink; an alarm is raised at half of the time
    /// for which the source keeps what is not read.
    #[default]
    Hold,
}

/// One schema for each kind, of which exactly one holds.
fn kinds() -> Vec<serde_json::Value> {
    let kinds = [
        ("parquet", true),
        ("opensearch", cfg!(feature = "opensearch")),
        ("search", cfg!(feature = "search")),
    ];
    let built = kinds.into_iter().filter(|(_, is_built)| *is_built);
    built.map(|(kind, _)| serde_json::json!({ "required": [kind] })).collect()
}

impl SinkConfig {
    /// How the sink comes to hold each event once.
    pub fn kind(&self) -> SinkKind {
        match self.parquet {
            Some(_) => SinkKind::Staged,
            None => SinkKind::Versioned,
        }
    }

    /// Its kind, as its key names it.
    pub fn kind_name(&self) -> &'static str {
        self.documents().map_or("parquet", |settings| settings.kind)
    }

    /// What a sink that keeps documents says of them; `None` for any other.
    pub fn documents(&self) -> Option<DocumentSettings<'_>> {
        #[cfg(feature = "opensearch")]
        if let Some(opensearch::OpensearchConfig { mapping, system, .. }) = &self.opensearch {
            return Some(DocumentSettings { kind: "opensearch", mapping, system });
        }
        #[cfg(feature = "search")]
        if let Some(search::SearchConfig { mapping, system, .. }) = &self.search {
            return Some(DocumentSettings { kind: "search", mapping, system });
        }
        None
    }

    /// The index of a sink that keeps documents, from rows of `schema`.
    pub fn index(&self, schema: &SchemaRef, contract: &Contract) -> Option<documents::Definition> {
        let DocumentSettings { mapping, system, .. } = self.documents()?;
        Some(documents::Definition::new(schema, contract, mapping, system))
    }

    /// How the sink reads filtered rows.
    pub fn filter_rule(&self) -> FilterRule {
        FilterRule::Keyed
    }
}

/// What a sink that keeps documents says of them, whichever engine it is.
#[derive(Debug, Clone, Copy)]
pub struct DocumentSettings<'a> {
    /// The key of the engine in the sink.
    pub kind: &'static str,
    /// Settings of fields.
    pub mapping: &'a documents::definition::Overrides,
    /// System columns that documents have.
    pub system: &'a [documents::SystemField],
}

/// What every sink of a pipeline is built from.
pub struct SinkInputs<'a> {
    /// Schema of the last stage's rows.
    pub schema: &'a SchemaRef,
    /// Which system columns the rows have.
    pub system: &'a SystemSchema,
    /// The contract that the rows come from.
    pub contract: &'a Contract,
    /// Whose files they are.
    pub ownership: &'a marker::Ownership,
    /// Folder for rows that do not fit into memory; outside every table.
    pub scratch: PathBuf,
    /// The seams.
    pub context: &'a Context,
}

/// The store of staged files at `location`; `read_nonce` knows the form of its files, where a store
/// keeps no metadata beside them. `scratch` is a folder for bytes that wait.
fn staging_at(
    location: Location,
    objects: Option<&ObjectConfig>,
    read_nonce: NonceReader,
    scratch: Option<&Path>,
    context: &Context,
) -> Result<Arc<dyn Staging>> {
    match location {
        Location::Folder(folder) => {
            let staging = FolderStaging::new(&folder, read_nonce, context.randomness.clone())?;
            Ok(Arc::new(staging))
        }
        #[cfg(feature = "aws")]
        Location::Bucket(place) => {
            let objects = objects.cloned().unwrap_or_default();
            Ok(Arc::new(bucket::BucketStaging::new(place, objects, scratch, context)))
        }
        #[cfg(not(feature = "aws"))]
        Location::Bucket(place) => {
            let _ = (objects, scratch);
            Err(Error::config(format!(
                "this build cannot reach {place}: it lacks the feature `aws`"
            )))
        }
    }
}

/// The stores of staged files of a pipeline's sinks and dead letters, by the name that records give
/// them: for an operator, who works on files without writing rows.
pub fn stagings(
    sinks: &IndexMap<String, SinkConfig>,
    letters: &dead_letters::DeadLettersConfig,
    pipeline: &str,
    context: &Context,
) -> Result<Vec<(String, Arc<dyn Staging>)>> {
    let mut all = Vec::new();
    for (name, sink) in sinks {
        let Some(table) = &sink.parquet else { continue };
        let location = Location::parse(&table.url)?;
        let staging = staging_at(location, table.s3.as_ref(), parquet::read_nonce, None, context)?;
        all.push((name.clone(), staging));
    }
    let location = dead_letters::place_of(&letters.url, pipeline)?;
    let staging = staging_at(location, letters.s3.as_ref(), letter::read_nonce, None, context)?;
    all.push((dead_letters::SINK_NAME.to_owned(), staging));
    Ok(all)
}

/// Build the sink that `config` names; its paths are absolute by now.
pub fn build(name: &str, config: &SinkConfig, inputs: &SinkInputs<'_>) -> Result<Arc<dyn Sink>> {
    #[cfg(feature = "opensearch")]
    if let Some(search) = &config.opensearch {
        let SinkInputs { schema, contract, ownership, context, .. } = inputs;
        let sink =
            opensearch::OpensearchSink::new(name, search, schema, contract, ownership, context);
        return Ok(Arc::new(sink));
    }
    #[cfg(feature = "search")]
    if let Some(search) = &config.search {
        let SinkInputs { schema, contract, ownership, context, .. } = inputs;
        let sink = search::SearchSink::new(name, search, schema, contract, ownership, context);
        return Ok(Arc::new(sink));
    }
    let Some(parquet) = &config.parquet else {
        return Err(Error::config(format!("sink {name} names no kind")));
    };
    let settings = parquet::TableSettings {
        name,
        config: parquet,
        schema: inputs.schema,
        contract: inputs.contract,
        system: parquet::SystemShape {
            counted: inputs.system.position == DataType::Int64,
            before: inputs.system.before.clone().map(DataType::Struct),
            extra: inputs.system.extra,
        },
        ownership: inputs.ownership.clone(),
        scratch: inputs.scratch.clone(),
        scratch_bytes: parquet::DEFAULT_SCRATCH_BYTES,
    };
    Ok(Arc::new(parquet::ParquetSink::new(settings, inputs.context.clone())?))
}
