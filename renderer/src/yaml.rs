//! YAML as an ordered tree in which every key and every value knows where it stands.
//!
//! The events of serde-saphyr's parser are read instead of its serde interface: a derive stops at
//! the first error and loses positions inside untagged and flattened types, and the document's own
//! author deserves all errors at once. [`parse`] is the only place where YAML text becomes a tree;
//! what may stand in it (size, depth, merge keys, tags) is fixed by the [`Rules`] it is given.
//!
//! A scalar keeps its text and style. [`to_json`] reads it as YAML 1.2's core schema does: `no` is
//! text and `true` is not.

mod build;
mod scalar;

use std::sync::Arc;

use serde_yaml::granit_parser::{self, Parser};

use build::Builder;
pub use scalar::{ScalarKind, to_json};

/// Where something stands in a file, and how much of its line it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters.
    pub column: u32,
    /// How many characters of the line it takes; at least 1.
    pub length: u32,
}

impl Span {
    /// The first character of a file.
    pub const START: Self = Self {
        line: 1,
        column: 1,
        length: 1,
    };

    fn of(span: granit_parser::Span) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let one_line = span.start.line() == span.end.line();
        Self {
            line: number(span.start.line()).max(1),
            column: number(span.start.col()).saturating_add(1),
            length: if one_line {
                number(span.end.col().saturating_sub(span.start.col())).max(1)
            } else {
                1
            },
        }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text, number, boolean or null, not yet told apart.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Spanned<Node>>),
    /// A mapping in the order in which it is written; keys are unique.
    Mapping(Vec<Pair>),
}

/// One key of a mapping and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The key's text, whatever type YAML would give it.
    pub key: Spanned<Arc<str>>,
    /// The value.
    pub value: Spanned<Node>,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: its type depends on its text.
    Plain,
    /// In quotes, single or double: always text.
    Quoted,
    /// As a block, `|` or `>`: always text.
    Block,
}

/// A scalar as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// Its text, escapes and folding resolved.
    pub text: Arc<str>,
    /// How it is written.
    pub style: Style,
    /// The core schema type that a tag gives it (`str` for `!!str`).
    pub tag: Option<Arc<str>>,
}

impl Node {
    /// The pairs, if this is a mapping.
    #[must_use]
    pub fn as_mapping(&self) -> Option<&[Pair]> {
        match self {
            Self::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn as_sequence(&self) -> Option<&[Spanned<Self>]> {
        match self {
            Self::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The scalar, if this is one.
    #[must_use]
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Whether this is YAML 1.2's null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.as_scalar()
            .is_some_and(|scalar| scalar.kind() == ScalarKind::Null)
    }

    /// The value at a key, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Spanned<Self>> {
        self.as_mapping()?
            .iter()
            .find(|pair| &*pair.key.value == key)
            .map(|pair| &pair.value)
    }

    /// What this is, with an article, for messages: `a list`, `the number 3`.
    #[must_use]
    pub fn described(&self) -> String {
        match self {
            Self::Mapping(_) => "a mapping".to_owned(),
            Self::Sequence(_) => "a list".to_owned(),
            Self::Scalar(scalar) => {
                let text = shortened(&scalar.text);
                match scalar.kind() {
                    ScalarKind::Null => "nothing (null)".to_owned(),
                    ScalarKind::Boolean(_) => format!("the boolean {text}"),
                    ScalarKind::Integer | ScalarKind::Float => format!("the number {text}"),
                    ScalarKind::Text => format!("the text {text:?}"),
                }
            }
        }
    }
}

/// A text cut to what a message can bear.
#[must_use]
pub fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST - 1).chain(['…']).collect()
}

/// Something wrong, or worth knowing, at a place of a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Finding {
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// Whether the text can be used all the same.
    pub harmless: bool,
}

