//! What is made from the settings' own definition: the JSON Schema for editors
//! (`schemas/pipeline.schema.json`) and the reference page (`docs/configuration.md`). The validator
//! walks the same schema, so the three cannot disagree.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json};

use super::pipeline::PipelineConfig;
use crate::document::schema_of;

/// The JSON Schema of a pipeline file, as text.
pub fn editor_schema() -> String {
    let mut schema = schema_of::<PipelineConfig>();
    // A scalar that holds a variable may stand for anything: editors must not underline it.
    allow_variables(&mut schema);
    format!("{schema:#}\n")
}

/// Numbers, booleans, words, sizes and durations may come from `${NAME}`.
fn allow_variables(schema: &mut Json) {
    match schema {
        Json::Object(members) => {
            members.values_mut().for_each(allow_variables);
            if let Some(Json::String(pattern)) = members.get_mut("pattern") {
                *pattern = format!("{pattern}|\\$\\{{");
            }
            let variable = serde_json::json!({ "type": "string", "pattern": "\\$\\{" });
            let choices = members.get_mut("oneOf").and_then(Json::as_array_mut);
            let is_word = |choice: &Json| choice.get("const").is_some();
            if let Some(choices) = choices.filter(|choices| choices.iter().all(is_word)) {
                choices.push(variable.clone());
            }
            let kind = members.get("type").and_then(Json::as_str);
            if matches!(kind, Some("integer" | "number" | "boolean")) {
                let kept = ["description", "default"];
                let (outer, inner): (Map<_, _>, Map<_, _>) = std::mem::take(members)
                    .into_iter()
                    .partition(|(key, _)| kept.contains(&key.as_str()));
                *members = outer;
                members.insert("anyOf".into(), Json::Array(vec![inner.into(), variable]));
            }
        }
        Json::Array(items) => items.iter_mut().for_each(allow_variables),
        _ => {}
    }
}

/// The reference page, in Markdown.
pub fn page() -> String {
    let root = schema_of::<PipelineConfig>();
    let mut page = Page { root: &root, text: INTRODUCTION.to_owned() };
    page.section("", "Pipeline", &root);
    page.text
}

const INTRODUCTION: &str = "\
# Configuration

<!-- Generated from the settings' definitions in src/. Run `ACEQUIA_UPDATE=1 cargo test --test it reference` to renew it. -->

A pipeline is one YAML file. `acequia validate FILE` reports every mistake in it at once, with its line and column. With the first
line `# yaml-language-server: $schema=../schemas/pipeline.schema.json`, editors complete and check it while you write.

- **Unknown keys are refused**, and a key that is there has a value: leave a key out to get its default.
- **Variables**: `${NAME}` and `${NAME:-default}` inside a value are taken from the environment, after the YAML is parsed: a value
  cannot change the structure of the file. `$$` is a dollar sign. Messages show `${NAME}`, never its value. Keys are taken as written.
- **Sizes** are whole numbers with `B`, `KiB`, `MiB`, `GiB` or `TiB`; **durations** with `ms`, `s`, `m`, `h` or `d`.
- **Paths** are relative to the pipeline file. `file:///...` urls are accepted.
- **Anchors, aliases and merge keys** (`&a`, `*a`, `<<`) work.
";

struct Page<'a> {
    root: &'a Json,
    text: String,
}

