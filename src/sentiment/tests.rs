//! Tests of the model as a whole.

use std::collections::HashSet;

use proptest::prelude::*;

use super::cache::{Cache, Sums};
use super::features::SPECIFICATION;
use super::key::{Folded, Key, word_hash};
use super::model::{Calibration, DomainCalibration, LanguageCalibration, Weights};
use super::*;

fn judged(text: &str) -> Verdict {
    Judge::default().judge(&Model::built_in().unwrap(), text, None, &Judging::default())
}

#[test]
fn plain_messages_get_the_labels_of_the_guide() {
    use Label::{Negative, Neutral, Positive};
    let expected = [
        ("hola buenas tardes", Neutral),
        ("quiero saber mi saldo", Neutral),
        ("muchas gracias, me salvaste", Positive),
        ("nadie me contesta", Negative),
        ("llevo tres días esperando mi pedido", Negative),
        ("me cobraron dos veces", Negative),
        ("pésimo servicio", Negative),
        ("PESIMO SERVICIO!!", Negative),
        ("excelente atención", Positive),
        ("me encanta 😍", Positive),
        ("😡😡", Negative),
        ("❤️", Positive),
        ("a qué hora abren?", Neutral),
        ("they never called back", Negative),
        ("can I change my plan?", Neutral),
        ("great service, thank you so much!", Positive),
        ("my order number is 48213", Neutral),
        ("worst airline ever", Negative),
    ];
    let wrong: Vec<_> = expected
        .into_iter()
        .map(|(text, label)| (text, label, judged(text)))
        .filter(|(_, label, verdict)| verdict.label != *label)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_text_that_says_nothing_is_neutral_without_confidence() {
    for text in ["", "   ", "\n\t", "¿¡", "\u{200d}\u{fe0f}", "---", "(\"*\")"] {
        assert_eq!(judged(text), Verdict::NOTHING, "{text:?}");
    }
    assert_eq!(judged("12345").language, None);
    assert_eq!(judged("https://a.b/c").label, Label::Neutral);
}

#[test]
fn a_text_that_stands_for_media_is_neutral() {
    let marks = ["[image]", "[foto]", "[nota de voz]", "[sticker]", "<Media omitted>", "📷 Foto"];
    for text in marks {
        assert_eq!(judged(text).label, Label::Neutral, "{text:?}");
    }
}

#[test]
fn the_language_is_told_or_taken() {
    assert_eq!(judged("no me llega el código").language, Some(Language::Spanish));
    assert_eq!(judged("I did not get the code").language, Some(Language::English));
    assert_eq!(judged("👍").language, None);
    let model = Model::built_in().unwrap();
    let told = Judge::default().judge(&model, "ok", Some(Language::English), &Judging::default());
    assert_eq!(told.language, Some(Language::English));
    let tags = ["es", "ES-mx", "es_419", "spa", "en", "en-GB", "eng", "pt", "", "e", "español"];
    let known = tags.map(|tag| Language::of_tag(tag).map(Language::code));
    let [es, en] = [Some("es"), Some("en")];
    assert_eq!(known, [es, es, es, es, en, en, en, None, None, None, None]);
}

#[test]
fn priors_move_what_is_undecided() {
    let model = Model::built_in().unwrap();
    let with = |negative, neutral, positive| {
        let judging = Judging::default().with_shares(negative, neutral, positive);
        Judge::default().judge(&model, "ya llegó mi pedido", None, &judging)
    };
    let (even, angry) = (with(1.0, 1.0, 1.0), with(1000.0, 1.0, 1.0));
    assert_eq!(even, judged("ya llegó mi pedido"));
    assert_eq!(angry.label, Label::Negative);
    assert!(angry.score < even.score);
}

#[test]
fn clauses_of_opposite_feelings_are_mixed_where_it_is_asked_for() {
    let model = Model::built_in().unwrap();
    let text = "el producto es excelente y me encanta pero el servicio fue pésimo, una porquería";
    let judging = Judging { mixed: true, ..Judging::default() };
    let mut judge = Judge::default();
    let mixed = judge.judge(&model, text, None, &judging);
    assert_eq!(mixed.label, Label::Mixed);
    assert_ne!(judge.judge(&model, text, None, &Judging::default()).label, Label::Mixed);
    let plain = judge.judge(&model, "pésimo servicio pero ya quedó", None, &judging);
    assert_ne!(plain.label, Label::Mixed, "only one side is sure");
}

#[test]
fn reasons_are_words_of_the_text_and_point_the_right_way() {
    let model = Model::built_in().unwrap();
    let text = "pésimo servicio, pero la señorita fue muy amable";
    let reasons = Judge::default().explain(&model, text, None);
    let weight = |word: &str| {
        let is_it = |reason: &&Reason| &text[reason.span.clone()] == word;
        reasons.iter().find(is_it).unwrap().weight
    };
    assert!(weight("pésimo") < 0.0 && weight("amable") > 0.0, "{reasons:?}");
    assert_eq!(reasons.len(), 8);
}

#[test]
fn a_pair_counts_for_its_own_two_words() {
    let features =
        |text: &str| -> HashSet<u64> { features_of(text).sentiment.into_iter().collect() };
    // What these two words have in common beside each other, and nothing else has.
    let mut both = features("uno dos tres");
    both.retain(|feature| features("cero uno dos").contains(feature));
    for other in ["uno", "dos", "uno tres dos", "dos uno"] {
        both.retain(|feature| !features(other).contains(feature));
    }
    let [pair] = both.into_iter().collect::<Vec<_>>()[..] else { panic!("one feature") };
    let mut weights = Weights { tables: [vec![[0, 0]; 1 << 16], vec![[0, 0]; 1 << 16]], ..small() };
    weights.tables[0][(pair >> 48) as usize] = [0, 100];
    let model = Model::read(&weights.write()).unwrap();
    let reasons = Judge::default().explain(&model, "uno dos tres", Some(Language::Spanish));
    let moved: Vec<bool> = reasons.iter().map(|reason| reason.weight > 0.0).collect();
    assert_eq!(moved, [true, true, false], "{reasons:?}");
}

/// The small model, which is so many times as sure of texts of the general domain.
fn with_factor(factor: f32) -> Weights {
    let small = small();
    let calibrations = small.calibrations.map(|[service, _]| {
        let Calibration { scale, negative, positive } = service;
        let [scale, negative, positive] = [scale, negative, positive].map(|it| it * factor);
        [service, Calibration { scale, negative, positive }]
    });
    Weights { calibrations, ..small }
}

#[test]
fn texts_of_the_general_domain_are_judged_by_their_own_calibration() {
    let hash = features_of("hola").domain[0];
    let verdict = |weight: i8, general: f32| {
        let mut weights = with_factor(general);
        weights.domains = vec![0; 256];
        weights.domains[(hash >> 56) as usize] = weight;
        weights.domain = DomainCalibration { scale: 1.0, bias: 0.0 };
        let model = Model::read(&weights.write()).unwrap();
        let mut judge = Judge::default();
        let share = judge.generality(&model, "hola").unwrap();
        (judge.judge(&model, "hola", None, &Judging::default()), share)
    };
    let [service, between, general] = [-100, 1, 100].map(|weight| verdict(weight, 0.25));
    assert_eq!([service.1, between.1, general.1], [0.0, 0.75, 1.0]);
    assert_eq!(service.0, verdict(-100, 1.0).0, "the calibration of another domain");
    let [service, between, general] = [service, between, general].map(|(it, _)| it.confidence);
    assert!(service > between && between > general && general > 1.0 / 3.0);
}

/// A model of a few rows, with a weight for each in turn.
fn small() -> Weights {
    let calibration = Calibration { scale: 0.01, negative: 0.1, positive: -0.1 };
    let weights = |shift: i32| -> Vec<[i8; 2]> {
        (0..256).map(|row| [(row + shift) as i8, (row * 3) as i8]).collect()
    };
    Weights {
        name: "small-1".to_owned(),
        manifest: [7; 32],
        calibrations: [[calibration; 2]; 2],
        tables: [weights(0), weights(50)],
        language: LanguageCalibration { scale: 0.01, bias: 0.0, margin: 1.0 },
        languages: (0..256).map(|row| row as i8).collect(),
        domain: DomainCalibration { scale: 0.01, bias: 0.0 },
        domains: (0..256).map(|row| row as i8).collect(),
    }
}

#[test]
fn a_model_is_read_as_it_was_written() {
    let model = Model::read(&small().write()).unwrap();
    assert_eq!(model.name(), "small-1");
    assert_eq!(model.manifest(), [7; 32]);
    assert_eq!(model.weights(3 << 56), [3, 9, 53, 9]);
    assert_eq!(model.weights(255 << 56), [-1, -3, 49, -3]);
    assert_eq!(model.spanishness(0xff00_0000_0000_0080), -128);
    assert_eq!(model.generality(0x7f00_0000_0000_0080), 127);
}

#[test]
fn a_long_text_of_the_largest_weights_is_added_up() {
    let text: String = (0..1900_u32).map(|number| format!("w{} ", number * number)).collect();
    let features = features_of(&text);
    for weight in [i8::MIN, i8::MAX] {
        let all = Weights {
            tables: [vec![[weight, 0]; 256], vec![[0, weight]; 256]],
            languages: vec![weight; 256],
            domains: vec![weight; 256],
            ..small()
        };
        let model = Model::read(&all.write()).unwrap();
        let totals = Judge::default().weigh(&model, &text).unwrap();
        let sum = i32::from(weight) * features.sentiment.len() as i32;
        assert_eq!(totals.weights, [sum, 0, 0, sum]);
        assert_eq!(totals.spanishness, i32::from(weight) * features.language.len() as i32);
        assert_eq!(totals.generality, i32::from(weight) * features.domain.len() as i32);
    }
}

#[test]
fn what_is_no_model_of_this_version_is_refused() {
    let refusal = |bytes: Vec<u8>| Model::read(&bytes).unwrap_err().to_string();
    let whole = small().write();
    insta::assert_snapshot!(refusal(Vec::new()), @"this is no sentiment model");
    insta::assert_snapshot!(refusal(b"PK\x03\x04".to_vec()), @"this is no sentiment model");
    let older = [b"ACQSENT1".as_slice(), &whole[8..]].concat();
    insta::assert_snapshot!(refusal(older), @"the sentiment model is in the format of another version: train it again");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    insta::assert_snapshot!(refusal(damaged), @"the sentiment model is damaged: its checksum differs");
    insta::assert_snapshot!(refusal(whole[..whole.len() - 1].to_vec()), @"the sentiment model is damaged: its checksum differs");
    let with_sum = |mut bytes: Vec<u8>| {
        let sum = crc32fast::hash(&bytes[12..]).to_le_bytes();
        bytes[8..12].copy_from_slice(&sum);
        bytes
    };
    let mut other = whole.clone();
    other[12] ^= 1;
    insta::assert_snapshot!(refusal(with_sum(other)), @"the sentiment model was trained on other features than this version computes: train it again");
    insta::assert_snapshot!(refusal(with_sum(whole[..whole.len() - 1].to_vec())), @"the sentiment model is damaged: its tables do not fit its header");
    let mut huge = whole.clone();
    huge[84] = 60;
    insta::assert_snapshot!(refusal(with_sum(huge)), @"the sentiment model is damaged: its tables do not fit its header");
    let mut unknown = whole.clone();
    unknown[87] = 1;
    insta::assert_snapshot!(refusal(with_sum(unknown)), @"the sentiment model is damaged: its tables do not fit its header");
    let with_scale = |scale: f32| {
        let mut other = whole.clone();
        other[88..92].copy_from_slice(&scale.to_le_bytes());
        refusal(with_sum(other))
    };
    let [endless, infinite, huge] = [f32::NAN, f32::INFINITY, -3e38].map(with_scale);
    insta::assert_snapshot!(endless, @"the sentiment model is damaged: its tables do not fit its header");
    assert_eq!([&infinite, &huge], [&endless; 2]);
}

#[test]
fn features_are_those_that_models_were_trained_on() {
    // A change here is a change of SPECIFICATION, and asks for a new model.
    let texts = [
        "¡Qué PÉSIMO servicio!!",
        "no me han contestado en 3 días",
        "grácias 😍😍 jajaja",
        "I don't like it, but ok :)",
        "https://a.b @user 12:30 привет 字",
    ];
    let all = texts.iter().map(|text| features_of(text)).flat_map(|it| [it.sentiment, it.language]);
    let sum = all.flatten().fold(0_u64, |sum, feature| sum.rotate_left(5) ^ feature);
    insta::assert_snapshot!(format!("{SPECIFICATION}: {sum:016x}"), @"acequia sentiment features 2: 4165a41a3f7c804e");
    assert_eq!(word_hash(b""), word_hash(b""));
}

#[test]
fn results_are_the_same_on_every_machine() {
    // To the last bit, of the model above: its numbers do not change with training.
    let shown = |general: f32| {
        let model = Model::read(&with_factor(general).write()).unwrap();
        let mut judge = Judge::default();
        let texts = ["hola qué tal", "no me gusta nada 😡", "ok thanks", "the app crashed again!!"];
        let shown = texts.map(|text| {
            let verdict = judge.judge(&model, text, None, &Judging::default());
            let bits = (verdict.score.to_bits(), verdict.confidence.to_bits());
            format!("{} {:08x} {:08x} {:?}", verdict.label.name(), bits.0, bits.1, verdict.language)
        });
        shown.join("\n")
    };
    insta::assert_snapshot!(shown(0.5), @r"
    NEGATIVE be975424 3eeea8a2 Some(Spanish)
    NEGATIVE be82e582 3ef61b92 Some(Spanish)
    NEGATIVE be4b0b50 3ee609ac Some(Spanish)
    NEGATIVE bea29fde 3ee4b1a4 Some(Spanish)
    ");
    insta::assert_snapshot!(shown(1.0), @r"
    NEGATIVE becb2d02 3f049148 Some(Spanish)
    NEGATIVE beb25a64 3f099314 Some(Spanish)
    NEGATIVE be80d37c 3ef6a43d Some(Spanish)
    NEGATIVE bea92734 3ee722dc Some(Spanish)
    ");
}

/// Text like people's, and like nobody's.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-záéíóúñ]{1,12}",
        "[a-z]{13,50}",
        "[A-Z]{1,8}",
        "[0-9.,:/-]{1,9}",
        "[!?.,;:()'\"@#]{1,4}",
        prop::sample::select(vec![
            "😡",
            "❤️",
            "👍🏽",
            "👩‍👩‍👧",
            "🇲🇽",
            "\u{200d}",
            "\u{fe0f}",
            "\u{301}",
            "no",
            "pero",
            "jajaja",
            "http://x",
            "a@b.c",
            ":)",
            "字",
            "ﷺ",
            "\u{0}",
            "’",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec((piece, prop_oneof![Just(""), Just(" "), Just("\n")]), 0..30)
        .prop_map(|pieces| pieces.iter().map(|(piece, gap)| format!("{piece}{gap}")).collect())
}

proptest! {
    #[test]
    fn no_text_fails_and_no_number_is_odd(text in any_text(), mixed in any::<bool>()) {
        let model = Model::built_in().unwrap();
        let judging = Judging { mixed, ..Judging::default() };
        let verdict = Judge::default().judge(&model, &text, None, &judging);
        prop_assert!(verdict.score.abs() <= 1.0 && (0.0..=1.0).contains(&verdict.confidence));
        for reason in Judge::default().explain(&model, &text, None) {
            prop_assert!(reason.weight.is_finite() && text.get(reason.span).is_some());
        }
    }

    #[test]
    fn what_came_before_changes_nothing(texts in prop::collection::vec(any_text(), 1..8)) {
        let model = Model::read(&small().write()).unwrap();
        let mut used = Judge::default();
        for text in &texts {
            let fresh = Judge::default().judge(&model, text, None, &Judging::default());
            prop_assert_eq!(used.judge(&model, text, None, &Judging::default()), fresh);
        }
    }

    #[test]
    fn kept_words_weigh_what_they_weigh(
        words in prop::collection::vec(("[a-z]{1,15}", any::<bool>()), 1..40)
    ) {
        let model = Model::read(&small().write()).unwrap();
        let mut cache = Cache::default();
        for (word, is_negated) in words.iter().chain(&words) {
            let word = word.as_bytes();
            let (key, hash) = (Key::of(&Folded::from(word), 0).negated(*is_negated), word_hash(word));
            let sums = Sums::of(&model, word, hash, *is_negated);
            if let Some(kept) = cache.get(key, hash) {
                prop_assert_eq!(kept, sums);
            }
            cache.put(key, hash, sums);
            prop_assert_eq!(cache.get(key, hash), Some(sums));
        }
    }

    #[test]
    fn what_is_judged_is_what_is_learned(text in any_text()) {
        let model = Model::read(&small().write()).unwrap();
        let features = features_of(&text);
        let mut weights = [0_i32; 4];
        for feature in &features.sentiment {
            for (sum, weight) in weights.iter_mut().zip(model.weights(*feature)) {
                *sum += i32::from(weight);
            }
        }
        let spanishness: i32 =
            features.language.iter().map(|feature| i32::from(model.spanishness(*feature))).sum();
        let generality: i32 =
            features.domain.iter().map(|hash| i32::from(model.generality(*hash))).sum();
        let mut judge = Judge::default();
        for _ in 0..2 {
            let Some(totals) = judge.weigh(&model, &text) else { continue };
            prop_assert_eq!(totals.weights, weights);
            prop_assert_eq!(totals.spanishness, spanishness);
            prop_assert_eq!(totals.features as usize, features.sentiment.len());
            prop_assert_eq!(totals.word_features as usize, features.language.len());
            prop_assert_eq!(totals.generality, generality);
            prop_assert_eq!(totals.tokens as usize, features.domain.len());
        }
    }

    #[test]
    fn powers_are_right_to_five_digits(value in -80.0_f32..0.0) {
        let ([ours, ..], right) = (judge::exponentials([value; 4]), f64::from(value).exp());
        prop_assert!((f64::from(ours) / right - 1.0).abs() < 1e-5, "{} {}", ours, right);
    }
}
