//! Pictures that mean the same.

/// Pictures by what they show. Others stand for themselves alone.
static GROUPS: [(&str, &str); 16] = [
    ("\u{4}heart", "❤♥💛💚💙💜🖤🤍🤎🧡💕💖💗💓💞💘💝💟💌❣🫶"),
    ("\u{4}broken", "💔"),
    ("\u{4}smile", "🙂😊☺😀😃😄😁😺😸🤗😇🥹😌🙃😋😎🤠"),
    ("\u{4}love", "😍🥰😘😻😚😙😗🤩💋"),
    ("\u{4}laugh", "😂🤣😆😹😅"),
    ("\u{4}party", "🎉🎊🥳✨🌟⭐💫🎈🏆🥇🍾🎂🎁🥂🍻💃🕺"),
    ("\u{4}hands", "👏🙌💪🤝👌🤘🤙✌🤟🫡💯🔥"),
    ("\u{4}thumb", "👍✅✔☑🆗"),
    ("\u{4}angry", "😡😠🤬👿😤🖕💢😾"),
    ("\u{4}sad", "😢😭😞😔😟🙁☹😿😥😓😩😫😖😣🥺😪😰😨😱😧😦"),
    ("\u{4}sick", "🤢🤮🤒🤕🤧😷🥴💩☠💀"),
    ("\u{4}bad", "👎❌🚫⛔🚮🤡"),
    ("\u{4}doubt", "🙄😒😑😐🤨😬🤦🤷😕🫤😏🤔🧐"),
    ("\u{4}pray", "🙏🛐🤞🍀"),
    ("\u{4}animal", "🐶🐱🐕🐈🐾🐰🐻🦊🐴🐷🐔"),
    ("\u{4}flower", "🌹🌷🌸🌺🌻🌼💐🪷🌞☀🌈"),
];

/// The group of a folded picture, by its first character.
pub(super) fn group(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes.strip_prefix(&[super::spell::mark::PICTURE])?).ok()?;
    let first = text.chars().next()?;
    GROUPS.iter().find(|(_, pictures)| pictures.contains(first)).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_one_group() {
        let mut all: Vec<char> = GROUPS.iter().flat_map(|(_, pictures)| pictures.chars()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a picture stands in two groups");
        assert_eq!(group("\u{2}💙".as_bytes()), Some("\u{4}heart"));
        assert_eq!(group("\u{2}🧱".as_bytes()), None);
        assert_eq!(group(b"palabra"), None);
    }
}
