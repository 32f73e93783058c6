//! Reading fields out of a document's tree: every mistake is noted with its place, none ends the reading.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_waves::amount::Amount;
use tidegate_waves::duration;
use tidegate_waves::fleet::API_VERSION;

use crate::problem::{Problem, Severity};
use crate::suggest::nearest;
use crate::yaml::{Finding, Node, Pair, ScalarKind, Span, Spanned, shortened};

/// A file's name and text.
#[derive(Debug, Clone)]
pub(super) struct SourceFile {
    /// The file, relative to the repo's root.
    pub(super) file: Arc<str>,
    /// Its whole text.
    pub(super) text: Arc<str>,
}

impl SourceFile {
    /// A problem at a place of this file.
    pub(super) fn problem(&self, severity: Severity, span: Span, message: String) -> Problem {
        let problem = match severity {
            Severity::Error => Problem::error(&*self.file, message),
            Severity::Warning => Problem::warning(&*self.file, message),
        };
        problem
            .at(span.line, span.column)
            .in_text(&self.text, span.length)
    }

    /// The problem that a finding of the YAML reader is.
    pub(super) fn finding(&self, finding: Finding) -> Problem {
        let severity = if finding.harmless {
            Severity::Warning
        } else {
            Severity::Error
        };
        let problem = self.problem(severity, finding.span, finding.message);
        match finding.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }
}

/// The most problems that are noted for one file: the author mends the first few and looks again, and
/// a hostile file cannot keep the reader busy.
pub(super) const MOST_PROBLEMS: usize = 200;

/// Reads one file's documents and notes what is wrong with them.
pub(super) struct Reader {
    source: SourceFile,
    problems: RefCell<Vec<Problem>>,
    /// What came after [`MOST_PROBLEMS`]: how many, and whether an error was among them.
    unlisted: Cell<(usize, bool)>,
}

impl Reader {
    pub(super) fn new(source: SourceFile) -> Self {
        Self {
            source,
            problems: RefCell::new(Vec::new()),
            unlisted: Cell::new((0, false)),
        }
    }

    pub(super) fn source(&self) -> &SourceFile {
        &self.source
    }

