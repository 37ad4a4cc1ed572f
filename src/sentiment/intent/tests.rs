//! Tests of intents by rules and by heads.

use arrow::array::AsArray;
use proptest::prelude::*;

use super::*;
use crate::sentiment::features_of;

fn phrases(list: &[&str]) -> Vec<String> {
    list.iter().map(|phrase| (*phrase).to_owned()).collect()
}

fn try_rules(list: &[(&str, &[&str])]) -> Result<Rules, RuleMistake> {
    let list: Vec<(&str, Vec<String>)> =
        list.iter().map(|(name, list)| (*name, phrases(list))).collect();
    Rules::new(list.iter().map(|(name, phrases)| (*name, phrases.as_slice())))
}

fn rules(list: &[(&str, &[&str])]) -> Rules {
    try_rules(list).unwrap()
}

/// Whether a rule of this phrase finds it in `text`.
fn is_in(phrase: &str, text: &str) -> bool {
    Intents::new(Some(rules(&[("found", &[phrase])])), None).intent(text).is_some()
}

#[test]
fn mistakes_in_rules_are_told() {
    let mistake = |list: &[(&str, &[&str])]| {
        let RuleMistake { rule, phrase, what } = try_rules(list).unwrap_err();
        format!("{rule} {phrase:?} {what}")
    };
    insta::assert_snapshot!(mistake(&[(" ", &["precio"])]), @"0 None an intent needs a name");
    insta::assert_snapshot!(mistake(&[("pricing", &["precio"]), ("billing", &[])]), @"1 None `billing` has no phrases");
    insta::assert_snapshot!(mistake(&[("pricing", &["precio", ""])]), @"0 Some(1) the phrase is empty");
    insta::assert_snapshot!(mistake(&[("pricing", &["¿' \u{301}¡"])]), @"0 Some(0) the phrase is empty");
    insta::assert_snapshot!(mistake(&[("pricing", &["24/7"])]), @"0 Some(0) `24/7` has no letters");
    insta::assert_snapshot!(mistake(&[("pricing", &["👍 ?"])]), @"0 Some(0) `👍 ?` has no letters");
    insta::assert_snapshot!(mistake(&[("pricing", &["1*"])]), @"0 Some(0) `1*` has no letters");
    let star = "a `*` stands for the ending of the last word, right behind it";
    for phrase in ["*", "**", "*precio", "pre*cio", "precio *", "precio**", "precio?*", "pre* cio*"]
    {
        assert_eq!(mistake(&[("pricing", &[phrase])]), format!("0 Some(0) `{phrase}`: {star}"));
    }
    insta::assert_snapshot!(
        mistake(&[("a", &["precio", "costo"]), ("b", &["pago"]), ("c", &["otro", "¿CÓSTO "])]),
        @"2 Some(1) `¿CÓSTO ` is a phrase of rule 1 already"
    );
    insta::assert_snapshot!(try_rules(&[("a", &["x", "*"])]).unwrap_err().to_string(), @"rule 1, phrase 2: `*`: a `*` stands for the ending of the last word, right behind it");
    insta::assert_snapshot!(try_rules(&[("", &[])]).unwrap_err().to_string(), @"rule 1: an intent needs a name");
    let long = "x".repeat(40_000);
    insta::assert_snapshot!(mistake(&[("a", &[&long]), ("b", &["x", &format!("{long}x")])]), @"1 Some(1) all phrases together have more than 65536 bytes");
    // Twice in one rule does no harm, and an ending makes another phrase.
    assert!(try_rules(&[("a", &["costo", "Costo"]), ("b", &["costo*"])]).is_ok());
}

