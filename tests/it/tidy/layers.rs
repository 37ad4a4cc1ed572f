//! Imports run downwards: a module names only what lies below it.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::{Finding, expect_none, files, parse};

/// From the bottom up. A module may import any of a lower floor, and itself; neighbours of one
/// floor do not see each other, but for the seams.
const FLOORS: [&[&str]; 9] = [
    &[
        "aws",
        "clock",
        "compute",
        "disk",
        "error",
        "location",
        "memory",
        "mutants",
        "randomness",
        "secret",
        "telemetry",
        "units",
    ],
    &["document", "event"],
    &["contract"],
    &["component", "sentiment"],
    &["codec"],
    &["sources", "transforms", "sinks", "checkpoint"],
    &["config"],
    &["runtime", "lake", "search"],
    &["cli"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Why `from` must not import `to`, if so.
fn refusal(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    if to == "testing" {
        return Some("`testing` is for tests and benches; move what is needed below".to_owned());
    }
    if from == "testing" {
        return (to == "cli").then(|| "`testing` imports anything but `cli`".to_owned());
    }
    match (floor(from), floor(to)) {
        (Some(0), Some(0)) => None,
        (Some(above), Some(below)) if above > below => None,
        (Some(above), Some(below)) if above == below => Some(format!(
            "`{from}` and `{to}` lie on one floor and never import each other; \
             move what both need below them"
        )),
        (Some(_), Some(_)) => Some(format!(
            "`{from}` lies below `{to}`: imports run downwards; \
             pass the value in, or put a trait into `component`"
        )),
        // A name that is no module: a type re-exported by lib.rs.
        _ => None,
    }
}

/// Collects every path of one file that begins at the crate's root, resolved from `super` too.
struct Imports {
    /// Module path of the place being visited, from the crate's root.
    here: Vec<String>,
    found: Vec<(usize, String)>,
}

impl Imports {
    fn note(&mut self, line: usize, segments: &[String]) {
        let mut base = self.here.clone();
        let mut rest = segments;
        let Some(first) = rest.first() else { return };
        match first.as_str() {
            "crate" => base.clear(),
            "super" => {}
            _ => return,
        }
        while let Some(segment) = rest.first() {
            match segment.as_str() {
                "crate" => {}
                "super" => drop(base.pop()),
                _ => break,
            }
            rest = &rest[1..];
        }
        base.extend(rest.iter().cloned());
        if let Some(module) = base.first() {
            self.found.push((line, module.clone()));
        }
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Name(name) => {
                self.leaf(name.ident.span(), name.ident.to_string(), before)
            }
            syn::UseTree::Rename(name) => {
                self.leaf(name.ident.span(), name.ident.to_string(), before);
            }
            syn::UseTree::Glob(glob) => self.note(glob.span().start().line, before),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.tree(item, before));
            }
        }
    }

    fn leaf(&mut self, span: proc_macro2::Span, name: String, before: &mut Vec<String>) {
        before.push(name);
        self.note(span.start().line, before);
        before.pop();
    }

    /// Paths inside a macro call, where there is no syntax tree.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(ident) if *ident == "crate" || *ident == "super" => {
                    let line = ident.span().start().line;
                    let mut segments = vec![ident.to_string()];
                    while let [
                        TokenTree::Punct(one),
                        TokenTree::Punct(_),
                        TokenTree::Ident(name),
                        ..,
                    ] = &tokens[at..]
                        && one.as_char() == ':'
                    {
                        segments.push(name.to_string());
                        at += 3;
                    }
                    self.note(line, &segments);
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !super::shape::is_test_only(super::shape::attributes(item)) {
            visit::visit_item(self, item);
        }
    }
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> =
            path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(path.span().start().line, &segments);
        visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// `src/sinks/parquet/mod.rs` -> `[sinks, parquet]`.
fn module_path(file: &str) -> Vec<String> {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.split('/').map(ToOwned::to_owned).collect()
}

fn check(file: &str, syntax: &syn::File) -> Vec<Finding> {
    let here = module_path(file);
    let Some(from) = here.first().cloned() else { return Vec::new() };
    let mut imports = Imports { here, found: Vec::new() };
    imports.visit_file(syntax);
    let found: std::collections::BTreeSet<_> = imports.found.into_iter().collect();
    found
        .into_iter()
        .filter_map(|(line, to)| Some(Finding::new(file, line, refusal(&from, &to)?)))
        .collect()
}

#[test]
fn imports_run_downwards() {
    let test_files = super::shape::test_files();
    let sources = files("src", "rs");
    let findings: Vec<_> = sources
        .iter()
        .filter(|file| !matches!(file.as_str(), "src/lib.rs" | "src/main.rs"))
        .filter(|file| !test_files.contains(*file))
        .flat_map(|file| check(file, &parse(file)))
        .collect();
    expect_none(&findings);
}

#[test]
fn every_module_has_a_floor() {
    let findings: Vec<_> = parse("src/lib.rs")
        .items
        .iter()
        .filter_map(|item| match item {
            syn::Item::Mod(module) => Some((module.ident.to_string(), module.span().start().line)),
            _ => None,
        })
        .filter(|(name, _)| name != "testing" && floor(name).is_none())
        .map(|(name, line)| {
            let message = format!("`{name}` has no floor: add it to FLOORS in tests/it/tidy/");
            Finding::new("src/lib.rs", line, message)
        })
        .collect();
    expect_none(&findings);
}

#[test]
fn finds_an_import_upwards_however_it_is_written() {
    let planted = [
        ("src/event/batch.rs", "use crate::runtime::lane;"),
        ("src/event/batch.rs", "use crate::{error::Error, sinks::{self, parquet}};"),
        ("src/event/mod.rs", "fn f() { crate::config::load(); }"),
        ("src/event/mod.rs", "fn f() { println!(\"{}\", crate::config::NAME); }"),
        ("src/sinks/mod.rs", "use super::sources::archive;"),
        ("src/sinks/parquet/mod.rs", "mod inner { type T = super::super::super::cli::Run; }"),
        ("src/runtime/lane.rs", "use crate::testing::doubles;"),
        ("src/testing/mod.rs", "use crate::cli::run;"),
    ];
    for (file, source) in planted {
        assert_eq!(check(file, &syn::parse_str(source).unwrap()).len(), 1, "{file}: {source}");
    }
    let allowed = [
        ("src/sinks/parquet/writer.rs", "use super::super::staging; use crate::event::Batch;"),
        ("src/sinks/parquet/mod.rs", "#[cfg(test)] mod tests { use crate::testing::doubles; }"),
        ("src/telemetry/server.rs", "use crate::memory::MemoryBudget;"),
        ("src/codec/mod.rs", "use crate::{Error, component::Decoder};"),
    ];
    for (file, source) in allowed {
        assert!(check(file, &syn::parse_str(source).unwrap()).is_empty(), "{file}: {source}");
    }
}
