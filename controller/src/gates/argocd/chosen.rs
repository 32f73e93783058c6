//! Which Applications are a region's.

use std::collections::BTreeSet;

use tidegate_waves::selector::LabelSelector;

use super::instance::Listed;
use super::{Expected, Revisions};

/// Applications to be judged.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) names: Vec<String>,
    /// Whether they are the region's own by what they follow, or by their labels.
    pub(super) are_own: bool,
}

impl Chosen {
    /// Those with the labels, or those that read the region's folder in our repo; and those that were known to be its own
    /// before. Where some of them follow its branch, others (of another environment, say) are none of its.
    pub(super) fn of<'a>(
        listed: &[Listed],
        known: impl Iterator<Item = &'a String>,
        selector: Option<&LabelSelector>,
        expected: &Expected,
        revisions: &dyn Revisions,
    ) -> Self {
        let mut own: BTreeSet<String> = known.cloned().collect();
        let mut others = BTreeSet::new();
        for Listed {
            application,
            labels,
        } in listed
        {
            let is_own = match selector {
                Some(selector) => selector.matches(labels),
                None => expected.is_followed_by(application, revisions),
            };
            if is_own {
                own.insert(application.name.clone());
            } else if selector.is_none() && expected.is_read_by(application) {
                others.insert(application.name.clone());
            }
        }
        // Others show why there is none yet, such as one that follows another branch still.
        let are_own = !own.is_empty() || selector.is_some();
        let names = if are_own { own } else { others };
        Self {
            names: names.into_iter().collect(),
            are_own,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Application, Standing};
    use super::*;

    struct Nothing;

    impl Revisions for Nothing {
        fn standing(&self, _: &str) -> Standing {
            Standing::UnknownCommit
        }
    }

    fn listed(name: &str, branch: &str, path: &str) -> Listed {
        let value = json!({
            "kind": "Application",
            "metadata": { "name": name, "uid": name },
            "spec": { "source": {
                "repoURL": "https://git.example.com/shop.git", "targetRevision": branch, "path": path,
            } },
        });
        Listed {
            application: Application::read(&value).unwrap(),
            labels: [("app".to_owned(), name.to_owned())].into(),
        }
    }

    fn chosen(listed: &[Listed], known: &[String], selector: Option<&str>) -> (Vec<String>, bool) {
        let expected = Expected {
            repositories: vec!["https://git.example.com/shop".to_owned()],
            branch: "refs/heads/tidegate/canary".to_owned(),
            folder: "west".to_owned(),
            ..Expected::default()
        };
        let selector = selector.map(|text| text.parse::<LabelSelector>().unwrap());
        let chosen = Chosen::of(listed, known.iter(), selector.as_ref(), &expected, &Nothing);
        (chosen.names, chosen.are_own)
    }

    #[test]
    fn those_that_follow_the_branch_are_the_regions_own_and_others_are_shown_for_want_of_them() {
        let ours = listed("ours", "tidegate/canary", "west/app");
        let theirs = listed("theirs", "other/canary", "west");
        let elsewhere = listed("elsewhere", "tidegate/canary", "east");
        let none: [String; 0] = [];
        let all = [ours, theirs.clone(), elsewhere.clone()];
        assert_eq!(chosen(&all, &none, None), (vec!["ours".to_owned()], true));
        let without = [theirs, elsewhere];
        assert_eq!(
            chosen(&without, &none, None),
            (vec!["theirs".to_owned()], false)
        );
        // What was once its own is missed.
        assert_eq!(
            chosen(&without, &["ours".to_owned()], None),
            (vec!["ours".to_owned()], true)
        );
    }

    #[test]
    fn labels_choose_whatever_is_followed() {
        let all = [listed("a", "main", "x"), listed("b", "main", "y")];
        let none: [String; 0] = [];
        assert_eq!(
            chosen(&all, &none, Some("app=b")),
            (vec!["b".to_owned()], true)
        );
        assert_eq!(chosen(&all, &none, Some("app=c")), (Vec::new(), true));
    }
}