#[test]
fn phrases_and_texts_are_folded_alike() {
    for (phrase, text) in [
        ("cuánto cuesta", "CUANTO   CUESTA"),
        ("cuanto cuesta", "hola, ¿Cuánto\n\t cuesta?"),
        ("¿qué precio", "que precio"),
        ("can't log in", "I cant log in"),
        ("cant log in", "I can’t log\u{a0}in"),
        ("dan`t", "da\u{301}n't"),
        ("СЧЁТ", "мой счёт."),
        ("字", "(字)"),
        ("ok 👍", "ok  👍🏽"),
        (" envío ", "envio"),
        ("t.v.", "la T.V. nueva"),
    ] {
        assert!(is_in(phrase, text), "{phrase:?} {text:?}");
    }
    assert!(!is_in("hola que tal", "hola, que tal"));
}

#[test]
fn phrases_are_whole_words() {
    for text in
        ["aprecio", "precios", "precio1", "1precio", "preció字", "字precio", "depreciocio", ""]
    {
        assert!(!is_in("precio", text), "{text}");
    }
    for text in [
        "precio",
        "el precio.",
        "¿precio?",
        "precio-total",
        "_precio_",
        "👍precio👍",
        "aprecio precio",
    ] {
        assert!(is_in("precio", text), "{text}");
    }
    for (text, is_found) in [
        ("factura", true),
        ("facturación electrónica", true),
        ("factur", true),
        ("FACTUR@", true),
        ("refactura", false),
        ("fractura", false),
    ] {
        assert_eq!(is_in("factur*", text), is_found, "{text}");
    }
    assert!(is_in("me cobr*", "ya me cobraron"));
    assert!(!is_in("me cobr*", "ya me lo cobraron"));
    // A sign has no border of its own.
    assert!(is_in("#promo", "ver#promo") && !is_in("#promo", "#promos"));
}

#[test]
fn the_first_rule_of_the_list_wins() {
    let rules = rules(&[
        ("complaint", &["no sirve", "queja"]),
        ("pricing", &["precio", "precio total"]),
        ("none", &["gracias"]),
        ("complaint", &["no me gust*"]),
    ]);
    let intents = Intents::new(Some(rules), Some(head()));
    assert_eq!(intents.intent("precio total de lo que no sirve"), Some("complaint"));
    assert_eq!(intents.intent("gracias por el precio"), Some("pricing"));
    assert_eq!(intents.intent("no me gusta"), Some("complaint"));
    // Both end at the same place.
    let ends = [("short", ["total"].as_slice()), ("long", &["precio total"])];
    let first = |list| {
        Intents::new(Some(self::rules(list)), None).intent("precio total").map(str::to_owned)
    };
    assert_eq!(first(&ends).as_deref(), Some("short"));
    assert_eq!(first(&[ends[1], ends[0]]).as_deref(), Some("long"));
    // It is found, and says that there is no intent: the head is not asked.
    assert_eq!(intents.intent("no me gusta, gracias"), None);
    assert_eq!(intents.intent("otra cosa"), Some("one"));
}

/// A head of few rows, with a weight for each in turn.
fn weights() -> HeadWeights {
    let intent = |(index, name): (i32, &str)| IntentWeights {
        name: name.to_owned(),
        scale: 0.01 + index as f32 / 256.0,
        bias: index as f32 / 8.0,
        weights: (0..256).map(|row| (row * (2 * index + 3) + 50 * index) as i8).collect(),
    };
    HeadWeights {
        name: "small-1".to_owned(),
        manifest: [7; 32],
        temperature: 1.5,
        threshold: 0.2,
        intents: (0..).zip(["one", "two", "three"]).map(intent).collect(),
    }
}

fn head() -> Head {
    Head::read(&weights().write()).unwrap()
}

#[test]
fn a_head_is_read_as_it_was_written() {
    let head = head();
    assert_eq!((head.name(), head.manifest(), head.threshold()), ("small-1", [7; 32], 0.2));
    assert_eq!(head.names().collect::<Vec<_>>(), ["one", "two", "three"]);
}

