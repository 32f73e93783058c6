//! `regions.json` says where regions are.

use super::Audit;

impl Audit<'_> {
    pub(super) fn regions_are_where_the_list_says(&mut self) {
        let world = self.world;
        for (seq, logged) in self.entries() {
            for (wave, branch) in &logged.state.branches {
                let tip = branch.tip.and_then(|tip| world.commits.get(&tip));
                if tip.is_some_and(|tip| tip.folders != branch.folders) {
                    self.say(
                        seq,
                        format!("{wave} holds other folders than its state says"),
                    );
                }
            }
            for (region, placement) in &logged.state.placements {
                let Some(branch) = logged.state.branches.get(&placement.wave) else {
                    self.say(seq, format!("{region} is placed on no branch"));
                    continue;
                };
                let held = branch
                    .tip
                    .and_then(|tip| world.commits.get(&tip))
                    .is_some_and(|commit| commit.folders.contains_key(region));
                let theirs = branch.tip.is_some_and(|tip| {
                    world
                        .removed_by(tip, region)
                        .is_some_and(|commit| world.foreign.contains(&commit))
                });
                if !held && !theirs {
                    self.say(
                        seq,
                        format!(
                            "regions.json names {} for {region}, which it does not hold",
                            placement.wave
                        ),
                    );
                }
            }
        }
    }
}
