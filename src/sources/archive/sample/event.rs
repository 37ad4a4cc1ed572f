//! A change of an item as a DynamoDB Streams record.
//!
//! Shape: `GetRecords` of the DynamoDB Streams API, view type `NEW_AND_OLD_IMAGES`; deletes by the
//! table's time-to-live carry the service as `userIdentity`.

use std::io::Write;

use super::item::{Item, put};

/// What happened to the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Insert,
    Modify,
    Delete,
    Expire,
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// When it happened, milliseconds since 1970; records say it in whole seconds.
    pub(super) time_ms: i64,
    pub(super) change: Change,
    /// The item before; none for an insert.
    pub(super) old: Option<Item>,
    /// The item after; none for a delete.
    pub(super) new: Option<Item>,
}

impl Event {
    /// The record of the `number`th change of its file; `shard` is the file's number.
    pub(super) fn put(&self, shard: u64, number: u64, out: &mut Vec<u8>) {
        let name = match self.change {
            Change::Insert => "INSERT",
            Change::Modify => "MODIFY",
            Change::Delete | Change::Expire => "REMOVE",
        };
        put!(out, r#"{{"eventID":"{:032x}","eventName":"{name}""#, event_id(shard, number));
        put!(out, r#","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1""#);
        let start = out.len();
        put!(
            out,
            r#","dynamodb":{{"ApproximateCreationDateTime":{}"#,
            self.time_ms.div_euclid(1000)
        );
        if let Some(item) = self.new.as_ref().or(self.old.as_ref()) {
            out.extend_from_slice(br#","Keys":{"#);
            item.put_dynamodb_keys(out);
            out.push(b'}');
        }
        for (name, image) in [("NewImage", &self.new), ("OldImage", &self.old)] {
            if let Some(item) = image {
                put!(out, r#","{name}":"#);
                item.put_dynamodb(out);
            }
        }
        let sequence = 100_000_000_000 + shard * 10_000_000_000 + number * 7;
        put!(out, r#","SequenceNumber":"{sequence}00000000000{:010}""#, number % 97);
        let size = out.len() - start;
        put!(out, r#","SizeBytes":{size},"StreamViewType":"NEW_AND_OLD_IMAGES"}}"#);
        if self.change == Change::Expire {
            out.extend_from_slice(
                br#","userIdentity":{"principalId":"dynamodb.amazonaws.com","type":"Service"}"#,
            );
        }
        out.extend_from_slice(
            br#","eventSourceARN":"arn:aws:dynamodb:us-east-1:123456789012:table/conversation-contexts/stream/2024-01-01T00:00:00.000"}"#,
        );
    }
}

/// Spread over the digits as a hash is, but from few bits, so that the sample stays small.
fn event_id(shard: u64, number: u64) -> u128 {
    let mixed = u128::from((shard << 32 | number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed << 64 | mixed.rotate_left(17) & 0xFFFF_FFFF
}
