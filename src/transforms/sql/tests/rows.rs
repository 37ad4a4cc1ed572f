//! What a stage gives: rows, types, metadata, filters, dead letters.

use arrow::array::AsArray;

use super::*;
use crate::event::message::MessageColumnsBuilder;

#[test]
fn a_star_is_the_stage_and_nothing_else() {
    let given = apply(&transform("SELECT * FROM changes"), batch(&[event("a", 1, 1)]));
    assert_eq!(given.rows.schema(), schema());
    assert_eq!(given.rows, image(&[event("a", 1, 1)]));
    assert!(given.kept.is_none());
}

#[test]
fn system_columns_are_read_by_name_through_derived_tables() {
    let sql = "SELECT *, _op AS op, t._version AS version, _partition AS part
               FROM (SELECT user_id, _op, amount + _position AS sum FROM changes) AS t
               WHERE _key <> '[\"1\"]'";
    let given = apply(&transform(sql), batch(&[event("a", 10, 1), event("b", 20, 1)]));
    let names: Vec<_> =
        given.rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["user_id", "sum", "op", "version", "part"]);
    assert_eq!(csv(&given.rows), "user 0,10,insert,100,a.ndjson\nuser 1,21,insert,101,a.ndjson\n");
    assert_eq!(bits(given.kept.as_ref()), "10");
}

#[test]
fn struct_members_and_quoted_names_are_read() {
    let sql =
        "SELECT metadata.intent AS one, metadata['language'] AS two, c.metadata.intent AS three,
               \"createdAt\", \"case\", tags[1] AS tag FROM changes AS c";
    let given = apply(&transform(sql), batch(&[event("a", 1, 1)]));
    assert_eq!(csv(&given.rows), "cancel,es,cancel,yesterday,first,first\n");
}

#[test]
fn a_filter_clears_kept_and_null_is_not_true() {
    let mut unknown = event("c", 3, 1);
    unknown.amount = None;
    let events = [event("a", 1, 1), event("b", 9, 1), unknown];
    let given = apply(&transform("SELECT * FROM changes WHERE amount > 5"), batch(&events));
    assert_eq!(given.len(), 3);
    assert_eq!(bits(given.kept.as_ref()), "010");
    let second = apply(&transform("SELECT user_id FROM changes WHERE items = 1"), given);
    assert_eq!(bits(second.kept.as_ref()), "010", "the second filter adds to the first");
    let third = apply(&transform("SELECT lower(user_id) AS id FROM changes"), second);
    assert_eq!(bits(third.kept.as_ref()), "010", "a stage without a filter keeps the filter");
}

#[test]
fn filters_of_derived_tables_count_too() {
    let sql = "SELECT big FROM (SELECT amount > 5 AS big, items FROM changes WHERE amount <> 7) t
               WHERE big AND items = 1";
    let events = [event("a", 1, 1), event("b", 9, 1), event("c", 7, 1), event("d", 9, 2)];
    let given = apply(&transform(sql), batch(&events));
    assert_eq!(bits(given.kept.as_ref()), "0100");
    assert_eq!(csv(&given.rows), "false\ntrue\ntrue\ntrue\n");
}

#[test]
fn a_row_that_fails_is_a_dead_letter_and_the_others_go_on() {
    let sql = "SELECT user_id, CAST(content AS BIGINT) AS number FROM changes";
    let events = [event("1", 1, 1), event("two", 1, 1), event("3", 1, 1), event("4.5", 1, 1)];
    let given = apply(&transform(sql), batch(&events));
    assert_eq!(csv(&given.rows), "user 0,1\nuser 2,3\n");
    assert_eq!(given.system.version.values(), &[100, 102]);
    assert_eq!(given.raw.record(1), "record 2");
    assert_eq!(given.events, 4);
    let [two, other] = given.rejects.as_slice() else { panic!("{:?}", given.rejects) };
    assert_eq!(two.stage.to_string(), "transforms[0].sql");
    assert_eq!(two.reason, "column \"number\": cannot cast string 'two' to value of Int64 type");
    assert_eq!(two.raw, RawImage::whole("record 1".into()));
    assert_eq!((two.position.clone(), two.version), (Position::Offset(1), 101));
    assert_eq!((two.key.as_deref(), two.event_time), (Some("[\"1\"]"), Some(2)));
    assert_eq!((&*two.stream, &*two.partition), ("archive", "a.ndjson"));
    assert_eq!(other.raw, RawImage::whole("record 3".into()));
}

