//! The image of an item before its change, of the forms that have one.

use super::json::Cursor;
use super::plan::Plan;
use super::refusal::{Read, Refusal};
use super::rows::{KeyPlaces, Rows};
use super::value::Form;

/// Refuse an image whose key is another than `key`.
pub(super) fn same_key(
    rows: &mut Rows<'_>,
    record: &str,
    form: Form,
    places: &KeyPlaces,
    key: &std::ops::Range<usize>,
) -> Read<()> {
    let own = rows.write_key(record, form, places)?;
    let same = rows.keys.get(own.clone()) == rows.keys.get(key.clone());
    rows.keys.truncate(own.start);
    if same { Ok(()) } else { Err(Refusal::new("its key is not that of Keys")) }
}

/// Read the image before the change. One that does not fit the contract is left out: its event was
/// refused when it came, so that nothing was ever written for it.
pub(super) fn read(
    rows: &mut Rows<'_>,
    plan: &Plan,
    record: &str,
    base: usize,
    form: Form,
    image: Option<usize>,
    key: &std::ops::Range<usize>,
) -> Read<()> {
    let known = rows.unknown.len();
    let strict = rows.plan.strict;
    let mut present = false;
    if let Some(image) = image {
        let mut cursor = Cursor::new(record, image);
        cursor.token()?;
        let read = rows
            .read_image(plan, &mut cursor, form, base, true)
            .and_then(|places| same_key(rows, record, form, &places, key));
        present = match read {
            Err(refusal) if refusal.is_syntax() => return Err(refusal),
            Err(_) => false,
            Ok(()) => !(strict && rows.unknown.len() > known),
        };
        // The image's unknown attributes are in `_extra` of the event that wrote them.
        rows.unknown.truncate(known);
        rows.keys.truncate(key.end);
    }
    end(rows, present);
    Ok(())
}

/// Complete the image before the change of the present row, or let there be none.
pub(super) fn end(rows: &mut Rows<'_>, present: bool) {
    let row = rows.len();
    if let Some(before) = &mut rows.before {
        if !present {
            before.truncate(row);
            before.columns.iter_mut().for_each(super::columns::Column::push_null);
        }
        before.present.append(present);
    }
}
