//! From the parser's events to the tree, within limits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_yaml::granit_parser::{self, ErrorKind, Event, ScanError};

use super::{
    Finding, Node, Pair, Parsed, Rules, Scalar, ScalarKind, Span, Spanned, Style, shortened,
};

/// The most findings that are kept of one text: a person mends the first few and looks again.
const MOST_FINDINGS: usize = 100;

pub(super) fn syntax_error(error: &ScanError, rules: &Rules) -> Finding {
    let marker = error.marker();
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let span = Span {
        line: number(marker.line()).max(1),
        column: number(marker.col()).saturating_add(1),
        length: 1,
    };
    let kind = error.kind();
    let (message, hint) = match kind {
        ErrorKind::RecursionLimitExceeded => return too_deep(span, rules),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation => {
            ("a tab stands where YAML wants spaces", "indent with spaces")
        }
        ErrorKind::UnknownAnchor => (
            "this alias has no anchor before it",
            "text that starts with `*` or `&` needs quotes",
        ),
        ErrorKind::MissingAnchorOrAliasName => (
            "an anchor or alias has no name",
            "text that starts with `*` or `&` needs quotes",
        ),
        ErrorKind::DirectiveDisallowed => (
            "YAML directives have no place here",
            "remove the line that starts with `%`",
        ),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            "a colon stands where no key can be",
            "indent keys of one mapping alike, write a blank behind the colon of the line above, or quote a text that contains a colon",
        ),
        ErrorKind::ExpectedBlockMappingKey => (
            "this is no key of the mapping above it",
            "indent keys of one mapping alike, and quote texts that start with `{` or a quote",
        ),
        ErrorKind::ExpectedBlockSequenceEntry => (
            "a list goes on without `- `",
            "indent what belongs to the list's items, or what comes after it less than the list",
        ),
        ErrorKind::ExpectedDocumentStart => (
            "this does not belong to the document above it",
            "indent it as deep as the first line, or remove what stands behind a closing bracket",
        ),
        ErrorKind::SimpleKeyExpected => (
            "a line without a colon stands between the lines of a mapping",
            "write a colon and a blank behind the key: `key: value`",
        ),
        ErrorKind::BlockSequenceEntryNotAllowed => (
            "a list cannot begin on the line of its key",
            "begin it on the next line, or write [a, b]",
        ),
        ErrorKind::InvalidQuotedScalarIndent => (
            "a text in quotes does not end before this line",
            "close the quote, or indent the rest of the text",
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            "a backslash is followed by a character that it does not escape",
            "double the backslash, or use single quotes",
        ),
        ErrorKind::InvalidBlockScalarHeader => (
            "something stands behind the sign of a block text",
            "begin the text on the next line, or quote a text that starts with `|` or `>`",
        ),
        ErrorKind::MisplacedFlowCollectionEnd => (
            "a bracket is closed that was not opened",
            "remove it, or quote the text",
        ),
        ErrorKind::UnexpectedCharacter { character } => {
            let character = *character;
            let finding =
                Finding::error(span, format!("a text cannot start with {character:?} here"));
            return if character.is_control() {
                finding
                    .hint("remove the control character, or write it in double quotes as \\uXXXX")
            } else {
                finding.hint(format!("quote a text that starts with {character}"))
            };
        }
        ErrorKind::UnclosedFlowCollection { open } => {
            return Finding::error(span, format!("the bracket {open} is not closed"))
                .hint("close it, or quote the text");
        }
        kind => return Finding::error(span, format!("YAML syntax: {kind}")),
    };
    Finding::error(span, message).hint(hint)
}

fn too_deep(span: Span, rules: &Rules) -> Finding {
    Finding::error(span, format!("nested deeper than {} levels", rules.depth))
}

/// A collection that is not closed yet.
struct Open {
    span: Span,
    anchor: usize,
    depth_below: usize,
    content: OpenContent,
    /// What was counted before it, so that an anchor knows its node's own share.
    nodes_before: usize,
    bytes_before: usize,
}

enum OpenContent {
    Sequence(Vec<Spanned<Node>>),
    Mapping {
        pairs: Vec<Pair>,
        places: HashMap<Arc<str>, Span>,
        key: Option<PendingKey>,
    },
}

/// The key whose value comes next.
enum PendingKey {
    Good(Spanned<Arc<str>>),
    /// One that was found wrong: its value is read and dropped.
    Bad,
}