#[test]
fn what_is_no_head_of_this_version_is_refused() {
    let refusal = |bytes: Vec<u8>| Head::read(&bytes).unwrap_err().to_string();
    let whole = weights().write();
    insta::assert_snapshot!(refusal(Vec::new()), @"this is no intent model");
    insta::assert_snapshot!(refusal(b"ACQSENT1".to_vec()), @"this is no intent model");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    insta::assert_snapshot!(refusal(damaged), @"the intent model is damaged: its checksum differs");
    insta::assert_snapshot!(refusal(whole[..whole.len() - 1].to_vec()), @"the intent model is damaged: its checksum differs");
    let with_sum = |mut bytes: Vec<u8>| {
        let sum = crc32fast::hash(&bytes[12..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&sum);
        bytes
    };
    let mut other = whole.clone();
    other[12] ^= 1;
    insta::assert_snapshot!(refusal(with_sum(other)), @"the intent model was trained on other features than this version computes: train it again");
    let unfit = "the intent model is damaged: its table and its intents do not fit its header";
    // Every shorter file, and one that is longer.
    for length in 20..whole.len() {
        assert_eq!(refusal(with_sum(whole[..length].to_vec())), unfit, "{length} bytes");
    }
    assert_eq!(refusal(with_sum([whole.as_slice(), &[0]].concat())), unfit);
    let not_a_number = f32::NAN.to_le_bytes();
    let changes: [(usize, &[u8]); 11] = [
        (84, &[0]),             // log2 of the rows
        (84, &[60]),            //
        (85, &[0]),             // intents
        (85, &[65]),            //
        (88, &[0, 0, 0, 0]),    // temperature
        (88, &not_a_number),    //
        (92, &not_a_number),    // threshold
        (92, &[0, 0, 0, 0x40]), //
        (96, &not_a_number),    // scale
        (120, &[0, 6]),         // lengths of names
        (123, b"twotwo"),       // names
    ];
    for (place, bytes) in changes {
        let mut changed = whole.clone();
        changed[place..place + bytes.len()].copy_from_slice(bytes);
        assert_eq!(refusal(with_sum(changed)), unfit, "{bytes:?} at {place}");
    }
}

#[test]
fn files_are_read_or_refused_by_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.bin");
    let refusal = || {
        let error = read_file(&path).unwrap_err().to_string();
        error.replace(&*folder.path().to_string_lossy(), "FOLDER")
    };
    insta::assert_snapshot!(refusal(), @"cannot read FOLDER/small.bin: No such file or directory (os error 2)");
    std::fs::write(&path, b"PK").unwrap();
    insta::assert_snapshot!(refusal(), @"FOLDER/small.bin: this is no intent model");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    insta::assert_snapshot!(refusal(), @"FOLDER/small.bin is too large for an intent model");
    std::fs::write(&path, weights().write()).unwrap();
    assert_eq!(read_file(&path).unwrap().name(), "small-1");
}

