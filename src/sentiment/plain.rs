//! A text with its accented letters as ASCII ones: what is scanned.

use super::fold::{Folded, fold};

/// Write `text` with each accented letter as the ASCII letter beneath it, and Spanish opening signs as
/// spaces. True where there are letters or signs that Spanish has and English has not.
#[inline(never)]
pub(super) fn make_plain(text: &str, plain: &mut String) -> bool {
    plain.clear();
    let mut has_spanish_signs = false;
    let mut rest = text;
    loop {
        let (ascii, others) = rest.split_at_checked(ascii_run(rest.as_bytes())).unwrap_or((rest, ""));
        plain.push_str(ascii);
        let mut characters = others.chars();
        let Some(character) = characters.next() else { return has_spanish_signs };
        has_spanish_signs |= is_spanish(character);
        plain.push(plain_character(character));
        rest = characters.as_str();
    }
}

/// Number of bytes before the first that is not ASCII.
fn ascii_run(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (index, eight) in eights.iter().enumerate() {
        let others = u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080;
        if others != 0 {
            return 8 * index + others.trailing_zeros() as usize / 8;
        }
    }
    8 * eights.len() + rest.iter().take_while(|byte| byte.is_ascii()).count()
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

    #[test]
    fn letters_lose_their_accents_and_keep_their_case() {
        let mut plain = String::new();
        assert!(make_plain("¿Qué PASÓ, señor? 👍 字", &mut plain));
        assert_eq!(plain, " Que PASO, senor? 👍 字");
        assert!(!make_plain("naïve çà et là", &mut plain));
        assert_eq!(plain, "naive ca et la");
    }

    #[test]
    fn runs_end_at_the_first_other_byte() {
        for length in 0..30 {
            let ascii = "a".repeat(length);
            assert_eq!(ascii_run(ascii.as_bytes()), length);
            assert_eq!(ascii_run(format!("{ascii}éé{ascii}").as_bytes()), length);
        }
    }

    #[test]
    fn places_lead_back_to_the_text() {
        let text = "señor, qué 👍 día";
        let mut plain = String::new();
        make_plain(text, &mut plain);
        let word = plain.find("dia").unwrap() as u32;
        assert_eq!(&text[place(text, word)..place(text, word + 3)], "día");
        assert_eq!(place(text, 0), 0);
        assert_eq!(place(text, 1000), text.len());
    }
}
