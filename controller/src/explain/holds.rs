//! What each hold and failure means, and the commands that end it.

use tidegate_waves::rollout::{FailureReason, FleetState, Hold, HoldReason};

use crate::git::trailers::one_line;

/// What a hold means and what ends it, in one sentence.
#[must_use]
pub fn meaning_of(reason: HoldReason) -> &'static str {
    match reason {
        HoldReason::Requested => "A person asked to stop; `resume` goes on.",
        HoldReason::Quarantined => {
            "The commit would bring back what failed before; fix it and say `Tidegate-Fixes: <sha>` in the fix, or `retry` it as it is."
        }
        HoldReason::PolicyWithContent => {
            "The commit changes the rules and the manifests at once; split it, or `approve` it."
        }
        HoldReason::DeletionGuard => {
            "The commit deletes more of a region's objects than the guard allows; `approve` it, or push a commit that does not."
        }
        HoldReason::ProtectedKind => {
            "The commit deletes an object of a protected kind; `approve` it, or push a commit that does not."
        }
        HoldReason::RegionRemoval => {
            "The commit takes a region out of the fleet; `approve` it, or push a commit that keeps it."
        }
        HoldReason::FirstRolloutFailed => {
            "A region failed before anything ever succeeded here, so there is nothing to give back; push a fix, `resume` to look again, or `abort`."
        }
        HoldReason::OnFailureHold => {
            "A region failed, and the wave's onFailure says hold; push a fix, `resume` to look again, `revert`, or `abort`."
        }
        HoldReason::AlreadySick => {
            "A region was ill before its promotion and still is, which is no evidence against the commit; heal it and `resume`, or `skip` it."
        }
        HoldReason::EgressDenied => {
            "The operator's egress rules forbid an address that a gate asks; change the settings or the gate and `resume`, or `skip` the region."
        }
        HoldReason::Drift => {
            "Somebody else pushed to a wave branch; keep that with `resume --adopt`, or put Tidegate's trees back with `resume --restore`."
        }
        HoldReason::BranchDeleted => {
            "A wave branch was deleted; `resume --restore` brings it back."
        }
        HoldReason::HistoryRewritten => {
            "Commits that the log builds on are gone from their branch; push them back. Where it is the config branch, `approve` takes it as it is now; what is being rolled out and is gone from it, `abort` takes back everywhere, and `resume` carries on."
        }
        HoldReason::LogDamaged => {
            "The log is damaged, deleted or rewound, so nothing is written; push its newest good entry back."
        }
        HoldReason::PushRefused => {
            "The server refuses to move a branch; let Tidegate push there, then `resume`."
        }
        HoldReason::RevertPullRequest => {
            "The regions are back, and the revert of the config branch waits to be merged; merge it, or push a fix."
        }
        HoldReason::RevertImpossible => {
            "The regions are back, but no merge can take the change back on the config branch; revert it by hand."
        }
        HoldReason::Unstable => {
            "A region does not stay healthy for its bake, without clear harm; `resume` to go on watching, `skip` it, or `abort`."
        }
        HoldReason::Unreachable => {
            "Nothing could be learnt of a region by its deadline; it ends by itself when the region answers and is healthy, or `skip` it."
        }
        HoldReason::SharedCause => {
            "Regions without the change turned ill too, so the change is hardly the cause; it ends by itself when they are healthy again, or `revert`."
        }
    }
}

/// What a failure means and what comes next, in one sentence.
#[must_use]
pub fn meaning_of_failure(reason: FailureReason) -> &'static str {
    match reason {
        FailureReason::Harm => {
            "A region that was healthy before answered badly several times in a row; the touched regions get their last good trees back."
        }
        FailureReason::TimedOut => {
            "A region was not healthy by its deadline; the touched regions get their last good trees back."
        }
        FailureReason::Unreachable => {
            "Nothing could be learnt of a region by its deadline, and onUnreachable says fail; the touched regions get their last good trees back."
        }
        FailureReason::Requested => {
            "A person asked for the revert; the touched regions get their last good trees back."
        }
    }
}

