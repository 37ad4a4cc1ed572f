//! SQL text to syntax tree, with places.

use datafusion::sql::sqlparser::ast::{Expr, SetExpr, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::error::SqlError;
use super::explain::lowercase;

/// The names that a text may use.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Columns of the stage before.
    pub stage: Vec<String>,
    /// System columns.
    pub system: Vec<String>,
    /// Members of the stage's structs, at any depth.
    pub members: Vec<String>,
}

/// A tokenized text: finds the places of keywords.
pub(super) struct Text {
    tokens: Vec<TokenWithSpan>,
}

impl Text {
    fn new(sql: &str) -> Result<Self, SqlError> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql)
            .tokenize_with_location()
            .map_err(|error| SqlError::at_location(error.location, lowercase(&error.message)))?;
        let tokens: Vec<_> = tokens
            .into_iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
            .collect();
        if tokens.iter().all(|token| token.token == Token::SemiColon) {
            return Err(SqlError::at_location(Location::empty(), "the sql is empty"));
        }
        Ok(Self { tokens })
    }

    fn parser(&self) -> Parser<'static> {
        Parser::new(&GenericDialect {}).with_tokens_with_locations(self.tokens.clone())
    }

    /// Just behind the last token.
    fn end(&self) -> Location {
        self.tokens.last().map_or(Location::empty(), |token| token.span.end)
    }

    /// The last `keyword` at or before `span`, or the first one at all where `span` is empty.
    pub(super) fn keyword(&self, keyword: Keyword, span: Span) -> Span {
        let mut found = self.tokens.iter().filter(|token| {
            matches!(&token.token, Token::Word(word) if word.keyword == keyword)
                && (span.start.line == 0 || token.span.start <= span.start)
        });
        let token = if span.start.line == 0 { found.next() } else { found.next_back() };
        token.map_or(span, |token| token.span)
    }

    /// The first word that reads `name`, whatever its case and quotes.
    pub(super) fn word(&self, name: &str) -> Option<Span> {
        let is_name = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
        self.tokens.iter().find(is_name).map(|token| token.span)
    }

    /// The last word that reads `name`, whatever its case and quotes.
    pub(super) fn last_word(&self, name: &str) -> Option<Span> {
        let is_name = |token: &&TokenWithSpan| matches!(&token.token, Token::Word(word) if word.value.eq_ignore_ascii_case(name));
        self.tokens.iter().rfind(is_name).map(|token| token.span)
    }

    /// Our words and place for the parser's error, which ends in `at Line: 1, Column: 2`.
    fn explain(&self, error: &ParserError) -> SqlError {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
            ParserError::RecursionLimitExceeded => "the sql is nested too deeply",
        };
        let (message, location) = split_location(text);
        let location = location.unwrap_or_else(|| self.end());
        let message = lowercase(message).replacen("expected: ", "expected ", 1);
        let message = message.replacen("found: EOF", "found the end", 1);
        SqlError::at_location(location, message.replacen("found: ", "found ", 1))
    }
}

/// Splits `... at Line: 3, Column: 9` off a parser message.
fn split_location(text: &str) -> (&str, Option<Location>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else { return (text, None) };
    let Some((line, column)) = place.split_once(", Column: ") else { return (text, None) };
    match (line.trim().parse(), column.trim().parse()) {
        (Ok(line), Ok(column)) => (message, Some(Location::new(line, column))),
        _ => (text, None),
    }
}

/// The one statement of `sql`.
pub(super) fn parse_statement(sql: &str) -> Result<(Text, Statement), SqlError> {
    let text = Text::new(sql)?;
    let statements = text.parser().parse_statements().map_err(|error| text.explain(&error))?;
    let mut statements = statements.into_iter();
    match (statements.next(), statements.next()) {
        (Some(statement), None) => Ok((text, statement)),
        (None, _) => Err(SqlError::at_location(Location::empty(), "the sql is empty")),
        (Some(_), Some(_)) => {
            let mut behind = text.tokens.iter().skip_while(|it| it.token != Token::SemiColon);
            let second = behind.find(|token| token.token != Token::SemiColon);
            let span = second.map_or(Span::empty(), |token| token.span);
            Err(SqlError::at(span, "a second statement")
                .hint("a stage is one SELECT; write a second sql stage behind it"))
        }
    }
}

/// `SELECT true AS kept FROM changes WHERE condition`.
pub(super) fn parse_condition(condition: &str) -> Result<(Text, Statement), SqlError> {
    let text = Text::new(condition)?;
    let mut parser = text.parser();
    let expression: Expr = parser.parse_expr().map_err(|error| text.explain(&error))?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(SqlError::at(
            next.span,
            format!("unexpected {} behind the condition", next.token),
        )
        .hint("write one condition, as behind WHERE"));
    }
    let frame = "SELECT true AS kept FROM changes";
    let (_, mut statement) = parse_statement(frame)?;
    if let Statement::Query(query) = &mut statement
        && let SetExpr::Select(select) = query.body.as_mut()
    {
        select.selection = Some(expression);
    }
    Ok((text, statement))
}
