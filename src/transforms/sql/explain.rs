//! DataFusion's planning errors in our own words, at their place.

use std::ops::ControlFlow;

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Spanned, Statement, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use super::check::{normal, twice};
use super::error::{SqlError, closest};
use super::parse::{Names, Text};
use crate::event::system;

/// The text with its first letter in lower case, unless the word is a name in capitals.
pub(super) fn lowercase(text: &str) -> String {
    let mut letters = text.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
    .trim_end_matches('.')
    .to_owned()
}

/// What an explanation needs: the text, the names, and the tree as it was written.
pub(super) struct Explain<'a> {
    pub text: &'a Text,
    pub names: &'a Names,
    pub statement: Statement,
    /// True where a statement, such as a part of this one, can be planned.
    pub plans: &'a dyn Fn(Statement) -> bool,
}

impl Explain<'_> {
    /// Our words for `error`.
    pub(super) fn error(&self, error: &DataFusionError) -> SqlError {
        match error.find_root() {
            DataFusionError::SchemaError(cause, _) => match cause.as_ref() {
                SchemaError::FieldNotFound { field, valid_fields } => {
                    self.unknown_column(field, valid_fields)
                }
                SchemaError::AmbiguousReference { field } => self.twice(&field.name),
                SchemaError::DuplicateQualifiedField { name, .. }
                | SchemaError::DuplicateUnqualifiedField { name } => self.twice(name),
            },
            DataFusionError::Plan(text) if text.contains("require unique expression names") => {
                let name = text
                    .rsplit("AS ")
                    .next()
                    .and_then(|rest| rest.split(['"', ' ']).find(|word| !word.is_empty()));
                self.twice(name.unwrap_or_default())
            }
            DataFusionError::Plan(text) if text.ends_with(" not found in struct") => {
                let name = text.strip_prefix("Field ").and_then(|rest| rest.split(' ').next());
                self.unknown_member(name.unwrap_or_default())
            }
            _ => self.other(error),
        }
    }

    fn unknown_member(&self, name: &str) -> SqlError {
        let place = self.text.word(name).unwrap_or(Span::empty());
        let members: Vec<&str> = self.names.members.iter().map(String::as_str).collect();
        let mut hint = format!("members of structs: {}", listed(&members));
        if let Some(likely) = closest(name, members) {
            hint.push_str(&format!("; did you mean \"{likely}\"?"));
        }
        SqlError::at(place, format!("no struct has a member \"{name}\"")).hint(hint)
    }

    /// The place of the output called `name`.
    pub(super) fn output(&self, name: &str) -> Span {
        let Statement::Query(query) = &self.statement else { return Span::empty() };
        output_span(query, name)
            .unwrap_or_else(|| self.text.last_word(name).unwrap_or(Span::empty()))
    }

    fn twice(&self, name: &str) -> SqlError {
        twice(self.output(name), name)
    }

    fn unknown_column(&self, column: &Column, valid: &[Column]) -> SqlError {
        let name = column.name.as_str();
        let written = match &column.relation {
            Some(relation) if relation.table() != super::plan::TABLE => {
                format!("{}.{name}", relation.table())
            }
            _ => name.to_owned(),
        };
        let mut known: Vec<&str> = Vec::new();
        for column in valid {
            if !known.contains(&column.name.as_str()) {
                known.push(&column.name);
            }
        }
        if known.is_empty() {
            known.extend(self.names.stage.iter().chain(&self.names.system).map(String::as_str));
        }
        let place = self.identifier(name);
        let error = SqlError::at(place, format!("unknown column \"{written}\""));
        if system::NAMES.contains(&name) {
            return error.hint(match name {
                system::BEFORE => "this source gives no image before the change",
                system::MESSAGE_KEY | system::HEADERS => "this source is no broker of messages",
                system::EXTRA => "the contract is strict: there are no unknown attributes",
                _ => "system columns are readable in every part of the SELECT",
            });
        }
        if let Some(same) = known.iter().find(|it| **it != name && it.eq_ignore_ascii_case(name)) {
            return error.hint(format!("names without quotes are lower case: write \"{same}\""));
        }
        let columns: Vec<&str> =
            known.iter().copied().filter(|name| !system::NAMES.contains(name)).collect();
        let mut hint = format!("known: {}", listed(&columns));
        if let Some(likely) = closest(name, known.iter().copied()) {
            hint.push_str(&format!("; did you mean \"{likely}\"?"));
        }
        error.hint(hint)
    }

    /// The place of an identifier called `name`.
    fn identifier(&self, name: &str) -> Span {
        let mut search = Identifiers { name };
        match self.statement.visit(&mut search) {
            ControlFlow::Break(span) => span,
            ControlFlow::Continue(()) => self.text.word(name).unwrap_or(Span::empty()),
        }
    }

    fn other(&self, error: &DataFusionError) -> SqlError {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span).map(|span| {
            let start = Location::new(span.start.line, span.start.column);
            Span::new(start, start)
        });
        let root = error.find_root();
        let text = match root {
            DataFusionError::Plan(text)
            | DataFusionError::NotImplemented(text)
            | DataFusionError::Execution(text) => text.clone(),
            other => other.strip_backtrace(),
        };
        let text = text.lines().next().unwrap_or_default().trim();
        let text = text.split_once(". Expressions").map_or(text, |(text, _)| text);
        let message = match text.split_once("non-boolean predicate ") {
            Some((_, rest)) => {
                let found = rest.rsplit(' ').next().unwrap_or(rest);
                format!("a condition must be true or false, not of type {found}")
            }
            None => lowercase(text.trim_start_matches("Error during planning: ")),
        };
        let place = span.or_else(|| match &self.statement {
            Statement::Query(query) => self.suspect(query),
            _ => None,
        });
        SqlError::at(place.unwrap_or(Span::empty()), message)
    }

    /// The first part of `query` that cannot be planned by itself.
    fn suspect(&self, query: &Query) -> Option<Span> {
        let select = match query.body.as_ref() {
            SetExpr::Select(select) => select,
            SetExpr::Query(inner) => return self.suspect(inner),
            _ => return None,
        };
        if let Some(TableFactor::Derived { subquery, .. }) =
            select.from.first().map(|table| &table.relation)
            && !(self.plans)(Statement::Query(subquery.clone()))
        {
            return self.suspect(subquery);
        }
        let alone = |item: &SelectItem| {
            let mut part = select.clone();
            part.projection = vec![item.clone()];
            part.selection = None;
            let mut query = query.clone();
            query.body = Box::new(SetExpr::Select(part));
            (self.plans)(Statement::Query(Box::new(query)))
        };
        let item = select.projection.iter().find(|item| !alone(item)).map(Spanned::span);
        item.or_else(|| select.selection.as_ref().map(Spanned::span))
    }
}

