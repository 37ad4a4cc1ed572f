//! A contract made ready for decoding.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;

use super::json::write_string;
use crate::contract::{self, ColumnType, Contract, DecimalForm, Evolution, Rule, TimeForm};

/// What the decoder needs of a contract.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The Arrow schema of the rows.
    pub schema: SchemaRef,
    /// The columns.
    pub root: Members,
    /// The key columns, in key order.
    pub keys: Vec<KeyColumn>,
    /// Where the time of an event is found if its record does not say it: instants of the key
    /// first, then the other instants, then dates, each in the contract's order.
    pub times: Vec<usize>,
    /// Unknown attributes make a reject.
    pub strict: bool,
}

/// One column of the primary key.
#[derive(Debug, Clone)]
pub(super) struct KeyColumn {
    /// Its index among the columns.
    pub column: usize,
    /// What stands before its value in `_key`: `{"user_id":` or `,"timestamp":`.
    pub literal: Vec<u8>,
}

/// Columns by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Members {
    pub all: Vec<Member>,
    names: HashMap<Box<str>, usize>,
}

/// One column, or one member of a struct, or the item of a list.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: String,
    pub kind: Kind,
    pub required: bool,
    pub rules: Vec<Rule>,
    /// It, or something within it, is required or has rules.
    pub checked: bool,
}

/// The type of a column, and how its values are written.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Decimal { precision: u8, scale: i8, written: Written },
    Boolean,
    Instant(TimeForm),
    Date(TimeForm),
    Binary,
    List(Box<Member>),
    Struct(Members),
}

/// How an exact number is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// As a number, or as the text of one.
    Digits,
    /// As its unscaled value in base64; of this scale, where it does not bring its own.
    Unscaled { scale: i32 },
}

impl Plan {
    pub(super) fn new(contract: &Contract) -> Self {
        let root = Members::new(&contract.columns);
        let mut keys = Vec::new();
        for name in &contract.primary_key {
            let mut literal = vec![if keys.is_empty() { b'{' } else { b',' }];
            write_string(&mut literal, name);
            literal.push(b':');
            if let Some(column) = root.index(name, 0) {
                keys.push(KeyColumn { column, literal });
            }
        }
        let of_kind = |wanted: fn(&Kind) -> bool| {
            let columns = root.all.iter().enumerate();
            columns.filter(move |(_, column)| wanted(&column.kind)).map(|(index, _)| index)
        };
        let instants = || of_kind(|kind| matches!(kind, Kind::Instant(_)));
        let is_key = |index: &usize| keys.iter().any(|key| key.column == *index);
        let times = instants()
            .filter(|index| is_key(index))
            .chain(instants().filter(|index| !is_key(index)))
            .chain(of_kind(|kind| matches!(kind, Kind::Date(_))))
            .collect();
        let strict = contract.evolution == Evolution::Strict;
        Self { schema: contract.schema(), times, root, keys, strict }
    }

    /// The place of a column in the key.
    pub(super) fn key_of(&self, column: usize) -> Option<usize> {
        self.keys.iter().position(|key| key.column == column)
    }
}

impl Members {
    fn new(columns: &[contract::Column]) -> Self {
        let all: Vec<_> = columns.iter().map(Member::new).collect();
        let names =
            all.iter().enumerate().map(|(index, member)| (member.name.as_str().into(), index));
        Self { names: names.collect(), all }
    }

    /// The index of the member of that name. `hint` is tried first: members mostly come in order.
    #[inline]
    pub(super) fn index(&self, name: &str, hint: usize) -> Option<usize> {
        match self.all.get(hint) {
            Some(member) if member.name == name => Some(hint),
            _ => self.names.get(name).copied(),
        }
    }
}

impl Member {
    fn new(column: &contract::Column) -> Self {
        let kind = match &column.kind {
            ColumnType::Text => Kind::Text,
            ColumnType::Integer => Kind::Integer,
            ColumnType::Float => Kind::Float,
            ColumnType::Decimal { precision, scale, form } => {
                let written = match form {
                    DecimalForm::Digits => Written::Digits,
                    DecimalForm::Base64 => Written::Unscaled { scale: i32::from(*scale) },
                };
                Kind::Decimal { precision: *precision, scale: *scale, written }
            }
            ColumnType::Boolean => Kind::Boolean,
            ColumnType::Timestamp(form) => Kind::Instant(*form),
            ColumnType::Date(form) => Kind::Date(*form),
            ColumnType::Binary => Kind::Binary,
            ColumnType::List(item) => Kind::List(Box::new(Self::new(item))),
            ColumnType::Struct(members) => Kind::Struct(Members::new(members)),
        };
        let inner = match &kind {
            Kind::List(item) => item.checked,
            Kind::Struct(members) => members.all.iter().any(|member| member.checked),
            _ => false,
        };
        Self {
            name: column.name.clone(),
            required: column.required,
            checked: inner || column.required || !column.rules.is_empty(),
            rules: column.rules.clone(),
            kind,
        }
    }
}

impl Kind {
    /// The word that messages use.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Integer => "a whole number".into(),
            Self::Float => "a number".into(),
            Self::Decimal { precision, scale, written } => {
                let form = match written {
                    Written::Digits => "",
                    Written::Unscaled { .. } => ", its unscaled value in base64",
                };
                format!("a number of at most {precision} digits, {scale} of them decimals{form}")
            }
            Self::Boolean => "true or false".into(),
            Self::Instant(TimeForm::Text) => "an ISO 8601 time".into(),
            Self::Date(TimeForm::Text) => "a date (YYYY-MM-DD)".into(),
            Self::Instant(form) => format!("{} since 1970", unit(*form)),
            Self::Date(TimeForm::EpochDays) => "days since 1970".into(),
            Self::Date(form) => format!("the midnight of a day in {} since 1970", unit(*form)),
            Self::Binary => "bytes in base64".into(),
            Self::List(_) => "a list".into(),
            Self::Struct(_) => "an object".into(),
        }
    }
}

/// What a form of time counts.
fn unit(form: TimeForm) -> &'static str {
    match form {
        TimeForm::EpochDays => "days",
        TimeForm::Text | TimeForm::EpochSeconds => "seconds",
        TimeForm::EpochMillis => "milliseconds",
        TimeForm::EpochMicros => "microseconds",
        TimeForm::EpochNanos => "nanoseconds",
    }
}
