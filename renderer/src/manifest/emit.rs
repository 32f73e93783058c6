//! Writes manifests so that YAML 1.1 and 1.2 readers see the same: no anchors, tags or merge keys,
//! and quotes around every text that a reader might take for something else.

use std::fmt::Write as _;

use super::Node;
use super::scalar;

/// Documents, separated by `---`.
#[must_use]
pub fn emit(documents: &[&Node]) -> String {
    let mut out = String::new();
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            out.push_str("---\n");
        }
        out.push_str(&emit_value(document));
    }
    out
}

/// One value, ended by a newline.
pub(super) fn emit_value(node: &Node) -> String {
    let mut out = String::new();
    match node {
        Node::Map(pairs) if !pairs.is_empty() => map(&mut out, pairs, 0, false),
        Node::List(items) if !items.is_empty() => list(&mut out, items, 0, false),
        Node::Text(text) => {
            // A block needs a parent to be indented against.
            if is_plain(text) {
                out.push_str(text);
            } else {
                out.push_str(&double_quoted(text));
            }
            out.push('\n');
        }
        leaf => {
            scalar(&mut out, leaf, 0);
            out.push('\n');
        }
    }
    out
}

/// One JSON file: the object itself, or a `v1` List of several.
#[must_use]
pub fn emit_json(documents: &[&Node]) -> String {
    let mut out = String::new();
    match documents {
        [only] => json(&mut out, only, 0),
        several => {
            let list = Node::Map(vec![
                ("apiVersion".to_owned(), Node::Text("v1".to_owned())),
                ("kind".to_owned(), Node::Text("List".to_owned())),
                (
                    "items".to_owned(),
                    Node::List(several.iter().map(|node| (*node).clone()).collect()),
                ),
            ]);
            json(&mut out, &list, 0);
        }
    }
    out.push('\n');
    out
}

fn margin(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn map(out: &mut String, pairs: &[(String, Node)], indent: usize, mut inline: bool) {
    for (key, value) in pairs {
        if !std::mem::take(&mut inline) {
            margin(out, indent);
        }
        if is_plain(key) {
            out.push_str(key);
        } else {
            out.push_str(&double_quoted(key));
        }
        out.push(':');
        match value {
            Node::Map(pairs) if !pairs.is_empty() => {
                out.push('\n');
                map(out, pairs, indent + 2, false);
            }
            Node::List(items) if !items.is_empty() => {
                out.push('\n');
                list(out, items, indent, false);
            }
            leaf => {
                out.push(' ');
                scalar(out, leaf, indent + 2);
                out.push('\n');
            }
        }
    }
}

fn list(out: &mut String, items: &[Node], indent: usize, mut inline: bool) {
    for item in items {
        if !std::mem::take(&mut inline) {
            margin(out, indent);
        }
        out.push_str("- ");
        match item {
            Node::Map(pairs) if !pairs.is_empty() => map(out, pairs, indent + 2, true),
            Node::List(items) if !items.is_empty() => list(out, items, indent + 2, true),
            leaf => {
                scalar(out, leaf, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// A leaf without the newline behind it; the lines of a block are indented by `indent`.
fn scalar(out: &mut String, node: &Node, indent: usize) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Node::Number(text) => out.push_str(text),
        Node::Text(text) if is_plain(text) => out.push_str(text),
        Node::Text(text) if is_block(text) => block(out, text, indent),
        Node::Text(text) => out.push_str(&double_quoted(text)),
        Node::List(_) => out.push_str("[]"),
        Node::Map(_) => out.push_str("{}"),
    }
}

/// Whether a text can stand without quotes for every reader.
fn is_plain(text: &str) -> bool {
    let first = text.bytes().next();
    if !first.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'_' | b'$')) {
        return false;
    }
    let mut before = b' ';
    for byte in text.bytes() {
        let allowed = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b' ' | b'_'
                    | b'-'
                    | b'.'
                    | b'/'
                    | b':'
                    | b'@'
                    | b'+'
                    | b'='
                    | b','
                    | b'('
                    | b')'
                    | b'%'
                    | b'~'
                    | b'$'
                    | b'*'
                    | b'^'
                    | b';'
            );
        if !allowed || (byte == b' ' && before == b':') {
            return false;
        }
        before = byte;
    }
    !matches!(before, b' ' | b':') && !scalar::may_be_no_text(text)
}

/// Whether a character may stand for itself in a text.
fn is_printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a1}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{ad}')
}

/// Whether a text of several lines survives as a literal block in every reader.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text
            .chars()
            .all(|character| matches!(character, '\n' | '\t') || is_printable(character))
        && text
            .split('\n')
            .all(|line| line.is_empty() || !line.trim_matches([' ', '\t']).is_empty())
}

fn block(out: &mut String, text: &str, indent: usize) {
    let content = text.trim_end_matches('\n');
    let newlines = text.len() - content.len();
    out.push('|');
    match newlines {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    for line in content.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            margin(out, indent);
            out.push_str(line);
        }
    }
    // The newline behind the value is the caller's; it ends the last line.
    for _ in 1..newlines {
        out.push('\n');
    }
}

/// A text in double quotes, on one line.
#[must_use]
pub fn double_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            printable if is_printable(printable) => out.push(printable),
            other => {
                // Writing to a String cannot fail. Every character beyond 0xffff is printable.
                let _ = write!(out, "\\u{:04x}", u32::from(other));
            }
        }
    }
    out.push('"');
    out
}

fn json(out: &mut String, node: &Node, indent: usize) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Node::Number(text) => out.push_str(text),
        Node::Text(text) => out.push_str(&serde_json::Value::from(text.as_str()).to_string()),
        Node::List(items) if items.is_empty() => out.push_str("[]"),
        Node::Map(pairs) if pairs.is_empty() => out.push_str("{}"),
        Node::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                margin(out, indent + 2);
                json(out, item, indent + 2);
            }
            out.push('\n');
            margin(out, indent);
            out.push(']');
        }
        Node::Map(pairs) => {
            out.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                out.push_str(if index == 0 { "\n" } else { ",\n" });
                margin(out, indent + 2);
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push_str(": ");
                json(out, value, indent + 2);
            }
            out.push('\n');
            margin(out, indent);
            out.push('}');
        }
    }
}
