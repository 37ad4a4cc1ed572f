//! The documents: links lead somewhere, pages keep their size.

use super::{Finding, expect_none, files, root, text};

const ARCHITECTURE_LINES_MAX: usize = 150;

/// The relative targets of `[text](target)` with their line, code spans and blocks left out.
fn links(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for part in prose.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let foreign = target.contains("://") || target.starts_with("mailto:");
            if !foreign && !target.is_empty() {
                found.push((number + 1, target.to_owned()));
            }
        }
    }
    found
}

/// The anchors that a page's headings make, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'))
                .map(|letter| if letter == ' ' { '-' } else { letter.to_ascii_lowercase() })
                .collect()
        })
        .collect()
}

fn broken(file: &str, page: &str) -> Vec<Finding> {
    let folder = root().join(file).parent().unwrap().to_owned();
    let mut findings = Vec::new();
    for (line, target) in links(page) {
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let there = folder.join(path);
        if !path.is_empty() && !there.exists() {
            let message = format!("`{target}` leads nowhere: correct the link or add the file");
            findings.push(Finding::new(file, line, message));
        } else if !anchor.is_empty() && (path.is_empty() || path.ends_with(".md")) {
            let other =
                if path.is_empty() { page.to_owned() } else { text(there.to_str().unwrap()) };
            if !anchors(&other).iter().any(|found| found == anchor) {
                let message = format!("`{target}` names no heading: correct the anchor");
                findings.push(Finding::new(file, line, message));
            }
        }
    }
    findings
}

#[test]
fn links_lead_somewhere() {
    let findings: Vec<_> =
        files("", "md").iter().flat_map(|file| broken(file, &text(file))).collect();
    expect_none(&findings);
}

#[test]
fn finds_a_broken_link() {
    let page = "# Title\n[a](Cargo.toml) [b](nowhere.md) `[c](code.md)`\n[d](#title) [e](#none)\n";
    let lines: Vec<_> = broken("page.md", page).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn pages_have_one_title_and_the_overview_stays_short() {
    let mut findings = Vec::new();
    for file in files("", "md") {
        let page = text(&file);
        let mut in_block = false;
        let titles = page.lines().filter(|line| {
            in_block ^= line.starts_with("```");
            !in_block && line.starts_with("# ")
        });
        if titles.count() != 1 {
            findings.push(Finding::new(&file, 1, "wants exactly one `# ` title"));
        }
        let lines = page.lines().count();
        if file == "ARCHITECTURE.md" && lines > ARCHITECTURE_LINES_MAX {
            let message = format!(
                "{lines} lines, {ARCHITECTURE_LINES_MAX} are allowed: move detail into docs/"
            );
            findings.push(Finding::new(&file, ARCHITECTURE_LINES_MAX, message));
        }
    }
    expect_none(&findings);
}
