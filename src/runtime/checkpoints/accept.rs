//! The ways on after a halt. Each is planned first, so that a person sees what it will do, and done
//! only when the person says so.

use serde_json::Value;

use super::Checkpoints;
use crate::component::checkpoint::Key;
use crate::component::source::Surveyed;
use crate::component::{Gap, Record};
use crate::error::{Error, Result};
use crate::event::{PartitionId, Position};
use crate::runtime::swap::{Held, Swapped};
use crate::sinks::staging::{self, Found};
use crate::sources;

/// What is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// A topic has more partitions, and keys have moved between them.
    Growth,
    /// A topic was deleted and made anew.
    Recreation,
    /// Records are gone that were never read.
    Gap,
    /// A file that was committed is gone.
    LostFile,
}

/// What accepting would do to one partition.
#[derive(Debug, Clone)]
pub struct Change {
    /// The partition.
    pub partition: PartitionId,
    /// In words.
    pub what: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// Store the record as it is here, with everything published that is pending.
    Store(Box<Record>),
    /// Make this record: the partition has none yet.
    Create(Box<Record>),
    /// Take the pending epoch's files back and read its range again.
    ReadAgain,
    /// Publish what is left of the pending epoch; the lost files' rows stay missing.
    GiveUp,
}

/// What a plan rests on.
struct Basis {
    records: Vec<Record>,
    surveyed: Vec<Surveyed>,
    /// The version base of partitions that begin anew: above that of every record, since keys may
    /// come from any partition.
    base: i64,
}

impl Basis {
    /// True where some record of the topic was made for another number of partitions.
    fn has_grown(&self, record: &Record) -> bool {
        let of_topic = |other: &&Record| topic(&other.source) == topic(&record.source);
        self.records.iter().filter(of_topic).any(|other| {
            let now = self.now(&other.partition).map(|now| &now.start.identity);
            now.is_some_and(|now| {
                topic_id(now) == topic_id(&other.source) && count(now) != count(&other.source)
            })
        })
    }

    fn now(&self, partition: &PartitionId) -> Option<&Surveyed> {
        self.surveyed.iter().find(|one| one.start.partition == *partition)
    }
}

impl Checkpoints {
    /// What accepting `accept` would change, of `only` or of all partitions; none where nothing of
    /// the kind is wrong.
    pub async fn plan(&self, accept: Accept, only: &[PartitionId]) -> Result<Vec<Change>> {
        let basis = self.basis().await?;
        if basis.surveyed.is_empty() && accept != Accept::LostFile {
            return Err(Error::config(
                "an archive neither grows nor is made anew: a changed file needs a pipeline of its own",
            ));
        }
        let mut changes = Vec::new();
        for record in &basis.records {
            if accept == Accept::Growth && !basis.has_grown(record) {
                continue;
            }
            if let Some((what, kind)) = self.plan_one(accept, record.clone(), &basis).await? {
                changes.push(Change { partition: record.partition.clone(), what, kind });
            }
        }
        if matches!(accept, Accept::Growth | Accept::Recreation) {
            changes.extend(new_partitions(&changes, &basis));
        }
        changes.retain(|change| only.is_empty() || only.contains(&change.partition));
        Ok(changes)
    }

    async fn basis(&self) -> Result<Basis> {
        let surveyed = self.survey().await?;
        let records: Vec<Record> =
            self.records().await?.into_iter().map(|held| held.content).collect();
        let highest = records.iter().map(|record| record.version_base).max().unwrap_or_default();
        let base = highest + sources::version_step(&self.source);
        Ok(Basis { records, surveyed, base })
    }

    async fn plan_one(
        &self,
        accept: Accept,
        record: Record,
        basis: &Basis,
    ) -> Result<Option<(String, Kind)>> {
        let now = basis.now(&record.partition);
        let stored = |(record, what): (Record, String)| (what, Kind::Store(Box::new(record)));
        Ok(match (accept, now) {
            (Accept::LostFile, now) => self.lost_file(&record, now).await?,
            (Accept::Growth, Some(now)) => Some(stored(growth(record, now, basis.base))),
            (Accept::Recreation, Some(now)) => recreation(record, now, basis.base).map(stored),
            (Accept::Gap, Some(now)) => gap(record, now, basis.base).map(stored),
            (_, None) => None,
        })
    }

