//! Values: layers on top of each other, and who set what.
//!
//! Mappings merge deeply, anything else replaces, an explicit `null` removes. Layers are shared: a
//! file is read once, however many regions it serves, and a region is a list of layers until its
//! merged values are asked for.

mod explain;
mod path;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use explain::Origin;
pub use path::{LayerPath, LeavesRepo, PathError, resolve};

use crate::yaml::{Finding, Node, Span, Spanned, to_json};

/// One layer: a values file, or the `values` of a region's document.
#[derive(Debug, PartialEq)]
pub struct Layer {
    file: Arc<str>,
    root: Spanned<Node>,
    json: Value,
}

impl Layer {
    /// Makes a layer of a document's mapping, or of nothing at all; `file` is relative to the repo's
    /// root. What cannot be kept as it is written is found.
    ///
    /// A root that is neither a mapping nor null is an error.
    pub fn new(file: Arc<str>, root: Spanned<Node>, findings: &mut Vec<Finding>) -> Self {
        let json = match &root.value {
            Node::Mapping(_) => to_json(&root, findings),
            other => {
                if !other.is_null() {
                    findings.push(Finding {
                        span: root.span,
                        message: format!("values must be a mapping, found {}", other.described()),
                        hint: Some("write `name: value` lines".to_owned()),
                        harmless: false,
                    });
                }
                Value::Object(serde_json::Map::new())
            }
        };
        Self { file, root, json }
    }

    /// A layer that sets nothing, of a file without any document.
    #[must_use]
    pub fn empty(file: Arc<str>) -> Self {
        Self {
            file,
            root: Spanned {
                value: Node::Mapping(Vec::new()),
                span: Span::START,
            },
            json: Value::Object(serde_json::Map::new()),
        }
    }

    /// The file it comes from, relative to the repo's root.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// The values of one region: layers, lowest first.
#[derive(Clone, Default, PartialEq)]
pub struct Layered {
    layers: Vec<Arc<Layer>>,
}

impl fmt::Debug for Layered {
    /// The files only: values may be long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.layers.iter().map(|layer| &layer.file))
            .finish()
    }
}

impl Layered {
    /// Lays layers on top of each other, lowest first.
    #[must_use]
    pub fn new(layers: Vec<Arc<Layer>>) -> Self {
        Self { layers }
    }

    /// The layers, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The merged values, always an object. Numbers, texts and booleans are what the files say.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut merged = Value::Object(serde_json::Map::new());
        for layer in &self.layers {
            merge(&mut merged, &layer.json);
        }
        remove_nulls(&mut merged);
        merged
    }

    /// Who set the value at a path such as `values.replicas`, `values.a.b[0]` or `values.[a.b].c`:
    /// the winner first, then what it overrode, highest layer first. For a mapping the same for
    /// each leaf below it, in order of their paths. `None` if no layer has such a path.
    ///
    /// A value that a `null` removed has that `null` as its winner.
    #[must_use]
    pub fn explain(&self, path: &str) -> Option<Vec<Origin>> {
        explain::explain(&self.layers, path)
    }
}

