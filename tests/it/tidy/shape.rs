//! Sizes, names, and what must not be left lying in the code.

use std::collections::BTreeSet;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{Finding, expect_none, files, parse, text};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const MAIN_LINES_MAX: usize = 40;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "misc", "manager", "types", "shared"];

/// Written so that this file does not find itself.
const LEFTOVERS: [&str; 5] = [
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("dbg", "!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// The attributes of an item.
pub(super) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// True under `#[cfg(test)]` and `#[test]`.
pub(super) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        meta => meta.path().segments.last().is_some_and(|last| last.ident == "test"),
    })
}

/// Files that exist in test builds only: what `#[cfg(test)] mod name;` declares, and all below it.
pub(super) fn test_files() -> BTreeSet<String> {
    let sources = files("src", "rs");
    let mut found = BTreeSet::new();
    for file in &sources {
        let stem = file.trim_end_matches(".rs");
        let folder = stem.strip_suffix("/mod").or_else(|| stem.strip_suffix("/lib"));
        let folder = folder.unwrap_or(stem);
        for item in parse(file).items {
            let syn::Item::Mod(module) = item else { continue };
            if module.content.is_none() && is_test_only(&module.attrs) {
                let name = match path_attribute(&module.attrs) {
                    Some(path) => {
                        let (beside, _) = file.rsplit_once('/').unwrap_or_default();
                        format!("{beside}/{}", path.trim_end_matches(".rs"))
                    }
                    None => format!("{folder}/{}", module.ident),
                };
                let below = |other: &&String| {
                    other.trim_end_matches(".rs") == name || other.starts_with(&format!("{name}/"))
                };
                found.extend(sources.iter().filter(below).cloned());
            }
        }
    }
    found
}

/// The file that `#[path = "..."]` names.
fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) => Some(path.value()),
            _ => None,
        },
        _ => None,
    })
}

/// Lengths of one file's functions and of its tests.
#[derive(Default)]
struct Lengths {
    long: Vec<(usize, String, usize)>,
    test_lines: usize,
}

impl Lengths {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            self.long.push((first, signature.ident.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Lengths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            self.test_lines += item.span().end().line - item.span().start().line + 1;
        } else {
            visit::visit_item(self, item);
        }
    }
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

fn sizes(file: &str, source: &str) -> Vec<Finding> {
    let mut lengths = Lengths::default();
    lengths.visit_file(&syn::parse_file(source).unwrap());
    let lines = source.lines().count() - lengths.test_lines;
    let mut findings: Vec<_> = lengths
        .long
        .into_iter()
        .map(|(line, name, lines)| {
            let message = format!(
                "`{name}` has {lines} lines, {FUNCTION_LINES_MAX} are allowed: \
                 keep the control flow, move the leaves out"
            );
            Finding::new(file, line, message)
        })
        .collect();
    let (allowed, advice) = match file {
        "src/main.rs" => (MAIN_LINES_MAX, "move it into the library"),
        _ => (FILE_LINES_MAX, "split it by purpose"),
    };
    if lines > allowed {
        let message = format!("{lines} lines without tests, {allowed} are allowed: {advice}");
        findings.push(Finding::new(file, allowed, message));
    }
    findings
}

#[test]
fn files_and_functions_stay_small() {
    let test_files = test_files();
    let mut sources = files("src", "rs");
    sources.extend(files("benches", "rs"));
    let findings: Vec<_> = sources
        .iter()
        .filter(|file| !test_files.contains(*file))
        .flat_map(|file| sizes(file, &text(file)))
        .collect();
    expect_none(&findings);
}

#[test]
fn measures_code_and_not_its_tests() {
    let body = "    call();\n".repeat(FUNCTION_LINES_MAX - 1);
    let long = format!("fn long() {{\n{body}}}\n");
    assert_eq!(sizes("src/a.rs", &long).len(), 1);
    assert!(sizes("src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{long}}}\n")).is_empty());
    let many = "fn short() {}\n".repeat(FILE_LINES_MAX + 1);
    assert_eq!(sizes("src/a.rs", &many).len(), 1);
    assert!(sizes("src/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{many}}}\n")).is_empty());
}

#[test]
fn nothing_unfinished_is_left() {
    let mut findings = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| files(folder, "rs")) {
        for (number, line) in text(&file).lines().enumerate() {
            if let Some(word) = LEFTOVERS.iter().find(|word| line.contains(*word)) {
                let message = format!("`{word}` is left: finish it, or write the decision down");
                findings.push(Finding::new(&file, number + 1, message));
            }
        }
    }
    expect_none(&findings);
}

#[test]
fn names_say_what_is_inside() {
    let mut findings = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|folder| files(folder, "rs")) {
        let parts = file.trim_end_matches(".rs").split('/');
        for part in parts.filter(|part| EMPTY_NAMES.contains(part)) {
            let message = format!("`{part}` says nothing: name the module after what it holds");
            findings.push(Finding::new(&file, 1, message));
        }
    }
    expect_none(&findings);
}

#[test]
fn every_module_says_what_it_is_for() {
    let findings: Vec<_> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .filter(|file| !file.ends_with("tests.rs") && !text(file).starts_with("//!"))
        .map(|file| Finding::new(&file, 1, "begins without `//!`: say what the module is for"))
        .collect();
    expect_none(&findings);
}
