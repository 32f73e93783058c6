//! Kubernetes label selectors: `matchLabels` and `matchExpressions`, all of which must hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which regions belong to a wave, by label. An empty selector matches every region, as in Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// How the label is compared.
    pub operator: Operator,
    /// The values that `In` and `NotIn` compare with; empty for the other two.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// Kubernetes' four operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// The label exists and has one of the values.
    In,
    /// The label does not exist, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether a region with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
            && self
                .match_expressions
                .iter()
                .all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let label = labels.get(&self.key);
        match self.operator {
            Operator::In => label.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => label.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn requirement(operator: Operator, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: BTreeMap::new(),
            match_expressions: vec![Requirement {
                key: "ring".to_owned(),
                operator,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
        }
    }

    #[test]
    fn match_labels_need_all_of_them() {
        let selector = LabelSelector {
            match_labels: labels(&[("ring", "pilot"), ("cloud", "azure")]),
            match_expressions: vec![],
        };
        assert!(selector.matches(&labels(&[
            ("ring", "pilot"),
            ("cloud", "azure"),
            ("x", "y")
        ])));
        assert!(!selector.matches(&labels(&[("ring", "pilot")])));
        assert!(LabelSelector::default().matches(&labels(&[])));
    }

    #[test]
    fn expressions_follow_kubernetes() {
        let pilot = labels(&[("ring", "pilot")]);
        let none = labels(&[]);
        assert!(requirement(Operator::In, &["pilot", "broad"]).matches(&pilot));
        assert!(!requirement(Operator::In, &["pilot"]).matches(&none));
        assert!(requirement(Operator::NotIn, &["pilot"]).matches(&none));
        assert!(!requirement(Operator::NotIn, &["pilot"]).matches(&pilot));
        assert!(requirement(Operator::Exists, &[]).matches(&pilot));
        assert!(requirement(Operator::DoesNotExist, &[]).matches(&none));
    }
}
