//! YAML text into nodes, as kubectl reads it: aliases and merge keys expanded, within bounds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag, options};

use super::emit::double_quoted;
use super::scalar::{self, Reading};
use super::{Finding, MAX_DEPTH, MAX_NODES, Node};

/// The longest key, as it is written; YAML reads no more than 1,024 characters as one.
const MAX_KEY: usize = 1000;
/// So many bytes of text count as one node more.
const TEXT_OF_ONE_NODE: usize = 64;
/// From so many keys on, duplicates are looked for in a set.
const FEW_KEYS: usize = 24;

/// One document of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its content.
    pub node: Node,
    /// The line at which it begins, counted from 1.
    pub line: u32,
}

/// A node with what it costs.
#[derive(Clone)]
struct Built {
    node: Node,
    depth: usize,
    count: usize,
}

enum Frame {
    List {
        items: Vec<Node>,
        anchor: usize,
        depth: usize,
        count: usize,
    },
    Map {
        pairs: Vec<(String, Node)>,
        seen: Option<HashSet<String>>,
        key: Option<Key>,
        has_merge: bool,
        anchor: usize,
        depth: usize,
        count: usize,
    },
}

enum Key {
    Named(String),
    Merge,
}

/// Stands for a merge in a map's pairs until the map ends; no document can write this key.
const MERGE: &str = "\0<<";

struct Reader {
    frames: Vec<Frame>,
    anchors: BTreeMap<usize, Built>,
    documents: Vec<Document>,
    warnings: Vec<Finding>,
    line: u32,
    total: usize,
}

/// Reads all documents that are not empty. Where kubectl and YAML 1.2 read a scalar differently, a
/// warning says so.
pub fn read_yaml(text: &str) -> Result<(Vec<Document>, Vec<Finding>), Finding> {
    let options = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH
    };
    let mut reader = Reader {
        frames: Vec::new(),
        anchors: BTreeMap::new(),
        documents: Vec::new(),
        warnings: Vec::new(),
        line: 1,
        total: 0,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let (line, column) = place(*error.marker());
            Finding::new(line, column, format!("this is no YAML: {}", error.info()))
        })?;
        reader.event(event, span)?;
    }
    Ok((reader.documents, reader.warnings))
}

fn place(marker: Marker) -> (u32, u32) {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (
        number(marker.line()).max(1),
        number(marker.col()).saturating_add(1),
    )
}

