//! Tests of Comprehend's answers, and of the stage against a stub that speaks its API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::tests::{batch, config, schema, texts_of};
use super::super::{Batch, SentimentTransform, check};
use super::*;
use crate::component::Context;
use crate::component::Transform as _;
use crate::testing::comprehend_stub::{Answer, Asked, ComprehendStub, Item};

const GOOD: Item = Item::Sentiment("POSITIVE", [0.05, 0.05, 0.9, 0.0]);
const BAD: Item = Item::Sentiment("NEGATIVE", [0.8, 0.1, 0.1, 0.0]);

/// Positive where there is thanks, negative otherwise.
fn simple(asked: &Asked) -> Answer {
    let item = |text: &String| if text.contains("gracias") { GOOD } else { BAD };
    Answer::Items(asked.texts.iter().map(item).collect())
}

fn context(stub: &ComprehendStub) -> Context {
    Context { aws: stub.aws(), ..crate::testing::context(1) }
}

fn stage(context: &Context, settings: &str) -> SentimentTransform {
    let yaml = format!(
        "{{ text: content, into: {{ label: l, score: s, confidence: c, language: t, model: m }}, \
         engine: {{ comprehend: {{{settings}}} }} }}"
    );
    SentimentTransform::new(&config(&yaml), &schema(), context).unwrap()
}

/// Take the texts through the stage: on a runtime of this test's own, since the stub has another.
fn apply(stage: &SentimentTransform, texts: &[&str]) -> Result<Batch> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(stage.apply(contents(texts)))
}

fn contents(texts: &[&str]) -> Batch {
    let rows: Vec<_> = texts.iter().map(|text| ("insert", Some(*text), None)).collect();
    batch(&rows)
}

#[test]
fn texts_go_by_language_and_each_once() {
    let stub = ComprehendStub::start(simple).unwrap();
    let context = context(&stub);
    let stage = stage(&context, "");
    let mut texts =
        vec!["muchas gracias por todo", "nadie me contesta", "they never called me back"];
    texts.extend(["", "muchas gracias por todo", "😡😡", "---"]);
    let done = apply(&stage, &texts).unwrap();
    let labels = ["POSITIVE", "NEGATIVE", "NEGATIVE", "NEUTRAL", "POSITIVE", "NEGATIVE", "NEUTRAL"];
    assert_eq!(texts_of(&done.rows, "l"), labels);
    assert_eq!(texts_of(&done.rows, "t"), ["es", "es", "en", "-", "es", "-", "-"]);
    assert_eq!(texts_of(&done.rows, "s")[..4], ["0.85", "-0.7", "-0.7", "0.0"]);
    assert_eq!(texts_of(&done.rows, "c")[..4], ["0.9", "0.8", "0.8", "0.0"]);
    assert_eq!(texts_of(&done.rows, "m")[0], "comprehend-2017-11-27");
    let mut asked = stub.asked();
    asked.sort_by(|one, other| (&one.language, &one.texts).cmp(&(&other.language, &other.texts)));
    let shown: Vec<_> = asked.iter().map(|it| format!("{} {:?}", it.language, it.texts)).collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    en ["they never called me back"]
    es ["muchas gracias por todo", "nadie me contesta"]
    es ["😡😡"]
    "#);
    // Nothing is asked again, in another batch neither.
    apply(&stage, &texts).unwrap();
    assert_eq!(stub.asked().len(), 3);
    let text = context.metrics.render().unwrap();
    assert!(text.contains("acequia_remote_sentiment_units_total 12\n"), "{text}");
}

