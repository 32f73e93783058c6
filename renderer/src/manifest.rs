//! Manifests: read as kubectl reads them, checked, and written so that every reader agrees.

mod emit;
mod json;
mod read;
mod scalar;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use emit::{double_quoted, emit, emit_json};
pub use json::read_json;
pub use read::{Document, read_yaml};

/// The deepest nesting of a manifest, aliases expanded.
pub const MAX_DEPTH: usize = 128;
/// The most nodes of a file, aliases expanded.
pub const MAX_NODES: usize = 1_000_000;

/// One value of a manifest, as the API server would see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Node {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, in a form that YAML 1.1, YAML 1.2 and JSON read alike.
    Number(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map in the order in which it is written; keys are unique.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value at a key, if this is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if this is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The same value as JSON; a number too large for it becomes a text.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Number(text) => {
                serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()))
            }
            Self::Text(text) => Value::String(text.clone()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Map(pairs) => Value::Object(
                pairs
                    .iter()
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }

    /// The same value from JSON; maps in the order of their keys.
    #[must_use]
    pub fn from_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Bool(*truth),
            Value::Number(number) => {
                let text = number.to_string();
                Self::Number(scalar::canonical_number(&text).unwrap_or(text))
            }
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Value::Object(map) => {
                let mut pairs: Vec<(String, Self)> = map
                    .iter()
                    .map(|(key, value)| (key.clone(), Self::from_json(value)))
                    .collect();
                pairs.sort_by(|left, right| left.0.cmp(&right.0));
                Self::Map(pairs)
            }
        }
    }
}

/// A JSON value as YAML that every reader reads alike, ended by a newline.
#[must_use]
pub fn yaml_of(value: &Value) -> String {
    emit::emit_value(&Node::from_json(value))
}

