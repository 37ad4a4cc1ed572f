//! A contract made ready for decoding.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;

use super::json::write_string;
use crate::contract::{self, ColumnType, Contract, Evolution, Rule, TimeForm};

/// What the decoder needs of a contract.
#[derive(Debug)]
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
#[derive(Debug)]
pub(super) struct KeyColumn {
    /// Its index among the columns.
    pub column: usize,
    /// What stands before its value in `_key`: `{"user_id":` or `,"timestamp":`.
    pub literal: Vec<u8>,
}

/// Columns by name.
#[derive(Debug, Default)]
pub(super) struct Members {
    pub all: Vec<Member>,
    names: HashMap<Box<str>, usize>,
}

/// One column, or one member of a struct, or the item of a list.
#[derive(Debug)]
pub(super) struct Member {
    pub name: String,
    pub kind: Kind,
    pub required: bool,
    pub rules: Vec<Rule>,
    /// It, or something within it, is required or has rules.
    pub checked: bool,
}

/// The type of a column.
#[derive(Debug)]
pub(super) enum Kind {
    Text,
    Integer,
    Float,
    Decimal { precision: u8, scale: i8 },
    Boolean,
    Instant(TimeForm),
    Date,
    Binary,
    List(Box<Member>),
    Struct(Members),
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
            .chain(of_kind(|kind| matches!(kind, Kind::Date)))
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
            ColumnType::Decimal { precision, scale } => {
                Kind::Decimal { precision: *precision, scale: *scale }
            }
            ColumnType::Boolean => Kind::Boolean,
            ColumnType::Timestamp(form) => Kind::Instant(*form),
            ColumnType::Date => Kind::Date,
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
            Self::Decimal { precision, scale } => {
                format!("a number of at most {precision} digits, {scale} of them decimals")
            }
            Self::Boolean => "true or false".into(),
            Self::Instant(TimeForm::Text) => "an ISO 8601 time".into(),
            Self::Instant(TimeForm::EpochSeconds) => "seconds since 1970".into(),
            Self::Instant(TimeForm::EpochMillis) => "milliseconds since 1970".into(),
            Self::Date => "a date (YYYY-MM-DD)".into(),
            Self::Binary => "bytes in base64".into(),
            Self::List(_) => "a list".into(),
            Self::Struct(_) => "an object".into(),
        }
    }
}
