//! The open epoch of a lane: the writers of all sinks, and what they have been given.

use futures::future::join_all;
use tokio::time::Instant;

use super::commit::discard;
use super::settings::SinkLine;
use super::{CommitPolicy, LaneParts};
use crate::component::{EpochId, EpochWriter, Flushed, StagedFile};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::filter::rows_for_sink;
use crate::event::flood::FloodGuard;
use crate::event::{Batch, DeadLetter, Position};
use crate::mutants::{Mutant, planted};

/// One epoch on its way to the commit.
pub(super) struct OpenEpoch {
    pub(super) id: EpochId,
    /// One writer for each sink line, made when the first batch comes.
    writers: Vec<Option<Box<dyn EpochWriter>>>,
    dead_letters: Option<Box<dyn EpochWriter>>,
    opened: Option<Instant>,
    /// Where the epoch ends so far.
    pub(super) to: Position,
    /// Source bytes taken.
    pub(super) bytes: u64,
    /// Events taken, rejects included.
    pub(super) events: u64,
    /// After the flush: rows that the sinks took.
    pub(super) rows: u64,
    /// Counts the dead letters of the lane and of this epoch; the lane takes it over at the commit,
    /// so that an epoch that is read again counts once.
    pub(super) flood: FloodGuard,
    /// Dead letters that the guard has counted.
    pub(super) letters: u64,
    /// Dead letters that it has not counted yet.
    pub(super) letters_uncounted: u64,
    /// After the flush: the files to publish.
    pub(super) files: Vec<StagedFile>,
}

impl OpenEpoch {
    pub(super) fn new(id: EpochId, flood: FloodGuard) -> Self {
        let to = id.from.clone();
        Self {
            id,
            writers: Vec::new(),
            dead_letters: None,
            opened: None,
            to,
            bytes: 0,
            events: 0,
            rows: 0,
            flood,
            letters: 0,
            letters_uncounted: 0,
            files: Vec::new(),
        }
    }

    /// True where nothing has been taken, not even a gap.
    pub(super) fn is_empty(&self) -> bool {
        self.to == self.id.from
    }

    /// When the epoch has to be cut for its age.
    pub(super) fn due(&self, commit: &CommitPolicy) -> Option<Instant> {
        let age = if self.bytes >= commit.min_size.bytes() { commit.every } else { commit.max_age };
        Some(self.opened? + age.duration())
    }

    /// A writer asks for the epoch's end.
    pub(super) fn is_heavy(&self) -> bool {
        !planted(Mutant::HeavyEpochGoesOn)
            && self.writers.iter().flatten().any(|writer| writer.is_heavy())
    }

    /// Give `batch` to every sink. After an error the epoch is fit only to be abandoned.
    pub(super) async fn write(&mut self, parts: &LaneParts, mut batch: Batch) -> Result<()> {
        if batch.range.from != self.to && !planted(Mutant::FilteredRangeNotCarried) {
            return Err(Error::fatal(format!(
                "a batch of {} begins at {}, the one before it ended at {}",
                self.id.partition, batch.range.from, self.to
            )));
        }
        self.opened.get_or_insert_with(Instant::now);
        if self.writers.is_empty() {
            self.writers.resize_with(parts.sinks.len(), || None);
        }
        let (to, events, bytes) = (batch.range.to.clone(), batch.events, batch.bytes);
        let mut letters = std::mem::take(&mut batch.rejects);
        let nothing_kept = batch.kept.as_ref().is_some_and(|kept| kept.count_set_bits() == 0);
        if !batch.is_empty() {
            let writes = parts
                .sinks
                .iter()
                .zip(&mut self.writers)
                .map(|(line, writer)| write_to_sink(line, writer, &self.id, batch.clone()));
            for refused in join_all(writes).await {
                letters.extend(refused?);
            }
        }
        self.keep_letters(parts, letters).await?;
        if planted(Mutant::FilteredRangeNotCarried) && nothing_kept {
            return Ok(());
        }
        self.to = to;
        self.events += events;
        self.bytes += bytes;
        Ok(())
    }

