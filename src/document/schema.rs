//! A walk of the tree against a JSON Schema that collects every difference. It knows what schemars
//! makes of our structs, and no more; an unknown keyword checks nothing.

use serde_json::Value as Json;

use super::Document;
use super::finding::{Finding, Findings};
use super::node::{Entry, Node, Place, Resolved, Value};
use super::words::{closest, either, found, gist, path_of, quoted, type_name};
use crate::units::{ByteSize, Interval};

pub(super) fn check(document: &Document, schema: &Json) -> Findings {
    let mut walk = Walk { document, root: schema, findings: Vec::new() };
    let node = &document.root;
    walk.node(schema, node, &At { path: String::new(), place: node.place });
    walk.findings.into_iter().collect()
}

/// Remove `null` from a schema: what is optional is left out, never written empty.
pub(super) fn without_null(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            if let Some(Json::Array(kinds)) = members.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    let only = only.clone();
                    members.insert("type".into(), only);
                }
            }
            if let Some(Json::Array(choices)) = members.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
                if let [only] = choices.as_slice() {
                    let only = only.clone();
                    members.remove("anyOf");
                    for (key, value) in only.as_object().into_iter().flatten() {
                        members.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
            }
            if members.get("default").is_some_and(Json::is_null) {
                members.remove("default");
            }
            members.values_mut().for_each(without_null);
        }
        Json::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// The path of a value, and where it is named: a missing key is shown there.
struct At {
    path: String,
    place: Place,
}