/// At most twelve names.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 12;
    let shown: Vec<&str> = names.iter().copied().take(MOST).collect();
    let mut list = shown.join(", ");
    if names.len() > MOST {
        list.push_str(&format!(" and {} more", names.len() - MOST));
    }
    list
}

struct Identifiers<'a> {
    name: &'a str,
}

impl Identifiers<'_> {
    fn look(&self, idents: &[Ident]) -> ControlFlow<Span> {
        match idents.iter().find(|ident| normal(ident) == self.name) {
            Some(ident) => ControlFlow::Break(ident.span),
            None => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Identifiers<'_> {
    type Break = Span;

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Span> {
        match expression {
            Expr::Identifier(ident) => self.look(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => self.look(idents),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The last output called `name`, in the query or in its derived tables.
fn output_span(query: &Query, name: &str) -> Option<Span> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::Query(inner) => return output_span(inner, name),
        _ => return None,
    };
    let named = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } if normal(alias) == name => Some(alias.span),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) if normal(ident) == name => {
            Some(ident.span)
        }
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
            if parts.last().is_some_and(|ident| normal(ident) == name) =>
        {
            Some(item.span())
        }
        _ => None,
    };
    select.projection.iter().rev().find_map(named).or_else(|| {
        select.from.iter().find_map(|table| match &table.relation {
            TableFactor::Derived { subquery, .. } => output_span(subquery, name),
            _ => None,
        })
    })
}
