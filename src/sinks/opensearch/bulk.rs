//! Bulk requests and their answers. Each line is one item: a document of a version, or a delete of
//! one.
//!
//! Source: "Bulk" in the API reference of OpenSearch; what single items are answered was tried on a
//! real node.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::actions::{ActionRules, Actions, TOMBSTONE};
use super::client::{Answer, reason_of};
use crate::error::{Error, Result};
use crate::event::{Batch, DeadLetter, Stage};
use crate::memory::{Charge, MemoryBudget};
use crate::sinks::documents::{Documents, Fate};

/// What of an answer is asked for: each item's status and error.
pub(super) const ANSWER_PARTS: &str = "items.*.status,items.*.error";

/// What the letters of refused items are made of, without the rows themselves. It is held, and counted
/// against the budget, until the last item of its batch is answered.
#[derive(Debug)]
pub(super) struct Source {
    batch: Batch,
    bytes: usize,
    _charge: Charge,
}

/// The row that an item stands for.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    source: Arc<Source>,
    row: usize,
}

impl Origin {
    /// The letter of the row, which `stage` refuses.
    pub(super) fn letter(&self, stage: Stage, reason: String) -> DeadLetter {
        self.source.batch.letter(stage, self.row, reason)
    }
}

/// One item of a bulk: its lines, and where they come from.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Where its lines lie in the bulk.
    start: usize,
    end: usize,
    is_delete: bool,
    pub(super) origin: Origin,
}

/// The rows of one batch as items.
pub(super) struct Written {
    pub(super) bulk: Bulk,
    /// The periods whose indices they go to.
    pub(super) periods: BTreeSet<String>,
    /// Rows that belong to no index, and why.
    pub(super) misfits: Vec<(Origin, String)>,
}

/// Items that are sent together, at least one.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    bytes: Vec<u8>,
    pub(super) items: Vec<Item>,
}

impl Bulk {
    /// The items of every row of `batch`, whose documents are `documents`, by `rules`; with
    /// `tombstones` a delete leaves a document that says so. What it holds is counted against
    /// `memory`.
    ///
    /// # Errors
    /// `Fatal` where a column has a type that no JSON stands for.
    pub(super) fn of(
        mut batch: Batch,
        documents: &Documents,
        rules: &ActionRules,
        tombstones: bool,
        memory: &Arc<MemoryBudget>,
    ) -> Result<Written> {
        let failed = |cause| Error::fatal("cannot write rows as documents").caused_by(cause);
        let mut encoder = documents.encoder().map_err(failed)?;
        let (mut bytes, mut places) = (Vec::new(), Vec::with_capacity(batch.len()));
        let (mut periods, mut misfits) = (BTreeSet::new(), Vec::new());
        let actions = Actions::of(&batch, rules).map_err(failed)?;
        for row in 0..batch.len() {
            let fate = Fate::of(batch.system.op.value(row), rules.expire_deletes);
            let start = bytes.len();
            let (action, document) = match fate {
                Fate::Keep => continue,
                Fate::Delete if !tombstones => ("delete", None),
                _ => ("index", Some(fate)),
            };
            let period = match actions.period(row) {
                Ok(period) => period,
                Err(reason) => {
                    misfits.push((row, reason));
                    continue;
                }
            };
            actions
                .write(action, row, &period, &mut bytes)
                .map_err(|cause| Error::fatal("cannot write an id").caused_by(cause))?;
            match document {
                Some(Fate::Index) => encoder.write(row, &mut bytes),
                Some(_) => bytes.extend_from_slice(TOMBSTONE.as_bytes()),
                None => {}
            }
            if document.is_some() {
                bytes.push(b'\n');
            }
            if !periods.contains(&period) {
                periods.insert(period);
            }
            places.push((start, bytes.len(), action == "delete", row));
        }
        batch.rows = batch.rows.slice(0, 0);
        let batch = Batch { before: None, kept: None, rejects: Vec::new(), ..batch };
        let held = batch.raw.data.len() + bytes.len();
        let source = Arc::new(Source { batch, bytes: held, _charge: memory.charge(held) });
        let origin = |row| Origin { source: source.clone(), row };
        let item = |(start, end, is_delete, row)| {
            let origin = origin(row);
            Item { start, end, is_delete, origin }
        };
        let bulk = Self { items: places.into_iter().map(item).collect(), bytes };
        let misfits = misfits.into_iter().map(|(row, reason)| (origin(row), reason)).collect();
        Ok(Written { bulk, periods, misfits })
    }

