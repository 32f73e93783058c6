//! Kubernetes label selectors: `matchLabels` and `matchExpressions`, all of which must hold.

use std::collections::BTreeMap;
use std::str::FromStr;

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

/// A text that is no selector as kubectl writes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no label selector: write KEY=VALUE, KEY!=VALUE, KEY in (A,B), KEY notin (A,B), KEY or !KEY, with commas between several"
)]
pub struct InvalidSelector(pub String);

impl FromStr for LabelSelector {
    type Err = InvalidSelector;

    /// Reads kubectl's form: `ring=pilot,cloud!=azure,zone in (a,b),!legacy`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSelector(text.chars().take(200).collect());
        let mut depth = 0_usize;
        let mut parts = vec![String::new()];
        for character in text.chars() {
            match character {
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or_else(invalid)?,
                _ => {}
            }
            if character == ',' && depth == 0 {
                parts.push(String::new());
            } else if let Some(part) = parts.last_mut() {
                part.push(character);
            }
        }
        if depth != 0 {
            return Err(invalid());
        }
        let match_expressions = parts
            .iter()
            .map(|part| requirement(part.trim()).ok_or_else(invalid))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            match_labels: BTreeMap::new(),
            match_expressions,
        })
    }
}

fn requirement(text: &str) -> Option<Requirement> {
    let one = |key: &str, operator, values: Vec<&str>| {
        let key = key.trim();
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!key.is_empty() && key.chars().all(is_key)).then(|| Requirement {
            key: key.to_owned(),
            operator,
            values: values
                .into_iter()
                .map(|value| value.trim().to_owned())
                .collect(),
        })
    };
    let is_value = |value: &&str| !value.contains(['=', '!', '(', ')']);
    if let Some(key) = text.strip_prefix('!') {
        return one(key, Operator::DoesNotExist, vec![]);
    }
    if let Some((before, list)) = text.split_once('(') {
        let values: Vec<&str> = list.strip_suffix(')')?.split(',').collect();
        let (key, word) = before.trim_end().rsplit_once(char::is_whitespace)?;
        let operator = match word {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            _ => return None,
        };
        return values
            .iter()
            .all(is_value)
            .then(|| one(key, operator, values))?;
    }
    if let Some((key, value)) = text.split_once("!=") {
        return is_value(&value).then(|| one(key, Operator::NotIn, vec![value]))?;
    }
    if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        return is_value(&value).then(|| one(key, Operator::In, vec![value]))?;
    }
    one(text, Operator::Exists, vec![])
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

    #[test]
    fn kubectls_form_is_read() {
        let pilot = labels(&[("ring", "pilot"), ("cloud", "azure"), ("k8s.io/zone", "1")]);
        for (text, selects) in [
            ("ring=pilot", true),
            ("ring==pilot", true),
            ("ring = pilot", true),
            ("ring!=pilot", false),
            ("other!=x", true),
            ("ring", true),
            ("!ring", false),
            ("!legacy,ring", true),
            ("ring in (canary, pilot),cloud=azure", true),
            ("ring in (canary,broad)", false),
            ("ring notin (canary,broad)", true),
            ("k8s.io/zone=1", true),
            ("ring=pilot,cloud=gcp", false),
        ] {
            let selector: LabelSelector = text.parse().unwrap();
            assert_eq!(selector.matches(&pilot), selects, "{text}");
        }
        for text in [
            "",
            ",",
            "a=b,",
            "=b",
            "a in b",
            "a in (b",
            "a)",
            "a like (b)",
            "a=b=c",
            "a b",
            "a in (b))",
        ] {
            assert!(text.parse::<LabelSelector>().is_err(), "{text}");
        }
    }
}
