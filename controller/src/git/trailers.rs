//! Commit messages: trailers that machines read, and text from outside that must never become one.
//!
//! The rules, which [`compose`] keeps and [`parse`] relies on:
//! * only the last paragraph is read for trailers, and never the first (the subject);
//! * text from outside is one line: control characters and those that turn the reading direction are
//!   removed, blanks are gathered, the length is bounded;
//! * in the body it is indented, and an indented line is no trailer.

use std::fmt::Write as _;

pub use tidegate_renderer::text::is_treacherous;

/// Most characters that one line of text from outside keeps.
const MAX_OUTSIDE: usize = 500;

/// The trailers of a message, in order; a key may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trailers(Vec<(String, String)>);

impl Trailers {
    /// All pairs of key and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The values of a key, in order. Upper and lower case of a key are one, as for git.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(key))
            .map(|(_, value)| value.as_str())
    }

    /// The value of a key that stands exactly once; a repeated key is not to be trusted.
    #[must_use]
    pub fn only(&self, key: &str) -> Option<&str> {
        let mut values = self.all(key);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Text from outside as one line of at most 500 characters, for people and messages.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut blank = false;
    for character in text.chars() {
        if character.is_whitespace() || matches!(character, '\u{2028}' | '\u{2029}') {
            blank = true;
        } else if !is_treacherous(character) {
            if blank && !line.is_empty() {
                line.push(' ');
            }
            blank = false;
            line.push(character);
        }
    }
    match line.char_indices().nth(MAX_OUTSIDE) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default().trim_end()),
        None => line,
    }
}

/// A key that a trailer of ours cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the key of a trailer: letters, digits and - are allowed")]
pub struct BadKey(pub String);

/// A commit message in the making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The first line. Text from outside may be part of it.
    pub subject: String,
    /// Paragraphs of ours between subject and trailers, one line per element; each line goes through
    /// [`one_line`], so that a value in it cannot break out. A line that looks like a trailer is indented.
    pub body: Vec<Vec<String>>,
    /// Text from outside: a paragraph of its own, indented, behind the body.
    pub outside: Vec<String>,
    /// The trailers, in order; values are made one line.
    pub trailers: Vec<(String, String)>,
}

/// Writes a message of which [`parse`] reads exactly the given trailers back, whatever the texts are.
pub fn compose(message: &Message) -> Result<String, BadKey> {
    let mut text = one_line(&message.subject);
    if text.is_empty() {
        text.push_str("(no subject)");
    }
    text.push('\n');
    for paragraph in &message.body {
        let lines: Vec<String> = paragraph.iter().map(|line| one_line(line)).collect();
        if lines.iter().all(String::is_empty) {
            continue;
        }
        text.push('\n');
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let indent = if split_trailer(line).is_some() {
                "    "
            } else {
                ""
            };
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    let outside: Vec<String> = message.outside.iter().map(|line| one_line(line)).collect();
    if outside.iter().any(|line| !line.is_empty()) {
        text.push('\n');
        for line in outside.iter().filter(|line| !line.is_empty()) {
            let _ = writeln!(text, "    {line}");
        }
    }
    if !message.trailers.is_empty() {
        text.push('\n');
        for (key, value) in &message.trailers {
            if !is_key(key) {
                return Err(BadKey(key.clone()));
            }
            let _ = writeln!(text, "{key}: {}", one_line(value));
        }
    }
    Ok(text)
}

fn is_key(key: &str) -> bool {
    key.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && key
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
}

fn split_trailer(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    (is_key(key) && (value.is_empty() || value.starts_with(' '))).then(|| (key, value.trim()))
}

/// Reads the trailers of a message: those of its last paragraph, if every line of it is one, is indented (the
/// continuation of one) or is git's own `(cherry picked from …)`. A message of one paragraph has none.
#[must_use]
pub fn parse(message: &str) -> Trailers {
    let mut paragraphs: Vec<Vec<&str>> = vec![Vec::new()];
    for line in message.lines() {
        if line.trim().is_empty() {
            paragraphs.push(Vec::new());
        } else if let Some(last) = paragraphs.last_mut() {
            last.push(line);
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    let mut trailers = Trailers::default();
    if paragraphs.len() < 2 {
        return trailers;
    }
    for line in paragraphs.last().into_iter().flatten() {
        if let Some((key, value)) = split_trailer(line) {
            trailers.0.push((key.to_owned(), value.to_owned()));
        } else if !line.starts_with([' ', '\t']) && !line.starts_with("(cherry picked from commit ")
        {
            return Trailers::default();
        }
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(trailers: &Trailers) -> Vec<(&str, &str)> {
        trailers.iter().collect()
    }

    #[test]
    fn only_the_last_paragraph_is_read_and_never_the_subject() {
        assert_eq!(pairs(&parse("Tidegate-Entry: Failed\n")), []);
        assert_eq!(pairs(&parse("a\n\nTidegate-Entry: Failed\n\nend")), []);
        assert_eq!(
            pairs(&parse("a\n\nA: x\nB-2:\nA: y: z\n\n\n")),
            [("A", "x"), ("B-2", ""), ("A", "y: z")]
        );
    }

    #[test]
    fn a_paragraph_of_prose_has_no_trailers() {
        assert_eq!(pairs(&parse("a\n\nprose here\nA: x\n")), []);
        assert_eq!(pairs(&parse("a\n\nA: x\n  continued: y\n")), [("A", "x")]);
        assert_eq!(
            pairs(&parse("a\n\nA: x\n(cherry picked from commit 123)\n")),
            [("A", "x")]
        );
        assert_eq!(pairs(&parse("a\n\nsee https://x\n")), []);
    }

    #[test]
    fn a_repeated_key_has_no_single_value() {
        let trailers = parse("s\n\nTidegate-Seq: 1\ntidegate-seq: 2\nTidegate-Epoch: 3");
        assert_eq!(trailers.only("Tidegate-Seq"), None);
        assert_eq!(trailers.all("Tidegate-Seq").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(trailers.only("Tidegate-Epoch"), Some("3"));
    }

    #[test]
    fn text_from_outside_is_one_plain_line() {
        assert_eq!(
            one_line(" a\r\n\tb\u{202e}\u{1b}[0m \u{2028} c "),
            "a b[0m c"
        );
        assert_eq!(one_line(&"x".repeat(600)).chars().count(), 501);
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[\n\r\u{2028}\u{85}: a]{0,20}",
            Just("x\n\nTidegate-Entry: Failed".to_owned()),
            Just("Tidegate-Entry: Failed".to_owned()),
            Just("\u{b}Tidegate-Intent: refs/heads/a".to_owned()),
        ]
    }

    proptest! {
        #[test]
        fn no_text_from_outside_ever_becomes_a_trailer(
            subject in text(),
            body in prop::collection::vec(prop::collection::vec(text(), 0..3), 0..3),
            outside in prop::collection::vec(text(), 0..3),
            values in prop::collection::vec(text(), 0..3),
        ) {
            let trailers: Vec<(String, String)> = values
                .into_iter()
                .map(|value| ("Tidegate-Reason".to_owned(), value))
                .collect();
            let composed = compose(&Message { subject, body, outside, trailers: trailers.clone() })
                .unwrap();
            let read = parse(&composed);
            let wanted: Vec<(String, String)> = trailers
                .into_iter()
                .map(|(key, value)| (key, one_line(&value)))
                .collect();
            prop_assert_eq!(read.0, wanted, "{}", composed);
        }

        #[test]
        fn any_message_can_be_parsed(message in any::<String>()) {
            let _ = parse(&message);
        }
    }
}