fn finding(span: Span, message: impl Into<String>) -> Finding {
    let (line, column) = place(span.start);
    Finding::new(line, column, message)
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.line = 0;
            }
            Event::Alias(anchor) => {
                self.start(span);
                let built =
                    self.anchors.get(&anchor).cloned().ok_or_else(|| {
                        finding(span, "an alias inside the very value that it names")
                    })?;
                if self.expects_key() {
                    return Err(finding(span, "an alias cannot be a key; write the key out"));
                }
                self.spend(built.count, span)?;
                self.place_node(built, 0, span)?;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.start(span);
                self.scalar(&text, style, anchor, tag.as_deref(), span)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.start(span);
                collection_tag(tag.as_ref(), "seq", span)?;
                self.open(span)?;
                self.frames.push(Frame::List {
                    items: Vec::new(),
                    anchor,
                    depth: 0,
                    count: 1,
                });
            }
            Event::MappingStart(_, anchor, tag) => {
                self.start(span);
                collection_tag(tag.as_ref(), "map", span)?;
                self.open(span)?;
                self.frames.push(Frame::Map {
                    pairs: Vec::new(),
                    seen: None,
                    key: None,
                    has_merge: false,
                    anchor,
                    depth: 0,
                    count: 1,
                });
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
            _ => {}
        }
        Ok(())
    }

    /// The first content of a document tells where it begins.
    fn start(&mut self, span: Span) {
        if self.line == 0 {
            self.line = place(span.start).0;
        }
    }

    fn open(&self, span: Span) -> Result<(), Finding> {
        if self.expects_key() {
            return Err(finding(span, "a list or map cannot be a key"));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(finding(
                span,
                format!("values are nested more than {MAX_DEPTH} deep"),
            ));
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Map { key: None, .. }))
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) -> Result<(), Finding> {
        let plain = style == ScalarStyle::Plain;
        let is_key = self.expects_key();
        if is_key && plain && text == "<<" && tag.is_none_or(|tag| tag.suffix() == "merge") {
            if let Some(Frame::Map { key, has_merge, .. }) = self.frames.last_mut() {
                *key = Some(Key::Merge);
                *has_merge = true;
            }
            return Ok(());
        }
        let node = self.meaning(text, plain, tag, is_key, span)?;
        if is_key {
            return self.key(node, span);
        }
        let count = 1 + text.len() / TEXT_OF_ONE_NODE;
        self.spend(count, span)?;
        let built = Built {
            node,
            depth: 0,
            count,
        };
        self.place_node(built, anchor, span)
    }

    /// Counts nodes towards the most that a file may hold.
    fn spend(&mut self, count: usize, span: Span) -> Result<(), Finding> {
        self.total = self.total.saturating_add(count);
        if self.total > MAX_NODES {
            return Err(finding(
                span,
                format!(
                    "the file holds more than {MAX_NODES} values (or as much text) once its aliases are expanded"
                ),
            ));
        }
        Ok(())
    }

    fn meaning(
        &mut self,
        text: &str,
        plain: bool,
        tag: Option<&Tag>,
        is_key: bool,
        span: Span,
    ) -> Result<Node, Finding> {
        let reading = match tag.map(|tag| (tag, tag.core_suffix())) {
            None if plain => {
                let reading = scalar::kubectl(text);
                if !scalar::agree(text, &reading) {
                    self.warn(text, &reading, is_key, span);
                }
                reading
            }
            None | Some((_, Some("str"))) => Reading::Text,
            Some((tag, None)) if tag.original() == "!" => Reading::Text,
            Some((tag, Some("bool" | "int" | "float" | "null"))) => {
                let reading = scalar::kubectl(text);
                let fits = matches!(
                    (tag.core_suffix(), &reading),
                    (Some("bool"), Reading::Bool(_))
                        | (Some("int" | "float"), Reading::Number(_))
                        | (Some("null"), Reading::Null)
                );
                if !fits {
                    return Err(finding(
                        span,
                        format!(
                            "{} is not what its tag {} says",
                            double_quoted(text),
                            tag.original()
                        ),
                    ));
                }
                reading
            }
            Some((tag, _)) => return Err(unknown_tag(tag, span)),
        };
        Ok(match reading {
            Reading::Null => Node::Null,
            Reading::Bool(truth) => Node::Bool(truth),
            Reading::Number(number) => Node::Number(number),
            Reading::Text => Node::Text(text.to_owned()),
            Reading::NoNumber => {
                return Err(finding(
                    span,
                    format!("{text} is no number that Kubernetes can hold"),
                )
                .hint("if it is meant as a text, put it in quotes"));
            }
        })
    }

    fn warn(&mut self, text: &str, reading: &Reading, is_key: bool, span: Span) {
        let shown = match reading {
            Reading::Null => "null".to_owned(),
            Reading::Bool(truth) => truth.to_string(),
            Reading::Number(number) => number.clone(),
            Reading::NoNumber | Reading::Text => double_quoted(text),
        };
        let what = if is_key { "the key " } else { "" };
        self.warnings.push(
            finding(
                span,
                format!("kubectl reads {what}{text} as {shown}, YAML 1.2 does not; it is written as {shown}"),
            )
            .hint(format!(
                "write {shown}, or \"{text}\" if it is meant as a text"
            )),
        );
    }

    fn key(&mut self, node: Node, span: Span) -> Result<(), Finding> {
        let name = match node {
            Node::Text(text) => text,
            Node::Bool(truth) => truth.to_string(),
            Node::Number(number) if !number.contains('.') => number,
            _ => {
                return Err(finding(span, "null and fractions cannot be keys")
                    .hint("put the key in quotes"));
            }
        };
        if double_quoted(&name).len() > MAX_KEY {
            return Err(finding(
                span,
                format!("the key is longer than {MAX_KEY} bytes"),
            ));
        }
        if name == MERGE {
            return Err(finding(span, "no key may contain NUL"));
        }
        let Some(Frame::Map {
            pairs, seen, key, ..
        }) = self.frames.last_mut()
        else {
            return Ok(());
        };
        if seen.is_none() && pairs.len() >= FEW_KEYS {
            *seen = Some(pairs.iter().map(|(name, _)| name.clone()).collect());
        }
        let duplicate = match seen {
            Some(seen) => !seen.insert(name.clone()),
            None => pairs.iter().any(|(known, _)| *known == name),
        };
        if duplicate {
            return Err(finding(
                span,
                format!(
                    "the key {} is there twice in this map",
                    double_quoted(&name)
                ),
            )
            .hint("take one of them out"));
        }
        *key = Some(Key::Named(name));
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn place_node(&mut self, built: Built, anchor: usize, span: Span) -> Result<(), Finding> {
        if anchor > 0 {
            // What has a name is kept beside where it stands.
            self.spend(built.count, span)?;
            self.anchors.insert(anchor, built.clone());
        }
        if self.frames.len() + built.depth > MAX_DEPTH {
            return Err(finding(
                span,
                format!("values are nested more than {MAX_DEPTH} deep"),
            ));
        }
        match self.frames.last_mut() {
            None => {
                if built.node != Node::Null {
                    self.documents.push(Document {
                        node: built.node,
                        line: self.line.max(1),
                    });
                }
            }
            Some(Frame::List {
                items,
                depth,
                count,
                ..
            }) => {
                items.push(built.node);
                *depth = (*depth).max(built.depth);
                *count += built.count;
            }
            Some(Frame::Map {
                pairs,
                key,
                depth,
                count,
                ..
            }) => {
                *depth = (*depth).max(built.depth);
                *count += built.count;
                match key.take() {
                    Some(Key::Named(name)) => pairs.push((name, built.node)),
                    Some(Key::Merge) => {
                        check_merge(&built.node, span)?;
                        pairs.push((MERGE.to_owned(), built.node));
                    }
                    None => return Err(finding(span, "a value without a key")),
                }
            }
        }
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Finding> {
        let (node, anchor, depth, count) = match self.frames.pop() {
            None => return Ok(()),
            Some(Frame::List {
                items,
                anchor,
                depth,
                count,
            }) => (Node::List(items), anchor, depth, count),
            Some(Frame::Map {
                pairs,
                anchor,
                depth,
                count,
                has_merge,
                ..
            }) => {
                let pairs = if has_merge { merged(pairs) } else { pairs };
                (Node::Map(pairs), anchor, depth, count)
            }
        };
        self.spend(1, span)?;
        let built = Built {
            node,
            depth: depth + 1,
            count,
        };
        self.place_node(built, anchor, span)
    }
}

fn check_merge(node: &Node, span: Span) -> Result<(), Finding> {
    let fits = match node {
        Node::Map(_) => true,
        Node::List(items) => items.iter().all(|item| matches!(item, Node::Map(_))),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(finding(
            span,
            "a merge key << needs a map or a list of maps",
        ))
    }
}

/// Expands merge keys: what is written out wins over what is merged, earlier merges over later ones.
fn merged(pairs: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let mut known: HashSet<String> = pairs
        .iter()
        .filter(|(key, _)| key != MERGE)
        .map(|(key, _)| key.clone())
        .collect();
    let mut expanded = Vec::new();
    for (key, value) in pairs {
        if key != MERGE {
            expanded.push((key, value));
            continue;
        }
        let maps = match value {
            Node::List(maps) => maps,
            single => vec![single],
        };
        for map in maps {
            let Node::Map(inner) = map else { continue };
            for (key, value) in inner {
                if known.insert(key.clone()) {
                    expanded.push((key, value));
                }
            }
        }
    }
    expanded
}

fn collection_tag(tag: Option<&Cow<'_, Tag>>, expected: &str, span: Span) -> Result<(), Finding> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(expected) && tag.original() != "!" => {
            Err(unknown_tag(tag, span))
        }
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Finding {
    finding(
        span,
        format!("the tag {} means nothing in a manifest", tag.original()),
    )
    .hint("take it out")
}