#[test]
fn division_by_zero_and_overflow_are_the_rows_fault() {
    let sql = "SELECT amount / items AS share, amount * 2 AS twice FROM changes";
    let events = [event("a", 6, 3), event("b", 6, 0), event("c", i64::MAX, 1)];
    let given = apply(&transform(sql), batch(&events));
    assert_eq!(csv(&given.rows), "2,12\n");
    let reasons: Vec<_> = given.rejects.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "column \"share\": division by zero",
            "column \"twice\": arithmetic overflow: Overflow happened on: 9223372036854775807 * 2"
        ]
    );
}

#[test]
fn a_row_that_is_not_kept_never_fails() {
    let sql = "SELECT user_id, amount / items AS share FROM changes WHERE items <> 0";
    let events = [event("a", 6, 3), event("b", 6, 0)];
    let given = apply(&transform(sql), batch(&events));
    assert_eq!(csv(&given.rows), "user 0,2\nuser 1,NULL\n");
    assert_eq!(bits(given.kept.as_ref()), "10");
    let mut filtered = batch(&events);
    filtered.kept = Some(BooleanBuffer::from(vec![true, false]));
    let sql = "SELECT amount / items AS share FROM changes WHERE 1 / items >= 0";
    let given = apply(&transform(sql), filtered);
    assert_eq!(bits(given.kept.as_ref()), "10");
    assert!(given.rejects.is_empty());
}

#[test]
fn a_condition_guards_what_stands_behind_it() {
    let sql = "SELECT CASE WHEN items <> 0 THEN amount / items END AS share FROM changes
               WHERE items <> 0 AND amount / items > 1";
    let events = [event("a", 6, 3), event("b", 6, 0), event("c", 1, 1)];
    let given = apply(&transform(sql), batch(&events));
    assert!(given.rejects.is_empty(), "{:?}", given.rejects);
    assert_eq!(bits(given.kept.as_ref()), "100");
}

#[test]
fn every_row_can_fail() {
    let events = vec![event("x", 1, 0); 33];
    let given = apply(&transform("SELECT amount / items AS share FROM changes"), batch(&events));
    assert_eq!((given.len(), given.rejects.len()), (0, 33));
    let rows: Vec<_> = given.rejects.iter().map(|letter| letter.version).collect();
    assert_eq!(rows, (100..133).collect::<Vec<_>>());
}

#[test]
fn the_image_before_goes_through_the_same_expressions() {
    let mut update = batch(&[event("a", 1, 1), event("b", 1, 1), event("c", 1, 1)]);
    update.before = Some(BeforeImage {
        rows: image(&[event("a", 9, 1), event("b", 2, 1), event("c", 9, 0)]),
        present: BooleanBuffer::from(vec![true, true, true]),
        kept: None,
    });
    let sql = "SELECT amount / items AS share FROM changes WHERE amount > 5 AND _op = 'insert'";
    let given = apply(&transform(sql), update);
    assert_eq!(bits(given.kept.as_ref()), "000");
    let before = given.before.unwrap();
    assert_eq!(bits(before.kept.as_ref()), "101");
    assert_eq!(bits(Some(&before.present)), "110", "what cannot be computed counts as unknown");
    assert_eq!(csv(&before.rows), "9\n2\nNULL\n");
    assert!(given.rejects.is_empty());
}

