//! One message of a conversation, as its table holds it, and its two forms.

use std::io::Write;

use chrono::{DateTime, SecondsFormat};

/// An item of the table `conversation-contexts`.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) user_id: String,
    /// When the message was written, milliseconds since 1970.
    pub(super) time_ms: i64,
    pub(super) session_id: String,
    pub(super) message_id: String,
    pub(super) message_type: &'static str,
    pub(super) role: &'static str,
    pub(super) content: String,
    /// What the assistant adds.
    pub(super) answer: Option<Answer>,
    pub(super) is_escalated: bool,
    pub(super) sentiment: Option<&'static str>,
    pub(super) intent: &'static str,
    pub(super) language: &'static str,
    /// Seconds since 1970 at which the table drops it.
    pub(super) ttl: i64,
    /// An attribute that no contract knows, and its text.
    pub(super) unknown: Option<(&'static str, &'static str)>,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub(super) model: &'static str,
    /// Confidence in thousandths.
    pub(super) confidence_thousandths: u64,
    pub(super) processing_ms: u64,
    pub(super) tokens: u64,
}

/// Milliseconds since 1970 as the table's sort key writes them.
pub(super) fn timestamp(time_ms: i64) -> String {
    DateTime::from_timestamp_millis(time_ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Everything here is written into memory, which does not fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { let _ = write!($out, $($text)*); };
}
pub(super) use put;

/// `text` as a JSON string.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

impl Item {
    /// As DynamoDB JSON: `{"user_id":{"S":"..."},...}`.
    pub(super) fn put_dynamodb(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.put_dynamodb_keys(out);
        put!(out, r#","session_id":{{"S":"{}"}}"#, self.session_id);
        put!(out, r#","message_id":{{"S":"{}"}}"#, self.message_id);
        put!(out, r#","message_type":{{"S":"{}"}}"#, self.message_type);
        put!(out, r#","role":{{"S":"{}"}},"content":{{"S":"#, self.role);
        put_text(out, &self.content);
        out.push(b'}');
        if let Some(answer) = self.answer {
            put!(out, r#","ai_model_used":{{"S":"{}"}}"#, answer.model);
            let thousandths = answer.confidence_thousandths;
            put!(out, r#","confidence_score":{{"N":"0.{thousandths:03}"}}"#);
            put!(out, r#","processing_time_ms":{{"N":"{}"}}"#, answer.processing_ms);
            put!(out, r#","tokens_used":{{"N":"{}"}}"#, answer.tokens);
        }
        put!(
            out,
            r#","escalation_triggered":{{"BOOL":{}}},"metadata":{{"M":{{"#,
            self.is_escalated
        );
        if let Some(sentiment) = self.sentiment {
            put!(out, r#""sentiment":{{"S":"{sentiment}"}},"#);
        }
        put!(out, r#""intent":{{"S":"{}"}},"language":{{"S":"{}"}}"#, self.intent, self.language);
        put!(out, r#"}}}},"ttl":{{"N":"{}"}}"#, self.ttl);
        if let Some((name, text)) = self.unknown {
            put!(out, r#","{name}":{{"S":"{text}"}}"#);
        }
        out.push(b'}');
    }

    /// The two key attributes as DynamoDB JSON, without braces.
    pub(super) fn put_dynamodb_keys(&self, out: &mut Vec<u8>) {
        put!(out, r#""user_id":{{"S":"{}"}}"#, self.user_id);
        put!(out, r#","timestamp":{{"S":"{}"}}"#, timestamp(self.time_ms));
    }

    /// As a plain JSON object.
    pub(super) fn put_plain(&self, out: &mut Vec<u8>) {
        put!(out, r#"{{"user_id":"{}","timestamp":"{}""#, self.user_id, timestamp(self.time_ms));
        put!(out, r#","session_id":"{}","message_id":"{}""#, self.session_id, self.message_id);
        put!(out, r#","message_type":"{}","role":"{}","content":"#, self.message_type, self.role);
        put_text(out, &self.content);
        if let Some(answer) = self.answer {
            put!(out, r#","ai_model_used":"{}""#, answer.model);
            put!(out, r#","confidence_score":0.{:03}"#, answer.confidence_thousandths);
            put!(out, r#","processing_time_ms":{}"#, answer.processing_ms);
            put!(out, r#","tokens_used":{}"#, answer.tokens);
        }
        put!(out, r#","escalation_triggered":{},"metadata":{{"#, self.is_escalated);
        if let Some(sentiment) = self.sentiment {
            put!(out, r#""sentiment":"{sentiment}","#);
        }
        put!(
            out,
            r#""intent":"{}","language":"{}"}},"ttl":{}"#,
            self.intent,
            self.language,
            self.ttl
        );
        if let Some((name, text)) = self.unknown {
            put!(out, r#","{name}":"{text}""#);
        }
        out.push(b'}');
    }
}
