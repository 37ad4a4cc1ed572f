//! Standard base64 with its padding (RFC 4648, section 4).

/// The base64 of `bytes`.
pub(super) fn encode(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0u32, |word, place| {
            (word << 8) | u32::from(group.get(place).copied().unwrap_or(0))
        });
        for place in 0..4 {
            let six = (word >> (18 - 6 * place)) & 63;
            let letter = LETTERS.get(six as usize).map_or('=', |&letter| letter as char);
            out.push(if place <= group.len() { letter } else { '=' });
        }
    }
    out
}

/// The bytes of base64; `None` where it is none.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let padding = bytes.iter().rev().take_while(|&&byte| byte == b'=').count();
    if padding > 2 {
        return None;
    }
    let data = bytes.get(..bytes.len() - padding)?;
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for group in data.chunks(4) {
        let mut word = 0u32;
        for &byte in group {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            word = (word << 6) | u32::from(six);
        }
        word <<= 6 * (4 - group.len());
        let [_, bytes @ ..] = word.to_be_bytes();
        out.extend(bytes.iter().take(group.len() * 6 / 8));
    }
    Some(out)
}
