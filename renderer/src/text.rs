//! Text of a config repo: bytes to text, and the lines to show beside a problem.

use std::fmt::Write as _;

/// Why bytes are no text that we read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// The file starts with a byte order mark.
    #[error("the file starts with a byte order mark ({0})")]
    ByteOrderMark(&'static str),
    /// A byte is not UTF-8.
    #[error("the file is not UTF-8: byte 0x{byte:02x} here is no text")]
    NotUtf8 {
        /// The byte.
        byte: u8,
        /// Its line, counted from 1.
        line: u32,
        /// Its column, counted from 1 in characters.
        column: u32,
    },
    /// The file has a NUL character.
    #[error("the file contains a NUL character; it is probably not a text file")]
    Nul {
        /// Its line, counted from 1.
        line: u32,
        /// Its column, counted from 1 in characters.
        column: u32,
    },
}

impl NotText {
    /// Line and column, both counted from 1.
    #[must_use]
    pub fn position(&self) -> (u32, u32) {
        match self {
            Self::ByteOrderMark(_) => (1, 1),
            Self::NotUtf8 { line, column, .. } | Self::Nul { line, column } => (*line, *column),
        }
    }

    /// What would be right.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::ByteOrderMark(_) => "save the file as UTF-8 without a byte order mark",
            Self::NotUtf8 { .. } | Self::Nul { .. } => "save the file as UTF-8 text",
        }
    }
}

/// The marks with which some editors begin a file, and the encodings that they announce; the longer
/// ones first, because UTF-16's is the beginning of UTF-32's.
const BYTE_ORDER_MARKS: [(&[u8], &str); 5] = [
    (b"\xef\xbb\xbf", "UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Reads bytes as text: UTF-8 without a byte order mark and without NUL. Line ends stay as they are.
pub fn decode(bytes: &[u8]) -> Result<&str, NotText> {
    for (mark, name) in BYTE_ORDER_MARKS {
        if bytes.starts_with(mark) {
            return Err(NotText::ByteOrderMark(name));
        }
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.find('\0') {
            None => Ok(text),
            Some(at) => {
                let (line, column) = end_of(text.get(..at).unwrap_or_default());
                Err(NotText::Nul { line, column })
            }
        },
        Err(error) => {
            let (valid, rest) = bytes.split_at(error.valid_up_to());
            let (line, column) = end_of(std::str::from_utf8(valid).unwrap_or_default());
            Err(NotText::NotUtf8 {
                byte: rest.first().copied().unwrap_or_default(),
                line,
                column,
            })
        }
    }
}

/// The line and column right behind a text, both counted from 1, the column in characters.
fn end_of(text: &str) -> (u32, u32) {
    let lines = lines(text);
    let count = u32::try_from(lines.clone().count()).unwrap_or(u32::MAX);
    let column = lines.last().unwrap_or_default().chars().count();
    (
        count.max(1),
        u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
    )
}

/// The lines of a text as YAML counts them: ended by LF, CRLF or a lone CR.
fn lines(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match text.find(['\n', '\r']) {
            None => {
                rest = None;
                Some(text)
            }
            Some(at) => {
                let (line, tail) = text.split_at(at);
                rest = tail
                    .strip_prefix("\r\n")
                    .or_else(|| tail.get(1..))
                    .or(Some(""));
                Some(line)
            }
        }
    })
}

/// Whether a character can deceive a reader: control characters, line separators, marks of direction.
#[must_use]
pub fn is_treacherous(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

/// A character as a line for people may have it: a blank for what breaks lines or moves a cursor, nothing for other marks that
/// deceive.
#[must_use]
pub fn harmless(character: char) -> Option<char> {
    match character {
        '\u{2028}' | '\u{2029}' => Some(' '),
        control if control.is_control() => Some(' '),
        mark if is_treacherous(mark) => None,
        other => Some(other),
    }
}

/// A text for people, on one line: what could deceive a reader or move a terminal's cursor is written as `\x1b` or `\u{202e}`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        let code = u32::from(character);
        // Writing to a String cannot fail.
        let _ = match (is_treacherous(character), code) {
            (false, _) => {
                shown.push(character);
                Ok(())
            }
            (true, ..=0xff) => write!(shown, "\\x{code:02x}"),
            (true, _) => write!(shown, "\\u{{{code:x}}}"),
        };
    }
    shown
}