    /// Everything that was noted.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let (count, has_error) = self.unlisted.get();
        if count > 0 {
            let message = format!("{count} more problems in this file are not listed");
            problems.push(if has_error {
                Problem::error(&*self.source.file, message)
            } else {
                Problem::warning(&*self.source.file, message)
            });
        }
        problems
    }

    /// Notes a problem that is only worked out if there is room for it.
    fn note(&self, severity: Severity, problem: impl FnOnce(&SourceFile) -> Problem) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < MOST_PROBLEMS {
            problems.push(problem(&self.source));
        } else {
            let (count, has_error) = self.unlisted.get();
            self.unlisted
                .set((count + 1, has_error || severity == Severity::Error));
        }
    }

    /// How many errors were noted; after [`MOST_PROBLEMS`] at least that many.
    pub(super) fn errors(&self) -> usize {
        let (unlisted, _) = self.unlisted.get();
        let listed = self.problems.borrow();
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        listed.iter().filter(is_error).count() + unlisted
    }

    /// Whether no more problems are noted.
    fn is_full(&self) -> bool {
        self.problems.borrow().len() >= MOST_PROBLEMS
    }

    pub(super) fn error(&self, span: Span, message: impl Into<String>) {
        self.note(Severity::Error, |source| {
            source.problem(Severity::Error, span, message.into())
        });
    }

    pub(super) fn error_with_hint(
        &self,
        span: Span,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(Severity::Error, |source| {
            source
                .problem(Severity::Error, span, message.into())
                .hint(hint)
        });
    }

    pub(super) fn warn(&self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.note(Severity::Warning, |source| {
            source
                .problem(Severity::Warning, span, message.into())
                .hint(hint)
        });
    }

    pub(super) fn findings(&self, findings: Vec<Finding>) {
        for finding in findings {
            let severity = if finding.harmless {
                Severity::Warning
            } else {
                Severity::Error
            };
            self.note(severity, |source| source.finding(finding));
        }
    }

    /// The fields of a mapping; `what` is what it describes (`wave "canary"`), for messages. Fields
    /// that are not among `known` are noted.
    pub(super) fn fields<'node>(
        &'node self,
        node: &'node Spanned<Node>,
        what: impl Into<String>,
        known: &'static [&'static str],
    ) -> Option<Fields<'node>> {
        let what = what.into();
        let Some(pairs) = node.value.as_mapping() else {
            self.error_with_hint(
                node.span,
                format!("{what} must be a mapping, found {}", node.value.described()),
                format!("its fields are: {}", known.join(", ")),
            );
            return None;
        };
        let mut fields = Fields {
            reader: self,
            pairs,
            span: node.span,
            what,
            misspelt: Vec::new(),
        };
        for pair in pairs {
            if !known.contains(&&*pair.key.value) {
                let near = fields.unknown(pair, known);
                fields.misspelt.extend(near);
            }
        }
        Some(fields)
    }

    /// The text of a node that must be text; `what` names it in the message.
    pub(super) fn text<'node>(&self, node: &'node Spanned<Node>, what: &str) -> Option<&'node str> {
        if let Some(text) = node.value.as_scalar().and_then(|scalar| scalar.as_text()) {
            return Some(text);
        }
        let message = format!("{what} must be text, found {}", node.value.described());
        match &node.value {
            Node::Scalar(scalar) if scalar.kind() != ScalarKind::Null => self.error_with_hint(
                node.span,
                message,
                format!("quote it: \"{}\"", shortened(&scalar.text)),
            ),
            Node::Mapping(_) => self.error_with_hint(
                node.span,
                message,
                "a text that starts with `{` needs quotes",
            ),
            _ => self.error(node.span, message),
        }
        None
    }

    /// The items of a node that must be a list of at most `most`.
    pub(super) fn short_list<'node>(
        &self,
        node: &'node Spanned<Node>,
        what: &str,
        most: usize,
    ) -> Option<&'node [Spanned<Node>]> {
        let items = self.list(node, what)?;
        if items.len() > most {
            self.error(
                node.span,
                format!("{what} has {} items; at most {most} are read", items.len()),
            );
            return None;
        }
        Some(items)
    }

    /// The items of a node that must be a list.
    pub(super) fn list<'node>(
        &self,
        node: &'node Spanned<Node>,
        what: &str,
    ) -> Option<&'node [Spanned<Node>]> {
        if let Some(items) = node.value.as_sequence() {
            return Some(items);
        }
        let message = format!("{what} must be a list, found {}", node.value.described());
        let hint = match &node.value {
            Node::Scalar(scalar) if scalar.kind() == ScalarKind::Null => {
                "write [] for an empty list, or remove the field".to_owned()
            }
            Node::Scalar(scalar) => format!("write [{}]", shortened(&scalar.text)),
            _ => "write each item on a line of its own that starts with `- `".to_owned(),
        };
        self.error_with_hint(node.span, message, hint);
        None
    }

    /// A mapping of texts to texts.
    pub(super) fn text_map(
        &self,
        node: &Spanned<Node>,
        what: &str,
    ) -> Option<BTreeMap<String, String>> {
        let Some(pairs) = node.value.as_mapping() else {
            self.error_with_hint(
                node.span,
                format!("{what} must be a mapping, found {}", node.value.described()),
                "write {} for an empty one, or remove the field",
            );
            return None;
        };
        Some(
            pairs
                .iter()
                .filter_map(|pair| {
                    let what = format!("`{}` of {what}", shortened(&pair.key.value));
                    let text = self.text(&pair.value, &what)?;
                    Some((pair.key.value.to_string(), text.to_owned()))
                })
                .collect(),
        )
    }

    /// Checks `apiVersion` and `kind`; whether the kind is the right one.
    pub(super) fn is_document(&self, fields: &Fields<'_>, kind: &str) -> bool {
        if let Some((node, version)) = fields.required_text("apiVersion")
            && version != API_VERSION
        {
            self.error_with_hint(
                node.span,
                format!("unknown apiVersion {:?}", shortened(version)),
                format!("write apiVersion: {API_VERSION}"),
            );
        }
        match fields.required_text("kind") {
            Some((_, found)) if found == kind => true,
            Some((node, found)) => {
                self.error_with_hint(
                    node.span,
                    format!(
                        "this document must be of kind {kind}, found {:?}",
                        shortened(found)
                    ),
                    format!("write kind: {kind}"),
                );
                false
            }
            None => true,
        }
    }
}

/// The fields of one mapping.
pub(super) struct Fields<'node> {
    reader: &'node Reader,
    pairs: &'node [Pair],
    /// Where the mapping begins.
    pub(super) span: Span,
    what: String,
    /// Fields that are written, but wrongly: that they are missing only follows from it.
    misspelt: Vec<&'static str>,
}

impl<'node> Fields<'node> {
    fn unknown(&self, pair: &Pair, known: &[&'static str]) -> Option<&'static str> {
        let name = shortened(&pair.key.value);
        let near = if self.reader.is_full() {
            None
        } else {
            nearest(&pair.key.value, known.iter().copied())
        };
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known fields: {}", known.join(", ")),
        };
        self.reader.error_with_hint(
            pair.key.span,
            format!("unknown field `{name}` in {}", self.what),
            hint,
        );
        near
    }

    /// Whether a field is not there under any name.
    pub(super) fn is_missing(&self, name: &str) -> bool {
        self.get(name).is_none() && !self.misspelt.contains(&name)
    }

    /// Whether it is certain that a field is there or is not.
    pub(super) fn is_certain(&self, name: &str) -> bool {
        !self.misspelt.contains(&name)
    }

    /// What these are the fields of, for messages.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// The name of a field for messages.
    pub(super) fn called(&self, name: &str) -> String {
        format!("`{name}` of {}", self.what)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'node Spanned<Node>> {
        self.pair(name).map(|pair| &pair.value)
    }

    pub(super) fn pair(&self, name: &str) -> Option<&'node Pair> {
        self.pairs.iter().find(|pair| &*pair.key.value == name)
    }

