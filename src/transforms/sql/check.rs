//! Refuses, at its place, what is not one stateless SELECT over `changes`.
//!
//! Only an allowed shape passes; the plan is verified once more behind DataFusion's planner.

use std::ops::ControlFlow;

use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Spanned, Statement,
    TableAlias, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Span;

use super::error::{SqlError, closest};
use super::parse::Text;
use super::plan::{AGGREGATES, FUNCTIONS, TABLE, WINDOWS};
use crate::event::system;

const STATELESS: &str =
    "each event is transformed on its own; ask across events in the lake, with `acequia query`";

/// Refuse whatever is not projections and filters over `changes`.
pub(super) fn check(text: &Text, statement: &Statement) -> Result<(), SqlError> {
    let Statement::Query(query) = statement else {
        let word = statement.to_string();
        let word = word.split_whitespace().next().unwrap_or_default().to_uppercase();
        return Err(SqlError::at(Span::empty(), format!("{word} is not possible here"))
            .hint("write one SELECT over changes"));
    };
    match query.visit(&mut Check { text }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => check_outputs(query, true),
    }
}

struct Check<'a> {
    text: &'a Text,
}

impl Visitor for Check<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        flow(self.query(query))
    }
    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        flow(self.select(select).and_then(|()| self.from(select)))
    }
    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<SqlError> {
        flow(self.expression(expression))
    }
}

