//! Conversations: who writes when, about what, and what becomes of the messages.

use super::event::{Change, Event};
use super::item::{Answer, Item};
use super::phrases::{TOPICS, Topic, fill};
use super::random::SampleRandom;

/// 2024-01-08T00:00:00Z, a Monday.
pub(super) const START_MS: i64 = 1_704_672_000_000;
pub(super) const DAY_MS: i64 = 86_400_000;
const MODELS: [&str; 3] =
    ["anthropic.claude-v2", "anthropic.claude-instant-v1", "amazon.titan-text-express-v1"];

/// What stays the same in a session.
struct Session<'a> {
    user: &'a User,
    id: String,
    topic: &'static Topic,
    is_english: bool,
}

/// Someone who writes.
pub(super) struct User {
    id: String,
    is_english: bool,
    /// Guests' messages expire after three days, those of customers after thirty.
    is_guest: bool,
}

impl User {
    pub(super) fn new(number: u64, random: &mut SampleRandom) -> Self {
        let prefix = random.pick(&["+52155", "+52181", "+52133", "+57300", "+1210"]);
        // Numbers of different users differ whatever the random part is.
        let id = format!("whatsapp:{prefix}{:03}{number:05}", random.within(0, 1000));
        Self { id, is_english: prefix == "+1210", is_guest: random.one_in(4) }
    }

    /// Everything that happens to this user's messages in `days` days, in order of time.
    pub(super) fn events(&self, days: i64, random: &mut SampleRandom) -> Vec<Event> {
        let mut events = Vec::new();
        let end_ms = START_MS + days * DAY_MS;
        let mut free_from = START_MS;
        for _ in 0..random.within(1, 9) {
            let day = START_MS + signed(random.within(0, days.unsigned_abs())) * DAY_MS;
            // More is written by day than by night.
            let hour = random.within(0, 12) + random.within(1, 12);
            let minute_ms = signed(hour * 60 + random.within(0, 60)) * 60_000;
            let start_ms = (day + minute_ms + signed(random.within(0, 60_000))).max(free_from);
            free_from = self.session(start_ms, random, &mut events);
        }
        // Changes of one item stay in the order in which they were made.
        events.sort_by_key(|event| event.time_ms);
        events.retain(|event| event.time_ms < end_ms);
        events
    }

    /// One session; answers with the time at which the next may begin.
    fn session(&self, start_ms: i64, random: &mut SampleRandom, events: &mut Vec<Event>) -> i64 {
        let session = Session {
            user: self,
            id: format!("sess_{:08x}", random.bits() >> 32),
            topic: topic(random),
            is_english: self.is_english || random.one_in(10),
        };
        let mut time_ms = start_ms;
        for turn in 0..random.within(2, 11) {
            time_ms += signed(random.within(1_500, 90_000));
            let item = session.item(turn, time_ms, random);
            events.push(Event {
                time_ms: time_ms + signed(random.within(20, 900)),
                change: Change::Insert,
                old: None,
                new: Some(item.clone()),
            });
            afterwards(item, random, events);
        }
        time_ms + 3_600_000
    }
}

impl Session<'_> {
    fn item(&self, turn: u64, time_ms: i64, random: &mut SampleRandom) -> Item {
        let is_answer = turn % 2 == 1;
        let phrases = if self.is_english { &self.topic.english } else { &self.topic.spanish };
        let phrase = random.pick(if is_answer { phrases.assistant } else { phrases.user });
        let days = if self.user.is_guest { 3 } else { 30 };
        Item {
            user_id: self.user.id.clone(),
            time_ms,
            session_id: self.id.clone(),
            message_id: format!("msg_{:08x}{turn:02x}", random.bits() >> 32),
            message_type: if is_answer || !random.one_in(20) { "text" } else { "audio" },
            role: if is_answer { "assistant" } else { "user" },
            content: fill(phrase, self.is_english, random),
            answer: is_answer.then(|| answer(random)),
            is_escalated: false,
            sentiment: is_answer.then_some("neutral"),
            intent: self.topic.intent,
            language: if self.is_english { "en" } else { "es" },
            ttl: time_ms.div_euclid(1000) + days * 86_400,
            unknown: random.one_in(100).then(|| {
                random.pick(&[
                    ("campaign_id", "enero-2024"),
                    ("referral_source", "instagram"),
                    ("wa_template", "order_update_v3"),
                ])
            }),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn topic(random: &mut SampleRandom) -> &'static Topic {
    let place = usize::try_from(random.within(0, TOPICS.len() as u64)).unwrap_or(0);
    // `within` stays below the length.
    #[allow(clippy::indexing_slicing)]
    &TOPICS[place]
}

pub(super) fn answer(random: &mut SampleRandom) -> Answer {
    Answer {
        model: random.pick(&MODELS),
        confidence_thousandths: random.within(520, 1000),
        processing_ms: random.within(180, 4_200),
        tokens: random.within(12, 480),
    }
}

/// What becomes of an item: its sentiment is filled in, it is edited or escalated, deleted, or it
/// expires. Each change is later than the one before it.
fn afterwards(mut item: Item, random: &mut SampleRandom, events: &mut Vec<Event>) {
    let mut time_ms = item.time_ms + 1_000;
    let mut modify = |item: &mut Item, at_ms: i64, change: &dyn Fn(&mut Item)| {
        let old = item.clone();
        change(item);
        events.push(Event {
            time_ms: at_ms,
            change: Change::Modify,
            old: Some(old),
            new: Some(item.clone()),
        });
    };
    if item.role == "user" && random.one_in(2) {
        time_ms += signed(random.within(2_000, 30_000));
        let sentiment = match TOPICS.iter().find(|topic| topic.intent == item.intent) {
            Some(topic) if !random.one_in(5) => topic.sentiment,
            _ => "neutral",
        };
        modify(&mut item, time_ms, &|item| item.sentiment = Some(sentiment));
        if sentiment == "negative" && random.one_in(3) {
            time_ms += signed(random.within(5_000, 600_000));
            modify(&mut item, time_ms, &|item| item.is_escalated = true);
        }
    }
    if random.one_in(60) {
        time_ms += signed(random.within(10_000, 900_000));
        modify(&mut item, time_ms, &|item| item.content.push_str(" (editado)"));
    }
    if random.one_in(40) {
        time_ms += signed(random.within(60_000, 4 * 86_400_000));
        if time_ms < item.ttl * 1000 {
            events.push(Event { time_ms, change: Change::Delete, old: Some(item), new: None });
            return;
        }
    }
    // The table removes an item within hours of its time, not at once.
    let expires_ms = item.ttl * 1000 + signed(random.within(60_000, 6 * 3_600_000));
    events.push(Event { time_ms: expires_ms, change: Change::Expire, old: Some(item), new: None });
}