    pub(super) fn required(&self, name: &str) -> Option<&'node Spanned<Node>> {
        let node = self.get(name);
        if self.is_missing(name) {
            self.reader.error_with_hint(
                self.span,
                format!("{} has no `{name}`", self.what),
                format!("add a line `{name}: …`"),
            );
        }
        node
    }

    /// A required text that is not empty, and where it stands.
    pub(super) fn required_text(&self, name: &str) -> Option<(&'node Spanned<Node>, &'node str)> {
        let node = self.required(name)?;
        Some((node, self.not_empty(name, node)?))
    }

    /// An optional text; not empty if it is written.
    pub(super) fn text(&self, name: &str) -> Option<&'node str> {
        self.not_empty(name, self.get(name)?)
    }

    fn not_empty(&self, name: &str, node: &'node Spanned<Node>) -> Option<&'node str> {
        let called = self.called(name);
        let text = self.reader.text(node, &called)?;
        if text.trim().is_empty() {
            self.reader.error(node.span, format!("{called} is empty"));
            return None;
        }
        if text.chars().any(char::is_control) {
            self.reader.error(
                node.span,
                format!("{called} contains a line break or another control character"),
            );
            return None;
        }
        Some(text)
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, name: &str, words: &[(&'static str, T)]) -> Option<T> {
        let node = self.get(name)?;
        let listed = || {
            words
                .iter()
                .map(|(word, _)| *word)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let text = node.value.as_scalar().map(|scalar| &*scalar.text);
        let found = text.and_then(|text| words.iter().find(|(word, _)| *word == text));
        if let Some((_, value)) = found {
            return Some(*value);
        }
        let near = text.and_then(|text| nearest(text, words.iter().map(|(word, _)| *word)));
        self.reader.error_with_hint(
            node.span,
            format!(
                "{} must be one of {}, found {}",
                self.called(name),
                listed(),
                node.value.described()
            ),
            match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("write one of {}", listed()),
            },
        );
        None
    }

    /// A duration in Go's form.
    pub(super) fn duration(&self, name: &str) -> Option<Duration> {
        let node = self.get(name)?;
        let called = self.called(name);
        let Some(scalar) = node
            .value
            .as_scalar()
            .filter(|scalar| scalar.kind() != ScalarKind::Null)
        else {
            self.reader.error(
                node.span,
                format!(
                    "{called} must be a duration such as 30s or 1h30m, found {}",
                    node.value.described()
                ),
            );
            return None;
        };
        match duration::parse(&scalar.text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.reader.error_with_hint(
                    node.span,
                    format!(
                        "{called}: {:?} is not a duration: {}",
                        error.text, error.why
                    ),
                    "write whole numbers with the units ms, s, m or h, such as 30s, 10m or 1h30m",
                );
                None
            }
        }
    }

    /// As [`Fields::duration`], but more than nothing.
    pub(super) fn positive_duration(&self, name: &str) -> Option<Duration> {
        let duration = self.duration(name)?;
        if duration.is_zero() {
            if let Some(node) = self.get(name) {
                self.reader.error(
                    node.span,
                    format!("{} must be more than 0", self.called(name)),
                );
            }
            return None;
        }
        Some(duration)
    }

    /// A number or a percentage.
    pub(super) fn amount(&self, name: &str) -> Option<Amount> {
        let node = self.get(name)?;
        let amount = node
            .value
            .as_scalar()
            .and_then(|scalar| scalar.text.parse().ok());
        if amount.is_none() {
            self.reader.error_with_hint(
                node.span,
                format!(
                    "{} must be a number or a percentage, found {}",
                    self.called(name),
                    node.value.described()
                ),
                "write a whole number such as 2, or a whole percentage from 0% to 100%",
            );
        }
        amount
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, name: &str, least: u32, most: u32) -> Option<u32> {
        self.reader
            .number(self.get(name)?, &self.called(name), least, most)
    }

    /// A DNS label that is required.
    pub(super) fn dns_label(&self, name: &str) -> Option<(Span, &'node str)> {
        let (node, text) = self.required_text(name)?;
        if !tidegate_waves::fleet::is_dns_label(text) {
            self.reader.error_with_hint(
                node.span,
                format!(
                    "{} is no DNS label: {:?}",
                    self.called(name),
                    shortened(text)
                ),
                "use up to 63 lower-case letters, digits and dashes, no dash at either end",
            );
            return None;
        }
        Some((node.span, text))
    }
}

impl Reader {
    /// A whole number within bounds.
    pub(super) fn number(
        &self,
        node: &Spanned<Node>,
        what: &str,
        least: u32,
        most: u32,
    ) -> Option<u32> {
        let number = node
            .value
            .as_scalar()
            .filter(|scalar| scalar.kind() == ScalarKind::Integer)
            .and_then(|scalar| scalar.text.parse::<u32>().ok())
            .filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.error(
                node.span,
                if most == u32::MAX {
                    format!(
                        "{what} must be a whole number, at least {least}, found {}",
                        node.value.described()
                    )
                } else {
                    format!(
                        "{what} must be a whole number from {least} to {most}, found {}",
                        node.value.described()
                    )
                },
            );
        }
        number
    }
}
