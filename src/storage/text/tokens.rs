//! Text cut into the tokens by which it is found, the same for index and query.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Of a longer word only so many characters are looked at.
const LONGEST: usize = 64;

/// A token of a text: what it is compared by, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'t> {
    /// In lower case, without accents, in one of the forms that Unicode has for it. Letters,
    /// digits and marks only.
    pub term: Cow<'t, str>,
    /// The byte in the text at which it begins.
    pub start: usize,
    /// The byte in the text at which it ends.
    pub end: usize,
}

/// The tokens of a text, in order.
///
/// A token is a run of letters, digits and their marks; anything else stands between two. A
/// character of a script that is written without spaces (Chinese, Japanese, Korean, Thai, Lao,
/// Khmer, Burmese) is a token of its own, so that any part of such a text is found as a phrase of
/// its characters. Case, accents, and the forms that Unicode has for one character (full width,
/// ligatures, composed or not) make no difference. Of a word longer than 64 characters only the
/// first 64 are compared.
///
/// Engines index these tokens and nothing else: a [`Term`](super::Term) consists of them.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::text::tokens;
///
/// let terms = |text| tokens(text).map(|token| token.term.into_owned()).collect::<Vec<_>>();
/// assert_eq!(terms("parse_config(HashMap<String>)"), ["parse", "config", "hashmap", "string"]);
/// assert_eq!(terms("Übergrößen, naïve"), ["ubergrossen", "naive"]);
/// assert_eq!(terms("你好,世界 v2"), ["你", "好", "世", "界", "v2"]);
/// ```
pub fn tokens(text: &str) -> impl Iterator<Item = Token<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let (start, end) = next_word(text, at)?;
            at = end;
            let term = normalized(&text[start..end]);
            // A mark alone may leave nothing.
            if !term.is_empty() {
                return Some(Token { term, start, end });
            }
        }
    })
}

/// Where the next token after a place begins and ends.
fn next_word(text: &str, from: usize) -> Option<(usize, usize)> {
    let rest = &text[from..];
    let start = from + rest.find(char::is_alphanumeric)?;
    let mut characters = text[start..].char_indices();
    let (_, first) = characters.next()?;
    let alone = stands_alone(first);
    let end = characters
        .find(|(_, c)| match alone {
            true => !continues(*c),
            false => !continues(*c) && (!c.is_alphanumeric() || stands_alone(*c)),
        })
        .map_or(text.len(), |(at, _)| start + at);
    Some((start, end))
}

/// Whether a character belongs to the one before it.
pub(crate) fn continues(c: char) -> bool {
    // The vowels and finals of a Korean syllable in parts, and half-width voicing marks.
    let is_part = |c| matches!(c, '\u{1160}'..='\u{11FF}' | '\u{FF9E}' | '\u{FF9F}');
    !c.is_ascii() && (is_combining_mark(c) || is_part(c))
}

/// Whether a character is of a script that is written without spaces between words.
pub(crate) fn stands_alone(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}'       // Thai, Lao
        | '\u{1000}'..='\u{109F}'     // Burmese
        | '\u{1100}'..='\u{11FF}'     // Korean, in parts
        | '\u{1780}'..='\u{17FF}'     // Khmer
        | '\u{2E80}'..='\u{2FDF}'     // Chinese radicals
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{303C}'
        | '\u{3040}'..='\u{31FF}'     // Japanese syllables, Bopomofo, Korean letters
        | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}'
        | '\u{A960}'..='\u{A97F}'
        | '\u{AC00}'..='\u{D7FF}'     // Korean
        | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FFDC}'     // half width
        | '\u{1AFF0}'..='\u{1B16F}'
        | '\u{20000}'..='\u{3FFFF}'
    )
}