/// Lays `high` over `low`; nulls stay as marks of what is removed.
fn merge(low: &mut Value, high: &Value) {
    match (low, high) {
        (Value::Object(low), Value::Object(high)) => {
            for (key, value) in high {
                match low.get_mut(key) {
                    Some(below) => merge(below, value),
                    None => {
                        low.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (low, high) => *low = high.clone(),
    }
}

/// Takes out what a null removed; lists are kept as they are written.
fn remove_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(remove_nulls);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::yaml::{Rules, parse};

    fn layer(file: &str, text: &str) -> Arc<Layer> {
        let parsed = parse(text, &Rules::OWN);
        assert_eq!(parsed.findings, []);
        let mut findings = Vec::new();
        let root = parsed.documents.into_iter().next().unwrap();
        let layer = Layer::new(Arc::from(file), root, &mut findings);
        assert_eq!(findings, []);
        Arc::new(layer)
    }

    fn layered(texts: &[&str]) -> Layered {
        Layered::new(
            texts
                .iter()
                .enumerate()
                .map(|(index, text)| layer(&format!("{index}.yaml"), text))
                .collect(),
        )
    }

    fn explained(layered: &Layered, path: &str) -> Vec<String> {
        layered
            .explain(path)
            .unwrap_or_default()
            .iter()
            .map(|origin| {
                format!(
                    "{}{} = {} at {}:{}:{}",
                    if origin.overridden { "  not " } else { "" },
                    origin.path,
                    origin.value,
                    origin.file,
                    origin.line,
                    origin.column
                )
            })
            .collect()
    }

    #[test]
    fn mappings_merge_and_anything_else_replaces() {
        let values = layered(&[
            "a: {b: 1, c: [1, 2]}\nd: x\ngone: {deep: 1}\n",
            "a: {c: [3], e: {f: null, g: 1}}\nd: {h: 1}\ngone: null\n",
            "a: {b: 2}\nlist: [null, {x: null}]\n",
        ]);
        assert_eq!(
            values.to_json(),
            json!({
                "a": {"b": 2, "c": [3], "e": {"g": 1}},
                "d": {"h": 1},
                "list": [null, {"x": null}],
            })
        );
    }

    #[test]
    fn a_mapping_over_a_removed_one_starts_anew() {
        let values = layered(&["a: {p: 1}\n", "a: null\n", "a: {q: 2}\n"]);
        assert_eq!(values.to_json(), json!({"a": {"q": 2}}));
    }

    #[test]
    fn numbers_stay_what_they_are() {
        let values =
            layered(&["a: 18446744073709551615\nb: '1.10'\nc: -9223372036854775808\nd: 0.5\n"]);
        assert_eq!(
            serde_json::to_string(&values.to_json()).unwrap(),
            r#"{"a":18446744073709551615,"b":"1.10","c":-9223372036854775808,"d":0.5}"#
        );
    }

    #[test]
    fn no_layers_and_empty_layers_are_no_values() {
        assert_eq!(Layered::default().to_json(), json!({}));
        assert_eq!(layered(&["# nothing\n---\n"]).to_json(), json!({}));
        assert_eq!(Layered::default().explain("values"), None);
    }

    #[test]
    fn the_winner_and_what_it_overrode_are_explained() {
        let values = layered(&[
            "replicas: 1\na:\n  b: [v, w]\n",
            "replicas: 2\na: {b: [u], c: 0.5}\n",
            "replicas: 3\n",
        ]);
        assert_eq!(
            explained(&values, "values.replicas"),
            [
                "values.replicas = 3 at 2.yaml:1:11",
                "  not values.replicas = 2 at 1.yaml:1:11",
                "  not values.replicas = 1 at 0.yaml:1:11",
            ]
        );
        assert_eq!(
            explained(&values, "values.a.b[0]"),
            [
                "values.a.b[0] = u at 1.yaml:2:9",
                "  not values.a.b[0] = v at 0.yaml:3:7",
            ]
        );
        assert_eq!(
            explained(&values, "values.a"),
            [
                "values.a.b = [\"u\"] at 1.yaml:2:8",
                "  not values.a.b = [\"v\",\"w\"] at 0.yaml:3:6",
                "values.a.c = 0.5 at 1.yaml:2:16",
            ]
        );
        for path in [
            "values.nothing",
            "values.a.b[1]",
            "values.replicas.x",
            "replicas",
            "",
            "values.",
            "values.a[",
        ] {
            assert_eq!(values.explain(path), None, "{path}");
        }
    }

    #[test]
    fn removals_and_replaced_mappings_are_explained() {
        let values = layered(&["a: {b: 1}\nx.y: 1\n", "a: null\n"]);
        assert_eq!(
            explained(&values, "values.a"),
            [
                "values.a = null at 1.yaml:1:4",
                "  not values.a = {\"b\":1} at 0.yaml:1:4"
            ]
        );
        assert_eq!(
            explained(&values, "values.a.b"),
            [
                "values.a = null at 1.yaml:1:4",
                "  not values.a.b = 1 at 0.yaml:1:8"
            ]
        );
        assert_eq!(
            explained(&values, "values.[x.y]"),
            ["values.[x.y] = 1 at 0.yaml:2:6"]
        );
        assert_eq!(
            explained(&values, "values"),
            ["values.[x.y] = 1 at 0.yaml:2:6"]
        );
        let values = layered(&["a: 1\n", "a: {b: 2}\n"]);
        assert_eq!(
            explained(&values, "values.a"),
            [
                "values.a.b = 2 at 1.yaml:1:8",
                "  not values.a = 1 at 0.yaml:1:4"
            ]
        );
    }

    /// Values whose kind at each path is always the same: a mapping never meets anything else.
    fn shaped() -> impl Strategy<Value = Value> {
        let leaf = || proptest::option::of(0..5);
        (leaf(), leaf(), leaf()).prop_map(|(a, b, c)| {
            let mut value = json!({"deep": {}});
            for (path, leaf) in [("/a", a), ("/deep/b", b), ("/deep/c", c)] {
                let (parent, key) = path.rsplit_once('/').unwrap();
                if let Some(leaf) = leaf {
                    value.pointer_mut(parent).unwrap()[key] = json!(leaf);
                }
            }
            value
        })
    }

    fn merged(values: &[&Value]) -> Value {
        let mut all = json!({});
        for value in values {
            merge(&mut all, value);
        }
        all
    }

    proptest! {
        #[test]
        fn merging_is_associative_where_kinds_agree(a in shaped(), b in shaped(), c in shaped()) {
            let left = merged(&[&merged(&[&a, &b]), &c]);
            let right = merged(&[&a, &merged(&[&b, &c])]);
            prop_assert_eq!(left, right);
        }

        #[test]
        fn merging_a_layer_twice_changes_nothing(a in shaped(), b in shaped()) {
            prop_assert_eq!(merged(&[&a, &b, &b]), merged(&[&a, &b]));
        }

        #[test]
        fn no_path_panics(path in "\\PC*", rest in "values[.a-c\\[\\]0-9\"]{0,12}") {
            let values = layered(&["a: {b: [1, {c: 2}]}\n", "a: {c: 1}\n"]);
            let _ = values.explain(&path);
            let _ = values.explain(&rest);
        }
    }
}
