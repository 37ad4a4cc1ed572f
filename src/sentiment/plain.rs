//! A text with its accented letters as ASCII ones: what is scanned.

use super::fold::{Folded, fold};

/// Write `text` with each accented letter as the ASCII letter beneath it, and Spanish opening signs as
/// spaces. True where there are letters or signs that Spanish has and English has not.
pub(super) fn make_plain(text: &str, plain: &mut String) -> bool {
    plain.clear();
    let mut has_spanish_signs = false;
    let mut rest = text;
    loop {
        let run = rest.bytes().take_while(u8::is_ascii).count();
        let (ascii, others) = rest.split_at_checked(run).unwrap_or((rest, ""));
        plain.push_str(ascii);
        let mut characters = others.chars();
        let Some(character) = characters.next() else { return has_spanish_signs };
        has_spanish_signs |= "áéíóúñÁÉÍÓÚÑ¿¡".contains(character);
        plain.push(plain_character(character));
        rest = characters.as_str();
    }
}

/// What stands for `character` in a plain text.
fn plain_character(character: char) -> char {
    match fold(character) {
        Folded::Letter(letter) => letter,
        _ if matches!(character, '¿' | '¡') => ' ',
        _ => character,
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