/// The widest part of a line that a snippet shows, in characters.
const SNIPPET_WIDTH: usize = 120;

/// A line of a text with a mark below `length` of its characters from `column` on, ready to print;
/// empty if there is no such line. Lines and columns count from 1.
#[must_use]
pub fn snippet(text: &str, line: u32, column: u32, length: u32) -> String {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let Some(source) = size(line)
        .checked_sub(1)
        .and_then(|index| lines(text).nth(index))
    else {
        return String::new();
    };
    let column = size(column).saturating_sub(1);
    // A window on long lines (minified JSON): the place itself, and a little before it.
    let skipped = column.saturating_sub(SNIPPET_WIDTH / 2);
    let shown: String = source
        .chars()
        .skip(skipped)
        .take(SNIPPET_WIDTH)
        .map(|character| {
            if is_treacherous(character) {
                ' '
            } else {
                character
            }
        })
        .collect();
    let before = column - skipped;
    let room = shown.chars().count().saturating_sub(before).max(1);
    let marks = size(length).clamp(1, room);
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut snippet = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        snippet,
        "{margin} |\n{number} | {}\n{margin} | {}{}",
        shown.trim_end(),
        " ".repeat(before),
        "^".repeat(marks)
    );
    snippet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_utf8_without_marks_and_nul() {
        assert_eq!(decode(b"a: \xc3\xa9\r\n"), Ok("a: \u{e9}\r\n"));
        assert_eq!(decode(b""), Ok(""));
        for (bytes, message, position) in [
            (
                b"\xef\xbb\xbfa: 1".as_slice(),
                "the file starts with a byte order mark (UTF-8)",
                (1, 1),
            ),
            (
                b"\xff\xfea\0",
                "the file starts with a byte order mark (UTF-16)",
                (1, 1),
            ),
            (
                b"\xff\xfe\0\0",
                "the file starts with a byte order mark (UTF-32)",
                (1, 1),
            ),
            (
                b"a: 1\nb\xc3\xa9\xff",
                "the file is not UTF-8: byte 0xff here is no text",
                (2, 3),
            ),
            (
                b"a\r\nb\0",
                "the file contains a NUL character; it is probably not a text file",
                (2, 2),
            ),
        ] {
            let error = decode(bytes).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert_eq!(error.position(), position);
        }
    }

    #[test]
    fn a_snippet_marks_the_place() {
        assert_eq!(
            snippet("a: 1\nregoins: [x]\n", 2, 1, 7),
            "  |\n2 | regoins: [x]\n  | ^^^^^^^"
        );
        assert_eq!(
            snippet("\u{e9}\u{e9}: x", 1, 5, 9),
            "  |\n1 | \u{e9}\u{e9}: x\n  |     ^"
        );
        assert_eq!(snippet("a", 2, 1, 1), "");
        assert_eq!(snippet("a", 0, 0, 0), "");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}here{}", "a".repeat(5000), "b".repeat(5000));
        let snippet = snippet(&text, 1, 5001, 4);
        assert!(snippet.contains("here"), "{snippet}");
        assert!(
            snippet.contains("\n  | ") && snippet.ends_with(&format!("{}^^^^", " ".repeat(60)))
        );
        assert!(snippet.len() < 400);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), line in 0_u32..9, column in any::<u32>(), length in any::<u32>()) {
            if let Ok(text) = decode(&bytes) {
                let _ = snippet(text, line, column, length);
            }
        }
    }
}
