use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::*;
use crate::units::{ByteSize, Interval};

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Garden {
    /// What it is called. People say so.
    name: String,
    plot: Plot,
    #[serde(default)]
    beds: Vec<Bed>,
    #[serde(default)]
    water: Option<Interval>,
    #[serde(default)]
    tank: Option<ByteSize>,
    #[serde(default)]
    soil: Option<Soil>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    open: bool,
    #[serde(default)]
    paths: Option<Paths>,
    #[serde(default)]
    gates: u8,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Plot {
    width: f64,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Bed {
    Herbs(Plot),
    Roses(String),
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Soil {
    /// Loam.
    Loam,
    /// Clay.
    Clay,
}

#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Paths {
    One(String),
    Many(Vec<String>),
}

fn garden(text: &str) -> Result<Garden, String> {
    let document = Document::parse("garden.yaml", text).map_err(|findings| findings.to_string())?;
    document.read().map_err(|findings| findings.to_string())
}

fn parsed(text: &str) -> Document {
    Document::parse("x.yaml", text).unwrap()
}

#[test]
fn reads_what_fits() {
    let read = garden(
        "name: patio\nplot: &plot { width: 2 }\nbeds:\n  - herbs: *plot\n  - roses: red\n\
         water: 5m\ntank: 1KiB\nsoil: loam\nlabels: { a: '1' }\nopen: true\npaths: [a, b]\n",
    );
    let expected = Garden {
        name: "patio".into(),
        plot: Plot { width: 2.0 },
        beds: vec![Bed::Herbs(Plot { width: 2.0 }), Bed::Roses("red".into())],
        water: Some(Interval::seconds(300)),
        tank: Some(ByteSize(1024)),
        soil: Some(Soil::Loam),
        labels: BTreeMap::from([("a".into(), "1".into())]),
        open: true,
        paths: Some(Paths::Many(vec!["a".into(), "b".into()])),
        gates: 0,
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn reports_everything_at_once_in_order() {
    let text = "plot: { widht: 2 }\nbeds:\n  - roses: 1\n  - tulips: {}\n  - { herbs: { width: 1 }, roses: x }\nwater: 5min\nsoil: lome\nopen: yes\npaths: { a: b }\ngates: 300\nlabels: { a: 1 }\n";
    insta::assert_snapshot!(garden(text).unwrap_err(), @r#"
    garden.yaml:1:1: name: required key is missing; text: what it is called

    garden.yaml:1:9: plot.widht: unknown key; allowed: width; did you mean "width"
      1 | plot: { widht: 2 }
        |         ^^^^^

    garden.yaml:3:12: beds[0].roses: expected text, found the number `1`; put it in quotes: "1"
      3 |   - roses: 1
        |            ^

    garden.yaml:4:5: beds[1].tulips: unknown kind; allowed: herbs, roses
      4 |   - tulips: {}
        |     ^^^^^^

    garden.yaml:5:28: beds[2]: names 2 kinds: `herbs`, `roses`; exactly one; give each an entry of its own
      5 |   - { herbs: { width: 1 }, roses: x }
        |                            ^^^^^

    garden.yaml:6:8: water: `5min` is not a duration; a whole number with ms, s, m, h or d, like `5m`; did you mean "5m"
      6 | water: 5min
        |        ^^^^

    garden.yaml:7:7: soil: unknown word `lome`; allowed: loam, clay
      7 | soil: lome
        |       ^^^^

    garden.yaml:8:7: open: expected true or false, found the text `yes`; did you mean "true"
      8 | open: yes
        |       ^^^

    garden.yaml:9:8: paths: expected text or a list, found a mapping
      9 | paths: { a: b }
        |        ^

    garden.yaml:10:8: gates: `300` is out of range; from 0 to 255
      10 | gates: 300
         |        ^^^

    garden.yaml:11:14: labels.a: expected text, found the number `1`; put it in quotes: "1"
      11 | labels: { a: 1 }
         |              ^
    "#);
}

#[test]
fn syntax_and_duplicates_have_places() {
    insta::assert_snapshot!(garden("name: [a\nplot: x\n").unwrap_err(), @r#"
    garden.yaml:2:5: not YAML: illegal placement of ':' indicator; close the bracket or the quote that is still open, or put a comma between entries
      2 | plot: x
        |     ^
    "#);
    insta::assert_snapshot!(garden("name: a\nplot: { width: 1, width: 2 }\nname: b\n").unwrap_err(), @r#"
    garden.yaml:2:19: plot.width: key appears twice; first on line 2
      2 | plot: { width: 1, width: 2 }
        |                   ^^^^^

    garden.yaml:3:1: name: key appears twice; first on line 1
      3 | name: b
        | ^^^^
    "#);
    insta::assert_snapshot!(garden("").unwrap_err(), @r#"
    garden.yaml: is empty; a YAML mapping is expected
    "#);
    insta::assert_snapshot!(garden("a: *nobody\n").unwrap_err(), @r#"
    garden.yaml:1:4: an alias without its anchor; write its anchor (`&name`) above it, or put a text that begins with `*` in quotes
      1 | a: *nobody
        |    ^
    "#);
    insta::assert_snapshot!(garden("a: !local x\n").unwrap_err(), @r#"
    garden.yaml:1:4: a: tags (`!name`) have no meaning here; put a text that begins with `!` in quotes
      1 | a: !local x
        |    ^
    "#);
}

#[test]
fn merge_keys_give_way_to_own_ones() {
    let document = parsed("base: &base { a: 1, b: 2 }\nmine:\n  <<: *base\n  b: 3\n");
    let read: BTreeMap<String, BTreeMap<String, u8>> = document.deserialize().unwrap();
    assert_eq!(read["mine"], BTreeMap::from([("a".into(), 1), ("b".into(), 3)]));
}

#[test]
fn aliases_cannot_grow_without_end() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        text += &format!("a{level}: &a{level} [{before}]\n");
    }
    let error = Document::parse("bomb.yaml", &text).unwrap_err().to_string();
    assert!(error.contains("the document is too large; at most 200000 values"), "{error}");
}

#[test]
fn expands_after_parsing() {
    let lookup = |name: &str| match name {
        "WHO" => Some("a: b # [x".to_owned()),
        "COUNT" => Some("7".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let mut document =
        parsed("name: ${WHO}\ncost: $$5 ${EMPTY:-x}${NONE:-}\nplain: $x $\ncount: ${COUNT}\n");
    document.expand(&lookup).unwrap();
    let text = |key: &str| document.root.get(key).unwrap().scalar().unwrap().text.clone();
    assert_eq!(text("name"), "a: b # [x");
    assert_eq!(text("cost"), "$5 x");
    assert_eq!(text("plain"), "$x $");
    // A variable may stand for a number, and for text that looks like one.
    #[derive(Deserialize)]
    struct Number {
        count: u8,
    }
    assert_eq!(document.deserialize::<Number>().unwrap().count, 7);
    assert_eq!(document.deserialize::<BTreeMap<String, String>>().unwrap()["count"], "7");

    let mut document = parsed("a: ${NONE}\nb: [x, '${1}', '${open']\n");
    insta::assert_snapshot!(document.expand(&lookup).unwrap_err(), @r#"
    x.yaml:1:4: a: the environment variable `NONE` is not set; set it, or give a default: `${NONE:-default}`
      1 | a: ${NONE}
        |    ^^^^^^^

    x.yaml:2:8: b[1]: `${1}` does not name a variable; write `${NAME}` or `${NAME:-default}`, with letters, digits and `_` in the name; `$$` for a dollar sign
      2 | b: [x, '${1}', '${open']
        |        ^^^^^^

    x.yaml:2:16: b[2]: `${` is not closed; write `${NAME}`, or `$$` for a dollar sign
      2 | b: [x, '${1}', '${open']
        |                ^^^^^^^^
    "#);
}

#[test]
fn never_shows_what_a_variable_holds() {
    let mut document =
        parsed("name: a\nplot: { width: '${SECRET}' }\nsoil: ${SECRET}\nwater: ${SECRET}\n");
    document.expand(&|_| Some("hunter2".to_owned())).unwrap();
    let findings = document.read::<Garden>().unwrap_err().to_string();
    assert!(!findings.contains("hunter2"), "{findings}");
    insta::assert_snapshot!(findings, @r#"
    x.yaml:2:16: plot.width: expected a number, found the value of `${SECRET}`
      2 | plot: { width: '${SECRET}' }
        |                ^^^^^^^^^^^

    x.yaml:3:7: soil: unknown word `${SECRET}`; allowed: loam, clay
      3 | soil: ${SECRET}
        |       ^^^^^^^^^

    x.yaml:4:8: water: `${SECRET}` is not a duration; a whole number with ms, s, m, h or d, like `5m`
      4 | water: ${SECRET}
        |        ^^^^^^^^^
    "#);
}

/// The place of the first `@` of the value of `sql`, counted back from its place in the value.
fn place_of_mark(text: &str) -> (Place, Place) {
    let mut document = parsed(text);
    document.expand(&|_| Some("a long value".to_owned())).unwrap();
    let node = document.root.get("sql").unwrap();
    let value = &node.scalar().unwrap().text;
    let before = value.split('@').next().unwrap();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    let real = node::place_of(text, text.find('@').unwrap());
    (document.place_inside(node, line, column), real)
}

#[test]
fn counts_back_into_the_file() {
    for text in [
        "sql: select @ from x\n",
        "sql: 'it''s é @ from x'\n",
        "sql: \"a \\\"b\\\" \\n @ c\"\n",
        "sql: |\n  select a,\n\n    b, é, @ from x\n",
        "a: 1\nsql: |2-  # why\n   select a,\n   @\n",
        "sql: >\n  folded\n  text and @ more\n",
        "sql: one\n  two @ three\n",
        "sql: |\n  select ${A}, $$, @ from x\n",
    ] {
        let (counted, real) = place_of_mark(text);
        assert_eq!(counted, real, "{text}");
    }
}

#[test]
fn resolves_scalars_as_yaml_1_2_does() {
    let kinds = |text: &str| {
        let document = parsed(&format!("v: {text}\n"));
        format!("{:?}", document.root.get("v").unwrap().scalar().unwrap().resolve())
    };
    assert_eq!(kinds("yes"), "Text(\"yes\")");
    assert_eq!(kinds("'5'"), "Text(\"5\")");
    assert_eq!(kinds("-5"), "Integer(-5)");
    assert_eq!(kinds("0x1F"), "Integer(31)");
    assert_eq!(kinds("1e3"), "Float(1000.0)");
    assert_eq!(kinds("1.2.3"), "Text(\"1.2.3\")");
    assert_eq!(kinds("2024-01-15"), "Text(\"2024-01-15\")");
    assert_eq!(kinds("~"), "Null");
    assert_eq!(kinds("!!str 5"), "Text(\"5\")");
}

#[test]
fn crops_long_lines_around_the_place() {
    let text = format!("a: {}\nb: [{}, @]\n", "x".repeat(300), "y, ".repeat(100));
    let document = parsed("a: 1\n");
    let place = node::place_of(&text, text.find('@').unwrap());
    let shown = Finding::new(&document.file, &text, place, "b", "odd".into()).to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[1].chars().count() < 140 && lines[1].contains("..."), "{shown}");
    assert_eq!(lines[1].find('@'), lines[2].find('^'), "{shown}");
}

#[test]
fn suggests_only_what_is_close() {
    let known = ["partition", "url", "time"];
    assert_eq!(closest("partitoin", known), Some("partition"));
    assert_eq!(closest("URL", known), Some("url"));
    assert_eq!(closest("times", known), Some("time"));
    assert_eq!(closest("bucket", known), None);
}