/// The commands that end a hold, ready to be typed in a clone of the config repo; the likeliest first.
#[must_use]
pub fn commands_for(hold: &Hold, state: &FleetState) -> Vec<String> {
    let words = Words { hold, state };
    match hold.reason {
        HoldReason::Requested => vec![words.resume("")],
        HoldReason::Quarantined => vec![
            "tidegate retry --reason 'why it is right now'".to_owned(),
            words.git_revert(),
        ],
        HoldReason::PolicyWithContent
        | HoldReason::DeletionGuard
        | HoldReason::ProtectedKind
        | HoldReason::RegionRemoval => vec![words.approve(), words.git_revert()],
        HoldReason::FirstRolloutFailed => vec![words.resume(""), words.ending("abort")],
        HoldReason::OnFailureHold => words.with_revert(&[words.resume(""), words.ending("abort")]),
        HoldReason::AlreadySick | HoldReason::EgressDenied => {
            words.with_skip(&[words.resume(""), words.ending("abort")])
        }
        HoldReason::Unstable => {
            words.with_skip(&words.with_revert(&[words.resume(""), words.ending("abort")]))
        }
        HoldReason::Unreachable | HoldReason::PushRefused => words.with_skip(&[words.resume("")]),
        HoldReason::SharedCause => words.with_revert(&[words.resume("")]),
        HoldReason::Drift => vec![words.resume(" --restore"), words.resume(" --adopt")],
        HoldReason::BranchDeleted => vec![words.resume(" --restore")],
        HoldReason::HistoryRewritten => match (hold.source, &hold.rollout) {
            (Some(_), Some(_)) => vec![words.ending("abort"), words.resume("")],
            (Some(_), None) => vec![words.approve()],
            (None, _) => vec![words.push_back()],
        },
        HoldReason::LogDamaged => vec![
            "git log --first-parent FETCH_HEAD  # in a clone that still has the log".to_owned(),
            format!(
                "git push origin ENTRY:{}  # the newest good entry",
                state.fleet.log_ref()
            ),
        ],
        HoldReason::RevertPullRequest => vec![words.merge_revert()],
        HoldReason::RevertImpossible => vec![words.git_revert()],
    }
}

/// What commands are made of.
struct Words<'hold> {
    hold: &'hold Hold,
    state: &'hold FleetState,
}