impl Finding {
    fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            span,
            message: message.into(),
            hint: None,
            harmless: false,
        }
    }

    fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            harmless: true,
            ..Self::error(span, message)
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What may stand in a YAML text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The most nodes, those that aliases repeat counted again.
    pub nodes: usize,
    /// The most bytes of text in all scalars, those that aliases repeat counted again.
    pub bytes: usize,
    /// How deep collections may be nested.
    pub depth: usize,
    /// Whether `<<` is an ordinary key, for a reader that merges by itself; else it is an error.
    pub merge_keys: bool,
    /// Whether directives such as `%YAML 1.2` may stand before a document.
    pub directives: bool,
}

impl Rules {
    /// The rules for our own documents and for values.
    pub const OWN: Self = Self {
        nodes: 250_000,
        bytes: 8 << 20,
        depth: 64,
        merge_keys: false,
        directives: false,
    };

    /// The rules for Kubernetes manifests: `<<` is kept as a key.
    pub const MANIFESTS: Self = Self {
        nodes: 1_000_000,
        bytes: 64 << 20,
        depth: 128,
        merge_keys: true,
        directives: true,
    };
}

/// What a text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The whole documents before the first syntax error, empty ones (null) included.
    pub documents: Vec<Spanned<Node>>,
    /// What is wrong; the documents are not to be relied on unless this is empty.
    pub findings: Vec<Finding>,
    /// Whether the whole text was read: no syntax error, no limit exceeded.
    pub complete: bool,
}

