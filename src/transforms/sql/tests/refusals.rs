//! Everything that is refused, with its whole message and place.

use std::fmt::Write as _;

use super::{schema, system_schema};
use crate::event::SystemSchema;
use crate::transforms::sql::{check_condition, check_select};

/// The message, with a mark under the place.
fn show(sql: &str, error: &crate::transforms::sql::SqlError) -> String {
    let mut shown = String::new();
    for (number, line) in sql.lines().enumerate() {
        writeln!(shown, "  {line}").unwrap();
        if number as u64 + 1 == error.line {
            writeln!(shown, "  {}^", " ".repeat(error.column as usize - 1)).unwrap();
        }
    }
    format!("{shown}{error}\n\n")
}

#[test]
fn selects_are_refused_at_their_place() {
    let refused = [
        // The statement.
        "",
        "  -- nothing\n ;",
        "SELEC * FROM changes",
        "SELECT *, FROM",
        "SELECT 'open FROM changes",
        "SELECT * FROM changes; SELECT 1 AS a FROM changes",
        "DELETE FROM changes",
        "CREATE TABLE t AS SELECT * FROM changes",
        "SELECT * FROM changes) AS x",
        // Clauses.
        "WITH t AS (SELECT * FROM changes) SELECT * FROM t",
        "SELECT user_id FROM changes\nUNION ALL SELECT user_id FROM changes",
        "SELECT DISTINCT user_id FROM changes",
        "SELECT user_id FROM changes GROUP BY user_id",
        "SELECT user_id FROM changes GROUP BY ALL",
        "SELECT user_id FROM changes HAVING amount > 1",
        "SELECT * FROM changes\n  ORDER BY amount",
        "SELECT * FROM changes LIMIT 10",
        "SELECT * FROM changes OFFSET 10",
        "SELECT * FROM changes FETCH FIRST 3 ROWS ONLY",
        "SELECT user_id FROM changes QUALIFY amount > 1",
        "SELECT 1 AS a",
        "VALUES (1)",
        // Tables.
        "SELECT * FROM orders",
        "SELECT * FROM lake.changes",
        "SELECT * FROM changes, changes AS other",
        "SELECT * FROM changes\nLEFT JOIN users ON users.id = user_id",
        "SELECT * FROM unnest([1, 2])",
        "SELECT * FROM generate_series(1, 3)",
        "SELECT * FROM (SELECT user_id FROM changes LIMIT 1) AS t",
        "SELECT * FROM (SELECT user_id FROM changes) AS t(id)",
        // Expressions.
        "SELECT (SELECT max(amount) FROM changes) AS most FROM changes",
        "SELECT * FROM changes WHERE user_id IN (SELECT user_id FROM blocked)",
        "SELECT * FROM changes WHERE EXISTS (SELECT 1 FROM changes)",
        "SELECT count(*) AS n FROM changes",
        "SELECT sum(amount) OVER (PARTITION BY user_id) AS total FROM changes",
        "SELECT row_number() AS n FROM changes",
        "SELECT unnest(tags) AS tag FROM changes",
        "SELECT *, now() AS seen FROM changes",
        "SELECT *, current_date AS seen FROM changes",
        "SELECT *, random() AS r FROM changes",
        "SELECT *, uuid() AS id FROM changes",
        "SELECT *, lowr(content) AS small FROM changes",
        "SELECT * FROM changes WHERE amount > $1",
        // Columns.
        "SELECT user_id,\n       sentimet FROM changes",
        "SELECT * FROM changes WHERE contnt = 'a'",
        "SELECT createdAt FROM changes",
        "SELECT other.amount FROM changes AS c",
        "SELECT metadata.intnt AS intent FROM changes",
        "SELECT _before FROM changes",
        "SELECT _before AS b FROM changes",
        "SELECT user_id FROM (SELECT user_id FROM changes) AS t WHERE amount > 1",
        "SELECT * EXCEPT (nothing) FROM changes",
        // Outputs.
        "SELECT *, _op FROM changes",
        "SELECT c._key FROM changes AS c",
        "SELECT *, 'x' AS _version FROM changes",
        "SELECT *, lower(content) FROM changes",
        "SELECT amount + 1 FROM changes",
        "SELECT metadata.intent FROM changes",
        "SELECT user_id, content AS user_id FROM changes",
        "SELECT *, lower(content) AS content FROM changes",
        "SELECT *, NULL AS nothing FROM changes",
        "SELECT *, timestamp - timestamp AS age FROM changes",
        // Types.
        "SELECT * FROM changes WHERE amount",
        "SELECT *, content + amount AS x FROM changes",
        "SELECT *, escalated * 2 AS x FROM changes",
        "SELECT *, lower(content, 1) AS x FROM changes",
        "SELECT *, CAST(content AS NONSENSE) AS x FROM changes",
    ];
    let mut all = String::new();
    let mut accepted = Vec::new();
    for sql in refused {
        match check_select(sql, &schema(), &system_schema()) {
            Err(error) => all.push_str(&show(sql, &error)),
            Ok(_) => accepted.push(sql),
        }
    }
    insta::assert_snapshot!("selects", all);
    assert!(accepted.is_empty(), "not refused: {accepted:#?}");
}

#[test]
fn conditions_are_refused_at_their_place() {
    let refused = [
        "",
        "amount >",
        "amount > 1; DROP TABLE x",
        "amount > 1 LIMIT 3",
        "SELECT 1",
        "amont > 1",
        "amount",
        "escalated AND\n  now() > timestamp",
        "count(*) > 1",
        "user_id IN (SELECT 1)",
        "_before IS NULL",
    ];
    let mut all = String::new();
    for condition in refused {
        let error = check_condition(condition, &schema(), &system_schema()).unwrap_err();
        all.push_str(&show(condition, &error));
    }
    insta::assert_snapshot!("conditions", all);
}

#[test]
fn a_system_column_is_known_where_it_exists() {
    let without = SystemSchema { extra: false, ..system_schema() };
    assert!(check_condition("_extra IS NULL", &schema(), &system_schema()).is_ok());
    let error = check_condition("_extra IS NULL", &schema(), &without).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 1: unknown column \"_extra\"; the contract is strict: there are no unknown attributes"
    );
}