impl Words<'_> {
    fn wave(&self) -> String {
        option("--wave", self.hold.wave.as_deref())
    }

    /// The rollout that the hold names, else the one under way.
    fn rollout(&self) -> Option<&str> {
        self.hold
            .rollout
            .as_deref()
            .or_else(|| self.state.active().map(|rollout| rollout.id.as_str()))
    }

    fn resume(&self, how: &str) -> String {
        // Requests for another than the newest rollout are refused; those for none are not.
        let rollout = option("--rollout", self.hold.rollout.as_deref());
        format!("tidegate resume{how}{}{rollout}", self.wave())
    }

    fn ending(&self, verb: &str) -> String {
        format!(
            "tidegate {verb}{} --reason '…'",
            option("--rollout", self.rollout())
        )
    }

    /// Taking the rollout back, first, where anything succeeded before it; else that is refused.
    fn with_revert(&self, others: &[String]) -> Vec<String> {
        let is_first = self.state.active().is_some_and(|rollout| rollout.first);
        let revert = (!is_first).then(|| self.ending("revert"));
        revert.into_iter().chain(others.iter().cloned()).collect()
    }

    fn approve(&self) -> String {
        let source = self.hold.source.map(|source| source.short(8));
        format!("tidegate approve{}", option("--source", source.as_deref()))
    }

    fn with_skip(&self, before: &[String]) -> Vec<String> {
        let mut commands = Vec::new();
        if !self.hold.regions.is_empty() {
            let regions: String = self
                .hold
                .regions
                .iter()
                .map(|region| option("--region", Some(region)))
                .collect();
            commands.push(format!("tidegate skip{regions} --reason '…'"));
        }
        // Looking again is the likelier wish; what ends the rollout comes last.
        let after = commands.len();
        for (index, command) in before.iter().enumerate() {
            let place = if index == 0 { 0 } else { index + after };
            commands.insert(place.min(commands.len()), command.clone());
        }
        commands
    }

    /// The commits that a hold is about, newest first.
    fn git_revert(&self) -> String {
        let rollout = self.state.rollout.as_ref().filter(|rollout| {
            self.hold.rollout.as_ref() == Some(&rollout.id)
                || self.hold.source == Some(rollout.source)
        });
        let commits: Vec<String> = match rollout {
            Some(rollout) if !rollout.commits.is_empty() => rollout
                .commits
                .iter()
                .map(|commit| commit.id.short(8))
                .collect(),
            _ => vec![
                self.hold
                    .source
                    .map_or_else(|| "COMMIT".to_owned(), |source| source.short(8)),
            ],
        };
        self.on_the_config_branch(&format!("git revert --no-edit {}", commits.join(" ")))
    }

    /// Does something on the config branch as the server has it: what is checked out where it is pasted must not go along.
    fn on_the_config_branch(&self, what: &str) -> String {
        let branch = self.branch();
        format!(
            "git fetch origin && git checkout --detach origin/{branch} && {what} && git push origin HEAD:{branch}"
        )
    }

    fn push_back(&self) -> String {
        let wave = self.hold.wave.as_deref().unwrap_or_default();
        let tip = self
            .state
            .branches
            .get(wave)
            .and_then(|branch| branch.tip)
            .map_or_else(|| "COMMIT".to_owned(), |tip| tip.to_string());
        format!(
            "git fetch origin {log} && git push --force origin {tip}:{branch}",
            log = self.state.fleet.log_ref(),
            branch = self.state.fleet.wave_ref(wave)
        )
    }

    fn merge_revert(&self) -> String {
        let reference = self
            .state
            .fleet
            .revert_ref(self.rollout().or(self.last()).unwrap_or_default());
        let short = reference.strip_prefix("refs/heads/").unwrap_or(&reference);
        let merge = self.on_the_config_branch(&format!("git merge --no-edit origin/{short}"));
        format!("{merge}  # or merge its pull request")
    }

    fn last(&self) -> Option<&str> {
        self.state
            .rollout
            .as_ref()
            .map(|rollout| rollout.id.as_str())
    }

    fn branch(&self) -> String {
        quoted(&self.state.fleet.branch)
    }
}

fn option(name: &str, value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!(" {name} {}", quoted(value)))
}

