//! Makes system columns readable everywhere and selected nowhere.
//!
//! `*` becomes `* EXCEPT (system columns)`, and a derived table gets the system columns behind its
//! own, so that the query around it can read them too.

use datafusion::sql::sqlparser::ast::{
    ExceptSelectItem, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    WildcardAdditionalOptions,
};

use crate::event::system;

/// Rewrite a statement that [`super::check`] has let pass; `names` are the system columns there are.
pub(super) fn hide_system_columns(statement: &mut Statement, names: &[String]) {
    if let Statement::Query(query) = statement {
        rewrite_query(query, names, true);
    }
}

fn rewrite_query(query: &mut Query, names: &[String], outermost: bool) {
    match query.body.as_mut() {
        SetExpr::Select(select) => rewrite_select(select, names, outermost),
        SetExpr::Query(inner) => rewrite_query(inner, names, outermost),
        _ => {}
    }
}

fn rewrite_select(select: &mut Select, names: &[String], outermost: bool) {
    for item in &mut select.projection {
        if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item {
            exclude(options, names);
        }
    }
    if !outermost {
        select.projection.retain(|item| !is_system_column(item));
        select.projection.extend(
            names
                .iter()
                .map(|name| SelectItem::UnnamedExpr(Expr::Identifier(Ident::new(name.as_str())))),
        );
    }
    for table in &mut select.from {
        if let TableFactor::Derived { subquery, .. } = &mut table.relation {
            rewrite_query(subquery, names, false);
        }
    }
}

/// True for a bare `_op` or `c._op`.
fn is_system_column(item: &SelectItem) -> bool {
    let name = match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last(),
        _ => None,
    };
    name.is_some_and(|name| system::NAMES.contains(&name.value.to_lowercase().as_str()))
}

fn exclude(options: &mut WildcardAdditionalOptions, names: &[String]) {
    let mut excluded: Vec<Ident> = match options.opt_except.take() {
        Some(written) => {
            std::iter::once(written.first_element).chain(written.additional_elements).collect()
        }
        None => Vec::new(),
    };
    excluded.retain(|ident| !names.contains(&ident.value));
    excluded.extend(names.iter().map(|name| Ident::new(name.as_str())));
    let mut excluded = excluded.into_iter();
    options.opt_except = excluded.next().map(|first_element| ExceptSelectItem {
        first_element,
        additional_elements: excluded.collect(),
    });
}
