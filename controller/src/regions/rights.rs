//! Rights at an API server: what a question needs, whether we have it, and roles that give no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::Client;
use serde_json::{Value, json};

use super::request::{self, RequestError};

/// Where an API server is asked what whoever asks may do. Everybody who signed in may.
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// One thing that somebody may do, or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Where; `None` is everywhere, and for what is in no namespace.
    pub namespace: Option<String>,
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind as paths have it, such as `deployments`.
    pub resource: String,
    /// What is done, such as `list`.
    pub verb: &'static str,
}

impl Right {
    /// To do something with objects of a kind in a namespace.
    #[must_use]
    pub fn new(verb: &'static str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb,
        }
    }

    /// To do everything everywhere: what nobody needs for rollouts.
    #[must_use]
    pub fn everything() -> Self {
        Self::new("*", "*", "*", None)
    }

    /// Whether we have it, by a `SelfSubjectAccessReview`.
    pub async fn is_ours(&self, client: &Client) -> Result<bool, RequestError> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "namespace": self.namespace.as_deref().unwrap_or_default(),
                "group": self.group,
                "resource": self.resource,
                "verb": self.verb,
            } },
        });
        request::create(client, REVIEWS, &review)
            .await?
            .pointer("/status/allowed")
            .and_then(Value::as_bool)
            .ok_or(RequestError::Unreadable)
    }
}

impl fmt::Display for Right {
    /// As people say it: `list deployments.apps in shop`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(to, ".{}", self.group)?;
        }
        match &self.namespace {
            Some(namespace) => write!(to, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// Roles of a name that give these rights and no others: a `Role` in each namespace, and a `ClusterRole` for what is in none.
///
/// Kinds of one group for which the same may be done share a rule.
#[must_use]
pub fn roles(name: &str, rights: &BTreeSet<Right>) -> Vec<Value> {
    /// What may be done with a kind of a group.
    type Verbs<'a> = BTreeMap<(&'a str, &'a str), BTreeSet<&'static str>>;
    let mut places: BTreeMap<Option<&str>, Verbs<'_>> = BTreeMap::new();
    for right in rights {
        let place = places.entry(right.namespace.as_deref()).or_default();
        place
            .entry((&right.group, &right.resource))
            .or_default()
            .insert(right.verb);
    }
    let role = |(namespace, verbs): (Option<&str>, Verbs<'_>)| {
        let mut rules: BTreeMap<(&str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
        for ((group, resource), verbs) in verbs {
            rules.entry((group, verbs)).or_default().push(resource);
        }
        let rules: Vec<Value> = rules
            .into_iter()
            .map(|((group, verbs), resources)| {
                json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
            })
            .collect();
        let (kind, metadata) = match namespace {
            Some(namespace) => ("Role", json!({ "name": name, "namespace": namespace })),
            None => ("ClusterRole", json!({ "name": name })),
        };
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": metadata,
            "rules": rules,
        })
    };
    places.into_iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_give_what_is_needed_and_no_more() {
        let rights = BTreeSet::from([
            Right::new("get", "apps", "deployments", Some("shop")),
            Right::new("list", "apps", "deployments", Some("shop")),
            Right::new("get", "apps", "statefulsets", Some("shop")),
            Right::new("list", "apps", "statefulsets", Some("shop")),
            Right::new("get", "", "secrets", Some("shop")),
            Right::new("list", "", "pods", Some("shop")),
            Right::new("get", "", "namespaces", None),
        ]);
        let found = roles("tidegate", &rights);
        let wanted = json!([
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": { "name": "tidegate" },
                "rules": [{ "apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"] }],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": { "name": "tidegate", "namespace": "shop" },
                "rules": [
                    { "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] },
                    { "apiGroups": [""], "resources": ["pods"], "verbs": ["list"] },
                    { "apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["get", "list"] },
                ],
            },
        ]);
        assert_eq!(Value::from(found), wanted);
    }

    #[test]
    fn a_right_is_said_as_people_say_it() {
        let namespaced = Right::new("list", "apps", "deployments", Some("shop"));
        assert_eq!(namespaced.to_string(), "list deployments.apps in shop");
        let global = Right::new("get", "", "namespaces", None);
        assert_eq!(global.to_string(), "get namespaces");
    }
}