#[test]
fn results_are_the_same_on_every_machine() {
    let (head, mut scratch) = (head(), HeadScratch::default());
    let texts = ["hola qué tal", "no me sirve nada 😡", "ok", "how much is it?", "", "¿¡"];
    let shown = texts.map(|text| {
        let odds = head
            .odds(&mut scratch, text)
            .map(|odds| odds.iter().map(|odds| odds.to_bits()).collect());
        let odds: Vec<u32> = odds.unwrap_or_default();
        let most = head.most_probable(&mut scratch, text).map(|(index, it)| (index, it.to_bits()));
        format!("{odds:08x?} {most:08x?}")
    });
    insta::assert_snapshot!(shown.join("\n"), @r"
    [bf7e4d80, 3f14ca7c, 3d4bd464] Some((00000001, 3ef98ca4))
    [be4cf39f, bf1bb938, bec9f79c] Some((00000000, 3ec1eb56))
    [3f5bd07d, bf8d9daf, beb5f902] Some((00000000, 3f154681))
    [bf24d46a, be051818, be69fc84] Some((00000001, 3ec17951))
    [] None
    [] None
    ");
}

#[test]
fn what_is_improbable_or_nothing_is_no_intent() {
    let mut scratch = HeadScratch::default();
    let mut intent = |threshold, name: &str| {
        let mut weights = HeadWeights { threshold, ..weights() };
        weights.intents[0].name = name.to_owned();
        Head::read(&weights.write()).unwrap().intent(&mut scratch, "otra cosa")
    };
    let (index, probability) = intent(0.0, "one").unwrap();
    assert!(index == 0 && (0.34..0.99).contains(&probability), "{probability}");
    assert_eq!(intent(probability, "one"), Some((0, probability)));
    assert_eq!(intent(probability + 0.001, "one"), None);
    assert_eq!(intent(0.0, "none"), None);
    assert_eq!(intent(0.0, "nones").map(|(index, _)| index), Some(0));
}

#[test]
fn as_many_intents_as_a_head_can_have_are_told() {
    // Each knows one word.
    let words: Vec<String> =
        (0..MOST_INTENTS).map(|index| format!("palabra{}", letters(index))).collect();
    let intents = words.iter().map(|word| {
        let mut weights = vec![0; 1 << 16];
        features_of(word)
            .sentiment
            .iter()
            .take(1)
            .for_each(|it| weights[(it >> 48) as usize] = 127);
        IntentWeights { name: word.clone(), scale: 1.0, bias: 0.0, weights }
    });
    let intents = intents.collect();
    let head = HeadWeights { intents, threshold: 0.0, ..weights() }.write();
    let intents = Intents::new(None, Some(Head::read(&head).unwrap()));
    for word in &words {
        assert_eq!(intents.intent(word), Some(word.as_str()));
    }
}

#[test]
fn the_largest_weights_are_added_up() {
    let text = "una palabra, y otra más ".repeat(100);
    let features = features_of(&text).sentiment.len() as f32;
    let intent = |(name, weight): (&str, i8)| IntentWeights {
        name: name.to_owned(),
        scale: 1.0,
        bias: 0.0,
        weights: vec![weight; 256],
    };
    let intents = [("most", 127), ("least", -128)].map(intent).to_vec();
    let head = Head::read(&HeadWeights { intents, ..weights() }.write()).unwrap();
    let mut scratch = HeadScratch::default();
    let right = [127.0, -128.0].map(|weight| weight * features * (1.0 / features.sqrt()));
    assert_eq!(head.odds(&mut scratch, &text).unwrap(), right);
}

fn letters(number: usize) -> String {
    [number / 26, number % 26].iter().map(|index| char::from(b'a' + *index as u8)).collect()
}

/// A head that was trained on `sentences`, by a few rounds of the perceptron.
fn trained(names: &[&str], sentences: &[(&str, usize)]) -> Head {
    let mut weights = vec![vec![0_i32; 1 << 14]; names.len()];
    let rows = |text: &str| features_of(text).sentiment.into_iter().map(|it| (it >> 50) as usize);
    for (text, right) in (0..10).flat_map(|_| sentences) {
        let sum = |weights: &Vec<i32>| rows(text).map(|row| weights[row]).sum::<i32>();
        let told = (0..names.len()).max_by_key(|index| sum(&weights[*index])).unwrap();
        if told != *right {
            for row in rows(text) {
                weights[*right][row] += 1;
                weights[told][row] -= 1;
            }
        }
    }
    let intents = names.iter().zip(weights).map(|(name, weights)| {
        let weights = weights.iter().map(|weight| (*weight).clamp(-127, 127) as i8).collect();
        IntentWeights { name: (*name).to_owned(), scale: 4.0, bias: 0.0, weights }
    });
    let intents = intents.collect();
    let head = HeadWeights { temperature: 1.0, threshold: 0.5, intents, ..self::weights() };
    Head::read(&head.write()).unwrap()
}

#[test]
fn a_head_tells_apart_what_it_was_trained_on() {
    let names = ["pricing_inquiry", "billing", "none"];
    let sentences = [
        ("cuánto cuesta el vestido", 0),
        ("qué precio tiene", 0),
        ("how much is the blue one", 0),
        ("necesito mi factura", 1),
        ("me cobraron un cargo que no reconozco", 1),
        ("please send me the invoice", 1),
        ("muchas gracias", 2),
        ("nos vemos el jueves", 2),
        ("see you later", 2),
    ];
    let intents = Intents::new(None, Some(trained(&names, &sentences)));
    for (text, right) in sentences {
        let right = Some(names[right]).filter(|name| *name != NOTHING);
        assert_eq!(intents.intent(text), right, "{text}");
    }
    assert_eq!(intents.intent("CUANTO CUESTA LA BLUSA"), Some("pricing_inquiry"));
    assert_eq!(intents.intent("la factura por favor"), Some("billing"));
    assert_eq!(intents.intent("gracias, nos vemos"), None);
}

#[test]
fn a_column_has_an_intent_or_null_for_each_text() {
    let rules = rules(&[("more than twelve bytes", &["precio"]), ("none", &["gracias"])]);
    let texts = StringViewArray::from_iter_values([
        "qué precio",
        "un precio",
        "precio",
        "",
        "gracias",
        "otra cosa",
        "un texto que no cabe en una vista, con su precio",
    ]);
    // The second one is null, whatever stands beneath.
    let (views, buffers, _) = texts.into_parts();
    let nulls = (0..7).map(|row| row != 1).collect();
    let texts = StringViewArray::new(views, buffers, Some(nulls));
    let shown = |intents: &Intents| {
        let column = intents.column(&texts, |row| row != 2).unwrap();
        let shown: Vec<&str> =
            column.as_string_view().iter().map(|it| it.unwrap_or("null")).collect();
        format!("{}: {}", column.data_type(), shown.join(", "))
    };
    let both = Intents::new(Some(rules.clone()), Some(head()));
    insta::assert_snapshot!(shown(&both), @"Utf8View: more than twelve bytes, null, null, null, null, one, more than twelve bytes");
    // Again, with what was used before.
    assert_eq!(shown(&both), shown(&Intents::new(Some(rules), Some(head()))));
    insta::assert_snapshot!(shown(&Intents::new(None, None)), @"Utf8View: null, null, null, null, null, null, null");
    let empty = StringViewArray::from_iter([None::<&str>; 0]);
    assert_eq!(both.column(&empty, |_| true).unwrap().len(), 0);
    assert_eq!((both.rules().unwrap().names().len(), both.head().unwrap().name()), (2, "small-1"));
}

#[test]
fn odd_texts_end() {
    let list = [("a", ["a", "aa", "a a", "a*", "ñ b*"].as_slice()), ("b", &["字", "b 👍"])];
    let intents = Intents::new(Some(rules(&list)), Some(head()));
    let odd = [
        "", " ", "\0", "\u{fe0f}", "\u{200d}", "🏽", "'", "*", "\u{301}", "ﷺ", "Ⱥ", "İ", "🇲",
        "a\u{300}",
    ];
    for piece in odd.into_iter().chain(["a", "aa ", "b 👍", "字", "palabra ", "no ", "¿"]) {
        for times in [1, 2, 50_000] {
            intents.intent(&piece.repeat(times));
        }
    }
    let long = "x".repeat(49_990) + " 字";
    assert_eq!(intents.intent(&long), Some("b"));
}

/// A text without what phrases are compared without, by the letters that the test below uses.
fn folded(text: &str) -> Vec<char> {
    let mut folded: Vec<char> = Vec::new();
    for character in text.chars() {
        match character {
            'á' | 'A' => folded.push('a'),
            'Ñ' => folded.push('n'),
            'Ж' => folded.push('ж'),
            '\'' | '’' | '\u{301}' => {}
            ' ' | '\n' | '\u{a0}' | '¿' if folded.last() == Some(&' ') => {}
            ' ' | '\n' | '\u{a0}' | '¿' => folded.push(' '),
            other => folded.push(other),
        }
    }
    folded
}

/// The number of the first rule that is found, by looking for each phrase everywhere.
fn search(list: &[Vec<(String, bool)>], text: &str) -> Option<usize> {
    let text = folded(text);
    let is_word =
        |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|it| it.is_alphanumeric());
    let stands = |(phrase, takes_endings): &(String, bool)| {
        let phrase = folded(phrase);
        let from = phrase.iter().take_while(|it| **it == ' ').count();
        let to = phrase.iter().rposition(|it| *it != ' ').unwrap() + 1;
        let phrase = &phrase[from..to];
        (0..text.len()).any(|at| {
            let begins = !phrase[0].is_alphanumeric() || !is_word(at.checked_sub(1));
            let is_last_word = phrase[phrase.len() - 1].is_alphanumeric();
            let ends = *takes_endings || !is_last_word || !is_word(Some(at + phrase.len()));
            text[at..].starts_with(phrase) && begins && ends
        })
    };
    list.iter().position(|phrases| phrases.iter().any(stands))
}

