//! URIs in the shapes in which editors write them.

use super::node::Node;

/// The URI that a value stands for: a string, or an object with `scheme`, `path` and the like, or
/// one that holds such a thing under `uri`.
///
/// What is made of an object is for people and for search: the object itself is kept by whoever
/// asks.
pub(super) fn uri_of(node: &Node) -> Option<String> {
    if let Some(text) = node.as_string() {
        return Some(text);
    }
    if let Some(inner) = node.get("uri") {
        return uri_of(inner);
    }
    let text = |name: &str| node.get(name).and_then(Node::as_string);
    if let Some(external) = text("external") {
        return Some(external);
    }
    let (scheme, path) = (text("scheme")?, text("path")?);
    let authority = text("authority").unwrap_or_default();
    let mut uri = if authority.is_empty() && scheme != "file" {
        format!("{scheme}:")
    } else {
        format!("{scheme}://{authority}")
    };
    escape(&path, &mut uri);
    if let Some(query) = text("query").filter(|query| !query.is_empty()) {
        uri.push('?');
        escape(&query, &mut uri);
    }
    if let Some(fragment) = text("fragment").filter(|fragment| !fragment.is_empty()) {
        uri.push('#');
        escape(&fragment, &mut uri);
    }
    Some(uri)
}

/// Percent-encodes what may stand in none of a URI's components (RFC 3986, section 2).
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The last piece of a URI's path, as people write it.
pub(super) fn name_of(uri: &str) -> String {
    let piece = uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri);
    let mut bytes = Vec::with_capacity(piece.len());
    let mut rest = piece.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.get(..2)).flatten();
        let byte = escaped
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    // Where the escapes are no text the piece stays as it is.
    String::from_utf8(bytes).unwrap_or_else(|_| piece.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_in_all_shapes() {
        let uri = |json: &str| uri_of(&Node::parse(json, 1).unwrap());
        assert_eq!(uri(r#""file:///a""#).as_deref(), Some("file:///a"));
        let file = r#"{"$mid":1,"scheme":"file","path":"/w/ü b.rs","fragment":"L1"}"#;
        assert_eq!(uri(file).as_deref(), Some("file:///w/%C3%BC%20b.rs#L1"));
        let inner = r#"{"uri":{"scheme":"untitled","path":"Untitled-1"},"range":{}}"#;
        assert_eq!(uri(inner).as_deref(), Some("untitled:Untitled-1"));
        let remote = r#"{"scheme":"vscode-remote","authority":"wsl","path":"/a"}"#;
        assert_eq!(uri(remote).as_deref(), Some("vscode-remote://wsl/a"));
        assert_eq!(uri(r#"{"path":"/a"}"#), None);
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(name_of("file:///w/%C3%BC%20b.rs"), "ü b.rs");
        assert_eq!(name_of("file:///w/100%"), "100%");
        assert_eq!(name_of("file:///w/%FF/"), "%FF");
    }
}
