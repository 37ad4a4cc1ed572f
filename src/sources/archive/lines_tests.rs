use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

/// Gives a byte string in bites of a few bytes, then fails or ends.
struct Bites<'a> {
    content: &'a [u8],
    bite: usize,
    fails: bool,
}

impl ByteStream for Bites<'_> {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        let take = self.content.len().min(bytes).min(self.bite);
        if take == 0 && self.fails {
            return Err(Error::halted("cut off"));
        }
        let (given, rest) = self.content.split_at(take);
        buffer.extend_from_slice(given);
        self.content = rest;
        Ok(take)
    }
    fn stored_bytes(&self) -> u64 {
        0
    }
}

/// The same, interrupted at every other call, in the middle of what it gives.
struct Interrupted<'a> {
    bites: Bites<'a>,
    calls: usize,
}

impl ByteStream for Interrupted<'_> {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        self.calls += 1;
        let given = self.bites.fill(buffer, bytes)?;
        if self.calls % 2 == 1 { Err(Error::retryable("interrupted")) } else { Ok(given) }
    }
    fn stored_bytes(&self) -> u64 {
        0
    }
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    chunk: usize,
    bite: usize,
    record: usize,
}

const LARGE: Sizes = Sizes { chunk: 1 << 20, bite: 1 << 20, record: 1 << 20 };

fn reader(content: &[u8], range: Range, from: u64, sizes: Sizes) -> LineReader<Bites<'_>> {
    let start = LineReader::<Bites<'_>>::stream_start(range, from);
    let end = content.len();
    let stream = Bites {
        content: &content[usize::try_from(start).unwrap().min(end)..],
        bite: sizes.bite,
        fails: false,
    };
    let limits = LineLimits { chunk_bytes: sizes.chunk, record_bytes: sizes.record };
    LineReader::new(stream, range, from, limits, MemoryBudget::new(1 << 30))
}

/// A record: where it stands and what it is. Of one that is too long: beginning, length and hash.
type Found = (u64, Vec<u8>, Option<(u64, String)>);

fn records(batch: &RawBatch) -> Vec<Found> {
    let RawContent::Records(raw) = &batch.content else { panic!("lines are records") };
    let RecordPositions::Bytes { start } = raw.positions else { panic!("lines count bytes") };
    let mut found: Vec<Found> = Vec::new();
    let mut end = 0;
    for (place, length) in &raw.spans {
        let (place, length) = (*place as usize, *length as usize);
        assert!(place >= end, "spans ascend");
        end = place + length;
        found.push((start + place as u64, raw.data[place..end].to_vec(), None));
    }
    for long in &raw.oversized {
        let hash = Some((long.raw.length, long.raw.sha256.clone().unwrap()));
        found.push((long.position, long.raw.bytes.to_vec(), hash));
    }
    found.sort();
    found
}

fn read_all(mut reader: LineReader<Bites<'_>>, from: u64) -> (Vec<Found>, Vec<u64>) {
    let (mut found, mut ends) = (Vec::new(), vec![from]);
    while let Some(batch) = reader.next().unwrap() {
        let (start, end) = (batch.range.from.offset().unwrap(), batch.range.to.offset().unwrap());
        assert_eq!(start, *ends.last().unwrap(), "batches chain");
        assert_eq!(batch.bytes, end - start);
        for (position, _, _) in records(&batch) {
            assert!((start..end).contains(&position), "{position} in {start}..{end}");
        }
        found.extend(records(&batch));
        ends.push(end);
    }
    assert!(reader.next().unwrap().is_none(), "the end stays the end");
    (found, ends)
}

fn whole(content: &[u8]) -> Range {
    Range { from: 0, to: Some(content.len() as u64) }
}

fn lines_of(content: &[u8]) -> Vec<(u64, String)> {
    let (found, _) = read_all(reader(content, whole(content), 0, LARGE), 0);
    found.into_iter().map(|(at, line, _)| (at, String::from_utf8(line).unwrap())).collect()
}

/// What a reader of `content` must find, by the plainest means.
fn expected(content: &[u8], record: usize) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        let start = at;
        at += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if bare.len() > record {
            let hash = format!("{:x}", Sha256::digest(bare));
            let kept = bare[..bare.len().min(64 << 10)].to_vec();
            found.push((start as u64, kept, Some((bare.len() as u64, hash))));
        } else if let Some(first) = bare.iter().position(|byte| !b" \t\r".contains(byte)) {
            let last = bare.iter().rposition(|byte| !b" \t\r".contains(byte)).unwrap();
            found.push(((start + first) as u64, bare[first..=last].to_vec(), None));
        }
    }
    found
}

#[test]
fn lines_stand_at_their_own_first_byte() {
    assert_eq!(
        lines_of(b"{1}\r\n\r\n \t\n  {2} \n{3}"),
        [(0, "{1}".into()), (12, "{2}".into()), (17, "{3}".into())]
    );
    assert_eq!(lines_of(b"\xEF\xBB\xBF{1}\n{2}\n"), [(3, "{1}".into()), (7, "{2}".into())]);
    assert!(lines_of(b"").is_empty());
    assert!(lines_of(b"\n\n \n").is_empty());
    assert!(lines_of(b"\xEF\xBB\xBF").is_empty());
}

