//! Which trees came to which regions of wave branches, whoever brought them.

use std::collections::HashMap;

use tidegate_waves::oid::Oid;

use super::story::Story;

/// The trees by region, each with the place of the entry that allowed it first; 0 where no intent names the commit that
/// brought it: that may have been there from the beginning.
pub(super) struct Brought<'a>(HashMap<(&'a str, Oid), usize>);

impl<'a> Brought<'a> {
    pub(super) fn of(story: &Story<'a>) -> Self {
        let mut first = HashMap::new();
        for (reference, branch) in &story.record.refs {
            for id in &branch.chain {
                if story.moves_to(reference, *id).next().is_some() {
                    continue;
                }
                let commit = story.record.commits.get(id);
                for change in commit
                    .iter()
                    .flat_map(|commit| commit.changes.iter().flatten())
                {
                    first.extend(change.now.map(|tree| ((change.name.as_str(), tree), 0)));
                }
            }
        }
        for known in &story.moves {
            if story.record.wave_of(&known.line.reference).is_none() {
                continue;
            }
            for change in known.changes() {
                if let Some(tree) = change.now {
                    first
                        .entry((change.name.as_str(), tree))
                        .or_insert(known.place);
                }
            }
        }
        Self(first)
    }

    /// Whether a tree had come to a region before the entry at this place.
    pub(super) fn before(&self, place: usize, region: &str, tree: Oid) -> bool {
        self.0
            .get(&(region, tree))
            .is_some_and(|first| *first < place)
    }
}