#[test]
fn types_that_travel_on_are_few() {
    let sql = "SELECT CAST(content AS VARCHAR) AS text, arrow_cast('x', 'Utf8') AS plain,
        CAST('2024-01-15T10:30:00.5-06:00' AS TIMESTAMP) AS instant,
        date_trunc('day', timestamp) AS day, CAST(timestamp AS DATE) AS date,
        CAST(1 AS TINYINT) AS tiny, array_length(tags) AS length, CAST(1.5 AS REAL) AS real,
        CAST(1.25 AS DECIMAL(10, 2)) AS exact, arrow_cast(1, 'UInt64') AS unsigned, [1, 2] AS list,
        character_length(content) AS letters, CAST(1.5 AS DECIMAL(4, 1)) AS small
        FROM changes";
    let given = apply(&transform(sql), batch(&[event("ab", 1, 1)]));
    let kinds: Vec<String> = given
        .rows
        .schema()
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect();
    assert_eq!(
        kinds,
        [
            "text Utf8View",
            "plain Utf8View",
            "instant Timestamp(µs, \"+00:00\")",
            "day Timestamp(µs, \"+00:00\")",
            "date Date32",
            "tiny Int64",
            "length Int64",
            "real Float64",
            "exact Decimal128(10, 2)",
            "unsigned Int64",
            "list List(Int64)",
            "letters Int64",
            "small Decimal128(4, 1)",
        ]
    );
    assert!(given.rows.schema().fields().iter().all(|field| field.is_nullable()));
    assert_eq!(
        csv(&given.rows.project(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap()),
        "ab,x,2024-01-15T16:30:00.500Z,2024-01-15T00:00:00Z,2024-01-15,1,1,1.5,1.25,1\n"
    );
}

#[test]
fn a_number_too_large_for_its_type_is_a_dead_letter() {
    let sql = "SELECT arrow_cast(content, 'UInt64') AS big FROM changes";
    let events = [event("18446744073709551615", 1, 1), event("7", 1, 1)];
    let given = apply(&transform(sql), batch(&events));
    assert_eq!(csv(&given.rows), "7\n");
    assert_eq!(given.rejects.len(), 1);
}

/// `name = contract column`, a star behind key columns.
fn origins(schema: &SchemaRef) -> Vec<String> {
    let origin = |field: &Arc<Field>| {
        let column = field.metadata().get(CONTRACT_COLUMN).map_or("-", String::as_str);
        let key = if field.metadata().contains_key(KEY_COLUMN) { "*" } else { "" };
        format!("{} = {column}{key}", field.name())
    };
    schema.fields().iter().map(origin).collect()
}

#[test]
fn unchanged_columns_keep_what_the_contract_says_of_them() {
    let sql = "SELECT user_id, timestamp AS at, id, small, text, meta.intent AS intent, _op AS op,
                      'x' AS content
               FROM (SELECT user_id, timestamp, user_id AS id, lower(content) AS small,
                            content AS text, metadata AS meta FROM changes) AS t";
    let given = transform(sql);
    assert_eq!(
        origins(&given.schema()),
        [
            "user_id = user_id*",
            "at = timestamp",
            "id = user_id",
            "small = -",
            "text = content",
            "intent = -",
            "op = -",
            "content = -"
        ]
    );
    let next = check_select(
        "SELECT text, upper(user_id) AS user_id FROM changes",
        &given.schema(),
        &system_schema(),
    );
    assert_eq!(origins(&next.unwrap().schema), ["text = content", "user_id = -"]);
    let replaced = transform("SELECT * REPLACE (lower(user_id) AS user_id) FROM changes").schema();
    assert_eq!(origins(&replaced)[..2], ["user_id = -", "timestamp = timestamp*"]);
}

#[test]
fn a_stage_may_read_no_column_and_get_no_row() {
    let one = transform("SELECT 1 AS one FROM changes WHERE true");
    let given = apply(&one, batch(&[event("a", 1, 1), event("b", 1, 1)]));
    assert_eq!(csv(&given.rows), "1\n1\n");
    let none = apply(&transform("SELECT *, amount / items AS share FROM changes"), batch(&[]));
    assert_eq!((none.len(), none.range.to.clone()), (0, Position::Offset(0)));
}

#[test]
fn a_sinks_condition_narrows_and_changes_nothing_else() {
    let mut given = batch(&[event("a", 6, 1), event("b", 6, 2), event("c", 6, 0)]);
    given.before = Some(BeforeImage {
        rows: image(&[event("a", 1, 1), event("b", 6, 1), event("c", 6, 0)]),
        present: BooleanBuffer::from(vec![true, false, true]),
        kept: None,
    });
    let filter = filter("amount / items = 6\n  AND _op <> 'delete'");
    assert_eq!(filter.schema(), schema());
    let given = apply(&filter, given);
    assert_eq!(bits(given.kept.as_ref()), "10");
    assert_eq!(given.rows, image(&[event("a", 6, 1), event("b", 6, 2)]));
    let before = given.before.unwrap();
    assert_eq!(
        (bits(before.kept.as_ref()), bits(Some(&before.present))),
        ("01".into(), "10".into())
    );
    let [letter] = given.rejects.as_slice() else { panic!() };
    assert_eq!(letter.stage.to_string(), "sink:search");
    assert_eq!(letter.reason, "condition: division by zero");
}

#[test]
fn text_positions_name_their_letters() {
    let mut events = batch(&[event("a", 1, 0)]);
    events.system.position = Arc::new(StringViewArray::from(vec!["4905"]));
    let system = SystemSchema { position: DataType::Utf8View, ..system_schema() };
    let sql = "SELECT amount / items AS share, _position AS position FROM changes";
    let stage =
        SqlTransform::new(sql, &schema(), &system, "transforms[1].sql", &context()).unwrap();
    let given = apply(&stage, events);
    assert_eq!(given.rejects[0].position, Position::Sequence("4905".into()));
    assert!(given.rows.column(1).as_string_view_opt().is_some());
}

#[test]
fn keys_and_headers_of_messages_are_read_and_not_selected() {
    let system = SystemSchema { message: true, ..system_schema() };
    let sql = "SELECT *, _message_key AS message_key, _headers['trace'] AS trace, \
               _headers['none'] AS none FROM (SELECT * FROM changes) AS t WHERE _headers['trace'] <> '1'";
    let stage =
        SqlTransform::new(sql, &schema(), &system, "transforms[0].sql", &context()).unwrap();
    assert!(check_select(sql, &schema(), &system).unwrap().reads_message);
    assert!(!check_select("SELECT * FROM changes", &schema(), &system).unwrap().reads_message);
    assert!(check_condition("_headers['trace'] = '1'", &schema(), &system).unwrap());

    let mut messages = MessageColumnsBuilder::default();
    messages.push(Some(b"k0"), &[(b"trace", Some(b"1"))]);
    messages.push(None, &[(b"other", Some(b"x")), (b"trace", Some(b"2"))]);
    let mut batch = batch(&[event("a", 1, 1), event("b", 1, 1)]);
    batch.system.message = Some(messages.finish());
    let given = apply(&stage, batch.clone());
    let texts = |name: &str| -> Vec<Option<String>> {
        let column = given.rows.column_by_name(name).unwrap().as_string_view().clone();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    };
    assert_eq!(texts("message_key"), [Some("k0".to_owned()), None]);
    assert_eq!(texts("trace"), [Some("1".to_owned()), Some("2".to_owned())]);
    assert_eq!(texts("none"), [None, None]);
    assert_eq!(bits(given.kept.as_ref()), "01");
    assert!(given.rows.column_by_name("_headers").is_none());

    batch.system.message = None;
    assert_eq!(apply(&stage, batch).rows.column_by_name("trace").unwrap().null_count(), 2);
}

#[test]
fn sentiment_is_a_function() {
    let sql = "SELECT sentiment(content)['label'] AS label, sentiment(content, metadata.language)['language'] AS language,
               sentiment(content) AS feeling, sentiment(NULL) IS NULL AS nothing FROM changes
               WHERE sentiment(content)['score'] < 0.3";
    let events =
        [event("nadie me contesta, pésimo servicio", 1, 1), event("excelente, mil gracias", 1, 1)];
    let given = apply(&transform(sql), batch(&events));
    let column = |name: &str| given.rows.column_by_name(name).unwrap().clone();
    let labels: Vec<_> =
        column("label").as_string_view().iter().flatten().map(str::to_owned).collect();
    assert_eq!(labels, ["NEGATIVE", "POSITIVE"]);
    assert_eq!(column("language").as_string_view().value(0), "es");
    assert_eq!(bits(given.kept.as_ref()), "10");
    let members = crate::sentiment::columns::MEMBERS.clone();
    assert_eq!(*column("feeling").data_type(), DataType::Struct(members));
    assert!(column("nothing").as_boolean().value(0));
}
