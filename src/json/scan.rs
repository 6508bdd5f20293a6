//! What serde_json's raw values let through and this crate does not: depth, lone surrogates, white
//! space. One pass over the bytes of a value whose grammar serde_json has checked.

use memchr::memchr2;

use crate::error::{Error, Result};

/// How deep arrays and objects of a value may be nested.
pub(super) const MAX_DEPTH: usize = 128;

/// How deep those of a record's body or a document may be, whose own levels come on top.
pub(super) const MAX_WHOLE_DEPTH: usize = MAX_DEPTH + 16;

/// Checks depth and surrogates and says whether there is white space outside of strings.
pub(crate) fn check(json: &str, deepest: usize) -> Result<bool> {
    let bytes = json.as_bytes();
    let mut depth = 0_usize;
    let mut spaced = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = check_string(bytes, at + 1)?;
                continue;
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > deepest {
                    return Err(Error::limit_exceeded(format!(
                        "JSON is nested more than {deepest} deep"
                    ))
                    .with("byte", at));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b' ' | b'\t' | b'\n' | b'\r' => spaced = true,
            _ => {}
        }
        at += 1;
    }
    Ok(spaced)
}

/// Checks the surrogates of a string from behind its opening quote; returns the place behind its
/// closing one.
fn check_string(bytes: &[u8], mut at: usize) -> Result<usize> {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match (bytes[at], bytes.get(at + 1)) {
            (b'"', _) => return Ok(at + 1),
            (_, Some(b'u')) => at = check_escape(bytes, at)?,
            _ => at += 2,
        }
    }
    Ok(bytes.len())
}

fn check_escape(bytes: &[u8], at: usize) -> Result<usize> {
    let lone = || Error::invalid("a string holds half of a surrogate pair").with("byte", at);
    match unit(bytes, at) {
        Some(0xd800..=0xdbff) => match unit(bytes, at + 6) {
            Some(0xdc00..=0xdfff) => Ok(at + 12),
            _ => Err(lone()),
        },
        Some(0xdc00..=0xdfff) => Err(lone()),
        _ => Ok(at + 6),
    }
}

/// The UTF-16 unit of the `\uXXXX` that stands here.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Drops white space outside of strings.
pub(crate) fn minify(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if matches!(c, ' ' | '\t' | '\n' | '\r') {
            continue;
        } else {
            in_string = c == '"';
        }
        out.push(c);
    }
    out
}

/// Whether a `serde_json::Value` of this JSON would hold every number exactly.
pub(crate) fn numbers_are_exact(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => match check_string(bytes, at + 1) {
                Ok(next) => at = next,
                Err(_) => return false,
            },
            b'-' | b'0'..=b'9' => {
                let start = at;
                while bytes
                    .get(at)
                    .is_some_and(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                {
                    at += 1;
                }
                if !number_is_exact(&json[start..at]) {
                    return false;
                }
            }
            _ => at += 1,
        }
    }
    true
}

fn number_is_exact(token: &str) -> bool {
    if !token.contains(['.', 'e', 'E']) {
        return token.parse::<i64>().is_ok() || token.parse::<u64>().is_ok();
    }
    let (Ok(exact), Ok(read)) = (token.parse::<f64>(), serde_json::from_str::<f64>(token)) else {
        return false;
    };
    exact.is_finite()
        && exact.to_bits() == read.to_bits()
        && significant(token) == significant(&format!("{exact:e}"))
}

/// A decimal number's significant digits and the power of ten of the last of them.
fn significant(token: &str) -> (String, i64) {
    let lower = token.trim_start_matches('-').to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let exponent: i64 = exponent.trim_start_matches('+').parse().unwrap_or(i64::MAX);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let power = exponent
        .saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX))
        .saturating_add(i64::try_from(digits.len() - kept.len()).unwrap_or(i64::MAX));
    let kept = kept.trim_start_matches('0');
    (kept.to_owned(), if kept.is_empty() { 0 } else { power })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactness_is_of_the_value_not_of_the_spelling() {
        for exact in [
            "0",
            "-1",
            "18446744073709551615",
            "1e3",
            "1.50",
            "0.1",
            "-0.0",
            "1E-7",
            "0.30000000000000004",
        ] {
            assert!(numbers_are_exact(exact), "{exact}");
        }
        for inexact in [
            "123456789012345678901234567890",
            "0.1234567890123456789",
            "1e999",
            r#"{"a":["x",3.14159265358979323846]}"#,
        ] {
            assert!(!numbers_are_exact(inexact), "{inexact}");
        }
        assert!(numbers_are_exact(r#"{"a":"123456789012345678901234567890"}"#));
    }
}