fn flow(result: Result<(), SqlError>) -> ControlFlow<SqlError> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl Check<'_> {
    /// A refusal at `keyword`, which stands before `child`.
    fn refuse(&self, keyword: Keyword, child: Span, message: &str, hint: &str) -> SqlError {
        SqlError::at(self.text.keyword(keyword, child), message).hint(hint)
    }

    fn query(&self, query: &Query) -> Result<(), SqlError> {
        if let Some(with) = &query.with {
            let span = with.with_token.0.span;
            return Err(SqlError::at(span, "WITH is not possible here")
                .hint("write a derived table: FROM (SELECT ... FROM changes) AS name"));
        }
        match query.body.as_ref() {
            SetExpr::Select(_) | SetExpr::Query(_) => {}
            SetExpr::SetOperation { op, right, .. } => {
                let word = op.to_string();
                let span = self.text.word(&word).unwrap_or_else(|| right.span());
                return Err(SqlError::at(span, format!("{word} is not possible here"))
                    .hint("one event gives one row; write one SELECT"));
            }
            other => {
                return Err(SqlError::at(other.span(), "a SELECT over changes is needed here")
                    .hint("write SELECT ... FROM changes"));
            }
        }
        if let Some(order) = &query.order_by {
            let hint = "rows keep the order of their source; leave it out";
            return Err(self.refuse(
                Keyword::ORDER,
                order.span(),
                "ORDER BY is not possible here",
                hint,
            ));
        }
        if let Some(limit) = &query.limit_clause {
            let keyword =
                if limit.to_string().contains("LIMIT") { Keyword::LIMIT } else { Keyword::OFFSET };
            let word = if keyword == Keyword::LIMIT { "LIMIT" } else { "OFFSET" };
            let message = format!("{word} is not possible here");
            let hint = "choose rows with WHERE; to look at a few, use `acequia preview`";
            return Err(self.refuse(keyword, limit.span(), &message, hint));
        }
        let rest = [
            (query.fetch.is_some(), Keyword::FETCH, "FETCH"),
            (!query.locks.is_empty(), Keyword::FOR, "FOR UPDATE"),
            (query.for_clause.is_some(), Keyword::FOR, "FOR"),
            (query.settings.is_some(), Keyword::SETTINGS, "SETTINGS"),
            (query.format_clause.is_some(), Keyword::FORMAT, "FORMAT"),
        ];
        for (found, keyword, word) in rest {
            if found {
                let message = format!("{word} is not possible here");
                return Err(self.refuse(keyword, Span::empty(), &message, "leave it out"));
            }
        }
        if !query.pipe_operators.is_empty() {
            return Err(SqlError::at(query.body.span(), "pipe operators are not possible here")
                .hint("write one SELECT, or a second sql stage"));
        }
        Ok(())
    }

    fn select(&self, select: &Select) -> Result<(), SqlError> {
        let grouped = match &select.group_by {
            GroupByExpr::All(_) => true,
            GroupByExpr::Expressions(columns, modifiers) => {
                !columns.is_empty() || !modifiers.is_empty()
            }
        };
        let select_span = select.select_token.0.span;
        let end = self.names_end(select);
        let clauses = [
            (select.distinct.is_some(), Keyword::DISTINCT, Span::empty(), "DISTINCT", STATELESS),
            (grouped, Keyword::GROUP, select.group_by.span(), "GROUP BY", STATELESS),
            (select.having.is_some(), Keyword::HAVING, end, "HAVING", "use WHERE"),
            (!select.named_window.is_empty(), Keyword::WINDOW, end, "WINDOW", STATELESS),
            (select.qualify.is_some(), Keyword::QUALIFY, end, "QUALIFY", STATELESS),
            (select.top.is_some(), Keyword::TOP, Span::empty(), "TOP", "use WHERE"),
            (
                select.into.is_some(),
                Keyword::INTO,
                Span::empty(),
                "INTO",
                "name sinks under sinks:",
            ),
            (!select.lateral_views.is_empty(), Keyword::LATERAL, end, "LATERAL VIEW", ONE_ROW),
            (select.prewhere.is_some(), Keyword::PREWHERE, end, "PREWHERE", "use WHERE"),
            (!select.connect_by.is_empty(), Keyword::CONNECT, end, "CONNECT BY", STATELESS),
            (!select.cluster_by.is_empty(), Keyword::CLUSTER, end, "CLUSTER BY", "leave it out"),
            (
                !select.distribute_by.is_empty(),
                Keyword::DISTRIBUTE,
                end,
                "DISTRIBUTE BY",
                "leave it out",
            ),
            (!select.sort_by.is_empty(), Keyword::SORT, end, "SORT BY", "leave it out"),
            (
                select.exclude.is_some(),
                Keyword::EXCLUDE,
                end,
                "EXCLUDE behind the list",
                "write * EXCEPT (...)",
            ),
        ];
        for (found, keyword, child, word, hint) in clauses {
            if found {
                let message = format!("{word} is not possible here");
                return Err(self.refuse(keyword, child, &message, hint));
            }
        }
        if select.projection.is_empty() {
            return Err(SqlError::at(select_span, "nothing is selected").hint("write SELECT *"));
        }
        for item in &select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item
                && (options.opt_rename.is_some() || options.opt_ilike.is_some())
            {
                return Err(SqlError::at(item.span(), "only EXCEPT and REPLACE may follow *")
                    .hint("write * EXCEPT (a), a AS b"));
            }
        }
        Ok(())
    }

    /// A place behind the select, so that the last of its keywords is found.
    fn names_end(&self, select: &Select) -> Span {
        let end = select.span().end;
        Span::new(end, end)
    }

    fn from(&self, select: &Select) -> Result<(), SqlError> {
        let [table] = select.from.as_slice() else {
            return match select.from.get(1) {
                Some(second) => Err(SqlError::at(second.span(), "a second table")
                    .hint("only the table changes can be read, once")),
                None => Err(SqlError::at(select.select_token.0.span, "FROM is missing")
                    .hint("write SELECT ... FROM changes")),
            };
        };
        if let Some(join) = table.joins.first() {
            let hint =
                "each event is transformed on its own; join in the lake, with `acequia query`";
            let message = "a join is not possible here";
            return Err(self.refuse(Keyword::JOIN, join.relation.span(), message, hint));
        }
        match &table.relation {
            TableFactor::Table { name, alias, args: None, sample: None, version: None, .. } => {
                let [part] = name.0.as_slice() else {
                    return Err(unknown_table(name.span(), &name.to_string()));
                };
                let is_changes = part.as_ident().is_some_and(|name| normal(name) == TABLE);
                if is_changes {
                    plain_alias(alias)
                } else {
                    Err(unknown_table(part.span(), &name.to_string()))
                }
            }
            TableFactor::Derived { lateral: false, alias, sample: None, .. } => plain_alias(alias),
            TableFactor::UNNEST { .. } => Err(SqlError::at(
                self.text.keyword(Keyword::UNNEST, table.relation.span()),
                "UNNEST is not possible here",
            )
            .hint(ONE_ROW)),
            other => Err(SqlError::at(other.span(), "only the table changes can be read here")
                .hint("write FROM changes, or FROM (SELECT ... FROM changes) AS name")),
        }
    }

    fn expression(&self, expression: &Expr) -> Result<(), SqlError> {
        let subquery = match expression {
            Expr::Subquery(query) => Some(query),
            Expr::InSubquery { subquery, .. } | Expr::Exists { subquery, .. } => Some(subquery),
            _ => None,
        };
        if let Some(query) = subquery {
            return Err(
                SqlError::at(query.span(), "a subquery is not possible here").hint(STATELESS)
            );
        }
        match expression {
            Expr::Function(function) => self.function(function),
            Expr::InUnnest { array_expr, .. } => {
                Err(SqlError::at(array_expr.span(), "UNNEST is not possible here")
                    .hint("write array_has(list, value)"))
            }
            Expr::Value(value) if value.value.to_string().starts_with(['$', '?', ':']) => {
                Err(SqlError::at(value.span, "a placeholder is not possible here")
                    .hint("write the value; ${NAME} in the pipeline file is filled in before"))
            }
            _ => Ok(()),
        }
    }

    fn function(&self, function: &Function) -> Result<(), SqlError> {
        let written = function.name.to_string();
        let name = match function.name.0.as_slice() {
            [part] => part.as_ident().map(normal).unwrap_or_default(),
            _ => written.clone(),
        };
        let refuse = |message: String, hint: &str| {
            Err(SqlError::at(function.name.span(), message).hint(hint))
        };
        if function.over.is_some() || (WINDOWS.contains(&name) && !AGGREGATES.contains(&name)) {
            return refuse(format!("{name} is a window function"), STATELESS);
        }
        if name == "unnest" {
            return refuse("unnest is not possible here".to_owned(), ONE_ROW);
        }
        let Some(known) = FUNCTIONS.get(&name) else {
            if AGGREGATES.contains(&name) {
                return refuse(format!("{name} is an aggregate"), STATELESS);
            }
            let error = SqlError::at(function.name.span(), format!("unknown function {written}"));
            let possible = FUNCTIONS
                .iter()
                .filter(|(_, known)| known.signature().volatility == Volatility::Immutable)
                .map(|(name, _)| name.as_str());
            return Err(match closest(&name, possible) {
                Some(likely) => error.hint(format!("did you mean {likely}?")),
                None => error,
            });
        };
        if known.signature().volatility == Volatility::Immutable {
            return Ok(());
        }
        let hint = match known.name() {
            "now" | "current_time" => "use _event_time, when the change happened",
            "current_date" => "use CAST(_event_time AS DATE), the day of the change",
            "random" | "uuid" => {
                "make it from the event: _key and _version are the same at every re-read"
            }
            _ => "use _partition and _position, where the event came from",
        };
        refuse(format!("{name} does not give the same value at every re-read"), hint)
    }
}

