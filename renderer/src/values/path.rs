//! The paths of value layers: a handful of expressions, and never out of the repo.

use tidegate_waves::fleet::Region;

use crate::suggest::nearest;
use crate::yaml::shortened;

/// The path of a layer as written, taken apart: text and expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPath {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name,
    Location,
    Cluster,
    FleetName,
    Label(String),
}

/// What is wrong with the path of a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// There is nothing written.
    #[error("the path of a values layer is empty")]
    Empty,
    /// An expression does not end.
    #[error("the expression `{{{{{0}` has no end: `}}}}` is missing")]
    Unclosed(String),
    /// An expression that is none of the few that are known here.
    #[error(
        "`{{{{{expression}}}}}` is unknown in the path of a values layer; known are {{{{name}}}}, {{{{location}}}}, {{{{cluster}}}}, {{{{fleet.name}}}} and {{{{labels.NAME}}}}"
    )]
    UnknownExpression {
        /// What stands between the braces.
        expression: String,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The region does not have the label.
    #[error("region {region:?} has no label {label:?}")]
    MissingLabel {
        /// The region.
        region: String,
        /// The label.
        label: String,
    },
    /// The path leaves the repo.
    #[error(transparent)]
    Leaves(#[from] LeavesRepo),
}

/// A path that leads out of the repo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path {0:?} leaves the repo")]
pub struct LeavesRepo(pub String);

impl LayerPath {
    /// Takes a path apart.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((expression, tail)) = after.split_once("}}") else {
                return Err(PathError::Unclosed(shortened(after)));
            };
            parts.push(Part::parse(expression.trim())?);
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The path for one region, relative to the repo's root; `folder` is the fleet's.
    pub fn for_region(
        &self,
        region: &Region,
        fleet: &str,
        folder: &str,
    ) -> Result<String, PathError> {
        let mut path = String::new();
        for part in &self.parts {
            path.push_str(match part {
                Part::Text(text) => text,
                Part::Name => &region.name,
                Part::Location => &region.location,
                Part::Cluster => &region.cluster,
                Part::FleetName => fleet,
                Part::Label(label) => {
                    region
                        .labels
                        .get(label)
                        .ok_or_else(|| PathError::MissingLabel {
                            region: region.name.clone(),
                            label: shortened(label),
                        })?
                }
            });
        }
        Ok(resolve(folder, &path)?)
    }

    /// Whether it is the same path for every region.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Text(_) | Part::FleetName))
    }
}

impl Part {
    fn parse(expression: &str) -> Result<Self, PathError> {
        match expression {
            "name" => return Ok(Self::Name),
            "location" => return Ok(Self::Location),
            "cluster" => return Ok(Self::Cluster),
            "fleet.name" => return Ok(Self::FleetName),
            _ => {}
        }
        if let Some(label) = expression.strip_prefix("labels.") {
            let plain = |label: &str| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            };
            // Handlebars' way to write a name with other characters.
            let bracketed = label
                .strip_prefix('[')
                .and_then(|label| label.strip_suffix(']'))
                .filter(|label| !label.is_empty() && !label.contains(['[', ']']));
            if let Some(label) = bracketed.or_else(|| plain(label).then_some(label)) {
                return Ok(Self::Label(label.to_owned()));
            }
        }
        let known = ["name", "location", "cluster", "fleet.name"];
        let suggestion = nearest(expression, known)
            .or_else(|| expression.starts_with("label.").then_some("labels.NAME"));
        Err(PathError::UnknownExpression {
            expression: shortened(expression),
            suggestion,
        })
    }
}

/// A path as written in a fleet's document, relative to the repo's root: `/…` starts there, anything
/// else in the fleet's folder. `.` and `..` are resolved.
pub fn resolve(folder: &str, path: &str) -> Result<String, LeavesRepo> {
    let leaves = || LeavesRepo(shortened(path));
    let from_root = path.strip_prefix('/');
    let mut components: Vec<&str> = match from_root {
        Some(_) => Vec::new(),
        None => folder.split('/').filter(|part| !part.is_empty()).collect(),
    };
    for component in from_root.unwrap_or(path).split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop().ok_or_else(leaves)?;
            }
            name => components.push(name),
        }
    }
    Ok(components.join("/"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn region() -> Region {
        Region {
            name: "westus3".to_owned(),
            location: "us-west".to_owned(),
            cluster: "aks-1".to_owned(),
            labels: BTreeMap::from([
                ("ring".to_owned(), "canary".to_owned()),
                ("topology.kubernetes.io/zone".to_owned(), "3".to_owned()),
                ("evil".to_owned(), "../../..".to_owned()),
            ]),
            exclude: None,
        }
    }

    fn path(text: &str) -> Result<String, PathError> {
        LayerPath::parse(text)?.for_region(&region(), "payments", "apps/payments")
    }

    #[test]
    fn expressions_are_filled_in() {
        for (text, wanted) in [
            ("values/fleet.yaml", "apps/payments/values/fleet.yaml"),
            ("/shared/{{fleet.name}}.yaml", "shared/payments.yaml"),
            (
                "{{name}}/{{ location }}/{{cluster}}.yaml",
                "apps/payments/westus3/us-west/aks-1.yaml",
            ),
            ("r/{{labels.ring}}.yaml", "apps/payments/r/canary.yaml"),
            (
                "r/{{labels.[topology.kubernetes.io/zone]}}.yaml",
                "apps/payments/r/3.yaml",
            ),
            ("../shared/./x.yaml", "apps/shared/x.yaml"),
            ("../../x.yaml", "x.yaml"),
        ] {
            assert_eq!(path(text).as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn anything_else_is_a_clear_error() {
        for (text, wanted) in [
            ("", "the path of a values layer is empty"),
            (
                "a/{{name",
                "the expression `{{name` has no end: `}}` is missing",
            ),
            (
                "../../../x.yaml",
                "the path \"../../../x.yaml\" leaves the repo",
            ),
            ("/../x.yaml", "the path \"/../x.yaml\" leaves the repo"),
            (
                "{{labels.evil}}/x",
                "the path \"../../../x\" leaves the repo",
            ),
            (
                "{{labels.rign}}.yaml",
                "region \"westus3\" has no label \"rign\"",
            ),
            (
                "{{values.x}}.yaml",
                "`{{values.x}}` is unknown in the path of a values layer; known are {{name}}, {{location}}, {{cluster}}, {{fleet.name}} and {{labels.NAME}}",
            ),
            (
                "{{labels.a.b}}",
                "`{{labels.a.b}}` is unknown in the path of a values layer; known are {{name}}, {{location}}, {{cluster}}, {{fleet.name}} and {{labels.NAME}}",
            ),
        ] {
            assert_eq!(path(text).unwrap_err().to_string(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_a_few_words_however_long_it_is() {
        let long = "\u{202e}".repeat(5000);
        for text in [
            format!("{{{{{long}"),
            format!("{{{{{long}}}}}"),
            format!("{{{{labels.[{long}]}}}}"),
            format!("../../../{long}"),
        ] {
            let said = path(&text).unwrap_err().to_string();
            assert!(said.contains('…') && said.chars().count() < 800, "{said}");
        }
    }

    proptest! {
        #[test]
        fn no_path_leaves_the_repo(text in "[a./{}]{0,20}|\\PC*") {
            if let Ok(path) = path(&text) {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.split('/').all(|part| part != ".."));
            }
        }
    }
}
