use crate::error::ErrorKind;
use crate::testing::MemoryStore;

use super::*;

struct Archive {
    folder: tempfile::TempDir,
    store: MemoryStore,
    closed: HashSet<PartitionId>,
}

impl Archive {
    fn new(files: &[&str]) -> Self {
        let archive = Self {
            folder: tempfile::tempdir().unwrap(),
            store: MemoryStore::new("store"),
            closed: HashSet::new(),
        };
        files.iter().for_each(|name| archive.write(name, "{}\n{}\n"));
        archive
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    async fn settle(&self, range_bytes: u64) -> Result<(Vec<String>, usize)> {
        let pattern = self.folder.path().join("*.ndjson").to_str().unwrap().to_owned();
        let context = crate::testing::context(1);
        let paths = super::super::Paths::One(pattern);
        let found = files::list(&paths, Default::default(), &context).await?;
        let splitting = Splitting { range_bytes, lanes: 1 };
        let (manifest, added) =
            settle(&self.store, found, splitting, &self.closed, &context).await?;
        let partitions = manifest
            .files
            .iter()
            .flat_map(|file| file.ranges.iter().map(|range| file.partition(*range).to_string()));
        Ok((partitions.collect(), added))
    }

    async fn refusal(&self) -> String {
        let error = self.settle(100).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Halted);
        error.to_string()
    }
}

#[tokio::test]
async fn a_later_file_takes_the_next_number_whatever_its_name() {
    let archive = Archive::new(&["b.ndjson", "c.ndjson"]);
    let (partitions, added) = archive.settle(100).await.unwrap();
    assert_eq!((partitions.join(" ").as_str(), added), ("1:b.ndjson 2:c.ndjson", 2));
    archive.write("a.ndjson", "{}\n");
    let (partitions, added) = archive.settle(100).await.unwrap();
    assert_eq!((partitions.join(" ").as_str(), added), ("1:b.ndjson 2:c.ndjson 3:a.ndjson", 1));
    assert_eq!(archive.settle(100).await.unwrap().1, 0, "and then nothing is new");
}

#[tokio::test]
async fn ranges_stay_where_they_were() {
    let archive = Archive::new(&["a.ndjson"]);
    let partitions = ["1:a.ndjson@0-3", "1:a.ndjson@3-6"];
    assert_eq!(archive.settle(3).await.unwrap().0, partitions);
    assert_eq!(archive.settle(100).await.unwrap().0, partitions);
}

#[tokio::test]
async fn a_listed_file_must_stay_what_it_was() {
    let archive = Archive::new(&["a.ndjson", "b.ndjson"]);
    let path = archive.folder.path().join("b.ndjson");
    archive.settle(100).await.unwrap();
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    let set_time =
        |time| std::fs::File::options().write(true).open(&path).unwrap().set_modified(time);

    archive.write("b.ndjson", "{}\n{}\n{}\n");
    assert!(archive.refusal().await.contains("`b.ndjson` (number 2) grew from 6 to 9 bytes"));
    archive.write("b.ndjson", "{}\n");
    assert!(archive.refusal().await.contains("`b.ndjson` (number 2) shrank from 6 to 3 bytes"));
    archive.write("b.ndjson", "{}\n[]\n");
    set_time(before + std::time::Duration::from_secs(1)).unwrap();
    assert!(archive.refusal().await.contains("time of modification differs"));
    set_time(before).unwrap();
    archive.settle(100).await.unwrap();

    std::fs::remove_file(&path).unwrap();
    assert!(archive.refusal().await.contains("`b.ndjson` (number 2) is gone"));
}

#[tokio::test]
async fn a_file_that_was_read_to_its_end_may_go() {
    let mut archive = Archive::new(&["a.ndjson", "b.ndjson"]);
    archive.settle(3).await.unwrap();
    std::fs::remove_file(archive.folder.path().join("a.ndjson")).unwrap();
    archive.closed.insert(PartitionId::new("1:a.ndjson@0-3"));
    assert!(archive.refusal().await.contains("`a.ndjson` (number 1) is gone"), "half is left");
    archive.closed.insert(PartitionId::new("1:a.ndjson@3-6"));
    assert_eq!(archive.settle(3).await.unwrap().0.len(), 4, "its number stays taken");
}
