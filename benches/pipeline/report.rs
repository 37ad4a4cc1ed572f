//! Lines of tables, printed one by one as the runs end.

use crate::measurement::Measurement;

/// A column of a table.
pub(crate) struct Column {
    name: &'static str,
    width: usize,
    is_word: bool,
}

impl Column {
    /// A column of words, which keep to the left.
    pub(crate) const fn word(name: &'static str, width: usize) -> Self {
        Self { name, width, is_word: true }
    }
    /// A column of figures, which keep to the right.
    pub(crate) const fn figure(name: &'static str, width: usize) -> Self {
        Self { name, width, is_word: false }
    }
}

/// The columns of [`figures`].
pub(crate) static FIGURES: [Column; 10] = [
    Column::figure("process s", 9),
    Column::figure("own s", 7),
    Column::figure("rows/s", 10),
    Column::figure("MB/s", 6),
    Column::figure("peak MiB", 8),
    Column::figure("first", 6),
    Column::figure("last", 6),
    Column::figure("written MB", 10),
    Column::figure("files", 6),
    Column::figure("commits", 7),
];

/// A run's figures, for an input of `rows` rows and `bytes` bytes.
pub(crate) fn figures(run: &Measurement, rows: u64, bytes: u64) -> Vec<String> {
    let each_second = |count: u64| count as f64 / run.counted_seconds;
    let memory = &run.memory;
    vec![
        format!("{:.2}", run.process_seconds),
        format!("{:.2}", run.own_seconds),
        grouped(each_second(rows).round() as u64),
        format!("{:.0}", each_second(bytes) / 1e6),
        mebibytes(memory.peak),
        mebibytes(memory.first_third),
        mebibytes(memory.last_third),
        format!("{:.1}", run.file_bytes as f64 / 1e6),
        grouped(run.files),
        run.commits.map_or_else(|| "-".to_owned(), grouped),
    ]
}

/// The names of `columns`.
pub(crate) fn header(columns: &[&Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| column.name.to_owned()).collect();
    line(columns, &names)
}

/// One line of a table.
pub(crate) fn line(columns: &[&Column], cells: &[String]) -> String {
    let mut text = String::new();
    for (column, cell) in columns.iter().zip(cells) {
        let width = column.width;
        text.push_str(&match column.is_word {
            true => format!("{cell:<width$}  "),
            false => format!("{cell:>width$}  "),
        });
    }
    text.trim_end().to_owned()
}

/// `1234567` -> `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whole mebibytes.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", bytes as f64 / f64::from(1 << 20))
}