    async fn keep_letters(&mut self, parts: &LaneParts, letters: Vec<DeadLetter>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        self.letters_uncounted += letters.len() as u64;
        if self.dead_letters.is_none() {
            self.dead_letters = Some(parts.dead_letters.begin(&self.id).await?);
        }
        match &mut self.dead_letters {
            Some(writer) => writer.write_dead_letters(letters).await,
            None => Ok(()),
        }
    }

    /// Make everything durable, the dead letters last: a sink may refuse rows as late as here.
    pub(super) async fn flush(&mut self, parts: &LaneParts) -> Result<()> {
        if !self.is_empty() {
            self.begin_without_rows(parts).await?;
        }
        if planted(Mutant::DeadLettersFlushedFirst) {
            self.flush_dead_letters().await?;
            self.flush_sinks().await?;
            return Ok(());
        }
        let letters = self.flush_sinks().await?;
        self.keep_letters(parts, letters).await?;
        self.flush_dead_letters().await
    }

    /// Give a writer to each sink that keeps positions and has got no rows.
    async fn begin_without_rows(&mut self, parts: &LaneParts) -> Result<()> {
        self.writers.resize_with(parts.sinks.len(), || None);
        for (line, writer) in parts.sinks.iter().zip(&mut self.writers) {
            if writer.is_none() && line.sink.keeps_positions() {
                *writer = Some(line.sink.begin(&self.id).await?);
            }
        }
        Ok(())
    }

    /// Flush every sink, and note what each has staged even where another one fails: the epoch has
    /// to answer for it. The answer is what the sinks refused.
    async fn flush_sinks(&mut self) -> Result<Vec<DeadLetter>> {
        let mut writers = std::mem::take(&mut self.writers);
        for writer in writers.iter_mut().flatten() {
            writer.reach(&self.to);
        }
        let flushes = writers.into_iter().flatten().map(EpochWriter::flush);
        let (mut letters, mut failure) = (Vec::new(), None);
        for flushed in join_all(flushes).await {
            match flushed {
                Ok(Flushed { staged, dead_letters, rows }) => {
                    self.rows += rows;
                    self.files.extend(staged);
                    letters.extend(dead_letters);
                }
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(letters),
        }
    }

    async fn flush_dead_letters(&mut self) -> Result<()> {
        if let Some(writer) = self.dead_letters.take() {
            self.files.extend(writer.flush().await?.staged);
        }
        Ok(())
    }

    /// Give the epoch up. Its Prepare was never sent, so that no record can name its files.
    pub(super) async fn abandon(self, parts: &LaneParts) {
        let writers = self.writers.into_iter().flatten().chain(self.dead_letters);
        if planted(Mutant::GivenUpEpochLeavesFiles) {
            return;
        }
        join_all(writers.map(EpochWriter::abandon)).await;
        discard(parts, &self.files).await;
    }
}

async fn write_to_sink(
    line: &SinkLine,
    writer: &mut Option<Box<dyn EpochWriter>>,
    epoch: &EpochId,
    batch: Batch,
) -> Result<Vec<DeadLetter>> {
    let mut batch = match &line.filter {
        Some(filter) => filter.apply(batch).await?,
        None => batch,
    };
    let mut letters = std::mem::take(&mut batch.rejects);
    let rows = rows_for_sink(batch, line.sink.filter_rule(), false)
        .or_error(ErrorKind::Fatal, || {
            format!("cannot filter rows for sink {}", line.sink.name())
        })?;
    if rows.batch.is_empty() {
        return Ok(letters);
    }
    if writer.is_none() {
        *writer = Some(line.sink.begin(epoch).await?);
    }
    if let Some(writer) = writer {
        letters.extend(writer.write(rows).await?);
    }
    Ok(letters)
}
