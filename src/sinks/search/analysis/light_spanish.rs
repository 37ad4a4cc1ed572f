//! The endings of Spanish words, taken off lightly.
//!
//! Source: `light_spanish` of Lucene (`SpanishLightStemmer`), after J. Savoy, "Report on CLEF-2001
//! Experiments", by which an index of OpenSearch finds Spanish words too.

/// Words of fewer characters stay as they are.
const FEWEST_CHARACTERS: usize = 5;

/// Take accents and the ending of a plural or a gender off `word`, which is written small.
pub(super) fn stem(word: &mut String) {
    if word.chars().nth(FEWEST_CHARACTERS - 1).is_none() {
        return;
    }
    if !word.is_ascii() {
        *word = word.chars().map(plain).collect();
    }
    if word.ends_with(['o', 'a', 'e']) || word.ends_with("eses") {
        // `meses` gives `mes`: its plural goes as a whole.
        let characters = if word.ends_with("eses") { 2 } else { 1 };
        shorten(word, characters);
    } else if word.ends_with("ces") {
        shorten(word, 3);
        word.push('z');
    } else if word.ends_with("os") || word.ends_with("as") || word.ends_with("es") {
        shorten(word, 2);
    }
}

/// Take the last characters off, which are all of one byte.
fn shorten(word: &mut String, characters: usize) {
    word.truncate(word.len() - characters);
}

/// The vowel without its accent.
fn plain(letter: char) -> char {
    match letter {
        'à' | 'á' | 'â' | 'ä' => 'a',
        'ò' | 'ó' | 'ô' | 'ö' => 'o',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn endings_go_where_lucene_takes_them_off() {
        for (word, stem) in [
            ("gato", "gato"),
            ("gatos", "gat"),
            ("habitación", "habitacion"),
            ("habitaciones", "habitacion"),
            ("cancelada", "cancelad"),
            ("canceladas", "cancelad"),
            ("meses", "mes"),
            ("ingleses", "ingles"),
            ("veces", "vez"),
            ("luces", "luz"),
            ("precios", "preci"),
            ("pasó", "pasó"),
            ("llegó", "lleg"),
            ("español", "español"),
            ("", ""),
            ("😀😀😀😀😀", "😀😀😀😀😀"),
        ] {
            let mut found = word.to_owned();
            super::stem(&mut found);
            assert_eq!(found, stem, "{word}");
        }
    }
}
