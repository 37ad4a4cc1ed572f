//! A text with its accented letters as ASCII ones: what is scanned.

use wide::u8x16;

use super::fold::{Folded, LATIN_1, fold};

/// Bytes that are looked at at once.
pub(super) const AT_ONCE: usize = 16;
/// Bytes that there are at least behind a plain text.
pub(super) const ROOM: usize = 80;

/// Write `text` with each accented letter as the ASCII letter beneath it, and Spanish opening signs as
/// spaces; all else as it is. Answers how many bytes of `plain` are that, and whether there are letters
/// or signs that Spanish has and English has not. There are [`ROOM`] more bytes in it, of any kind.
pub(super) fn make_plain(text: &str, plain: &mut Vec<u8>) -> (usize, bool) {
    if plain.len() < text.len() + ROOM {
        plain.resize(text.len() + ROOM, 0);
    }
    let (mut at, mut written, mut has_spanish_signs) = (0, 0, false);
    loop {
        let bytes = bytes_from(text.as_bytes(), at);
        let count = (text.len() - at).min(AT_ONCE);
        // All at once; those that are no ASCII, or none of the text, are written over.
        let Some(place) = plain.get_mut(written..).and_then(<[u8]>::first_chunk_mut) else {
            return (written, has_spanish_signs);
        };
        *place = bytes;
        let ascii = (beyond_ascii(bytes) | 1 << count).trailing_zeros() as usize;
        at += ascii;
        written += ascii;
        if ascii == AT_ONCE {
            continue;
        }
        if ascii == count {
            return (written, has_spanish_signs);
        }
        let (bytes, more, is_spanish) = one(text, at, plain.get_mut(written..).unwrap_or_default());
        has_spanish_signs |= is_spanish;
        at += bytes;
        written += more;
    }
}

/// The bytes from `at` on, and zeros where there are fewer.
#[inline(always)]
fn bytes_from(text: &[u8], at: usize) -> [u8; AT_ONCE] {
    let rest = text.get(at..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return *bytes;
    }
    // The last ones of all without those before; without a loop, whatever is left.
    if let Some(last) = text.last_chunk::<AT_ONCE>() {
        let before = AT_ONCE - rest.len();
        let last = u128::from_le_bytes(*last);
        return last.checked_shr(8 * before as u32).unwrap_or_default().to_le_bytes();
    }
    let mut bytes = [0; AT_ONCE];
    bytes.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    bytes
}

/// A bit for each byte that is not ASCII, the first one lowest.
#[inline]
fn beyond_ascii(bytes: [u8; AT_ONCE]) -> u32 {
    let bytes = u8x16::new(bytes);
    bytes.simd_gt(u8x16::splat(0x7f)).to_bitmask()
}

/// Write the character that begins at `at` of `text` to the beginning of `plain`; answers how many
/// bytes it has, how many are written, and whether it is one that Spanish has and English has not.
#[inline]
fn one(text: &str, at: usize, plain: &mut [u8]) -> (usize, usize, bool) {
    // Most are accented letters of Western Europe, of two bytes.
    if let Some([0xc3, second]) = text.as_bytes().get(at..at + 2)
        && let Some(letter) = LATIN_1.get(usize::from(second & 0x3f)).filter(|byte| **byte != b' ')
        && let Some(place) = plain.first_mut()
    {
        *place = *letter;
        return (2, 1, is_spanish(char::from(second | 0x40)));
    }
    let character = text.get(at..).and_then(|rest| rest.chars().next()).unwrap_or_default();
    let written = plain_character(character).encode_utf8(plain).len();
    (character.len_utf8(), written, is_spanish(character))
}

fn is_spanish(character: char) -> bool {
    matches!(
        character,
        'á' | 'é' | 'í' | 'ó' | 'ú' | 'ñ' | 'Á' | 'É' | 'Í' | 'Ó' | 'Ú' | 'Ñ' | '¿' | '¡'
    )
}

/// What stands for `character` in a plain text.
fn plain_character(character: char) -> char {
    match character {
        '\0'..='\x7f' => character,
        '¿' | '¡' => ' ',
        _ => match fold(character) {
            Folded::Letter(letter) => letter,
            _ => character,
        },
    }
}

/// Where the byte `at` of the plain form of `text` stands in `text`.
pub(super) fn place(text: &str, at: u32) -> usize {
    let mut plain = 0;
    for (place, character) in text.char_indices() {
        if plain >= at as usize {
            return place;
        }
        plain += plain_character(character).len_utf8();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> (String, bool) {
        let mut plain = vec![b'-'; 40];
        let (written, has_spanish_signs) = make_plain(text, &mut plain);
        assert!(plain.len() >= written + ROOM);
        (String::from_utf8(plain[..written].to_vec()).unwrap(), has_spanish_signs)
    }

    #[test]
    fn letters_lose_their_accents_and_keep_their_case() {
        assert_eq!(plain("¿Qué PASÓ, señor? 👍 字"), (" Que PASO, senor? 👍 字".to_owned(), true));
        assert_eq!(plain("naïve çà et là"), ("naive ca et la".to_owned(), false));
        assert_eq!(plain("3×4÷2 Łódź 1º"), ("3×4÷2 Lodz 1o".to_owned(), true));
    }

    #[test]
    fn characters_are_found_wherever_they_stand() {
        for length in 0..50 {
            let ascii = "a".repeat(length);
            assert_eq!(plain(&ascii), (ascii.clone(), false));
            let others = format!("{ascii}éé👍{ascii}ü");
            assert_eq!(plain(&others), (format!("{ascii}ee👍{ascii}u"), true));
        }
    }

    #[test]
    fn places_lead_back_to_the_text() {
        let text = "señor, qué 👍 día";
        let word = plain(text).0.find("dia").unwrap() as u32;
        assert_eq!(&text[place(text, word)..place(text, word + 3)], "día");
        assert_eq!(place(text, 0), 0);
        assert_eq!(place(text, 1000), text.len());
    }
}
