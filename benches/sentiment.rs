//! What judging a text costs on one core: `cargo bench --bench sentiment`. Texts are those of
//! `data/sentiment`, in a fixed order of chance: as they are written, and joined to about a hundred
//! characters. `docs/benchmarks.md` says how to read the figures.
#![allow(missing_docs, reason = "criterion_group! makes a public function")]

use std::hint::black_box;
use std::path::Path;

use acequia::sentiment::columns::{Judges, Wanted};
use acequia::sentiment::{Judging, Model};
use arrow::array::StringViewArray;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Texts in a column.
const ROWS: usize = 1024;
/// Texts are joined until they have so many bytes.
const JOINED: usize = 70;

/// The texts of the data that was written for the project.
fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sentiment");
    let mut files: Vec<_> = ["service", "social"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}"));
        texts
            .extend(text.lines().filter_map(|line| line.splitn(3, '\t').nth(2).map(str::to_owned)));
    }
    let mut state = 1_u64;
    for last in (1..texts.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        texts.swap(last, (state >> 33) as usize % (last + 1));
    }
    texts
}

fn joined(texts: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    let mut now = String::new();
    for text in texts {
        if !now.is_empty() {
            now.push(' ');
        }
        now.push_str(text);
        if now.len() >= JOINED {
            // Of a voice note the beginning.
            let end = now.char_indices().map(|(at, _)| at).nth(125).unwrap_or(now.len());
            now.truncate(end);
            all.push(std::mem::take(&mut now));
        }
    }
    all
}

fn judge(criterion: &mut Criterion) {
    let written = texts();
    let model = Model::built_in().unwrap_or_else(|error| panic!("{error}"));
    let judges = Judges::new(model, Judging::default());
    let mut group = criterion.benchmark_group("sentiment");
    for (name, texts) in [("about 100 characters", joined(&written)), ("as written", written)] {
        let columns: Vec<StringViewArray> =
            texts.chunks(ROWS).map(StringViewArray::from_iter_values).collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        eprintln!(
            "{name}: {} texts, {:.0} bytes each",
            texts.len(),
            bytes as f64 / texts.len() as f64
        );
        group.throughput(Throughput::Elements(texts.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for column in &columns {
                    black_box(judges.verdicts(column, None, |_| Wanted::Verdict).is_ok());
                }
            });
        });
    }
    group.finish();
    criterion.bench_function("the model at the start", |bencher| {
        bencher.iter(|| black_box(Model::built_in().map(|model| model.name().len())));
    });
}

criterion_group!(sentiment, judge);
criterion_main!(sentiment);