#[test]
fn a_line_belongs_to_the_range_it_begins_in() {
    let content = b"aaaa\nbbbb\ncccc\n";
    let of = |from: u64, to: u64| {
        let range = Range { from, to: Some(to) };
        let (found, ends) = read_all(reader(content, range, from, LARGE), from);
        let lines: Vec<String> =
            found.into_iter().map(|(_, line, _)| String::from_utf8(line).unwrap()).collect();
        (lines.join(" "), *ends.last().unwrap())
    };
    assert_eq!(of(0, 5), ("aaaa".into(), 5), "the next line begins at the end");
    assert_eq!(of(5, 10), ("bbbb".into(), 10), "a line that begins at the range's first byte");
    assert_eq!(of(0, 6), ("aaaa bbbb".into(), 10), "read to the end of the last line");
    assert_eq!(of(6, 10), (String::new(), 10), "nothing begins in the middle of a line");
    assert_eq!(of(6, 8), (String::new(), 10), "the line before ends beyond the range");
    assert_eq!(of(7, 11), ("cccc".into(), 15));
}

#[test]
fn what_precedes_a_failure_is_given_out_first() {
    let content = b"{1}\n{2}\n{3";
    let mut reader = reader(content, Range { from: 0, to: None }, 0, LARGE);
    reader.stream.fails = true;
    let batch = reader.next().unwrap().unwrap();
    assert_eq!(records(&batch).len(), 2);
    assert_eq!(batch.range.to, Position::Offset(8));
    assert_eq!(reader.next().unwrap_err().to_string(), "cut off");
}

#[test]
fn chunks_are_charged_as_long_as_something_points_into_them() {
    let memory = MemoryBudget::new(1 << 30);
    let content = b"{\"a\":1}\n".repeat(1000);
    let mut reader = reader(&content, whole(&content), 0, LARGE);
    reader.memory = memory.clone();
    let batch = reader.next().unwrap().unwrap();
    assert!(memory.used() >= content.len());
    let RawContent::Records(raw) = batch.content else { panic!() };
    let view = raw.data.slice(8..16);
    drop(raw);
    assert!(memory.used() >= content.len(), "a view keeps its chunk");
    drop((view, reader));
    assert_eq!(memory.used(), 0);
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[a-c]{0,12}",
        1 => "[ \t]{0,3}[a-c]{0,3}[ \t]{0,3}",
        1 => "[a-c\r]{10,60}",
    ];
    let end = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    (prop::collection::vec((line, end), 0..30), "[a-c]{0,5}").prop_map(|(lines, half)| {
        let mut text: String =
            lines.into_iter().flat_map(|(line, end)| [line, end.into()]).collect();
        text.push_str(&half);
        text.into_bytes()
    })
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (1..40usize, 1..20usize, 0..50usize).prop_map(|(chunk, bite, record)| Sizes {
        chunk,
        bite,
        record,
    })
}

/// Ask until it is the end.
fn read_through<S: ByteStream>(mut reader: LineReader<S>) -> Vec<Found> {
    let mut found = Vec::new();
    loop {
        match reader.next() {
            Ok(Some(batch)) => found.extend(records(&batch)),
            Ok(None) => return found,
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// However a file is cut into ranges, chunks and reads, each line is found once.
    #[test]
    fn ranges_never_lose_or_double_a_line(
        content in content(),
        sizes in sizes(),
        mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let end = content.len() as u64;
        let mut bounds = vec![0, end];
        bounds.extend(cuts.drain(..).map(|cut| cut.index(content.len() + 1) as u64));
        bounds.sort_unstable();
        let mut found = Vec::new();
        for pair in bounds.windows(2) {
            let range = Range { from: pair[0], to: Some(pair[1]) };
            found.extend(read_all(reader(&content, range, range.from, sizes), range.from).0);
        }
        prop_assert_eq!(found, expected(&content, sizes.record));
    }

    /// A stream that is interrupted again and again is read as if it were not.
    #[test]
    fn interruptions_change_nothing(
        content in content(),
        sizes in sizes(),
        from in any::<prop::sample::Index>(),
    ) {
        let from = from.index(content.len() + 1) as u64;
        let range = Range { from, to: Some(content.len() as u64) };
        let LineReader { stream, limits, memory, .. } = reader(&content, range, from, sizes);
        let interrupted = Interrupted { bites: stream, calls: 0 };
        let found = read_through(LineReader::new(interrupted, range, from, limits, memory));
        prop_assert_eq!(found, read_all(reader(&content, range, from, sizes), from).0);
    }

    /// From wherever a batch ended, another reader finds the rest, whatever its chunks.
    #[test]
    fn resuming_gives_the_rest(
        content in content(),
        sizes in sizes(),
        other in sizes(),
        from in any::<prop::sample::Index>(),
        is_compressed in any::<bool>(),
    ) {
        let from = from.index(content.len() + 1) as u64;
        let range = if is_compressed {
            Range { from: 0, to: None }
        } else {
            Range { from, to: Some(content.len() as u64) }
        };
        let (found, ends) = read_all(reader(&content, range, range.from, sizes), range.from);
        let other = Sizes { record: sizes.record, ..other };
        for end in ends {
            let (rest, _) = read_all(reader(&content, range, end, other), end);
            let suffix: Vec<Found> =
                found.iter().filter(|(position, _, _)| *position >= end).cloned().collect();
            prop_assert_eq!(rest, suffix, "from {}", end);
        }
    }
}
