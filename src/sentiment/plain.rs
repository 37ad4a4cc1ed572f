//! A text with its accented letters as ASCII ones: what is scanned.

use super::fold::{Folded, fold};

/// Write `text` with each accented letter as the ASCII letter beneath it, and Spanish opening signs as
/// spaces; all else as it is. True where there are letters or signs that Spanish has and English has
/// not.
pub(super) fn make_plain(text: &str, plain: &mut Vec<u8>) -> bool {
    let mut has_spanish_signs = false;
    let mut rest = text;
    // Eight bytes at a time, and no further than the last of those: what comes next begins a
    // character.
    while let Some(eight) = rest.as_bytes().first_chunk::<8>() {
        let others = u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080;
        plain.extend_from_slice(eight);
        if others == 0 {
            rest = rest.get(8..).unwrap_or_default();
            continue;
        }
        let ascii = others.trailing_zeros() as usize / 8;
        plain.truncate(plain.len() - 8 + ascii);
        rest = rest.get(ascii..).unwrap_or_default();
        rest = one(rest, plain, &mut has_spanish_signs);
    }
    while !rest.is_empty() {
        rest = one(rest, plain, &mut has_spanish_signs);
    }
    has_spanish_signs
}

/// Write the first character of `text`; answers what is behind it.
#[inline]
fn one<'a>(text: &'a str, plain: &mut Vec<u8>, has_spanish_signs: &mut bool) -> &'a str {
    let mut characters = text.chars();
    let Some(character) = characters.next() else { return "" };
    *has_spanish_signs |= is_spanish(character);
    let character = plain_character(character);
    match u8::try_from(character) {
        Ok(byte) if byte.is_ascii() => plain.push(byte),
        _ => plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    characters.as_str()
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
        let mut plain = Vec::new();
        let has_spanish_signs = make_plain(text, &mut plain);
        (String::from_utf8(plain).unwrap(), has_spanish_signs)
    }

    #[test]
    fn letters_lose_their_accents_and_keep_their_case() {
        assert_eq!(plain("¿Qué PASÓ, señor? 👍 字"), (" Que PASO, senor? 👍 字".to_owned(), true));
        assert_eq!(plain("naïve çà et là"), ("naive ca et la".to_owned(), false));
    }

    #[test]
    fn characters_are_found_wherever_they_stand() {
        for length in 0..30 {
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
