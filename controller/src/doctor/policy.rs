//! What an account of an Argo CD needs, in the words of Argo CD's own rules (`policy.csv` of `argocd-rbac-cm`).

use std::collections::BTreeSet;

/// What gates do with Applications through Argo CD's own API; a refresh needs no more than to get one.
const ACTIONS: [&str; 2] = ["get", "sync"];

/// The lines that give an account of this name what gates need for the Applications of these projects, and no more. Without a
/// project that is known, all of them.
///
/// A project whose name is none that Kubernetes takes is left out: lines are printed among manifests.
#[must_use]
pub fn policy(account: &str, projects: &BTreeSet<String>) -> Vec<String> {
    let is_plain = |name: &&String| {
        name.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter))
    };
    let named: BTreeSet<&str> = projects
        .iter()
        .filter(is_plain)
        // Argo CD takes none for `default`.
        .map(|name| if name.is_empty() { "default" } else { name })
        .collect();
    let projects = if projects.is_empty() {
        BTreeSet::from(["*"])
    } else {
        named
    };
    let mut lines: Vec<String> = projects
        .into_iter()
        .flat_map(|project| {
            ACTIONS.map(|action| {
                format!("p, role:{account}, applications, {action}, {project}/*, allow")
            })
        })
        .collect();
    lines.push(format!("g, {account}, role:{account}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(projects: &[&str]) -> Vec<String> {
        let projects = projects.iter().map(|name| (*name).to_owned()).collect();
        policy("tidegate", &projects)
    }

    #[test]
    fn an_account_gets_what_gates_need_in_the_projects_that_are_seen() {
        assert_eq!(
            lines(&["shop", ""]),
            [
                "p, role:tidegate, applications, get, default/*, allow",
                "p, role:tidegate, applications, sync, default/*, allow",
                "p, role:tidegate, applications, get, shop/*, allow",
                "p, role:tidegate, applications, sync, shop/*, allow",
                "g, tidegate, role:tidegate",
            ]
        );
        assert_eq!(
            lines(&[]),
            [
                "p, role:tidegate, applications, get, */*, allow",
                "p, role:tidegate, applications, sync, */*, allow",
                "g, tidegate, role:tidegate",
            ]
        );
    }

    #[test]
    fn a_name_that_would_be_another_line_is_left_out() {
        assert_eq!(
            lines(&["a\nkind: Secret", "*", "a, b"]),
            ["g, tidegate, role:tidegate"]
        );
    }
}