    /// Bytes that it keeps in memory: those of its lines, and of the batches that its letters would be
    /// made of.
    pub(super) fn held(&self) -> usize {
        let (mut held, mut last) = (0, None);
        // The items of one batch stand together.
        for item in &self.items {
            let source = Arc::as_ptr(&item.origin.source);
            if last.replace(source) != Some(source) {
                held += item.origin.source.bytes;
            }
        }
        held
    }

    /// Bytes of its lines.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True where there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The body of a request.
    pub(super) fn body(&self) -> Bytes {
        Bytes::copy_from_slice(&self.bytes)
    }

    /// Put the items of `other` behind these.
    pub(super) fn append(&mut self, mut other: Self) {
        let offset = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.items.extend(other.items.into_iter().map(|item| Item {
            start: item.start + offset,
            end: item.end + offset,
            ..item
        }));
    }

    /// Take the first items off, of at most `bytes`, but one at least.
    pub(super) fn take(&mut self, bytes: usize) -> Self {
        let count = self.items.partition_point(|item| item.end <= bytes).max(1);
        if count >= self.items.len() {
            return std::mem::take(self);
        }
        let rest = self.items.split_off(count);
        let end = self.items.last().map_or(0, |item| item.end);
        let tail = self.bytes.split_off(end);
        let first = Self {
            bytes: std::mem::replace(&mut self.bytes, tail),
            items: std::mem::take(&mut self.items),
        };
        self.items = rest;
        for item in &mut self.items {
            item.start -= end;
            item.end -= end;
        }
        first
    }

    /// Only the items at these places, in their order.
    pub(super) fn keep(&mut self, places: &[usize]) {
        let (mut bytes, mut items) = (Vec::new(), Vec::with_capacity(places.len()));
        for item in places.iter().filter_map(|place| self.items.get(*place)) {
            let start = bytes.len();
            bytes.extend_from_slice(self.bytes.get(item.start..item.end).unwrap_or_default());
            items.push(Item { start, end: bytes.len(), ..item.clone() });
        }
        (self.bytes, self.items) = (bytes, items);
    }
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The index has it, or something newer.
    Done,
    /// The cluster has too much to do, or lacks something for now: again, later.
    Later(String),
    /// Nobody may write now: again, when somebody has mended it.
    Blocked(String),
    /// The index is gone.
    Gone(String),
    /// This document will never be taken.
    Refused(String),
}

#[derive(Deserialize)]
struct Answered {
    #[serde(default)]
    items: Vec<std::collections::HashMap<String, ItemAnswer>>,
}

#[derive(Deserialize)]
struct ItemAnswer {
    status: u16,
    #[serde(default)]
    error: Value,
}

/// What became of each of `items`, by the answer to their request.
///
/// # Errors
/// `Retryable` where the answer does not speak of each: nothing is known then.
pub(super) fn outcomes(items: &[Item], answer: &Answer) -> Result<Vec<Outcome>> {
    let answered: Answered = serde_json::from_slice(&answer.body)
        .map_err(|cause| Error::retryable("the answer to a bulk is damaged").caused_by(cause))?;
    if answered.items.len() != items.len() {
        return Err(Error::retryable(format!(
            "the answer to a bulk of {} items speaks of {}",
            items.len(),
            answered.items.len()
        )));
    }
    let each = items.iter().zip(answered.items);
    Ok(each
        .map(|(item, said)| match said.into_values().next() {
            Some(said) => outcome(item, &said),
            None => Outcome::Later("an item was not answered".to_owned()),
        })
        .collect())
}

fn outcome(item: &Item, said: &ItemAnswer) -> Outcome {
    let kind = said.error.get("type").and_then(Value::as_str).unwrap_or_default();
    let reason = || {
        let why = reason_of(&said.error).unwrap_or_else(|| "no reason given".to_owned());
        format!("{why} (status {})", said.status)
    };
    match said.status {
        200..=299 => Outcome::Done,
        // A newer document, or a newer delete, is there.
        409 if kind == "version_conflict_engine_exception" => Outcome::Done,
        // There was nothing to delete, and the index remembers the version.
        404 if item.is_delete && said.error.is_null() => Outcome::Done,
        404 => Outcome::Gone(reason()),
        401 | 403 => Outcome::Blocked(reason()),
        429 if kind == "cluster_block_exception" => Outcome::Blocked(reason()),
        400 if kind == "index_closed_exception" => Outcome::Blocked(reason()),
        429 | 500.. => Outcome::Later(reason()),
        _ => Outcome::Refused(reason()),
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
pub(super) mod tests;