/// A word as a shell reads it: names of git may hold what a shell would take for its own.
fn quoted(word: &str) -> String {
    let word = one_line(word);
    let plain = !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&byte));
    if plain {
        word
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_waves::oid::Oid;
    use tidegate_waves::rollout::{FleetIdentity, create};

    use super::*;

    fn state() -> FleetState {
        let identity = FleetIdentity {
            name: "shop".to_owned(),
            branch: "main".to_owned(),
            path: String::new(),
            prefix: "tidegate".to_owned(),
        };
        create(identity, Oid::from_bytes([1; 20]), "me").next
    }

    fn hold(reason: HoldReason) -> Hold {
        Hold {
            reason,
            since: 0,
            message: "why".to_owned(),
            source: Some(Oid::from_bytes([0x12; 20])),
            rollout: Some("12121212-7".to_owned()),
            wave: Some("canary".to_owned()),
            regions: vec!["westus3".to_owned()],
            until: None,
        }
    }

    #[test]
    fn every_hold_has_a_sentence_and_a_command_that_is_filled_in() {
        for reason in HoldReason::ALL {
            assert!(meaning_of(reason).ends_with('.'), "{reason:?}");
            let commands = commands_for(&hold(reason), &state());
            assert!(!commands.is_empty(), "{reason:?}");
            for command in &commands {
                assert!(
                    command.starts_with("tidegate ") || command.starts_with("git "),
                    "{reason:?}: {command}"
                );
            }
            if reason.may_end_by_itself() {
                assert!(meaning_of(reason).contains("ends by itself"), "{reason:?}");
            }
            let approves = commands.iter().any(|command| command.contains("approve"));
            assert_eq!(approves, reason.asks_for_approval(), "{reason:?}");
        }
        let mut reasons = HoldReason::ALL.to_vec();
        reasons.sort();
        reasons.dedup();
        assert_eq!(reasons.len(), HoldReason::ALL.len());
    }

    #[test]
    fn every_failure_has_a_sentence_that_says_what_comes_next() {
        for reason in FailureReason::ALL {
            assert!(
                meaning_of_failure(reason).contains("last good"),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn commands_name_what_they_are_about() {
        let commands = |reason| commands_for(&hold(reason), &state());
        assert_eq!(
            commands(HoldReason::ProtectedKind),
            [
                "tidegate approve --source 12121212",
                "git fetch origin && git checkout --detach origin/main && git revert --no-edit 12121212 && git push origin HEAD:main"
            ]
        );
        assert_eq!(
            commands(HoldReason::Unreachable),
            [
                "tidegate resume --wave canary --rollout 12121212-7",
                "tidegate skip --region westus3 --reason '…'"
            ]
        );
        assert_eq!(
            commands(HoldReason::Unstable),
            [
                "tidegate revert --rollout 12121212-7 --reason '…'",
                "tidegate skip --region westus3 --reason '…'",
                "tidegate resume --wave canary --rollout 12121212-7",
                "tidegate abort --rollout 12121212-7 --reason '…'"
            ]
        );
        assert_eq!(
            commands(HoldReason::RevertPullRequest),
            [
                "git fetch origin && git checkout --detach origin/main && git merge --no-edit origin/tidegate-revert/12121212-7 && git push origin HEAD:main  # or merge its pull request"
            ]
        );
        let drift = Hold {
            rollout: None,
            ..hold(HoldReason::Drift)
        };
        assert_eq!(
            commands_for(&drift, &state()),
            [
                "tidegate resume --restore --wave canary",
                "tidegate resume --adopt --wave canary"
            ]
        );
    }

    #[test]
    fn nothing_that_would_be_refused_is_proposed_in_the_first_rollout() {
        let reverts = |first: bool| {
            let mut state = crate::forge::statuses::fixture();
            state.rollout.as_mut().unwrap().first = first;
            assert!(state.active().is_some());
            let reasons = HoldReason::ALL.into_iter().filter(|reason| {
                let commands = commands_for(&hold(*reason), &state);
                assert!(!commands.is_empty(), "{reason:?}");
                commands
                    .iter()
                    .any(|command| command.starts_with("tidegate revert"))
            });
            reasons.collect::<Vec<_>>()
        };
        assert_eq!(reverts(true), []);
        assert_eq!(reverts(false).len(), 3);
    }

    #[test]
    fn the_book_has_a_row_for_every_hold_and_failure() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/operating.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (holds, failures) = page.split_once("## What a failure means").unwrap();
        for reason in HoldReason::ALL {
            assert!(holds.contains(&format!("\n| `{reason:?}` |")), "{reason:?}");
        }
        for reason in FailureReason::ALL {
            assert!(
                failures.contains(&format!("\n| `{reason:?}` |")),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_shell_takes_no_name_for_its_own() {
        assert_eq!(quoted("main"), "main");
        assert_eq!(quoted("a;rm -rf"), "'a;rm -rf'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("$(id)\n"), quoted(&one_line("$(id)\n")));
    }
}
