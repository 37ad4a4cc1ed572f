//! Each component has a pipeline that shows it, and each pipeline can be checked in an editor.

use std::collections::BTreeSet;

use serde_json::Value;
use syn::spanned::Spanned;

use super::{Finding, expect_none, files, parse, root, text};

/// `FileConfig` -> `file_config`, as serde writes a variant in YAML.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The kinds of a family with the line of each: variants of its enum, or the optional fields of
/// its struct that hold a component's settings.
fn kinds(file: &str, config: &str) -> Vec<(usize, String)> {
    for item in parse(file).items {
        match item {
            syn::Item::Enum(found) if found.ident == config => {
                let kind = |variant: &syn::Variant| {
                    (variant.span().start().line, snake_case(&variant.ident.to_string()))
                };
                return found.variants.iter().map(kind).collect();
            }
            syn::Item::Struct(found) if found.ident == config => {
                let is_kind = |field: &&syn::Field| {
                    quoted(&field.ty).contains("Config") && field.ident.is_some()
                };
                let kind = |field: &syn::Field| {
                    let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                    (field.span().start().line, name)
                };
                return found.fields.iter().filter(is_kind).map(kind).collect();
            }
            _ => {}
        }
    }
    panic!("{file} has no `{config}`: this test must know where the kinds are listed")
}

fn quoted(kind: &syn::Type) -> String {
    match kind {
        syn::Type::Path(path) => path
            .path
            .segments
            .iter()
            .map(|segment| match &segment.arguments {
                syn::PathArguments::AngleBracketed(inner) => inner
                    .args
                    .iter()
                    .filter_map(|argument| match argument {
                        syn::GenericArgument::Type(kind) => Some(quoted(kind)),
                        _ => None,
                    })
                    .collect(),
                _ => segment.ident.to_string(),
            })
            .collect(),
        _ => String::new(),
    }
}

/// Every key of a document, at any depth.
fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                found.insert(key.clone());
                keys(member, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

fn pipelines() -> Vec<String> {
    files("pipelines", "yaml")
}

#[test]
fn every_component_has_an_example() {
    if !root().join("pipelines/quickstart.yaml").exists() {
        return;
    }
    let mut shown = BTreeSet::new();
    for file in pipelines() {
        let document: Value =
            serde_saphyr::from_str(&text(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        keys(&document, &mut shown);
    }
    let families = [
        ("src/sources/mod.rs", "SourceConfig"),
        ("src/transforms/mod.rs", "TransformConfig"),
        ("src/sinks/mod.rs", "SinkConfig"),
        ("src/checkpoint/mod.rs", "CheckpointConfig"),
    ];
    let mut findings = Vec::new();
    for (file, config) in families {
        let kinds = kinds(file, config);
        assert!(!kinds.is_empty(), "{file}: no kinds found in {config}");
        for (line, kind) in kinds {
            if !shown.contains(&kind) {
                let message = format!("`{kind}` has no example: add a pipeline to pipelines/");
                findings.push(Finding::new(file, line, message));
            }
        }
    }
    expect_none(&findings);
}

#[test]
fn every_pipeline_names_its_schema() {
    let mut findings = Vec::new();
    for file in pipelines() {
        let page = text(&file);
        let target = page
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("# yaml-language-server: $schema=").map(str::trim));
        let folder = root().join(&file).parent().unwrap().to_owned();
        if !target.is_some_and(|target| folder.join(target).is_file()) {
            let message = "wants a first line `# yaml-language-server: $schema=PATH` \
                           with the path of schemas/pipeline.schema.json from here";
            findings.push(Finding::new(&file, 1, message));
        }
    }
    expect_none(&findings);
}
