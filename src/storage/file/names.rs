//! Ids as file names: reversible, and safe on every file system.
//!
//! Lower-case ASCII letters, digits, `-`, `_` and `.` stay; every other byte of the id's UTF-8 is
//! `%` and two lower-case hexadecimal digits, upper-case letters too, so that names which a file
//! system folds together cannot arise. A dot at either end is encoded, and so is the first letter
//! of a name that Windows keeps for a device. A name of more than [`PIECE`] bytes is broken into
//! directories: every piece but the last ends in `+`, every one but the first begins with `+`.

use std::path::{Path, PathBuf};

/// The longest piece of a name: leaves room for a suffix within the usual 255 bytes.
const PIECE: usize = 200;
/// The most pieces that a name may have.
pub(super) const MAX_PIECES: usize = 4;
/// What neither an id nor a piece of a name contains.
pub(super) const CONTINUED: char = '+';

/// The path of an id's file or directory under `dir`.
pub(super) fn path(dir: &Path, id: &str, suffix: &str) -> PathBuf {
    let name = encode(id);
    let mut path = dir.to_path_buf();
    let mut rest = name.as_str();
    let mut first = true;
    loop {
        let mark = if first { "" } else { "+" };
        if rest.len() <= PIECE {
            path.push(format!("{mark}{rest}{suffix}"));
            return path;
        }
        // The name is ASCII: any place will do to break it.
        let (piece, after) = rest.split_at(PIECE);
        path.push(format!("{mark}{piece}{CONTINUED}"));
        (rest, first) = (after, false);
    }
}

/// The id of a name, given as its pieces; `None` if no id has this name.
pub(super) fn decode(pieces: &[&str]) -> Option<String> {
    let mut name = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        let piece = if index == 0 { piece } else { piece.strip_prefix(CONTINUED)? };
        let last = index + 1 == pieces.len();
        name.push_str(if last { piece } else { piece.strip_suffix(CONTINUED)? });
    }
    let id = unescape(&name).filter(|id| !id.is_empty())?;
    // Each id has one name. Another spelling of it is not the id's file.
    let same = path(Path::new(""), &id, "") == pieces.iter().collect::<PathBuf>();
    same.then_some(id)
}

fn encode(id: &str) -> String {
    let last = id.len().saturating_sub(1);
    let device = is_device(id);
    let mut name = String::with_capacity(id.len());
    for (index, byte) in id.bytes().enumerate() {
        let plain = match byte {
            b'.' => index != 0 && index != last,
            b'a'..=b'z' => !(device && index == 0),
            b'0'..=b'9' | b'-' | b'_' => true,
            _ => false,
        };
        if plain {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02x}"));
        }
    }
    name
}

/// Whether Windows keeps this name, whatever follows its first dot, for a device.
fn is_device(id: &str) -> bool {
    let stem = id.split('.').next().unwrap_or(id);
    match stem.as_bytes() {
        b"con" | b"prn" | b"aux" | b"nul" => true,
        [port @ .., b'0'..=b'9'] => port == b"com" || port == b"lpt",
        _ => false,
    }
}

fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: &str) -> String {
        path(Path::new(""), id, ".jsonl").display().to_string()
    }

    #[test]
    fn names_are_readable_where_that_is_safe() {
        let ids = [
            "0199a8f0-7a4e-7c3b",
            "A",
            "a",
            "é",
            "e\u{301}",
            "con",
            "con.x",
            "com1",
            "coma",
            ".a",
            "a.",
            "a.b",
            "...",
            "a b",
            "a%b",
            "a+b",
            "a:b",
            "..%2f",
            "\u{202e}x",
            "nul.txt.gz",
        ];
        let names: Vec<String> = ids.iter().map(|id| format!("{id:?} {}", shown(id))).collect();
        insta::assert_snapshot!(names.join("\n"), @r#"
        "0199a8f0-7a4e-7c3b" 0199a8f0-7a4e-7c3b.jsonl
        "A" %41.jsonl
        "a" a.jsonl
        "é" %c3%a9.jsonl
        "e\u{301}" e%cc%81.jsonl
        "con" %63on.jsonl
        "con.x" %63on.x.jsonl
        "com1" %63om1.jsonl
        "coma" coma.jsonl
        ".a" %2ea.jsonl
        "a." a%2e.jsonl
        "a.b" a.b.jsonl
        "..." %2e.%2e.jsonl
        "a b" a%20b.jsonl
        "a%b" a%25b.jsonl
        "a+b" a%2bb.jsonl
        "a:b" a%3ab.jsonl
        "..%2f" %2e.%252f.jsonl
        "\u{202e}x" %e2%80%aex.jsonl
        "nul.txt.gz" %6eul.txt.gz.jsonl
        "#);
    }

    #[test]
    fn a_long_id_becomes_directories_and_comes_back() {
        for id in ["a".repeat(200), "É".repeat(100), "A".repeat(199), "con".repeat(66)] {
            let path = path(Path::new(""), &id, "");
            let pieces: Vec<&str> = path.iter().map(|piece| piece.to_str().unwrap()).collect();
            assert!(pieces.len() <= MAX_PIECES);
            assert!(pieces.iter().all(|piece| piece.len() <= 202), "{pieces:?}");
            assert_eq!(decode(&pieces), Some(id));
        }
    }

    #[test]
    fn another_spelling_of_a_name_is_nobodys() {
        for name in ["A", "%61", "%C3%A9", "%", "%4", "con", ".a", "+a", "a+", "", "%ff"] {
            assert_eq!(decode(&[name]), None, "{name:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_id_comes_back_and_no_two_share_a_name(a in "\\PC{1,40}", b in "\\PC{1,40}") {
            let name = encode(&a);
            proptest::prop_assert_eq!(decode(&path(Path::new(""), &a, "")
                .iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>()), Some(a.clone()));
            proptest::prop_assert_eq!(a == b, name == encode(&b));
            proptest::prop_assert_eq!(&name, &name.to_lowercase());
        }
    }
}
