//! Many rows at once, for benches.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use super::conversation::{DAY_MS, START_MS, answer, topic};
use super::event::{Change, Event};
use super::item::Item;
use super::phrases::fill;
use super::random::SampleRandom;
use crate::error::{ErrorKind, Result, ResultExt};

/// Bytes written in one go.
const WRITE_BYTES: usize = 1 << 20;

/// Order of the rows' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrder {
    /// Each row is later than the one before.
    Time,
    /// Any day may come next.
    Random,
}

/// Form of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowForm {
    /// Items as they are, about 540 bytes each.
    Plain,
    /// DynamoDB Streams records of the same items, with new and old images: three times the bytes.
    Dynamodb,
}

/// Rows of good conversations, each with a key of its own, evenly over the days from the sample's
/// first. The two forms of one seed hold the same items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkSample {
    /// The same seed gives the same rows.
    pub seed: u64,
    /// How many.
    pub rows: u64,
    /// Days that they are spread over.
    pub days: u64,
    /// Order of their times.
    pub order: RowOrder,
    /// Their form.
    pub form: RowForm,
}

impl BulkSample {
    /// Write the rows as NDJSON to `path`, replacing what is there. Answers with the bytes written.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let failed = || format!("cannot write {}", path.display());
        let mut file = File::create(path).or_error(ErrorKind::Config, failed)?;
        let mut random = SampleRandom::new(self.seed);
        let (mut out, mut written) = (Vec::with_capacity(WRITE_BYTES + 4096), 0);
        for row in 0..self.rows {
            self.put(row, &mut random, &mut out);
            out.push(b'\n');
            if out.len() >= WRITE_BYTES || row + 1 == self.rows {
                file.write_all(&out).or_error(ErrorKind::Config, failed)?;
                written += out.len() as u64;
                out.clear();
            }
        }
        Ok(written)
    }

    fn put(&self, row: u64, random: &mut SampleRandom, out: &mut Vec<u8>) {
        let item = self.item(row, random);
        match self.form {
            RowForm::Plain => item.put_plain(out),
            RowForm::Dynamodb => {
                let old = Item { sentiment: None, is_escalated: false, ..item.clone() };
                let time_ms = item.time_ms + 1_000;
                let change = Change::Modify;
                Event { time_ms, change, old: Some(old), new: Some(item) }.put(0, row, out);
            }
        }
    }

    fn item(&self, row: u64, random: &mut SampleRandom) -> Item {
        let place = match self.order {
            RowOrder::Time => row,
            // A multiplier without a common divisor visits every place once.
            RowOrder::Random => {
                let place =
                    u128::from(row) * u128::from(coprime(self.rows)) % u128::from(self.rows);
                u64::try_from(place).unwrap_or(row)
            }
        };
        let span_ms = u128::from(self.days) * u128::from(DAY_MS.unsigned_abs());
        let offset_ms = u128::from(place) * span_ms / u128::from(self.rows.max(1));
        let time_ms = START_MS + i64::try_from(offset_ms).unwrap_or(0);
        let topic = topic(random);
        let is_english = random.one_in(5);
        let phrases = if is_english { &topic.english } else { &topic.spanish };
        let is_answer = row % 2 == 1;
        let phrase = random.pick(if is_answer { phrases.assistant } else { phrases.user });
        Item {
            // Rows of one millisecond differ in the last digits, so every key is its own.
            user_id: format!("whatsapp:+52155{:04}{:04}", random.within(0, 2_500), place % 10_000),
            time_ms,
            session_id: format!("sess_{:012x}", random.bits() >> 16),
            message_id: format!("msg_{:016x}", random.bits()),
            message_type: "text",
            role: if is_answer { "assistant" } else { "user" },
            content: fill(phrase, is_english, random),
            // Every row has every attribute, so that rows have one shape.
            answer: Some(answer(random)),
            is_escalated: topic.sentiment == "negative" && random.one_in(3),
            sentiment: Some(topic.sentiment),
            intent: topic.intent,
            language: if is_english { "en" } else { "es" },
            ttl: time_ms.div_euclid(1000) + 30 * 86_400,
            unknown: None,
        }
    }
}

/// A number near the golden section of `rows` that has no divisor in common with it.
fn coprime(rows: u64) -> u64 {
    let divisor = |mut left: u64, mut right: u64| {
        while right != 0 {
            (left, right) = (right, left % right);
        }
        left
    };
    let near = rows / 1000 * 618 + 1;
    (near..).find(|candidate| divisor(*candidate, rows) == 1).unwrap_or(1)
}