#[test]
fn a_call_has_at_most_twenty_five_texts() {
    let stub = ComprehendStub::start(simple).unwrap();
    let texts: Vec<String> = (0..60)
        .map(|number| format!("me cobraron de más el pago {number} x{}", "y".repeat(number)))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let stage = stage(&context(&stub), "requests_at_once: 2");
    let done = apply(&stage, &texts).unwrap();
    assert_eq!(texts_of(&done.rows, "l"), vec!["NEGATIVE"; 60]);
    let mut sizes: Vec<usize> = stub.asked().iter().map(|asked| asked.texts.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
}

#[test]
fn a_text_that_is_refused_has_no_sentiment_and_is_not_asked_again() {
    let stub = ComprehendStub::start(|asked| {
        let item = |text: &String| match text.contains("prohibido") {
            true => Item::Error("UNSUPPORTED_ENCODING"),
            false => GOOD,
        };
        Answer::Items(asked.texts.iter().map(item).collect())
    })
    .unwrap();
    let context = context(&stub);
    let stage = stage(&context, "");
    for _ in 0..2 {
        let done = apply(&stage, &["algo prohibido aquí", "todo bien por acá"]).unwrap();
        assert_eq!(texts_of(&done.rows, "l"), ["-", "POSITIVE"]);
        assert_eq!(texts_of(&done.rows, "m")[0], "-");
    }
    assert_eq!(stub.asked().len(), 1);
    let text = context.metrics.render().unwrap();
    assert!(text.contains("acequia_refused_sentiment_texts_total 1\n"), "{text}");
}

#[test]
fn what_fails_is_asked_again_and_only_that() {
    // The Spanish call fails on one text, then is throttled through all tries of the client.
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let stub = ComprehendStub::start(move |asked| {
        if asked.language == "en" {
            return simple(asked);
        }
        match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::Items(vec![BAD, Item::Error("INTERNAL_SERVER_ERROR")]),
            1 => Answer::Items(vec![BAD, Item::Missing]),
            2..=5 => Answer::Refusal(400, "ThrottlingException"),
            _ => simple(asked),
        }
    })
    .unwrap();
    let stage = stage(&context(&stub), "requests_at_once: 1");
    let texts = ["nadie me contesta", "muchas gracias por todo", "they never called me back"];
    let mut failures = Vec::new();
    let done = loop {
        match apply(&stage, &texts) {
            Ok(done) => break done,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                failures.push(error.to_string());
            }
        }
    };
    assert_eq!(texts_of(&done.rows, "l"), ["NEGATIVE", "POSITIVE", "NEGATIVE"]);
    failures.dedup();
    insta::assert_snapshot!(failures.join("\n"), @r"
    Comprehend failed on a text: as told
    Comprehend left a text without an answer
    cannot ask Comprehend for sentiments: the server is busy or failing (as told)
    ");
    let english = stub.asked().iter().filter(|asked| asked.language == "en").count();
    assert_eq!(english, 1, "an answer is kept though another call failed");
}

#[test]
fn without_permission_it_says_which() {
    let stub = ComprehendStub::start(|_| Answer::Refusal(400, "AccessDeniedException")).unwrap();
    let error = apply(&stage(&context(&stub), ""), &["no me llega"]).err().unwrap();
    assert!(error.is_retryable());
    insta::assert_snapshot!(
        error,
        @"cannot ask Comprehend for sentiments: the credentials do not allow it: grant them `comprehend:BatchDetectSentiment` there (as told)"
    );
}

#[test]
fn a_replay_may_label_differently_and_validate_says_so() {
    let checked = |more: &str| {
        let yaml = format!(
            "{{ text: content, into: {{ label: l }}, engine: {{ comprehend: {{}} }}{more} }}"
        );
        check(&config(&yaml), &schema())
    };
    let warning = checked("").unwrap().warning.unwrap();
    insta::assert_snapshot!(
        format!("{}: {}; {}", warning.path.join("."), warning.what, warning.allowed),
        @"engine.comprehend: a replay may label differently: Amazon changes its model without notice; `embedded` and `transformer` give the same label again"
    );
    let mistake = checked(", priors: { negative: 1, neutral: 1, positive: 1 }").unwrap_err();
    insta::assert_snapshot!(
        format!("{}: {}; {}", mistake.path.join("."), mistake.what, mistake.allowed),
        @"priors: the engine `comprehend` takes no shares; leave them out, or take the engine `embedded`"
    );
}

fn scores(negative: f32, neutral: f32, positive: f32, mixed: f32) -> SentimentScore {
    let scores = SentimentScore::builder().negative(negative).neutral(neutral);
    scores.positive(positive).mixed(mixed).build()
}

#[test]
fn mixed_is_one_of_the_others_where_it_is_not_asked_for() {
    let mixed = Some(&SentimentType::Mixed);
    let label = |scores: &SentimentScore, wanted| {
        judged(mixed, Some(scores), wanted).map(|judged| judged.label)
    };
    let torn = scores(0.25, 0.05, 0.2, 0.5);
    assert_eq!(label(&torn, true), Some(Label::Mixed));
    assert_eq!(label(&torn, false), Some(Label::Negative));
    assert_eq!(label(&scores(0.1, 0.1, 0.2, 0.6), false), Some(Label::Positive));
    assert_eq!(label(&scores(0.1, 0.3, 0.2, 0.4), false), Some(Label::Neutral));
    let judged = judged(mixed, Some(&torn), true).unwrap();
    assert_eq!((judged.score, judged.confidence), (0.2 - 0.25, 0.5));
}

#[test]
fn an_answer_that_is_not_known_is_none() {
    let some = scores(0.1, 0.2, 0.7, 0.0);
    assert_eq!(judged(Some(&SentimentType::from("ELATED")), Some(&some), false), None);
    assert_eq!(judged(Some(&SentimentType::Positive), None, false), None);
    assert_eq!(judged(None, Some(&some), false), None);
}

#[test]
fn texts_are_cut_between_characters_and_paid_by_the_unit() {
    let text = "ñ".repeat(LONGEST);
    assert_eq!(beginning(&text).len(), LONGEST);
    assert_eq!(beginning(&format!("a{text}")).len(), LONGEST - 1);
    assert_eq!(units(""), 3);
    assert_eq!(units(&"ñ".repeat(301)), 4);
}
