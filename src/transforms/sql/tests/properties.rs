//! Whatever the rows are: pieces give what the whole gives, and DataFusion agrees.

use arrow::compute::{cast, concat_batches, filter_record_batch};
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;

use super::*;

const FALLIBLE: [&str; 4] = [
    "SELECT *, amount / items AS share FROM changes WHERE CAST(content AS BIGINT) > amount",
    "SELECT user_id, s * 3 AS s FROM (SELECT user_id, amount + items AS s FROM changes
     WHERE score / items > 0.1 OR amount / items > 1) AS t WHERE s <> 4 AND 100 / s > 2",
    "SELECT CASE WHEN items = 0 THEN 0 ELSE amount / items END AS share, metadata.intent AS intent
     FROM changes WHERE items <> 0 AND amount / items >= 0",
    "SELECT lower(content) AS text, CAST(content AS DOUBLE) AS number FROM changes WHERE escalated",
];

const INFALLIBLE: [&str; 6] = [
    "SELECT * FROM changes",
    "SELECT * FROM changes WHERE amount > 1",
    "SELECT *, metadata.intent AS intent, escalated OR score < 0.3 AS analyse FROM changes
     WHERE NOT escalated",
    "SELECT upper(content) AS text, coalesce(amount, 0) + 1 AS n FROM changes
     WHERE content LIKE '%1%' OR amount IS NULL",
    "SELECT n * 2 AS n FROM (SELECT items AS n, amount FROM changes WHERE amount < 3) AS t
     WHERE n BETWEEN 0 AND 2",
    "SELECT * EXCEPT (content) REPLACE (items IN (1, 2) AS items), length(content) AS letters
     FROM changes WHERE score IS DISTINCT FROM 0.5",
];

fn events() -> impl Strategy<Value = Vec<Event>> {
    let content = prop::option::of(prop_oneof!["[0-9]{1,3}", "[a-c1]{0,14}"]);
    let intent = prop::option::of(prop_oneof![Just("cancel"), Just("greet")]);
    let number = || prop::option::of(-1..4_i64);
    let score = prop::option::of(0.0..1.0_f64);
    let one = (content, intent, number(), number(), score, prop::option::of(any::<bool>()));
    let one = one.prop_map(|(content, intent, amount, items, score, escalated)| Event {
        op: "upsert",
        content,
        intent,
        amount,
        items,
        score,
        escalated,
    });
    prop::collection::vec(one, 0..40)
}

fn bools(buffer: Option<&BooleanBuffer>, count: usize) -> Vec<bool> {
    buffer.map_or(vec![true; count], |buffer| buffer.iter().collect())
}

/// Rows `from..to` of `whole`, as a batch of their own.
fn piece(whole: &Batch, from: usize, to: usize) -> Batch {
    let keep: Vec<bool> = (0..whole.len()).map(|row| (from..to).contains(&row)).collect();
    whole.clone().retain(&BooleanArray::from(keep)).unwrap()
}

/// Rows, kept and refusals: everything that must not depend on where a batch is cut.
fn essence(batches: &[Batch]) -> (String, Vec<bool>, Vec<(i64, String)>) {
    let rows = concat_batches(&batches[0].rows.schema(), batches.iter().map(|it| &it.rows));
    let kept = batches.iter().flat_map(|it| bools(it.kept.as_ref(), it.len())).collect();
    let letters = batches.iter().flat_map(|it| &it.rejects);
    let letters = letters.map(|it| (it.version, it.reason.clone())).collect();
    (format!("{:?}", rows.unwrap()), kept, letters)
}

proptest! {
    // DataFusion plans each case anew: that is what takes the time.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_give_what_the_whole_gives(
        events in events(), cut in 0.0..1.0_f64, kept in prop::option::of(any::<u64>()),
    ) {
        for sql in FALLIBLE.iter().chain(&INFALLIBLE) {
            let stage = transform(sql);
            let mut whole = batch(&events);
            whole.kept = kept.map(|bits| {
                BooleanBuffer::collect_bool(events.len(), |row| bits >> (row % 64) & 1 == 1)
            });
            let middle = (events.len() as f64 * cut) as usize;
            let first = apply(&stage, piece(&whole, 0, middle));
            let second = apply(&stage, piece(&whole, middle, events.len()));
            let whole = apply(&stage, whole);
            prop_assert_eq!(essence(&[whole]), essence(&[first, second]), "{}", sql);
        }
    }

    #[test]
    fn kept_rows_are_what_datafusion_selects(events in events()) {
        let config = SessionConfig::new().with_target_partitions(1);
        let datafusion = SessionContext::new_with_config(config);
        datafusion.register_batch("changes", image(&events)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for sql in INFALLIBLE {
            let ours = apply(&transform(sql), batch(&events));
            let keep = BooleanArray::from(bools(ours.kept.as_ref(), ours.len()));
            let ours = filter_record_batch(&ours.rows, &keep).unwrap();
            let theirs = runtime.block_on(async {
                datafusion.sql(sql).await.unwrap().collect().await.unwrap()
            });
            let schema = ours.schema();
            let columns = schema.fields().iter().enumerate().map(|(index, field)| {
                let pieces: Vec<_> = theirs.iter().map(|it| it.column(index).as_ref()).collect();
                match pieces.is_empty() {
                    true => arrow::array::new_empty_array(field.data_type()),
                    false => {
                        cast(&arrow::compute::concat(&pieces).unwrap(), field.data_type()).unwrap()
                    }
                }
            });
            let theirs = RecordBatch::try_new(ours.schema(), columns.collect()).unwrap();
            prop_assert_eq!(format!("{:?}", ours), format!("{:?}", theirs), "{}", sql);
        }
    }
}
