//! Names of partitions as names of files: one file for each name, and none outside the folder.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// File systems take 255 bytes a name; endings need some of them.
const LONGEST: usize = 200;

/// Begins the name of a file whose partition's name is too long. `=` is always escaped elsewhere,
/// so no escaped name begins like this.
const HASHED: &str = "sha256=";

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.:@+,".contains(&byte)
}

/// `partition` with every byte but letters, digits and `-_.:@+,` percent-encoded, a leading dot
/// too; the SHA-256 of it where that is longer than 200 bytes.
pub(in crate::checkpoint) fn escape(partition: &str) -> String {
    let mut name = String::with_capacity(partition.len() + 16);
    for (index, byte) in partition.bytes().enumerate() {
        if is_plain(byte) && !(byte == b'.' && index == 0) {
            name.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.is_empty() {
        // An empty name would leave a hidden file; a lone `%` is no other name's escape.
        name.push('%');
    }
    if name.len() > LONGEST {
        name = format!("{HASHED}{:x}", Sha256::digest(partition));
    }
    name
}

/// True where `name` says only what the partition's name hashes to.
pub(in crate::checkpoint) fn is_hashed(name: &str) -> bool {
    name.starts_with(HASHED)
}

/// The partition whose escaped name is `name`; `None` where there is none.
pub(in crate::checkpoint) fn unescape(name: &str) -> Option<String> {
    if name == "%" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    let partition = String::from_utf8(bytes).ok()?;
    (escape(&partition) == name).then_some(partition)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_readable_inside_the_folder_and_apart() {
        assert_eq!(escape("1:2024/events.ndjson@0-9"), "1:2024%2Fevents.ndjson@0-9");
        assert_eq!(escape(".."), "%2E.");
        let long = "x".repeat(500);
        let odd = ["", ".", "..", "a/b", "a%2Fb", "a\\b", "%", "ñ", "\0", "a.json", &long];
        let escaped: HashSet<_> = odd.iter().map(|name| escape(name)).collect();
        assert_eq!(escaped.len(), odd.len(), "{escaped:?}");
        for name in &escaped {
            assert!(!name.contains('/') && !name.starts_with('.') && name.len() <= LONGEST);
        }
        assert_eq!(unescape("a=b"), None, "no partition has this name");
    }

    proptest! {
        #[test]
        fn a_name_comes_back(partition in any::<String>()) {
            let name = escape(&partition);
            if !is_hashed(&name) {
                prop_assert_eq!(unescape(&name), Some(partition));
            }
        }
    }
}
