//! Faces that are made of signs.

/// Faces by their signs, longer ones first, and what they show.
static FACES: [(&[u8], &[u8]); 34] = [
    (b":'-(", b"cry"),
    (b">:-(", b"angry"),
    (b":'(", b"cry"),
    (b":'v", b"cry"),
    (b">:(", b"angry"),
    (b":-)", b"smile"),
    (b":-(", b"frown"),
    (b":-D", b"grin"),
    (b":-P", b"tongue"),
    (b":-/", b"skew"),
    (b":-*", b"kiss"),
    (b";-)", b"wink"),
    (b"^_^", b"smile"),
    (b"-_-", b"skew"),
    (b"<3", b"heart"),
    (b":)", b"smile"),
    (b"=)", b"smile"),
    (b":]", b"smile"),
    (b"(:", b"smile"),
    (b"^^", b"smile"),
    (b":D", b"grin"),
    (b"=D", b"grin"),
    (b":(", b"frown"),
    (b"=(", b"frown"),
    (b":[", b"frown"),
    (b"):", b"frown"),
    (b";)", b"wink"),
    (b":P", b"tongue"),
    (b":p", b"tongue"),
    (b":/", b"skew"),
    (b":\\", b"skew"),
    (b":*", b"kiss"),
    (b":v", b"tongue"),
    (b":3", b"smile"),
];

/// The face at the start of `rest`: its length and what it shows.
pub(super) fn face(rest: &[u8]) -> Option<(usize, &'static [u8])> {
    if !matches!(rest.first(), Some(b':' | b';' | b'=' | b'<' | b'>' | b'^' | b'(' | b')' | b'-')) {
        return None;
    }
    let (signs, name) = FACES.iter().find(|(signs, _)| rest.starts_with(signs))?;
    // A letter is part of a face only where no word goes on.
    let next = rest.get(signs.len()).copied().unwrap_or(b' ');
    let ends_in_letter = signs.last().is_some_and(u8::is_ascii_alphanumeric);
    (!ends_in_letter || !next.is_ascii_alphanumeric()).then_some((signs.len(), *name))
}