/// Reads a text of any number of documents.
#[must_use]
pub fn parse(text: &str, rules: &Rules) -> Parsed {
    let mut options = granit_parser::options! {
        disallow_directives: !rules.directives,
        flow_nesting_limit: rules.depth,
        block_nesting_limit: rules.depth,
    };
    options.set_emit_comments(false);
    let mut builder = Builder::new(*rules);
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(build::syntax_error(&error, rules)),
        };
        if let Err(finding) = step {
            builder.give_up(finding);
            break;
        }
    }
    builder.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use serde_json::Value;

    use super::*;

    fn one(text: &str) -> Spanned<Node> {
        let parsed = parse(text, &Rules::OWN);
        assert_eq!(parsed.findings, []);
        assert_eq!(parsed.documents.len(), 1, "{text:?}");
        parsed.documents.into_iter().next().unwrap()
    }

    fn json(text: &str) -> (Value, Vec<String>) {
        let mut findings = Vec::new();
        let value = to_json(&one(text), &mut findings);
        (value, findings.iter().map(|f| f.message.clone()).collect())
    }

    fn errors(text: &str) -> Vec<String> {
        parse(text, &Rules::OWN)
            .findings
            .iter()
            .map(|f| format!("{}:{}: {}", f.span.line, f.span.column, f.message))
            .collect()
    }

    /// Twelve levels of ten aliases each: a million million values.
    pub(crate) fn bomb() -> String {
        let levels = (1..13).map(|level| {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            format!("a{level}: &a{level} [{aliases}]\n")
        });
        let first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        std::iter::once(first).chain(levels).collect()
    }

    #[test]
    fn keys_and_values_know_where_they_stand() {
        let node = one("é: 1\nwaves:\r\n  - name: canary\r\n    bake: [10m, 'x']\n");
        let pairs = node.value.as_mapping().unwrap();
        assert_eq!(&*pairs[1].key.value, "waves");
        assert_eq!(
            (pairs[0].value.span.line, pairs[0].value.span.column),
            (1, 4)
        );
        let wave = &pairs[1].value.value.as_sequence().unwrap()[0];
        let bake = wave.value.get("bake").unwrap();
        assert_eq!((bake.span.line, bake.span.column), (4, 11));
        let quoted = &bake.value.as_sequence().unwrap()[1];
        assert_eq!(
            quoted.span,
            Span {
                line: 4,
                column: 17,
                length: 3
            }
        );
        assert_eq!(quoted.value.as_scalar().unwrap().style, Style::Quoted);
    }

    #[test]
    fn all_errors_of_a_text_are_found() {
        for (text, wanted) in [
            (
                "a: 1\na: 2\nb: {c: 1, c: 2}\n",
                vec!["2:1: duplicate key `a`", "3:11: duplicate key `c`"],
            ),
            ("1: a\n'1': b\n", vec!["2:1: duplicate key `1`"]),
            (
                "<<: {a: 1}\n",
                vec!["1:1: merge keys (`<<`) are not read here"],
            ),
            (
                "{{a}}: b\n",
                vec!["1:1: a list or mapping cannot be a key here"],
            ),
            (": b\n", vec!["1:1: a key is missing before the colon"]),
            (
                "a: !!python/object x\nb: !x [1]\n",
                vec![
                    "1:4: the tag `!!python/object` has no meaning here",
                    "2:4: the tag `!x` has no meaning here",
                ],
            ),
            (
                "a: *nobody\n",
                vec!["1:4: this alias has no anchor before it"],
            ),
            (
                "a: &x [*x]\n",
                vec!["1:8: this alias stands inside its own anchor"],
            ),
            (
                "%YAML 1.1\n---\na: 1\n",
                vec!["1:1: YAML directives have no place here"],
            ),
            (
                "a:\n\t- b\n",
                vec!["2:2: a tab stands where YAML wants spaces"],
            ),
        ] {
            assert_eq!(errors(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_syntax_error_ends_the_text_and_keeps_what_stood_before() {
        let parsed = parse("a: 1\n---\nb: [1\n---\nc: 3\n", &Rules::OWN);
        assert_eq!(parsed.documents.len(), 1);
        assert_eq!(parsed.findings.len(), 1);
        assert!(!parsed.complete);
        assert_eq!(parsed.findings[0].message, "the bracket [ is not closed");
    }

    #[test]
    fn syntax_errors_speak_of_the_mistake() {
        for (text, wanted) in [
            (
                "url: {{values.url}}/x\n",
                "1:7: a list or mapping cannot be a key here",
            ),
            ("a: b: c\n", "1:5: a colon stands where no key can be"),
            ("a: 1\n  b: 2\n", "2:4: a colon stands where no key can be"),
            ("a:1\nb: 2\n", "2:2: a colon stands where no key can be"),
            (
                "a:\n  b: 1\n c: 2\n",
                "3:2: this is no key of the mapping above it",
            ),
            (
                "a: 'x\nb: 1\n",
                "2:1: a text in quotes does not end before this line",
            ),
            ("a: @x\n", "1:4: a text cannot start with '@' here"),
            ("a: \u{7}\n", "1:4: a text cannot start with '\\u{7}' here"),
            ("- a\nb: 1\n", "2:1: a list goes on without `- `"),
            ("a: ]\n", "1:4: a bracket is closed that was not opened"),
            (
                "a: \"\\q\"\n",
                "1:4: a backslash is followed by a character that it does not escape",
            ),
            ("a: *\n", "1:4: an anchor or alias has no name"),
            (
                "a: 1\nb:x\n",
                "2:1: a line without a colon stands between the lines of a mapping",
            ),
            (
                "a: - b\n",
                "1:4: a list cannot begin on the line of its key",
            ),
            (
                "  a: 1\nb: 2\n",
                "2:1: this does not belong to the document above it",
            ),
            (
                "a: >x\n",
                "1:4: something stands behind the sign of a block text",
            ),
        ] {
            assert_eq!(errors(text), [wanted], "{text:?}");
        }
    }

    #[test]
    fn aliases_repeat_what_they_name() {
        let (value, findings) = json("a: &x {b: [1, 2]}\nc: *x\nd: [*x]\n");
        assert_eq!(
            value,
            serde_json::json!({"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}]})
        );
        assert_eq!(findings, Vec::<String>::new());
    }

    #[test]
    fn bombs_do_not_go_off() {
        let bomb = bomb();
        assert_eq!(
            errors(&bomb),
            [
                "6:15: the file holds more than 250000 values, aliases counted as often as they repeat one"
            ]
        );
        let text = "y".repeat(1 << 20);
        let mut fat = format!("a: &a {text}\nb:\n");
        fat.push_str(&"  - *a\n".repeat(100));
        assert_eq!(
            errors(&fat),
            [
                "9:5: the file holds more than 8388608 bytes of text, aliases counted as often as they repeat one"
            ]
        );
        let levels = (1..100).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1));
        let tower = format!("a0: &a0 [x]\n{}", levels.collect::<Vec<_>>().concat());
        assert_eq!(errors(&tower), ["64:12: nested deeper than 64 levels"]);
    }

    #[test]
    fn anchors_within_anchors_are_not_kept_without_end() {
        let opened: String = (0..60)
            .map(|level| format!("&a{level} ["))
            .collect::<Vec<_>>()
            .concat();
        let text = format!("{opened}{}{}", "x, ".repeat(100_000), "]".repeat(60));
        assert_eq!(
            errors(&text),
            ["1:338: more than 250000 values stand below anchors"]
        );
    }

    #[test]
    fn hostile_texts_are_read_in_time() {
        for piece in [
            "a\n",
            "&a ",
            "!x ",
            "*a ",
            "\"",
            "'",
            "| ",
            ">\n",
            "? ",
            "? a\n",
            ": ",
            "a: ",
            "{a: ",
            "a,",
            "# x\n",
            "--- ",
            "---\n",
            "%\n",
            "- a\n",
            "a: 1\n",
            "\t",
            "\r",
            "\\",
            "\"\\\n",
            "&a a: &b b\n",
            "<<: \n",
            "\u{2028}",
        ] {
            let text = piece.repeat((1 << 19) / piece.len());
            let started = std::time::Instant::now();
            let _ = parse(&text, &Rules::OWN);
            let _ = parse(&format!("[{text}"), &Rules::OWN);
            let took = started.elapsed();
            assert!(took.as_secs() < 10, "{piece:?} took {took:?}");
        }
    }

    #[test]
    fn twenty_thousand_levels_are_an_error_and_no_overflow() {
        assert_eq!(
            errors(&"[".repeat(20_000)),
            ["1:65: nested deeper than 64 levels"]
        );
        assert_eq!(
            errors(&"- ".repeat(20_000)),
            ["1:129: nested deeper than 64 levels"]
        );
        let mut blocks = String::new();
        for level in 0..20_000_usize {
            blocks.push_str(&" ".repeat(level.min(200)));
            blocks.push_str("a:\n");
        }
        assert_eq!(errors(&blocks).len(), 1);
    }

    #[test]
    fn errors_are_counted_and_cut_off() {
        let text = "a: 1\n".repeat(5000);
        let parsed = parse(&text, &Rules::OWN);
        assert_eq!(parsed.findings.len(), 100);
        assert_eq!(
            parsed.findings[99].message,
            "duplicate key `a`; and this file has too many errors to list"
        );
    }

    #[test]
    fn manifests_may_merge_and_say_their_version() {
        let parsed = parse(
            "%YAML 1.2\n---\na: &a {b: 1}\nc: {<<: *a}\n",
            &Rules::MANIFESTS,
        );
        assert_eq!(parsed.findings, []);
        let merged = parsed.documents[0].value.get("c").unwrap();
        assert_eq!(&*merged.value.as_mapping().unwrap()[0].key.value, "<<");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let parsed = parse(&text, &Rules::OWN);
            for document in &parsed.documents {
                let _ = to_json(document, &mut Vec::new());
            }
        }

        #[test]
        fn no_yaml_like_text_panics(text in r#"([ \n\t\r]|[a-c]|[-:{}\[\],&*!|>'"%#?<~0-9.]|: |- |\n  ){0,60}"#) {
            let parsed = parse(&text, &Rules::OWN);
            for document in &parsed.documents {
                let _ = to_json(document, &mut Vec::new());
            }
            for finding in &parsed.findings {
                prop_assert!(finding.span.line >= 1 && finding.span.column >= 1);
            }
        }
    }
}
