//! Tokens of ASCII text, counted without cutting them out.
//!
//! A token is a run of letters and digits, cut off after [`LONGEST`] bytes.

use memchr::memchr2;

use super::Term;
use super::tokens::LONGEST;

/// How often a term begins in a text.
pub(super) fn times(text: &[u8], term: &Term) -> usize {
    let Some(&first) = term.tokens().first().and_then(|token| token.as_bytes().first()) else {
        return 0;
    };
    let (mut count, mut from) = (0, 0);
    while let Some(found) = text
        .get(from..)
        .and_then(|rest| memchr2(first.to_ascii_lowercase(), first.to_ascii_uppercase(), rest))
    {
        let at = from + found;
        let begins = at == 0 || !is_word(text, at - 1);
        count += usize::from(begins && is_term(text, at, term));
        from = at + 1;
    }
    count
}

fn is_word(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether a term stands where a token begins.
fn is_term(text: &[u8], mut at: usize, term: &Term) -> bool {
    let last = term.tokens().len() - 1;
    for (index, token) in term.tokens().iter().enumerate() {
        let end = at + token.len();
        let same =
            text.get(at..end).is_some_and(|word| word.eq_ignore_ascii_case(token.as_bytes()));
        let ends =
            (index == last && term.is_prefix()) || token.len() == LONGEST || !is_word(text, end);
        if !same || !ends {
            return false;
        }
        // Where the next token begins.
        at = end;
        while is_word(text, at) {
            at += 1;
        }
        while at < text.len() && !is_word(text, at) {
            at += 1;
        }
    }
    true
}
