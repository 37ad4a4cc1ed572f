//! Short words as one number: compared, looked up and looked at all at once.

/// One in each byte.
pub(super) const EACH: u128 = u128::MAX / 255;
/// Longest word that has a key.
pub(super) const KEY_BYTES: usize = 15;

/// Up to fifteen folded bytes and their number as one number, which no other word has; 0 for longer
/// ones.
pub(super) fn key(bytes: &[u8]) -> u128 {
    match bytes.len() {
        0..=KEY_BYTES => packed(bytes) | key_length(bytes.len()),
        _ => 0,
    }
}

pub(super) fn key_length(length: usize) -> u128 {
    (length as u128 | 0x80) << 120
}

/// Up to sixteen bytes as a number, the first one lowest.
pub(super) fn packed(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// True where a byte of `number` is zero.
pub(super) fn has_zero(number: u128) -> bool {
    number.wrapping_sub(EACH) & !number & (0x80 * EACH) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_length_have_keys_of_their_own() {
        let words = ["", "a", "aa", "ab", "ba", "palabra", "quince letras a"];
        let keys: Vec<u128> = words.iter().map(|word| key(word.as_bytes())).collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(*key != 0 && !keys[..index].contains(key), "{}", words[index]);
        }
        assert_eq!(key(b"dieciseis letras"), 0);
    }

    #[test]
    fn a_zero_byte_is_found_wherever_it_is() {
        assert!(!has_zero(EACH) && !has_zero(u128::MAX));
        for byte in 0..16 {
            assert!(has_zero(!(0xff << (8 * byte))), "{byte}");
        }
    }
}
