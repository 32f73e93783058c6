//! Which of the rendered objects an Application has to have, and which no Application reads.

use std::collections::BTreeSet;

use super::{Kind, RegionVerdict, Verdict};
use crate::gates::object_key::ObjectKey;
use crate::gates::trees::ObjectPlace;

/// Whether an object lies in one of these folders below the region's; an empty one is all of it.
fn is_below(object: &ObjectPlace, folders: &[String]) -> bool {
    folders.iter().any(|folder| {
        folder.is_empty()
            || object
                .path
                .strip_prefix(folder.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

/// What was rendered below the folders that an Application reads, without what is run once or left out.
pub(super) fn objects_of(rendered: &[ObjectPlace], folders: &[String]) -> BTreeSet<ObjectKey> {
    let is_compared =
        |object: &&ObjectPlace| !object.is_hook && !object.is_generated && !object.is_skipped;
    rendered
        .iter()
        .filter(|object| is_below(object, folders))
        .filter(is_compared)
        .map(|object| ObjectKey::from(&object.id))
        .collect()
}

/// How many objects were rendered below these folders that Argo CD is told to leave out.
pub(super) fn skipped(rendered: &[ObjectPlace], folders: &[String]) -> usize {
    let objects = rendered.iter().filter(|object| object.is_skipped);
    objects.filter(|object| is_below(object, folders)).count()
}

/// What no Application reads is not there, however healthy they are. Harm goes before it.
pub(super) fn uncovered(
    rendered: &[ObjectPlace],
    folders: &[String],
    verdicts: &[Verdict],
) -> Option<RegionVerdict> {
    let is_settled = |kind: Kind| matches!(kind, Kind::Pass | Kind::Soak);
    if verdicts.is_empty() || !verdicts.iter().all(|verdict| is_settled(verdict.kind)) {
        return None;
    }
    let object = rendered
        .iter()
        .find(|object| !object.is_hook && !object.is_skipped && !is_below(object, folders))?;
    Some(RegionVerdict {
        row: 25,
        kind: Kind::Blocked,
        evidence: format!(
            "{} is in {}, which no Application reads",
            object.id, object.path
        ),
        applications: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_renderer::manifest::ObjectId;

    use super::super::{Application, Expected};
    use super::*;

    fn rendered(path: &str) -> ObjectPlace {
        ObjectPlace {
            path: path.to_owned(),
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".to_owned(),
                namespace: Some("shop".to_owned()),
                name: path.replace('/', "-"),
            },
            is_generated: false,
            is_hook: false,
            is_skipped: false,
        }
    }

    fn application(path: &str) -> Application {
        let source = json!({ "repoURL": "https://git.example.com/shop.git", "path": path });
        let value = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": { "name": "shop", "uid": "u" }, "spec": { "source": source },
        });
        Application::read(&value).unwrap()
    }

    fn expected() -> Expected {
        Expected {
            repositories: vec!["https://git.example.com/shop".to_owned()],
            folder: "westus3".to_owned(),
            ..Expected::default()
        }
    }

    fn verdict(kind: Kind) -> Verdict {
        Verdict {
            row: 31,
            kind,
            evidence: String::new(),
            act: None,
        }
    }

    #[test]
    fn an_application_has_the_objects_below_what_it_reads() {
        let all = [
            rendered("app/a.yaml"),
            rendered("apps/b.yaml"),
            rendered("c.yaml"),
        ];
        for (path, count) in [
            ("westus3", 3),
            ("./westus3/", 3),
            ("westus3/app", 1),
            ("westus3/ap", 0),
            ("westus33", 0),
            ("eastus2", 0),
        ] {
            let folders = expected().folders_of(&application(path));
            assert_eq!(objects_of(&all, &folders).len(), count, "{path}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted_and_not_looked_for() {
        let left_out = ObjectPlace {
            is_skipped: true,
            ..rendered("app/b.yaml")
        };
        let all = [rendered("app/a.yaml"), left_out];
        for (folder, objects, count) in [("", 1, 1), ("app", 1, 1), ("infra", 0, 0)] {
            let folders = [folder.to_owned()];
            assert_eq!(objects_of(&all, &folders).len(), objects, "{folder}");
            assert_eq!(skipped(&all, &folders), count, "{folder}");
        }
    }

    #[test]
    fn what_no_application_reads_blocks_a_region_that_would_pass() {
        let all = [rendered("app/a.yaml"), rendered("infra/b.yaml")];
        let folders = ["app".to_owned()];
        let passing = [verdict(Kind::Pass)];
        let found = uncovered(&all, &folders, &passing).unwrap();
        assert_eq!((found.row, found.kind), (25, Kind::Blocked));
        assert!(found.evidence.contains("infra/b.yaml"), "{found:?}");
        let both = ["app".to_owned(), "infra".to_owned()];
        assert_eq!(uncovered(&all, &both, &passing), None);
        // Harm is not hidden by it.
        assert_eq!(uncovered(&all, &folders, &[verdict(Kind::Fail)]), None);
        let hook = ObjectPlace {
            is_hook: true,
            ..rendered("infra/hook.yaml")
        };
        assert_eq!(uncovered(&[hook], &folders, &passing), None);
    }
}