/// A node that an alias can repeat, and what a repetition costs.
struct Anchored<N> {
    node: N,
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// What an unquoted template expression looks like to YAML.
const BAD_KEY: &str = "a list or mapping cannot be a key here";

/// Builds the documents of a text from its events.
pub(super) struct Builder {
    rules: Rules,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Anchored<Node>>,
    documents: Vec<Spanned<Node>>,
    findings: Vec<Finding>,
    complete: bool,
    nodes: usize,
    bytes: usize,
    /// How many nodes are kept a second time, for aliases.
    anchored: usize,
}

impl Builder {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            documents: Vec::new(),
            findings: Vec::new(),
            complete: true,
            nodes: 0,
            bytes: 0,
            anchored: 0,
        }
    }

    /// Notes what ends the text before its end.
    pub(super) fn give_up(&mut self, finding: Finding) {
        self.complete = false;
        // What stands behind an unquoted `{{x}}` on its line is broken by the same mistake.
        let follows = self
            .findings
            .last()
            .is_some_and(|last| last.message == BAD_KEY && last.span.line == finding.span.line);
        if !follows {
            self.findings.push(finding);
        }
    }

    /// Everything that was read.
    pub(super) fn finish(self) -> Parsed {
        Parsed {
            documents: self.documents,
            findings: self.findings,
            complete: self.complete,
        }
    }

    fn report(&mut self, finding: Finding) -> Result<(), Finding> {
        // `{{x}}` without quotes is a mapping as the key of a mapping: one mistake, said once.
        if let Some(last) = self.findings.last_mut()
            && last.message == finding.message
            && last.span.line == finding.span.line
            && last.span.column == finding.span.column + 1
        {
            *last = finding;
            return Ok(());
        }
        if self.findings.len() + 1 >= MOST_FINDINGS {
            return Err(Finding::error(
                finding.span,
                format!(
                    "{}; and this file has too many errors to list",
                    finding.message
                ),
            ));
        }
        self.findings.push(finding);
        Ok(())
    }

    fn count(&mut self, span: Span, nodes: usize, bytes: usize) -> Result<(), Finding> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > self.rules.nodes {
            return Err(Finding::error(
                span,
                format!(
                    "the file holds more than {} values, aliases counted as often as they repeat one",
                    self.rules.nodes
                ),
            ));
        }
        if self.bytes > self.rules.bytes {
            return Err(Finding::error(
                span,
                format!(
                    "the file holds more than {} bytes of text, aliases counted as often as they repeat one",
                    self.rules.bytes
                ),
            ));
        }
        Ok(())
    }

    /// Takes one event; an error ends the text.
    pub(super) fn event(
        &mut self,
        event: Event<'_>,
        source: granit_parser::Span,
    ) -> Result<(), Finding> {
        let span = Span::of(source);
        let tag_span = source.tag_span().map_or(span, Span::of);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = match tag {
                    Some(tag) => self.scalar_tag(&tag, tag_span)?,
                    None => None,
                };
                self.count(span, 1, text.len())?;
                let bytes = text.len();
                let node = Node::Scalar(Scalar {
                    text: Arc::from(&*text),
                    style: match style {
                        granit_parser::ScalarStyle::Plain => Style::Plain,
                        granit_parser::ScalarStyle::SingleQuoted
                        | granit_parser::ScalarStyle::DoubleQuoted => Style::Quoted,
                        granit_parser::ScalarStyle::Literal
                        | granit_parser::ScalarStyle::Folded => Style::Block,
                    },
                    tag,
                });
                self.keep(
                    anchor,
                    span,
                    &Anchored {
                        node: &node,
                        nodes: 1,
                        bytes,
                        depth: 0,
                    },
                )?;
                self.add(Spanned { value: node, span }, 0)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", tag_span)?;
                self.start(span, anchor, OpenContent::Sequence(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", tag_span)?;
                let content = OpenContent::Mapping {
                    pairs: Vec::new(),
                    places: HashMap::new(),
                    key: None,
                };
                self.start(span, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => {
                let Some(anchored) = self.anchors.get(&id) else {
                    return Err(Finding::error(
                        span,
                        "this alias stands inside its own anchor",
                    ));
                };
                let (nodes, bytes, depth) = (anchored.nodes, anchored.bytes, anchored.depth);
                if self.open.len() + depth > self.rules.depth {
                    return Err(too_deep(span, &self.rules));
                }
                // Counted before it is copied: a bomb must not go off first.
                self.count(span, nodes, bytes)?;
                let node = self.anchors.get(&id).map(|anchored| anchored.node.clone());
                match node {
                    Some(value) => self.add(Spanned { value, span }, depth),
                    None => Ok(()),
                }
            }
            // The rest is presentation: stream and document marks.
            _ => Ok(()),
        }
    }

    /// Keeps a node for aliases, if it has an anchor. Anchors within anchors are kept once for each
    /// level: a limit of their own keeps that from growing.
    fn keep(&mut self, anchor: usize, span: Span, node: &Anchored<&Node>) -> Result<(), Finding> {
        if anchor == 0 {
            return Ok(());
        }
        self.anchored = self.anchored.saturating_add(node.nodes);
        if self.anchored > self.rules.nodes {
            return Err(Finding::error(
                span,
                format!("more than {} values stand below anchors", self.rules.nodes),
            ));
        }
        self.anchors.insert(
            anchor,
            Anchored {
                node: node.node.clone(),
                nodes: node.nodes,
                bytes: node.bytes,
                depth: node.depth,
            },
        );
        Ok(())
    }

    fn scalar_tag(
        &mut self,
        tag: &granit_parser::Tag,
        span: Span,
    ) -> Result<Option<Arc<str>>, Finding> {
        // `!` alone means text.
        if tag.parts() == ("", "!") || tag.original() == "!" {
            return Ok(Some(Arc::from("str")));
        }
        if let Some(kind @ ("str" | "int" | "float" | "bool" | "null")) = tag.core_suffix() {
            return Ok(Some(Arc::from(kind)));
        }
        self.unknown_tag(tag, span)?;
        Ok(None)
    }

    fn collection_tag(
        &mut self,
        tag: Option<&granit_parser::Tag>,
        own: &str,
        span: Span,
    ) -> Result<(), Finding> {
        match tag {
            Some(tag) if !tag.is_yaml_core_schema_tag(own) => self.unknown_tag(tag, span),
            _ => Ok(()),
        }
    }

    fn unknown_tag(&mut self, tag: &granit_parser::Tag, span: Span) -> Result<(), Finding> {
        self.report(
            Finding::error(
                span,
                format!(
                    "the tag `{}` has no meaning here",
                    shortened(&tag.original())
                ),
            )
            .hint("remove the tag, or quote the text if it is meant to start with `!`"),
        )
    }

    fn start(&mut self, span: Span, anchor: usize, content: OpenContent) -> Result<(), Finding> {
        let (nodes_before, bytes_before) = (self.nodes, self.bytes);
        self.count(span, 1, 0)?;
        if self.open.len() >= self.rules.depth {
            return Err(too_deep(span, &self.rules));
        }
        self.open.push(Open {
            span,
            anchor,
            depth_below: 0,
            content,
            nodes_before,
            bytes_before,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Finding> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let depth = open.depth_below + 1;
        let node = match open.content {
            OpenContent::Sequence(items) => Node::Sequence(items),
            OpenContent::Mapping { pairs, .. } => Node::Mapping(pairs),
        };
        self.keep(
            open.anchor,
            open.span,
            &Anchored {
                node: &node,
                nodes: self.nodes - open.nodes_before,
                bytes: self.bytes - open.bytes_before,
                depth,
            },
        )?;
        self.add(
            Spanned {
                value: node,
                span: open.span,
            },
            depth,
        )
    }

    /// Puts a complete node where it belongs; `depth` is how many levels of collections it has.
    fn add(&mut self, node: Spanned<Node>, depth: usize) -> Result<(), Finding> {
        let merge_keys = self.rules.merge_keys;
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.depth_below = open.depth_below.max(depth);
        let finding = match &mut open.content {
            OpenContent::Sequence(items) => {
                items.push(node);
                None
            }
            OpenContent::Mapping { pairs, places, key } => match key.take() {
                Some(PendingKey::Good(good)) => {
                    pairs.push(Pair {
                        key: good,
                        value: node,
                    });
                    None
                }
                Some(PendingKey::Bad) => None,
                None => {
                    let checked = checked_key(node, places, merge_keys);
                    match checked {
                        Ok(good) => {
                            places.insert(Arc::clone(&good.value), good.span);
                            *key = Some(PendingKey::Good(good));
                            None
                        }
                        Err(finding) => {
                            *key = Some(PendingKey::Bad);
                            Some(finding)
                        }
                    }
                }
            },
        };
        finding.map_or(Ok(()), |finding| self.report(finding))
    }
}

fn checked_key(
    node: Spanned<Node>,
    places: &HashMap<Arc<str>, Span>,
    merge_keys: bool,
) -> Result<Spanned<Arc<str>>, Finding> {
    let span = node.span;
    let Node::Scalar(scalar) = node.value else {
        return Err(Finding::error(span, BAD_KEY)
            .hint("a template expression in a YAML file needs quotes: \"{{…}}\""));
    };
    if scalar.kind() == ScalarKind::Null {
        return Err(Finding::error(span, "a key is missing before the colon"));
    }
    if scalar.style == Style::Plain && &*scalar.text == "<<" {
        if merge_keys {
            return Ok(Spanned {
                value: scalar.text,
                span,
            });
        }
        return Err(Finding::error(span, "merge keys (`<<`) are not read here")
            .hint("write the fields out, or put them into a values layer of their own"));
    }
    if let Some(first) = places.get(&scalar.text) {
        return Err(
            Finding::error(span, format!("duplicate key `{}`", shortened(&scalar.text))).hint(
                format!(
                    "it stands in line {} already; remove one of the two",
                    first.line
                ),
            ),
        );
    }
    Ok(Spanned {
        value: scalar.text,
        span,
    })
}
