//! JSON text into nodes, keeping the order of keys and every digit of numbers.

use serde::de::IgnoredAny;

use super::emit::double_quoted;
use super::scalar::canonical_number;
use super::{Document, Finding, MAX_DEPTH, Node};

/// Reads one JSON document.
pub fn read_json(text: &str) -> Result<Document, Finding> {
    // serde_json judges the grammar (and bounds the depth); what follows may then rely on it.
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Finding::new(
            number(error.line()),
            number(error.column()),
            format!("this is no JSON: {error}"),
        )
    })?;
    let mut reader = Reader { text, position: 0 };
    let node = reader.value(0)?;
    Ok(Document { node, line: 1 })
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.rest().as_bytes().first() == Some(&byte);
        if found {
            self.position += 1;
        }
        found
    }

    fn failed(&self, message: String) -> Finding {
        let before = self.text.get(..self.position).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Finding::new(number(line), number(column), message)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Finding> {
        if depth > MAX_DEPTH {
            return Err(self.failed(format!("values are nested more than {MAX_DEPTH} deep")));
        }
        if self.next_is(b'{') {
            let mut pairs: Vec<(String, Node)> = Vec::new();
            let mut seen = std::collections::HashSet::new();
            while !self.next_is(b'}') {
                let start = self.position;
                let key = self.string()?;
                if !seen.insert(key.clone()) {
                    self.position = start;
                    return Err(self.failed(format!(
                        "the key {} is there twice in this map",
                        double_quoted(&key)
                    )));
                }
                self.next_is(b':');
                let value = self.value(depth + 1)?;
                pairs.push((key, value));
                self.next_is(b',');
            }
            return Ok(Node::Map(pairs));
        }
        if self.next_is(b'[') {
            let mut items = Vec::new();
            while !self.next_is(b']') {
                items.push(self.value(depth + 1)?);
                self.next_is(b',');
            }
            return Ok(Node::List(items));
        }
        if self.rest().starts_with('"') {
            return self.string().map(Node::Text);
        }
        let rest = self.rest();
        let end = rest
            .find([',', ']', '}', ' ', '\t', '\n', '\r'])
            .unwrap_or(rest.len());
        let word = rest.get(..end).unwrap_or_default();
        let node =
            match word {
                "null" => Node::Null,
                "true" => Node::Bool(true),
                "false" => Node::Bool(false),
                number => Node::Number(canonical_number(number).ok_or_else(|| {
                    self.failed(format!("{number} is no number that can be held"))
                })?),
            };
        self.position += end;
        Ok(node)
    }

    fn string(&mut self) -> Result<String, Finding> {
        self.skip_blanks();
        let rest = self.rest();
        let mut escaped = false;
        let end = rest
            .bytes()
            .enumerate()
            .skip(1)
            .find_map(|(index, byte)| {
                let ends = byte == b'"' && !escaped;
                escaped = byte == b'\\' && !escaped;
                ends.then_some(index + 1)
            })
            .unwrap_or(rest.len());
        let literal = rest.get(..end).unwrap_or_default();
        let text = serde_json::from_str(literal)
            .map_err(|error| self.failed(format!("this is no JSON text: {error}")))?;
        self.position += end;
        Ok(text)
    }
}