fn any_text(pieces: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "a", "b", "á", "A", "n", "Ñ", "ж", "Ж", "0", " ", " ", "\n", "\u{a0}", "¿", "'",
        "’", "\u{301}", "-", "👍", "字", ",",
    ]);
    prop::collection::vec(piece, pieces).prop_map(|pieces| pieces.concat())
}

fn any_phrase() -> impl Strategy<Value = (String, bool)> {
    let ending = prop::sample::select(vec!["a", "b", "n", "ж", "0"]);
    (
        any_text(0..4),
        prop::sample::select(vec!["a", "b", "ж"]),
        any_text(0..2),
        ending,
        any::<bool>(),
    )
        .prop_map(|(before, letter, after, ending, takes_endings)| {
            let ending = if takes_endings { ending } else { "" };
            (format!("{before}{letter}{after}{ending}"), takes_endings)
        })
}

proptest! {
    #[test]
    fn what_is_found_is_what_a_search_finds(
        list in prop::collection::vec(prop::collection::vec(any_phrase(), 1..4), 1..4),
        texts in prop::collection::vec(any_text(0..30), 1..8),
    ) {
        let written: Vec<Vec<String>> = list
            .iter()
            .map(|list| list.iter().map(|(it, takes)| format!("{it}{}", if *takes { "*" } else { "" })).collect())
            .collect();
        let Ok(rules) = Rules::new(written.iter().map(|list| ("intent", list.as_slice()))) else {
            // The same phrase in two rules.
            return Ok(());
        };
        let mut folding = Folding::default();
        for text in &texts {
            prop_assert_eq!(rules.rule(&mut folding, text), search(&list, text), "{:?} in {:?}", list, text);
        }
    }

    #[test]
    fn what_is_told_is_what_is_learned(text in "\\PC{0,60}|([a-z]{1,20}|no|pero|😡|[0-9]|,| ){0,30}") {
        let (weights, head) = (weights(), head());
        let features = features_of(&text).sentiment;
        let root = (features.len() as f32).sqrt();
        let odds = weights.intents.iter().map(|intent| {
            let sum: i32 = features.iter().map(|it| i32::from(intent.weights[(it >> 56) as usize])).sum();
            sum as f32 * (intent.scale / root) + intent.bias
        });
        let odds: Vec<f32> = odds.collect();
        let mut scratch = HeadScratch::default();
        if let Some(told) = head.odds(&mut scratch, &text) {
            prop_assert_eq!(told, odds.as_slice());
            let (most, probability) = head.most_probable(&mut scratch, &text).unwrap();
            let shares: Vec<f64> = odds.iter().map(|odds| (f64::from(*odds) / 1.5).exp()).collect();
            let right = shares[most] / shares.iter().sum::<f64>();
            prop_assert!(shares.iter().all(|share| *share <= shares[most]));
            prop_assert!((f64::from(probability) / right - 1.0).abs() < 1e-4);
        }
    }
}