/// Something about a manifest's text, and where.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error,
)]
#[error("{message}")]
pub struct Finding {
    /// The line, counted from 1; 0 for the whole file.
    pub line: u32,
    /// The column, counted from 1; 0 for the whole line or file.
    pub column: u32,
    /// What it is.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

impl Finding {
    fn new(line: u32, column: u32, message: impl Into<String>) -> Self {
        Self {
            line,
            column,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What tells one object of a region from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The namespace, if one is written.
    pub namespace: Option<String>,
    /// The name (or `generateName`, which tells nothing apart).
    pub name: String,
}

impl std::fmt::Display for ObjectId {
    /// `Deployment.apps shop/orders`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// One object of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What tells it from others.
    pub id: ObjectId,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Whether its name is a `generateName`.
    pub generated: bool,
    /// The line at which its document begins.
    pub line: u32,
    /// All of it.
    pub node: Node,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.yaml` and `.yml`.
    Yaml,
    /// `.json`.
    Json,
}

impl Format {
    /// The format of an output path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let extension = path.rsplit('.').next().unwrap_or_default();
        if extension.eq_ignore_ascii_case("json") {
            Self::Json
        } else {
            Self::Yaml
        }
    }
}

/// One file of manifests, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its objects, lists flattened, in order.
    pub objects: Vec<Object>,
    /// What is written for it; nothing if it has no object.
    pub output: Option<Vec<u8>>,
    /// What its author should know.
    pub warnings: Vec<Finding>,
}

/// Reads a file of manifests. `rendered`: a template gave it, so it may not be a SOPS file.
pub fn read(text: &str, format: Format, rendered: bool) -> Result<Manifest, Vec<Finding>> {
    if text.contains('\r') {
        let line = text
            .split('\r')
            .next()
            .map_or(1, |before| before.matches('\n').count() + 1);
        return Err(vec![
            Finding::new(
                u32::try_from(line).unwrap_or(u32::MAX),
                1,
                "the file has carriage returns (CRLF line ends)",
            )
            .hint("save it with LF line ends; `* text=auto eol=lf` in .gitattributes keeps them"),
        ]);
    }
    if text.trim().is_empty() {
        return Ok(Manifest {
            objects: Vec::new(),
            output: None,
            warnings: Vec::new(),
        });
    }
    let (documents, mut warnings) = match format {
        Format::Yaml => read_yaml(text),
        Format::Json => read_json(text).map(|document| (vec![document], Vec::new())),
    }
    .map_err(|finding| vec![finding])?;
    let sealed = documents
        .iter()
        .find(|document| document.node.get("sops").is_some());
    if let Some(document) = sealed {
        if rendered {
            return Err(vec![
                Finding::new(
                    document.line,
                    1,
                    "a template gives a SOPS file, whose checksum no longer holds once it is rendered",
                )
                .hint("keep it as a plain file: take .hbs off its name"),
            ]);
        }
        return Ok(Manifest {
            // What it holds is known only as far as it is not encrypted.
            objects: objects_of(documents).unwrap_or_default(),
            output: Some(text.as_bytes().to_vec()),
            warnings: Vec::new(),
        });
    }
    let objects = objects_of(documents)?;
    for object in &objects {
        if is_plaintext_secret(object) {
            warnings.push(
                Finding::new(
                    object.line,
                    1,
                    format!("Secret {} is in plain text for everybody who can read the repo", object.id.name),
                )
                .hint("encrypt it with SOPS, or keep it in a secret store and let an operator fetch it"),
            );
        }
    }
    let nodes: Vec<&Node> = objects.iter().map(|object| &object.node).collect();
    let output = (!objects.is_empty()).then(|| match format {
        Format::Yaml => emit(&nodes).into_bytes(),
        Format::Json => emit_json(&nodes).into_bytes(),
    });
    Ok(Manifest {
        objects,
        output,
        warnings,
    })
}

fn is_plaintext_secret(object: &Object) -> bool {
    let holds =
        |key: &str| matches!(object.node.get(key), Some(Node::Map(pairs)) if !pairs.is_empty());
    object.id.kind == "Secret"
        && object.id.group.is_empty()
        && (holds("data") || holds("stringData"))
}

/// The objects of documents, `kind: List` flattened; all problems at once.
fn objects_of(documents: Vec<Document>) -> Result<Vec<Object>, Vec<Finding>> {
    let mut objects = Vec::new();
    let mut problems = Vec::new();
    for document in documents {
        let mut open = vec![document.node];
        while let Some(node) = open.pop() {
            if node.get("kind").and_then(Node::as_text) == Some("List")
                && node.get("apiVersion").and_then(Node::as_text) == Some("v1")
            {
                if let Some(items) = items_of(node) {
                    open.extend(items.into_iter().rev());
                } else {
                    problems.push(Finding::new(
                        document.line,
                        1,
                        "a `kind: List` needs `items`, a list of objects",
                    ));
                }
                continue;
            }
            match object_of(node, document.line) {
                Ok(object) => objects.push(object),
                Err(problem) => problems.push(problem),
            }
        }
    }
    if problems.is_empty() {
        Ok(objects)
    } else {
        Err(problems)
    }
}

fn items_of(list: Node) -> Option<Vec<Node>> {
    let Node::Map(pairs) = list else { return None };
    pairs
        .into_iter()
        .find_map(|(key, value)| match (key.as_str(), value) {
            ("items", Node::List(items)) => Some(items),
            ("items", Node::Null) => Some(Vec::new()),
            _ => None,
        })
}

fn object_of(node: Node, line: u32) -> Result<Object, Finding> {
    if !matches!(node, Node::Map(_)) {
        return Err(Finding::new(line, 1, "this is no Kubernetes object")
            .hint("an object is a map with apiVersion, kind and metadata.name"));
    }
    let field =
        |owner: &Node, shown: &str, key: &str| -> Result<Option<String>, Finding> {
            match owner.get(key) {
                None | Some(Node::Null) => Ok(None),
                Some(Node::Text(text)) if !text.is_empty() => Ok(Some(text.clone())),
                Some(Node::Text(_)) => Err(Finding::new(line, 1, format!("{shown} is empty"))),
                Some(_) => Err(Finding::new(line, 1, format!("{shown} must be a text"))
                    .hint("put it in quotes")),
            }
        };
    let lacks = |what: &str| {
        Finding::new(line, 1, format!("the object has no {what}"))
            .hint("every object needs apiVersion, kind and metadata.name (or generateName)")
    };
    let api_version =
        field(&node, "apiVersion", "apiVersion")?.ok_or_else(|| lacks("apiVersion"))?;
    let kind = field(&node, "kind", "kind")?.ok_or_else(|| lacks("kind"))?;
    let metadata = node.get("metadata").ok_or_else(|| lacks("metadata.name"))?;
    let namespace = field(metadata, "metadata.namespace", "namespace")?;
    let (name, generated) = match field(metadata, "metadata.name", "name")? {
        Some(name) => (name, false),
        None => (
            field(metadata, "metadata.generateName", "generateName")?
                .ok_or_else(|| lacks("metadata.name"))?,
            true,
        ),
    };
    let group = api_version
        .split_once('/')
        .map(|(group, _)| group.to_owned())
        .unwrap_or_default();
    Ok(Object {
        id: ObjectId {
            group,
            kind,
            namespace,
            name,
        },
        api_version,
        generated,
        line,
        node,
    })
}

#[cfg(test)]
mod tests;