/// What a schema asks for.
enum Shape<'a> {
    /// One of some words.
    Words(Vec<&'a str>),
    /// A mapping with exactly one of some keys, each with a schema of its own.
    Kinds(Vec<(&'a str, &'a Json)>),
    /// Whatever fits one of several schemas.
    Choice(Vec<&'a Json>),
    /// One type.
    One(&'a Json),
}

struct Walk<'a> {
    document: &'a Document,
    root: &'a Json,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn report(&mut self, place: Place, path: &str, what: String) -> &mut Finding {
        let finding = self.document.finding(place, path, what);
        let index = self.findings.len();
        self.findings.push(finding);
        // Just pushed.
        #[allow(clippy::indexing_slicing)]
        &mut self.findings[index]
    }

    /// Follow references.
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        while let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let target = reference.strip_prefix('#').and_then(|path| self.root.pointer(path));
            match target {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    fn shape(&self, schema: &'a Json) -> Shape<'a> {
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            return Shape::Words(words.iter().filter_map(Json::as_str).collect());
        }
        if let Some(word) = schema.get("const").and_then(Json::as_str) {
            return Shape::Words(vec![word]);
        }
        let choices = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Json::as_array);
        let Some(choices) = choices.filter(|_| schema.get("properties").is_none()) else {
            return Shape::One(schema);
        };
        let choices: Vec<&Json> = choices.iter().map(|choice| self.resolve(choice)).collect();
        let words = |choice: &&'a Json| match self.shape(choice) {
            Shape::Words(words) => Some(words),
            _ => None,
        };
        if let Some(words) = choices.iter().map(words).collect::<Option<Vec<_>>>() {
            return Shape::Words(words.concat());
        }
        match choices.iter().map(|choice| kind_of(choice)).collect::<Option<Vec<_>>>() {
            Some(kinds) => Shape::Kinds(kinds),
            None => Shape::Choice(choices),
        }
    }

    fn node(&mut self, schema: &'a Json, node: &Node, at: &At) {
        let schema = self.resolve(schema);
        match self.shape(schema) {
            Shape::Words(words) => self.word(&words, schema, node, at),
            Shape::Kinds(kinds) => self.kinds(&kinds, schema, node, at),
            Shape::Choice(choices) => {
                let fits = |choice: &&&Json| types(choice).iter().any(|kind| is(node, kind));
                match choices.iter().find(fits) {
                    Some(choice) => self.node(choice, node, at),
                    None => {
                        let names: Vec<_> =
                            choices.iter().map(|choice| self.expected(choice)).collect();
                        self.wrong_type(&either(&names), node, at);
                    }
                }
            }
            Shape::One(schema) => self.one(schema, node, at),
        }
    }

    fn one(&mut self, schema: &'a Json, node: &Node, at: &At) {
        let kinds = types(schema);
        if !kinds.is_empty() && !kinds.iter().any(|kind| is(node, kind)) {
            return self.wrong_type(&self.expected(schema), node, at);
        }
        match &node.value {
            Value::Map(entries) => self.map(schema, entries, node, at),
            Value::List(items) => {
                if items.is_empty() && schema.get("minItems").is_some() {
                    self.report(at.place, &at.path, "the list is empty".into()).allowed =
                        Some("at least one entry".into());
                }
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    let at = At { path: format!("{}[{index}]", at.path), place: item.place };
                    self.node(schema, item, &at);
                }
            }
            Value::Scalar(_) => self.scalar(schema, node, at),
        }
    }

    fn scalar(&mut self, schema: &'a Json, node: &Node, at: &At) {
        let Some(scalar) = node.scalar() else { return };
        let text = scalar.text.as_str();
        let (what, suggestion) = match schema.get("format").and_then(Json::as_str) {
            Some("byte-size") => (text.parse::<ByteSize>().err(), ByteSize::meant_by(text)),
            Some("interval") => (text.parse::<Interval>().err(), Interval::meant_by(text)),
            _ => (None, None),
        };
        if let Some(wrong) = what {
            let shown = quoted(scalar.shown());
            let finding = self.report(node.place, &at.path, format!("{shown} {}", wrong.what));
            finding.allowed = Some(wrong.allowed.into());
            // What a variable holds is not repeated.
            finding.suggestion = suggestion.filter(|_| !scalar.is_expanded());
            return;
        }
        let number = match scalar.resolve() {
            Resolved::Integer(number) => number as f64,
            Resolved::Float(number) => number,
            _ => {
                if schema.get("minLength").is_some() && text.trim().is_empty() {
                    let allowed = gist(schema);
                    self.report(node.place, &at.path, "is empty".into()).allowed = allowed;
                }
                return;
            }
        };
        let bound = |key: &str| schema.get(key).and_then(Json::as_f64);
        let width = match schema.get("format").and_then(Json::as_str) {
            Some("uint32") => Some(f64::from(u32::MAX)),
            Some("uint64") => Some(u64::MAX as f64),
            _ => None,
        };
        let (min, max) = (bound("minimum"), bound("maximum").or(width));
        if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
            let shown = quoted(scalar.shown());
            let allowed = match (min, max) {
                (Some(min), Some(max)) => format!("from {min} to {max}"),
                (Some(min), None) => format!("{min} or more"),
                (_, max) => format!("{} or less", max.unwrap_or_default()),
            };
            self.report(node.place, &at.path, format!("{shown} is out of range")).allowed =
                Some(allowed);
        }
    }

    fn map(&mut self, schema: &'a Json, entries: &[Entry], node: &Node, at: &At) {
        let properties = schema.get("properties").and_then(Json::as_object);
        let others = schema.get("additionalProperties");
        let names = || properties.into_iter().flat_map(|known| known.keys().map(String::as_str));
        let mut misspelt = Vec::new();
        for entry in entries {
            let beneath = At { path: path_of(&at.path, &entry.key), place: entry.place };
            match (properties.and_then(|known| known.get(&entry.key)), others) {
                (Some(schema), _) => self.node(schema, &entry.value, &beneath),
                (None, Some(Json::Bool(false))) => {
                    let allowed: Vec<&str> = names().collect();
                    let missing = |name: &&str| !entries.iter().any(|entry| entry.key == *name);
                    // A key that is there already was not meant a second time.
                    let meant = closest(&entry.key, allowed.iter().copied().filter(missing));
                    let finding = self.report(entry.place, &beneath.path, "unknown key".into());
                    finding.allowed = Some(format!("allowed: {}", allowed.join(", ")));
                    finding.suggestion = meant.map(str::to_owned);
                    misspelt.extend(meant);
                }
                (None, Some(schema @ Json::Object(_))) => self.node(schema, &entry.value, &beneath),
                (None, _) => {}
            }
        }
        self.missing(schema, entries, &misspelt, at);
        self.exactly_one(schema, entries, at);
        if entries.is_empty() && schema.get("minProperties").is_some() {
            let what = "the mapping is empty".into();
            self.report(node.place, &at.path, what).allowed = Some("at least one entry".into());
        }
    }

    /// Required keys that are not there; one that is there misspelt is reported already.
    fn missing(&mut self, schema: &'a Json, entries: &[Entry], misspelt: &[&str], at: &At) {
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str) {
            if misspelt.contains(&key) || entries.iter().any(|entry| entry.key == key) {
                continue;
            }
            let schema = schema.get("properties").and_then(|known| known.get(key));
            let expected = schema.map(|schema| self.expected(self.resolve(schema)));
            let gist =
                schema.and_then(|schema| gist(schema).or_else(|| gist(self.resolve(schema))));
            let what = "required key is missing".into();
            let finding = self.report(at.place, &path_of(&at.path, key), what);
            let parts: Vec<String> = expected.into_iter().chain(gist).collect();
            finding.allowed = Some(parts.join(": "));
            if at.path.is_empty() {
                // What the document lacks has no line.
                finding.source = None;
            }
        }
    }

    /// `oneOf: [{ required: [a] }, { required: [b] }]`: one kind of several, beside other keys.
    fn exactly_one(&mut self, schema: &'a Json, entries: &[Entry], at: &At) {
        let kinds: Vec<&str> = schema
            .get("oneOf")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
            .filter_map(|choice| choice.get("required")?.get(0)?.as_str())
            .collect();
        if kinds.is_empty() {
            return;
        }
        let named: Vec<&Entry> =
            entries.iter().filter(|entry| kinds.contains(&entry.key.as_str())).collect();
        let known = |entry: &Entry| schema.pointer(&format!("/properties/{}", entry.key)).is_some();
        match named.as_slice() {
            // An unknown key was probably meant as the kind, and is reported already.
            [] if !entries.iter().all(known) => {}
            [] => self.no_kind(&kinds, at),
            [_] => {}
            [_, second, ..] => self.two_kinds(&named, second, at),
        }
    }

    fn no_kind(&mut self, kinds: &[&str], at: &At) {
        let finding = self.report(at.place, &at.path, "names no kind".into());
        finding.allowed = Some(format!("exactly one of: {}", kinds.join(", ")));
    }

    fn two_kinds(&mut self, named: &[&Entry], second: &Entry, at: &At) {
        let names: Vec<String> = named.iter().map(|entry| quoted(&entry.key)).collect();
        let what = format!("names {} kinds: {}", names.len(), names.join(", "));
        self.report(second.place, &at.path, what).allowed =
            Some("exactly one; give each an entry of its own".into());
    }

    fn kinds(&mut self, kinds: &[(&'a str, &'a Json)], schema: &'a Json, node: &Node, at: &At) {
        let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
        let Value::Map(entries) = &node.value else {
            return self.wrong_type(&self.expected(schema), node, at);
        };
        let known: Vec<&Entry> =
            entries.iter().filter(|entry| names.contains(&entry.key.as_str())).collect();
        for entry in entries {
            let path = path_of(&at.path, &entry.key);
            match kinds.iter().find(|(name, _)| *name == entry.key) {
                Some((_, schema)) => {
                    self.node(schema, &entry.value, &At { path, place: entry.place });
                }
                None => {
                    let what = if known.is_empty() { "unknown kind" } else { "unknown key" };
                    let finding = self.report(entry.place, &path, what.into());
                    finding.allowed = Some(match known.as_slice() {
                        [] => format!("allowed: {}", names.join(", ")),
                        _ => "an entry has one key, its kind; settings go beneath it".into(),
                    });
                    finding.suggestion = closest(&entry.key, names.iter().copied())
                        .filter(|_| known.is_empty())
                        .map(str::to_owned);
                }
            }
        }
        match known.as_slice() {
            [] if entries.is_empty() => self.no_kind(&names, at),
            [] | [_] => {}
            [_, second, ..] => self.two_kinds(&known, second, at),
        }
    }

    fn word(&mut self, words: &[&str], schema: &'a Json, node: &Node, at: &At) {
        let Some(scalar) = node.scalar().filter(|_| !node.is_null()) else {
            return self.wrong_type(&self.expected(schema), node, at);
        };
        if words.contains(&scalar.text.as_str()) {
            return;
        }
        let what = format!("unknown word {}", quoted(scalar.shown()));
        let finding = self.report(node.place, &at.path, what);
        finding.allowed = Some(format!("allowed: {}", words.join(", ")));
        finding.suggestion = closest(&scalar.text, words.iter().copied())
            .filter(|_| !scalar.is_expanded())
            .map(str::to_owned);
    }

    fn wrong_type(&mut self, expected: &str, node: &Node, at: &At) {
        let place = if node.is_null() { at.place } else { node.place };
        let text = node.scalar().map(|scalar| scalar.shown().to_owned()).unwrap_or_default();
        let what = format!("expected {expected}, found {}", found(node));
        let finding = self.report(place, &at.path, what);
        match (&node.value, expected) {
            (Value::Scalar(_), _) if node.is_null() => {
                finding.allowed = Some("give it a value or remove the key".into());
            }
            (Value::Scalar(_), "text") => {
                finding.allowed = Some(format!("put it in quotes: \"{text}\""));
            }
            (Value::Scalar(_), "true or false") => {
                finding.suggestion = match text.to_lowercase().as_str() {
                    "yes" | "on" | "y" | "1" => Some("true".into()),
                    "no" | "off" | "n" | "0" => Some("false".into()),
                    _ => None,
                };
            }
            (Value::Map(_), "a list") => {
                finding.allowed = Some("begin each entry with `- `".into())
            }
            (Value::List(_), _) if expected.starts_with("a mapping") => {
                finding.allowed = Some("write `name: ...`, without `- `".into());
            }
            _ => {}
        }
    }

    /// What a schema asks for, in words.
    fn expected(&self, schema: &'a Json) -> String {
        let schema = self.resolve(schema);
        let shape = self.shape(schema);
        match shape {
            Shape::Words(words) => format!("one of {}", words.join(", ")),
            Shape::Kinds(kinds) => {
                let names: Vec<_> = kinds.iter().map(|(name, _)| quoted(name)).collect();
                format!("a mapping with the key {}", either(&names))
            }
            Shape::Choice(choices) => {
                let names: Vec<_> = choices.iter().map(|choice| self.expected(choice)).collect();
                either(&names)
            }
            Shape::One(schema) => match schema.get("format").and_then(Json::as_str) {
                Some("byte-size") => "a size like `128MiB`".into(),
                Some("interval") => "a duration like `5m`".into(),
                _ => {
                    let kinds = types(schema);
                    let names: Vec<_> =
                        kinds.iter().map(|kind| type_name(kind).to_owned()).collect();
                    either(&names)
                }
            },
        }
    }
}

/// `{ type: object, properties: { kind: settings }, required: [kind] }`: what schemars makes of an
/// enum's variant that has settings.
fn kind_of(choice: &Json) -> Option<(&str, &Json)> {
    let properties = choice.get("properties")?.as_object()?;
    let required = choice.get("required")?.as_array()?;
    let ([only], 1) = (required.as_slice(), properties.len()) else { return None };
    let name = only.as_str()?;
    Some((name, properties.get(name)?))
}

/// The types that a schema allows; none: any.
fn types(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(node: &Node, kind: &str) -> bool {
    let scalar = match &node.value {
        Value::Map(_) => return kind == "object",
        Value::List(_) => return kind == "array",
        Value::Scalar(scalar) => scalar,
    };
    match (kind, scalar.resolve()) {
        ("string", Resolved::Text(_)) => true,
        // The value of a variable is text where text is wanted, whatever it looks like.
        ("string", _) => scalar.is_expanded(),
        ("integer", Resolved::Integer(_)) => true,
        ("number", Resolved::Integer(_) | Resolved::Float(_)) => true,
        ("boolean", Resolved::Boolean(_)) => true,
        ("null", Resolved::Null) => true,
        _ => false,
    }
}
