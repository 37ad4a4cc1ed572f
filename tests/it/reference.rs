//! What is generated from the settings' definitions is current, and the examples are sound.

use std::fs;
use std::path::{Path, PathBuf};

use acequia::config::{self, reference};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compare a generated file with what the definitions give now; `ACEQUIA_UPDATE=1` rewrites it.
fn assert_current(file: &str, text: &str) {
    let path = root().join(file);
    #[allow(clippy::disallowed_methods)]
    if std::env::var("ACEQUIA_UPDATE").is_ok_and(|update| update == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let present = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        present == text,
        "{file} does not say what the settings' definitions say: renew it with \
         `ACEQUIA_UPDATE=1 cargo test --test it reference`"
    );
}

#[test]
fn the_editor_schema_is_current() {
    assert_current("schemas/pipeline.schema.json", &reference::editor_schema());
}

#[test]
fn the_reference_page_is_current() {
    assert_current("docs/configuration.md", &reference::page());
}

#[test]
fn the_reference_page_describes_every_field() {
    let page = reference::page();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        assert_eq!(cells.len(), 4, "{line}");
        assert!(cells[3].trim_end_matches(" |").len() > 5, "no description: {line}");
        assert!(!cells[1].contains("anything"), "no type: {line}");
    }
    for section in ["`commit`", "`source.archive`", "`sinks.NAME.parquet.partition`", "`tests[]`"] {
        assert!(page.contains(&format!("\n## {section}\n")), "{section}");
    }
}

#[test]
fn every_example_pipeline_is_sound() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let modeline = "# yaml-language-server: $schema=../schemas/pipeline.schema.json\n";
        assert!(text.starts_with(modeline), "{} lacks the modeline", path.display());
        let loaded = config::load(&path).unwrap_or_else(|findings| panic!("{findings}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        let url = &loaded.pipeline.dead_letters.url;
        assert!(url.starts_with("s3://") || Path::new(url).is_absolute(), "{url}");
    }
    assert!(seen > 0);
}