    /// Do what was planned, if it is still what would be planned. The record is taken from whoever
    /// holds it first.
    ///
    /// # Errors
    /// `Config` where the partition has moved on meanwhile, `Halted` where a pending file is lost
    /// and it was not that which was accepted.
    pub async fn apply(&self, change: &Change) -> Result<()> {
        if let Kind::Create(record) = &change.kind {
            let key = Key::Record(change.partition.clone());
            return match self.documents.swap(&key, None, (**record).clone()).await? {
                Swapped::Stored(_) => Ok(()),
                Swapped::Lost(_) => Err(moved(&change.partition)),
            };
        }
        let held = self.record(&change.partition).await?;
        if let Kind::Store(planned) = &change.kind
            && (planned.token, planned.last_epoch())
                != (held.content.token, held.content.last_epoch())
        {
            return Err(moved(&change.partition));
        }
        let held = self.fence(held).await?;
        match &change.kind {
            Kind::Store(planned) => {
                let mut record = (**planned).clone();
                if let Some(pending) = record.pending.take() {
                    self.publish(&pending.files).await?;
                    record.done = pending.epoch;
                }
                record.token = held.content.token;
                record.owner = None;
                self.store(&held, record).await.map(drop)
            }
            Kind::ReadAgain => self.read_again(held).await,
            Kind::GiveUp => self.give_up(held).await,
            Kind::Create(_) => Ok(()),
        }
    }

    async fn lost_file(
        &self,
        record: &Record,
        now: Option<&Surveyed>,
    ) -> Result<Option<(String, Kind)>> {
        let Some(pending) = &record.pending else { return Ok(None) };
        let mut lost = Vec::new();
        for file in &pending.files {
            if let Found::Lost(reason) = staging::look(self.place_of(file)?, file).await? {
                lost.push(format!("{} ({reason})", file.key));
            }
        }
        if lost.is_empty() {
            return Ok(None);
        }
        let (lost, from, to) = (lost.join(", "), &pending.from, &pending.to);
        let is_there = now.is_none_or(|now| now.low <= *from);
        let planned = match is_there {
            true => (
                format!(
                    "takes the files of epoch {} back and reads {from} to {to} again; lost: {lost}",
                    pending.epoch
                ),
                Kind::ReadAgain,
            ),
            false => (
                format!(
                    "the source no longer has {from} to {to}: the rows of the lost files stay \
                     missing, the others of epoch {} are published; lost: {lost}",
                    pending.epoch
                ),
                Kind::GiveUp,
            ),
        };
        Ok(Some(planned))
    }

    async fn read_again(&self, held: Held<Record>) -> Result<()> {
        let mut record = held.content.clone();
        let Some(pending) = record.pending.take() else { return Err(moved(&record.partition)) };
        for file in &pending.files {
            staging::retract(self.place_of(file)?, std::slice::from_ref(file)).await?;
        }
        record.next = pending.from;
        record.ordinal_next = pending.ordinal_from;
        record.closed = false;
        // The number is used up: the names of its files never come back.
        record.done = pending.epoch;
        self.store(&held, record).await.map(drop)
    }

    async fn give_up(&self, held: Held<Record>) -> Result<()> {
        let mut record = held.content.clone();
        let Some(pending) = record.pending.take() else { return Err(moved(&record.partition)) };
        for file in &pending.files {
            let staging = self.place_of(file)?;
            if !matches!(staging::look(staging, file).await?, Found::Lost(_)) {
                staging::publish(staging, std::slice::from_ref(file)).await?;
            }
        }
        let reason = format!("files of epoch {} were lost", pending.epoch);
        record.gaps.push(Gap { from: pending.from, to: pending.to, reason });
        record.done = pending.epoch;
        self.store(&held, record).await.map(drop)
    }
}

