//! Letters without case and accents, as people leave them out when they type.

/// What a byte of text is to the scanner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// White space and what counts as such.
    Space,
    /// An ASCII letter.
    Letter,
    /// An ASCII digit.
    Digit,
    /// `'`, inside words left out: `don't` is `dont`.
    Apostrophe,
    /// Any other ASCII sign.
    Sign,
    /// Part of a character beyond ASCII.
    Wide,
}

/// The class of each byte.
pub(super) static CLASSES: [Class; 256] = classes();

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, over all 256 bytes")]
const fn classes() -> [Class; 256] {
    let mut classes = [Class::Sign; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0..=b' ' | 0x7f => Class::Space,
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'\'' | b'`' => Class::Apostrophe,
            0x80.. => Class::Wide,
            _ => Class::Sign,
        };
        byte += 1;
    }
    classes
}

/// What becomes of a character beyond ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folded {
    /// This ASCII letter, a capital where it was one.
    Letter(char),
    /// A letter of another script, in lower case.
    Other(char),
    /// Left out: a combining mark, a joiner, a variation selector, a soft hyphen.
    Nothing,
    /// An apostrophe in its printed form.
    Apostrophe,
    /// White space.
    Space,
    /// A picture, or a sign that stands for one.
    Picture,
    /// Any other sign.
    Sign,
}

/// U+00C0 to U+00FF by their base letters; a space stands for a sign.
pub(super) const LATIN_1: &[u8; 64] =
    b"AAAAAAACEEEEIIIIDNOOOOO OUUUUYTsaaaaaaaceeeeiiiidnooooo ouuuuyty";
/// U+0100 to U+017F by their base letters.
const LATIN_A: &[u8; 128] = b"AaAaAaCcCcCcCcDdDdEeEeEeEeEeGgGgGgGgHhHhIiIiIiIiIiIiJjKkkLlLlLlLlLlNnNnNnnNnOoOoOoOoRrRrRrSsSsSsSsTtTtTtUuUuUuUuUuUuWwYyYZzZzZzs";

fn letter(base: u8) -> Folded {
    match base.is_ascii_alphabetic() {
        true => Folded::Letter(char::from(base)),
        false => Folded::Sign,
    }
}

/// Fold one character beyond ASCII.
pub(super) fn fold(character: char) -> Folded {
    let code = character as u32;
    match code {
        0xc0..=0xff => letter(LATIN_1.get(code as usize - 0xc0).copied().unwrap_or(b' ')),
        0x100..=0x17f => letter(LATIN_A.get(code as usize - 0x100).copied().unwrap_or(b' ')),
        // Ordinal signs: `1º`, `2ª`.
        0xaa => Folded::Letter('a'),
        0xba => Folded::Letter('o'),
        0xad | 0x300..=0x36f | 0x200b..=0x200f | 0x2060 | 0xfe00..=0xfe0f | 0xfeff => {
            Folded::Nothing
        }
        0x2018 | 0x2019 | 0xb4 | 0x2bc => Folded::Apostrophe,
        0x80..=0xa0 | 0x2000..=0x200a | 0x2028 | 0x2029 | 0x202f | 0x205f | 0x3000 => Folded::Space,
        _ if is_picture(code) => Folded::Picture,
        // The first character of its lower case: there are characters that become several.
        _ if character.is_alphanumeric() => {
            Folded::Other(character.to_lowercase().next().unwrap_or(character))
        }
        _ => Folded::Sign,
    }
}

/// The blocks that emoji stand in.
pub(super) fn is_picture(code: u32) -> bool {
    matches!(
        code,
        0x1f000..=0x1faff | 0x2600..=0x27bf | 0x2b00..=0x2bff | 0x2300..=0x23ff | 0x2190..=0x21ff
            | 0x203c | 0x2049 | 0x3030
    )
}

/// Shades of skin, which say nothing.
pub(super) fn is_skin_tone(code: u32) -> bool {
    matches!(code, 0x1f3fb..=0x1f3ff)
}

/// Joins pictures into one.
pub(super) const JOINER: char = '\u{200d}';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_and_case_go() {
        let folded: String = "áÉñÑüßçøŁěŽ"
            .chars()
            .map(|character| match fold(character) {
                Folded::Letter(letter) => letter.to_ascii_lowercase(),
                other => panic!("{character}: {other:?}"),
            })
            .collect();
        assert_eq!(folded, "aennuscolez");
        assert_eq!(fold('Ñ'), Folded::Letter('N'));
    }

    #[test]
    fn other_characters_are_what_they_are() {
        assert_eq!(fold('Я'), Folded::Other('я'));
        assert_eq!(fold('字'), Folded::Other('字'));
        assert_eq!(fold('\u{301}'), Folded::Nothing);
        assert_eq!(fold('’'), Folded::Apostrophe);
        assert_eq!(fold('😀'), Folded::Picture);
        assert_eq!(fold('¿'), Folded::Sign);
        assert_eq!(fold('×'), Folded::Sign);
        assert_eq!(fold('\u{a0}'), Folded::Space);
    }
}