const ONE_ROW: &str = "one event gives one row; read list elements with list[1]";

fn unknown_table(span: Span, name: &str) -> SqlError {
    SqlError::at(span, format!("unknown table {name}")).hint("the only table here is changes")
}

/// An alias without column names.
fn plain_alias(alias: &Option<TableAlias>) -> Result<(), SqlError> {
    match alias.as_ref().and_then(|alias| alias.columns.first()) {
        Some(column) => Err(SqlError::at(column.name.span, "an alias cannot name columns here")
            .hint("name them inside the derived table, with AS")),
        None => Ok(()),
    }
}

/// An identifier as the planner reads it.
pub(super) fn normal(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// Every output has a name of its own that no system column has.
fn check_outputs(query: &Query, outermost: bool) -> Result<(), SqlError> {
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::Query(inner) => return check_outputs(inner, outermost),
        _ => return Ok(()),
    };
    let Some(table) = select.from.first() else { return Ok(()) };
    let scope = match &table.relation {
        TableFactor::Table { alias, .. } => {
            Some(alias.as_ref().map_or(TABLE.to_owned(), |alias| normal(&alias.name)))
        }
        TableFactor::Derived { alias, subquery, .. } => {
            check_outputs(subquery, false)?;
            alias.as_ref().map(|alias| normal(&alias.name))
        }
        _ => None,
    };
    let mut seen: Vec<String> = Vec::new();
    for (index, item) in select.projection.iter().enumerate() {
        let Some(name) = output_name(item, index, scope.as_deref(), outermost)? else { continue };
        let written = normal(name);
        if seen.contains(&written) {
            return Err(twice(name.span, &written));
        }
        seen.push(written);
    }
    Ok(())
}

/// Two columns of one name.
pub(super) fn twice(span: Span, name: &str) -> SqlError {
    SqlError::at(span, format!("two columns are called \"{name}\""))
        .hint(format!("choose another name with AS, or leave one out: * EXCEPT ({name})"))
}

/// The name of an output; `None` for wildcards and for system columns that are read through.
fn output_name<'a>(
    item: &'a SelectItem,
    index: usize,
    scope: Option<&str>,
    outermost: bool,
) -> Result<Option<&'a Ident>, SqlError> {
    let is_system = |name: &Ident| system::NAMES.contains(&normal(name).as_str());
    let name = match item {
        SelectItem::ExprWithAlias { alias, .. } if is_system(alias) => {
            return Err(SqlError::at(alias.span, format!("{} is a system column", alias.value))
                .hint("choose another name"));
        }
        SelectItem::ExprWithAlias { alias, .. } => alias,
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => match parts.as_slice() {
            [table, name] if scope.is_some_and(|scope| scope == normal(table)) => name,
            parts => {
                let error = unnamed(item.span(), index);
                return Err(match parts.last() {
                    Some(last) => error.hint(format!("write {item} AS {last}")),
                    None => error,
                });
            }
        },
        SelectItem::UnnamedExpr(_) => {
            return Err(unnamed(item.span(), index).hint(format!("write {item} AS name")));
        }
        SelectItem::ExprWithAliases { .. } => {
            return Err(SqlError::at(item.span(), "one expression has one name")
                .hint("write expression AS name"));
        }
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => return Ok(None),
    };
    if !is_system(name) || matches!(item, SelectItem::ExprWithAlias { .. }) {
        return Ok(Some(name));
    }
    if !outermost {
        return Ok(None);
    }
    let written = normal(name);
    let alias = written.trim_start_matches('_');
    Err(SqlError::at(item.span(), format!("{written} is a system column")).hint(format!(
        "it travels beside the row anyway; to have it twice write {written} AS {alias}"
    )))
}

fn unnamed(span: Span, index: usize) -> SqlError {
    SqlError::at(span, format!("column {} of the result has no name", index + 1))
}