fn growth(mut record: Record, now: &Surveyed, base: i64) -> (Record, String) {
    let after = count(&now.start.identity).unwrap_or_default();
    record.source = now.start.identity.clone();
    record.version_base = base;
    let what = format!(
        "goes on at {}; versions from there on are above all older ones. Keys that moved when \
         the topic came to {after} partitions, while both were being written, may show an older change \
         as their last one: compare what was written around the growth",
        record.next
    );
    (record, what)
}

fn recreation(mut record: Record, now: &Surveyed, base: i64) -> Option<(Record, String)> {
    if topic_id(&record.source) == topic_id(&now.start.identity) {
        return None;
    }
    record.source = now.start.identity.clone();
    let what = format!(
        "begins at {} of the new topic; whatever the old one held from {} on and was not read is given \
         up",
        now.low, record.next
    );
    begin_again(&mut record, now, &now.low, base, "the topic was deleted and made anew");
    Some((record, what))
}

fn gap(mut record: Record, now: &Surveyed, base: i64) -> Option<(Record, String)> {
    let (next, low, high) = (record.next.clone(), &now.low, &now.high);
    if topic_id(&record.source) != topic_id(&now.start.identity) {
        return None;
    }
    if next < *low {
        let reason = "the source no longer has them".to_owned();
        record.gaps.push(Gap { from: next.clone(), to: low.clone(), reason });
        record.next = low.clone();
        let what = format!("gives up positions {next} to {low}, and goes on at {low}");
        return Some((record, what));
    }
    if next > *high {
        let what = format!(
            "stands at {next}, the topic ends at {high}: goes on at {high}, where other records take \
             positions that were used before"
        );
        begin_again(&mut record, now, high, base, "the topic was cut off behind what was read");
        return Some((record, what));
    }
    None
}

/// Positions begin again at `at`: versions rise above all older ones, and `_partition` says that the
/// stream is another.
fn begin_again(record: &mut Record, now: &Surveyed, at: &Position, base: i64, reason: &str) {
    record.version_base = base;
    let life = record.label.as_deref().and_then(|label| label.rsplit_once('~'));
    let life = life.and_then(|(_, life)| life.parse::<u32>().ok()).unwrap_or(1) + 1;
    record.label = Some(format!("{}~{life}", now.start.label));
    let (from, to) = (record.next.clone(), at.clone());
    record.gaps.push(Gap { from, to, reason: reason.to_owned() });
    record.next = at.clone();
}

/// Records for partitions that have none: their versions too must be above all older ones.
fn new_partitions(changes: &[Change], basis: &Basis) -> Vec<Change> {
    let Some(template) = changes.first().and_then(|change| {
        basis.records.iter().find(|record| record.partition == change.partition)
    }) else {
        return Vec::new();
    };
    let is_new = |one: &&Surveyed| {
        !basis.records.iter().any(|record| record.partition == one.start.partition)
    };
    let create = |one: &Surveyed| {
        let record = Record {
            partition: one.start.partition.clone(),
            token: 0,
            owner: None,
            source: one.start.identity.clone(),
            start: one.low.clone(),
            next: one.low.clone(),
            ordinal_next: 0,
            done: 0,
            pending: None,
            gaps: Vec::new(),
            closed: false,
            version_base: basis.base,
            label: None,
            ..template.clone()
        };
        let what = format!("is new: begins at {}, with versions above all older ones", one.low);
        let partition = one.start.partition.clone();
        Change { partition, what, kind: Kind::Create(Box::new(record)) }
    };
    basis.surveyed.iter().filter(is_new).map(create).collect()
}

fn moved(partition: &PartitionId) -> Error {
    Error::config(format!("{partition} has moved on since this was planned: look again"))
}

fn topic(source: &Value) -> Option<&str> {
    source.get("kafka")?.get("topic")?.as_str()
}

fn count(source: &Value) -> Option<i64> {
    source.get("kafka")?.get("partitions")?.as_i64()
}

fn topic_id(source: &Value) -> Option<&str> {
    source.get("kafka")?.get("topic_id")?.as_str()
}