fn normalized(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        let word = &word[..word.len().min(LONGEST)];
        return match word.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(word.to_ascii_lowercase()),
            false => Cow::Borrowed(word),
        };
    }
    let word = match word.char_indices().nth(LONGEST) {
        Some((end, _)) => &word[..end],
        None => word,
    };
    let decomposed = word.nfkd().flat_map(char::to_lowercase).nfkd();
    let plain = decomposed.filter(|c| !is_accent(*c)).flat_map(folded);
    // What has no letter of its own in it (a fraction's bar) stands between two tokens elsewhere.
    Cow::Owned(plain.nfc().filter(|c| c.is_alphanumeric() || is_combining_mark(*c)).collect())
}

/// Letters that differ in writing alone.
fn folded(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'ς' => ('σ', None),
        'ı' => ('i', None),
        'ø' => ('o', None),
        'ł' => ('l', None),
        'đ' => ('d', None),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        c => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// Marks that are often left out when a word is typed.
fn is_accent(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}'
        | '\u{0483}'..='\u{0487}'     // Cyrillic
        | '\u{0591}'..='\u{05C7}'     // Hebrew
        | '\u{064B}'..='\u{065F}'     // Arabic
        | '\u{0670}'
        | '\u{0640}'
        | '\u{1AB0}'..='\u{1AFF}'
        | '\u{1DC0}'..='\u{1DFF}'
        | '\u{20D0}'..='\u{20FF}'
        | '\u{FE20}'..='\u{FE2F}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        tokens(text).map(|token| token.term.into_owned()).collect()
    }

    #[test]
    fn one_character_written_in_several_ways_is_one_term() {
        for (one, other) in [
            ("café", "cafe\u{301}"),
            ("が", "か\u{3099}"),
            ("각", "\u{1100}\u{1161}\u{11A8}"),
            ("ＰＡＲＳＥ", "parse"),
            ("ﬁle", "file"),
            ("ΣΊΣΥΦΟΣ", "Σίσυφος"),
            ("İstanbul", "istanbul"),
            ("STRASSE", "Straße"),
            ("Łódź", "lodz"),
            ("ｶﾞ", "ガ"),
            ("Ёлка", "елка"),
        ] {
            assert_eq!(terms(one), terms(other), "{one} and {other}");
            assert_eq!(terms(one).len(), 1, "{one}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_tokens_by_character() {
        assert_eq!(terms("世界のparser"), ["世", "界", "の", "parser"]);
        assert_eq!(terms("한국어"), ["한", "국", "어"]);
        assert_eq!(terms("x世y"), ["x", "世", "y"]);
        // A vowel sign belongs to its consonant.
        assert_eq!(terms("กำลัง").len(), 4);
    }

    #[test]
    fn terms_hold_nothing_that_an_engine_would_cut_at() {
        let odd = "½ x²y ㎏ ﷺ № ⅷ don't a\u{0}b \u{E000}mark 🦀crab 3.14 __init__ A\u{301} \u{301}";
        for token in tokens(odd) {
            assert!(!token.term.is_empty());
            for c in token.term.chars() {
                assert!(c.is_alphanumeric() || is_combining_mark(c), "{c:?} in {token:?}");
            }
            assert!(odd.get(token.start..token.end).is_some());
        }
        assert_eq!(terms("3.14 __init__"), ["3", "14", "init"]);
    }

    #[test]
    fn a_term_is_its_own_token() {
        let text = "Übergrößen İstanbul ﬁle 世界 ㎏ ｶﾞ ½ Σίσυφος กำลัง ﷺ क्षि";
        for term in terms(text) {
            let again = terms(&term);
            // Several at most where one character stands for several words.
            assert_eq!(again.concat(), term, "{term}");
        }
    }

    #[test]
    fn a_long_word_is_known_by_its_beginning() {
        let long = "x".repeat(70);
        assert_eq!(terms(&long), ["x".repeat(64)]);
        let token = tokens(&long).next().unwrap();
        assert_eq!((token.start, token.end), (0, 70));
        assert_eq!(terms(&"é".repeat(70)), ["e".repeat(64)]);
    }
}