impl<'a> Page<'a> {
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        while let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            match reference.strip_prefix('#').and_then(|path| self.root.pointer(path)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// A heading, what it is about, its fields, and then the sections beneath it.
    fn section(&mut self, path: &str, title: &str, schema: &'a Json) {
        let schema = self.resolve(schema);
        let Some(properties) = schema.get("properties").and_then(Json::as_object) else { return };
        let _ = write!(self.text, "\n## {title}\n\n");
        if let Some(description) = description(schema) {
            let _ = write!(self.text, "{description}\n\n");
        }
        self.text += "| field | type | default | meaning |\n|---|---|---|---|\n";
        let required = |name: &str| {
            let names = schema.get("required").and_then(Json::as_array);
            names.into_iter().flatten().any(|required| required == name)
        };
        // Required fields first.
        let (needed, free): (Vec<_>, Vec<_>) =
            properties.iter().partition(|(name, _)| required(name));
        for (name, field) in needed.iter().chain(&free) {
            let default = match (required(name), field.get("default")) {
                (true, _) => "**required**".to_owned(),
                (_, None | Some(Json::Object(_))) => String::new(),
                (_, Some(default)) => format!("`{default}`").replace('"', ""),
            };
            let meaning = self.meaning(field);
            let kind = self.type_of(field);
            let _ = writeln!(self.text, "| `{name}` | {kind} | {default} | {meaning} |");
        }
        for (name, field) in needed.iter().chain(&free) {
            let path = if path.is_empty() { (*name).clone() } else { format!("{path}.{name}") };
            self.beneath(&path, field);
        }
    }

    /// The sections of a field that has fields itself.
    fn beneath(&mut self, path: &str, schema: &'a Json) {
        let schema = self.resolve(schema);
        if schema.get("properties").is_some() {
            self.section(path, &format!("`{path}`"), schema);
        }
        for (kind, settings) in self.kinds(schema) {
            // Items of a free form have no fields of ours.
            self.beneath(&format!("{path}.{kind}"), settings);
        }
        if let Some(item) = schema.get("items") {
            self.beneath(&format!("{path}[]"), item);
        }
        if let Some(item @ Json::Object(_)) = schema.get("additionalProperties") {
            self.beneath(&format!("{path}.NAME"), item);
        }
    }

    /// The kinds of a keyed entry, with their settings.
    fn kinds(&self, schema: &'a Json) -> Vec<(&'a str, &'a Json)> {
        let choices = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
        let kind = |choice: &'a Json| {
            let properties = choice.get("properties")?.as_object()?;
            properties.iter().next().map(|(name, settings)| (name.as_str(), settings))
        };
        choices.filter_map(kind).collect()
    }

    /// The words of an enumeration, with what they mean.
    fn words(&self, schema: &'a Json) -> Vec<(&'a str, Option<String>)> {
        if let Some(words) = schema.get("enum").and_then(Json::as_array) {
            return words.iter().filter_map(|word| Some((word.as_str()?, None))).collect();
        }
        let choices = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
        let word = |choice: &'a Json| Some((choice.get("const")?.as_str()?, description(choice)));
        choices.filter_map(word).collect()
    }

    fn type_of(&self, schema: &'a Json) -> String {
        let schema = self.resolve(schema);
        let words = self.words(schema);
        if !words.is_empty() {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            return words.join(", ");
        }
        let kinds = self.kinds(schema);
        if !kinds.is_empty() {
            let kinds: Vec<String> = kinds.iter().map(|(kind, _)| format!("`{kind}`")).collect();
            return format!("one of {}", kinds.join(", "));
        }
        if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
            let names: Vec<String> = choices.iter().map(|choice| self.type_of(choice)).collect();
            return names.join(" or ");
        }
        match (
            schema.get("format").and_then(Json::as_str),
            schema.get("type").and_then(Json::as_str),
        ) {
            (Some("byte-size"), _) => "size".into(),
            (Some("interval"), _) => "duration".into(),
            (_, Some("object")) => match schema.get("additionalProperties") {
                Some(item @ Json::Object(_)) => {
                    format!("mapping of names to: {}", self.type_of(item))
                }
                _ => "mapping".into(),
            },
            (_, Some("array")) => match schema.get("items") {
                Some(item) => format!("list of: {}", self.type_of(item)),
                None => "list".into(),
            },
            (_, Some("string")) => "text".into(),
            (_, Some("integer")) => "whole number".into(),
            (_, Some("number")) => "number".into(),
            (_, Some("boolean")) => "`true` or `false`".into(),
            _ => "anything".into(),
        }
    }

    fn meaning(&self, field: &'a Json) -> String {
        let target = self.resolve(field);
        let words = self.words(target).into_iter();
        let words = words.filter_map(|(word, meaning)| Some(format!("`{word}`: {}", meaning?)));
        let own = description(field).or_else(|| description(target));
        let words: Vec<String> = words.map(|word| word.trim_end_matches('.').to_owned()).collect();
        let words = Some(words.join("; ")).filter(|words| !words.is_empty());
        let parts: Vec<String> = own.into_iter().chain(words).collect();
        parts.join(" ").replace('|', "\\|")
    }
}

/// A description as one paragraph.
fn description(schema: &Json) -> Option<String> {
    Some(schema.get("description")?.as_str()?.split_whitespace().collect::<Vec<_>>().join(" "))
}
