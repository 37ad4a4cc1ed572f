//! Sentiment as a user meets it: the verb, the stage, the trainer, and the data of the model.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use acequia::sentiment::{Judge, Judging, Language, Model, features_of};
use insta::assert_snapshot;
use sha2::{Digest as _, Sha256};

use crate::program::{Folder, PROGRAM, asked, column, rows};

/// Parts of the trainer, whose own tests run here: an example is built by `cargo test`, and not tested.
#[allow(dead_code, reason = "the trainer itself uses the rest")]
#[path = "../../examples/train_sentiment"]
mod trainer {
    mod calibrate;
    mod learn;
    mod measure;
    mod recipe;
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn a_text_is_judged_on_the_command_line() {
    let folder = Folder::new();
    let said = folder.run(&["sentiment", "nadie me contesta, pésimo servicio"]).exits(0).stdout;
    assert!(said.starts_with("NEGATIVE  score -"), "{said}");
    assert!(said.trim_end().ends_with("% sure, es"), "{said}");

    let explained = folder.run(&["sentiment", "--explain", "excelente servicio, pero tardado"]);
    let explained = explained.exits(0).stdout;
    let lines: Vec<&str> = explained.lines().skip(1).map(str::trim).collect();
    assert_eq!(lines.len(), 4, "{explained}");
    assert!(lines[0].starts_with('+') && lines[0].ends_with("  excelente"), "{explained}");

    let object = folder.run(&["sentiment", "--json", "--language", "en", ""]).exits(0).stdout;
    assert_snapshot!(object.trim_end(), @r#"{"confidence":0.0,"label":"NEUTRAL","language":null,"score":0.0}"#);
}

#[test]
fn each_line_of_a_file_is_judged() {
    let folder = Folder::new();
    folder.write("texts", b"excelente atenci\xc3\xb3n\r\n\nworst airline ever\n\xff\xfe roto");
    let said = folder.run(&["sentiment", "--file", "texts", "--json"]).exits(0).stdout;
    let objects: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let labels: Vec<_> = objects.iter().map(|it| it["label"].as_str().unwrap()).collect();
    assert_eq!(labels[..3], ["POSITIVE", "NEUTRAL", "NEGATIVE"]);
    assert_eq!(objects.len(), 4, "what is no UTF-8 is judged without it");
    let shown = folder.run(&["sentiment", "--file", "texts"]).exits(0).stdout;
    assert!(shown.lines().nth(2).unwrap().ends_with("en  worst airline ever"), "{shown}");
}

#[test]
fn what_cannot_be_judged_is_said() {
    let folder = Folder::new();
    folder.write("broken.bin", b"ACQSENT2 and nothing more");
    let said = |args: &[&str]| {
        let ended = folder.run(&[&["sentiment"], args].concat()).exits(2);
        ended.stderr.lines().next().unwrap_or_default().to_owned()
    };
    assert_snapshot!(said(&["--file", "nowhere"]), @"error: cannot open nowhere: No such file or directory (os error 2)");
    assert_snapshot!(said(&["--model", "broken.bin", "hola"]), @"error: broken.bin: the sentiment model is damaged: its checksum differs");
    assert_snapshot!(said(&["--language", "fr", "salut"]), @"error: invalid value 'fr' for '--language <TAG>': the model judges es and en, not `fr`");
    assert_snapshot!(said(&[]), @"error: the following required arguments were not provided:");
}

/// Messages in an archive, and a stage that judges them.
fn conversation(folder: &Folder, stage: &str) {
    let texts =
        ["pésimo servicio, nadie contesta", "muchas gracias, excelente", "a qué hora abren?"];
    let lines = texts.iter().enumerate().map(|(number, text)| {
        format!(
            "{{\"user_id\":\"u{number}\",\"timestamp\":\"2024-01-15T10:30:00.000Z\",\"session_id\":\"s\",\
             \"message_id\":\"m\",\"message_type\":\"text\",\"role\":\"user\",\"content\":\"{text}\"}}\n"
        )
    });
    folder.write("a.ndjson", lines.collect::<String>());
    folder.pipeline(&format!("transforms:\n  - sentiment: {stage}\n"));
}

#[test]
fn a_pipeline_writes_what_texts_feel_like_and_says_how_many() {
    let folder = Folder::new();
    conversation(
        &folder,
        "{ text: content, into: { label: feels, score: feels_score, model: judge } }",
    );
    let summary = folder.run(&["run", "pipeline.yaml", "--json"]).exits(0).stdout;
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    assert_eq!(
        summary["sentiment"],
        serde_json::json!({ "positive": 1, "neutral": 1, "negative": 1, "mixed": 0 })
    );
    let written = rows(&folder.path("lake"));
    let mut found = column(&written, "feels");
    found.sort();
    assert_eq!(found, ["NEGATIVE", "NEUTRAL", "POSITIVE"]);
    assert_eq!(column(&written, "judge")[0], Model::built_in().unwrap().name());
    assert!(column(&written, "feels_score").iter().all(|score| score.parse::<f64>().is_ok()));
}

#[test]
fn mistakes_of_the_stage_are_shown_at_their_place() {
    let folder = Folder::new();
    let said = |stage: &str| {
        conversation(&folder, stage);
        folder
            .run(&["validate", "pipeline.yaml"])
            .exits(2)
            .stderr
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert_snapshot!(said("{ text: contnt, into: { label: l } }"), @r#"pipeline.yaml:8:24: transforms[0].sentiment.text: no such column before this stage; columns with text: user_id, session_id, message_id, message_type, role, content, ai_model_used, metadata.sentiment, metadata.intent, metadata.language; did you mean "content""#);
    assert_snapshot!(said("{ text: content, into: { label: role } }"), @r#"pipeline.yaml:8:48: transforms[0].sentiment.into.label: there is a column `role` already; a new name; rename the old column in a SQL stage before this one"#);
    assert_snapshot!(said("{ text: content, into: { lable: l } }"), @r#"pipeline.yaml:8:41: transforms[0].sentiment.into.lable: unknown key; allowed: confidence, label, language, model, score; did you mean "label""#);
    assert_snapshot!(said("{ text: content, into: { label: l }, priors: { negative: 0, neutral: 1, positive: 1 } }"), @"pipeline.yaml:8:73: transforms[0].sentiment.priors.negative: `0` is out of range; from 0.0001 to 10000");
}

/// The trainer, which `cargo test` builds beside the program.
fn trainer() -> PathBuf {
    example("train_sentiment")
}

fn example(name: &str) -> PathBuf {
    let path = Path::new(PROGRAM).parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: `cargo build --examples` makes it", path.display());
    path
}

/// A word of two letters that no other number below 400 has.
fn word(number: usize) -> String {
    [number % 20, number / 20].map(|part| char::from(b'a' + part as u8)).iter().collect()
}

#[test]
fn a_model_of_ones_own_is_trained_and_used() {
    let folder = Folder::new();
    // A language of its own, in which only its own messages say what is good.
    let line = |number: usize| match number % 3 {
        0 => format!("positive\tes\tzumba {0} la ranita {0}{0}\n", word(number)),
        1 => format!("negative\tes\tplof {0} el botijo {0}{0}\n", word(number)),
        _ => format!("neutral\ten\tcolour {0} of the crate {0}{0}\n", word(number)),
    };
    folder.write("ours.tsv", (0..300).map(line).collect::<String>());
    folder.write("recipe.yaml", "name: ours-1\nbits: 12\nlanguage_bits: 10\nseeds: 2\nsources: [ { name: ours, files: ours.tsv, role: train_validate_test } ]\n");
    let args =
        ["--recipe", "recipe.yaml", "--model", "ours.bin", "--report", "figures.md", "--curve"];
    let trained = crate::program::Running::start(folder.command(trainer(), &args)).end().exits(0);
    assert!(trained.stderr.contains("wrote ours.bin"), "{}", trained.stderr);
    let figures = fs::read_to_string(folder.path("figures.md")).unwrap();
    assert!(figures.contains("| ours | es | test |") && figures.contains("a quarter"), "{figures}");

    let model = Model::read(&fs::read(folder.path("ours.bin")).unwrap()).unwrap();
    let manifest = fs::read(folder.path("ours.manifest.json")).unwrap();
    assert_eq!(model.manifest(), <[u8; 32]>::from(Sha256::digest(&manifest)));

    let label = |text: &str| {
        let said = folder.run(&["sentiment", "--model", "ours.bin", text]).exits(0).stdout;
        said.split(' ').next().unwrap().to_owned()
    };
    assert_eq!(label("la ranita zumba"), "POSITIVE");
    assert_eq!(label("otro botijo plof"), "NEGATIVE");
    assert_eq!(label("the colour"), "NEUTRAL");
    conversation(
        &folder,
        "{ text: content, into: { model: judge }, engine: { embedded: { model: ours.bin } } }",
    );
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    assert_eq!(column(&rows(&folder.path("lake")), "judge")[0], "ours-1");
}

#[test]
fn a_judged_message_has_words_of_its_own_and_a_source_counts_by_its_weight() {
    let folder = Folder::new();
    let words = ["uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez"];
    let lines: String = (0..100)
        .map(|number| match number % 2 {
            0 => format!("positive\tes\tzumba {} {}\n", words[number / 10], words[number % 10]),
            _ => format!("negative\tes\tplof {} {}\n", words[number / 10], words[number % 10]),
        })
        .collect();
    folder.write("ours.tsv", lines);
    // The first is one of ours, as anybody writes it.
    folder.write("judged.tsv", "positive\tes\tZUMBA uno, uno!\npositive\tes\tzumba once\n");
    folder.write("doubt.tsv", "negative\tes\tzumba\npositive\tes\tzumba\n".repeat(50));
    let train = |doubt: &str| {
        let doubt = format!("{{ name: doubt, files: doubt.tsv, role: validate, weight: {doubt} }}");
        let ours = "{ name: ours, files: ours.tsv, role: train_validate_test }";
        let judged = "{ name: judged, files: judged.tsv, role: judge }";
        folder.write("recipe.yaml", format!("name: ours-1\nbits: 12\nlanguage_bits: 10\nseeds: 1\nsources: [ {ours}, {judged}, {doubt} ]\n"));
        let args = ["--recipe", "recipe.yaml", "--model", "ours.bin", "--report", "figures.md"];
        crate::program::Running::start(folder.command(trainer(), &args)).end().exits(0);
        let said = folder.run(&["sentiment", "--model", "ours.bin", "--json", "zumba"]).exits(0);
        let said: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        said["confidence"].as_f64().unwrap()
    };
    let (unheard, heard) = (train("0"), train("10"));
    let figures = fs::read_to_string(folder.path("figures.md")).unwrap();
    assert!(figures.contains("| judged | 1 | 0 | 0 | 0 | 0 | 1 | 1 |"), "{figures}");
    // Half of the doubtful ones are negative: whoever hears of them is less sure.
    assert!(unheard > 0.9 && heard < 0.7, "{unheard} {heard}");
}

#[test]
fn a_kind_of_text_is_told_as_surely_as_it_is_right() {
    let folder = Folder::new();
    // To companies `zumba` is always praise; in posts it is so two times of three.
    let lines = |about: &str, right_of: usize| -> String {
        let line = |number: usize| {
            let is_right = !number.is_multiple_of(right_of);
            let (label, other) = match number.is_multiple_of(2) {
                true => ("positive", "negative"),
                false => ("negative", "positive"),
            };
            let sign = if label == "positive" { "zumba" } else { "plof" };
            let label = if is_right { label } else { other };
            format!("{label}\tes\t{sign} {about} {}{about}\n", word(number))
        };
        (1..400).map(line).collect()
    };
    folder.write("ours.tsv", lines("factura", 1000));
    folder.write("posts.tsv", lines("parranda", 3));
    let source = |name: &str, more: &str| {
        format!("{{ name: {name}, files: {name}.tsv, role: train_validate_test, {more} }}")
    };
    let sureness = |others: &[String]| {
        let sources = [&[source("ours", "weight: 1")], others].concat().join(", ");
        folder.write("recipe.yaml", format!("name: ours-1\nbits: 12\nlanguage_bits: 10\ndomain_bits: 10\nseeds: 1\nsources: [ {sources} ]\n"));
        let args = ["--recipe", "recipe.yaml", "--model", "ours.bin", "--report", "figures.md"];
        crate::program::Running::start(folder.command(trainer(), &args)).end().exits(0);
        ["zumba factura", "zumba parranda"].map(|text| {
            let args = ["sentiment", "--model", "ours.bin", "--json", text];
            let said: serde_json::Value =
                serde_json::from_str(&folder.run(&args).exits(0).stdout).unwrap();
            assert_eq!(said["label"], "POSITIVE", "{text}");
            said["confidence"].as_f64().unwrap()
        })
    };
    let [ours, posts] = sureness(&[source("posts", "domain: general")]);
    assert!(ours > 0.95 && (0.55..0.9).contains(&posts), "{ours} {posts}");
    let figures = fs::read_to_string(folder.path("figures.md")).unwrap();
    let general = |source: &str| {
        let row =
            figures.lines().find(|line| line.starts_with(&format!("| {source} | es | test |")));
        row.unwrap().split(" | ").nth(8).unwrap().parse::<f64>().unwrap()
    };
    assert!(general("ours") < 20.0 && general("posts") > 80.0, "{figures}");
    // As one kind of text, neither is told right.
    let [one, other] = sureness(&[source("posts", "domain: service")]);
    assert!(one < ours && other > posts, "{one} {other}");
    // Clear posts have a say in it unless they are kept out.
    folder.write("clear.tsv", lines("fiesta", 1000));
    let [unheard, heard] = ["balance", "both"].map(|calibrates| {
        let clear = source("clear", &format!("domain: general, calibrates: {calibrates}"));
        let [_, posts] = sureness(&[source("posts", "domain: general"), clear]);
        posts
    });
    assert!((0.55..0.9).contains(&unheard) && heard > unheard + 0.05, "{unheard} {heard}");
}

#[test]
fn a_recipe_with_a_mistake_is_refused() {
    let folder = Folder::new();
    let said = |recipe: &str, data: &str| {
        folder.write("recipe.yaml", recipe);
        folder.write("a.tsv", data);
        let command = folder.command(trainer(), &["--recipe", "recipe.yaml", "--dry-run"]);
        let ended = crate::program::Running::start(command).end().exits(2);
        ended.stderr.lines().next().unwrap_or_default().to_owned()
    };
    let sound = "name: a\nsources: [ { name: a, files: a.tsv } ]\n";
    let place = |text: String| text.replace(&folder.path("").display().to_string(), "");
    assert_snapshot!(place(said(sound, "positive\tes\thola\nhappy\tes\thola\n")), @"error: a.tsv:2: `happy` is no label: one of negative, neutral, positive, mixed");
    assert_snapshot!(place(said(sound, "positive\tfr\tsalut\n")), @"error: a.tsv:1: `fr` is no language: one of es, en, mix");
    assert_snapshot!(place(said(sound, "positive hola\n")), @"error: a.tsv:1: a line is label, language, text, with tabs between");
    assert_snapshot!(place(said("name: a\nsources: [ { name: a, files: b.tsv } ]\n", "")), @"error: no file matches b.tsv");
    assert_snapshot!(place(said("name: a\nsources: [ { name: a, files: public/b.tsv } ]\n", "")), @"error: `public/b.tsv` is public data: say with --public where it is");
    assert_snapshot!(place(said("name: a\nbits: 40\nsources: []\n", "")), @"error: recipe.yaml: `bits`, `language_bits` and `domain_bits` go from 8 to 22");
}

/// The rows of the data that was written for this project: folder, label, language, text.
fn own_data() -> Vec<(String, String, String, String)> {
    let mut rows = Vec::new();
    for folder in ["service", "social", "phrases", "outside"] {
        let mut files: Vec<_> = fs::read_dir(repository("data/sentiment").join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        for file in files {
            for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
                let fields: Vec<&str> = line.split('\t').collect();
                let [label, language, text] = fields[..] else {
                    panic!("{}:{}: three fields", file.display(), number + 1);
                };
                let row = [folder, label, language, text].map(str::to_owned);
                let [folder, label, language, text] = row;
                rows.push((folder, label, language, text));
            }
        }
    }
    rows
}

#[test]
fn the_own_data_is_varied_and_balanced() {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut labels: BTreeMap<String, usize> = BTreeMap::new();
    let mut met = HashSet::new();
    for (folder, label, language, text) in own_data() {
        assert!(["positive", "negative", "neutral"].contains(&label.as_str()), "{label} {text}");
        assert!(["es", "en", "mix"].contains(&language.as_str()), "{language} {text}");
        assert!(!text.trim().is_empty() && text.trim() == text, "{text:?}");
        // Names and numbers apart, the same words count once. Pictures have no words.
        let words = features_of(&text).words;
        if !words.is_empty() && !met.insert(words) {
            continue;
        }
        if folder == "service" {
            *labels.entry(label).or_default() += 1;
        }
        *counts.entry((folder, language)).or_default() += 1;
    }
    let count = |folder: &str, language: &str| {
        counts.get(&(folder.to_owned(), language.to_owned())).copied().unwrap_or(0)
    };
    assert!(count("service", "es") >= 4000, "{counts:?}");
    assert!(count("service", "en") >= 1500, "{counts:?}");
    assert!(count("service", "mix") >= 300, "{counts:?}");
    // Those of the others that no message before has the words of.
    assert!(["es", "en"].iter().all(|language| count("outside", language) >= 500), "{counts:?}");
    let all: usize = labels.values().sum();
    let share = |label: &str| labels[label] as f64 / all as f64;
    assert!((0.40..0.60).contains(&share("neutral")), "{labels:?}");
    assert!(share("negative") > 0.2 && share("positive") > 0.15, "{labels:?}");
}

#[test]
fn the_model_is_the_one_that_its_manifest_describes() {
    let manifest = fs::read(repository("src/sentiment/model.manifest.json")).unwrap();
    let model = Model::built_in().unwrap();
    assert_eq!(model.manifest(), <[u8; 32]>::from(Sha256::digest(&manifest)));
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["recipe"]["name"], model.name());
    let size = fs::metadata(repository("src/sentiment/model.bin")).unwrap().len();
    assert!(size <= 2_000_000, "{size} bytes");
    // The data in the repository is what was learned from.
    for file in manifest["files"].as_array().unwrap() {
        let name = file["file"].as_str().unwrap();
        let folder = match file["source"].as_str().unwrap() {
            folder @ ("service" | "social" | "phrases" | "outside") => folder,
            _ => continue,
        };
        let text = fs::read(repository("data/sentiment").join(folder).join(name)).unwrap();
        assert_eq!(format!("{:x}", Sha256::digest(&text)), file["sha256"], "{folder}/{name}");
    }
}

#[test]
fn no_text_makes_the_model_fail() {
    // ACEQUIA_FUZZ_TEXTS=10000000 for a long look.
    let texts = asked("ACEQUIA_FUZZ_TEXTS").unwrap_or(20_000);
    let model = Model::built_in().unwrap();
    let data = own_data();
    let mut judge = Judge::default();
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for _ in 0..texts {
        let mut bytes = data[next(data.len())].3.clone().into_bytes();
        for _ in 0..next(8) {
            let at = next(bytes.len() + 1);
            match next(4) {
                0 => bytes.insert(at, next(256) as u8),
                1 => bytes.truncate(at),
                2 => bytes.extend_from_slice(data[next(data.len())].3.as_bytes()),
                _ => {
                    let letter = char::from_u32(next(0x11_0000) as u32).unwrap_or('\u{200d}');
                    let mut buffer = [0; 4];
                    let new = letter.encode_utf8(&mut buffer).as_bytes();
                    bytes.splice(at..at, new.iter().copied());
                }
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let language = [None, Some(Language::Spanish), Some(Language::English)][next(3)];
        let judging = Judging { mixed: next(2) == 0, ..Judging::default() };
        let verdict = judge.judge(&model, &text, language, &judging);
        assert!(
            verdict.score.abs() <= 1.0 && (0.0..=1.0).contains(&verdict.confidence),
            "{text:?}: {verdict:?}"
        );
    }
}

#[test]
fn intents_are_trained_and_told() {
    let folder = Folder::new();
    let data = repository("data/intents/messages.tsv");
    let args = ["--data", data.to_str().unwrap(), "--seeds", "1", "--report", "figures.md"];
    let command = folder.command(example("train_intents"), &args);
    let trained = crate::program::Running::start(command).end().exits(0);
    assert!(trained.stderr.contains("wrote intents.bin"), "{}", trained.stderr);
    let figures = fs::read_to_string(folder.path("figures.md")).unwrap();
    assert!(figures.contains("| pricing_inquiry |"), "{figures}");
    conversation(
        &folder,
        "{ text: content, into: { label: feels }, intent: { into: asks, model: intents.bin, \
         rules: [ { intent: thanks, phrases: ['graci*'] } ] } }",
    );
    folder.run(&["run", "pipeline.yaml"]).exits(0);
    let rows = rows(&folder.path("lake"));
    let told: BTreeMap<String, String> =
        column(&rows, "content").into_iter().zip(column(&rows, "asks")).collect();
    // By the trained head, by the rule, and by neither.
    assert_eq!(told["pésimo servicio, nadie contesta"], "complaint");
    assert_eq!(told["muchas gracias, excelente"], "thanks");
    assert_eq!(told["a qué hora abren?"], "null");

    let refused = folder.command(example("train_intents"), &["--data", "nowhere.tsv"]);
    let refused = crate::program::Running::start(refused).end().exits(2).stderr;
    assert!(refused.contains("nowhere.tsv"), "{refused}");
}
