//! What happens to a fleet while it is disturbed: commits, people, and how it has to end.

use std::path::{Path, PathBuf};

use tidegate_testkit::audience::Audience;
use tidegate_testkit::branch_health::version_of;
use tidegate_testkit::fake_github::{FakeGithub, PostedStatus};
use tidegate_testkit::small_fleet::{BRANCHES, End, LOG, MAIN, REPO, SmallFleet, Story, copy};

use crate::Fault;
use crate::people::{intrude, merge_pull_request, merge_revert, request};

/// Something that somebody does once the fleet has come so far.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Whether the fleet has come so far.
    pub when: fn(&SmallFleet) -> bool,
    /// Does it; false: it could not be done just now, and is tried again.
    pub act: fn(&SmallFleet) -> bool,
}

/// One story of a fleet, from a commit to the point where nothing more happens.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens, in a few words.
    pub about: &'static str,
    /// The fleet, its engineer's commit just pushed.
    pub begin: fn(&Bases) -> SmallFleet,
    /// What people do later, in order.
    pub steps: &'static [Step],
    /// How the newest rollout ends.
    pub ends: &'static str,
    /// What of the end may depend on who was faster.
    pub either_way: fn(&mut End),
    /// Faults that change what regions show of a tree that is neither healthy nor harm, and with that, by the rule, the end.
    pub spared: &'static [Fault],
}

/// Fleets to begin with: bare repos that are copied.
#[derive(Debug)]
pub struct Bases {
    folder: tempfile::TempDir,
    /// What a forge was told of the small fleet's first rollout.
    posted: Vec<PostedStatus>,
}

impl Bases {
    /// Lets real controllers make them.
    pub fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut this = Self {
            folder,
            posted: Vec::new(),
        };
        let fleet = SmallFleet::of(Story::First);
        fleet.controller("base").settle(0);
        copy(&fleet.server.path(REPO), &this.settled());
        let text = fleet.work.show("HEAD", "tidegate.yaml");
        let impatient = text.replacen("bake: 300ms", "bake: 300ms, progressDeadline: 8s", 1);
        fleet
            .work
            .publish(&[("tidegate.yaml", &impatient)], "Wait less long");
        fleet.controller("base").settle(0);
        copy(&fleet.server.path(REPO), &this.impatient());
        let fleet = SmallFleet::copied(&this.settled()).with_audience();
        fleet.controller("base").settle(0);
        this.posted = github(&fleet).posted();
        this
    }

    /// The small fleet after its first rollout.
    pub fn settled(&self) -> PathBuf {
        self.folder.path().join("settled.git")
    }

    /// The same, but in the canary it is not waited long for a region that says nothing new.
    pub fn impatient(&self) -> PathBuf {
        self.folder.path().join("impatient.git")
    }
}

/// Everything stands as the newest rollout left it, and nothing is open or held.
pub fn is_settled(fleet: &SmallFleet) -> bool {
    fleet.state().is_some_and(|state| {
        let settled = state
            .settled
            .as_ref()
            .map(|settled| settled.source.to_string());
        state.intents.is_empty()
            && state.holds.is_empty()
            && settled.is_some()
            && settled == fleet.server.tip(REPO, MAIN)
    })
}

fn repo(fleet: &SmallFleet) -> PathBuf {
    fleet.server.path(REPO)
}

fn shows(fleet: &SmallFleet, region: &str, version: &str) -> bool {
    version_of(&repo(fleet), region).as_deref() == Some(version)
}

fn is_held_for(fleet: &SmallFleet, reason: &str) -> bool {
    fleet.state().is_some_and(|state| {
        let mut holds = state.holds.iter();
        holds.any(|hold| format!("{:?}", hold.reason) == reason)
    })
}

/// Whether the state of the newest rollout begins so.
pub(crate) fn rollout_ends(fleet: &SmallFleet, wanted: &str) -> bool {
    fleet.state().is_some_and(|state| {
        let rollout = state.rollout.as_ref();
        rollout.is_some_and(|rollout| format!("{:?}", rollout.state).starts_with(wanted))
    })
}

fn has_ended(fleet: &SmallFleet) -> bool {
    ["RolledBack", "RollbackIncomplete"]
        .iter()
        .any(|wanted| fleet.rollout_is(wanted))
}

fn on(base: &Path, version: &str) -> SmallFleet {
    let fleet = SmallFleet::copied(base);
    fleet.publish_version(version);
    fleet
}

fn github(fleet: &SmallFleet) -> &FakeGithub {
    &fleet.audience.as_ref().expect("an audience").github
}

fn as_it_is(_: &mut End) {}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "first",
        about: "the first commit of a fleet that has no log yet",
        begin: |_| SmallFleet::of(Story::First),
        steps: &[],
        ends: "Succeeded",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "good",
        about: "a commit that is fine",
        begin: |bases| on(&bases.settled(), "2"),
        steps: &[],
        ends: "Succeeded",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "bad",
        about: "a commit that makes the region of the second wave sick",
        begin: |bases| on(&bases.settled(), "2-bad-east"),
        steps: &[],
        ends: "RolledBack",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "range",
        about: "two commits in one push, the newer of which is bad: both are taken back",
        begin: |bases| {
            let fleet = SmallFleet::copied(&bases.settled());
            fleet.work.write("values/fleet.yaml", "version: \"2\"\n");
            fleet.work.commit("Roll 2 out");
            fleet.work.publish(
                &[("values/south.yaml", "version: \"3-bad-south\"\n")],
                "Roll 3 out in the south",
            );
            fleet
        },
        steps: &[],
        ends: "RolledBack",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "move",
        about: "a region changes from the last wave to the second",
        begin: |bases| {
            let fleet = SmallFleet::copied(&bases.settled());
            let text = fleet.work.show("HEAD", "tidegate.yaml");
            let moved = text
                .replace("regions: [east]", "regions: [east, south]")
                .replace("regions: [north, south]", "regions: [north]");
            fleet
                .work
                .publish(&[("tidegate.yaml", &moved)], "Move the south");
            fleet
        },
        steps: &[],
        ends: "Succeeded",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "protected",
        about: "a bad commit on a protected config branch: the revert waits on a branch, and a person merges it",
        begin: |bases| {
            let fleet = on(&bases.settled(), "2-bad-east");
            fleet.server.protect(REPO, MAIN);
            fleet
        },
        steps: &[Step {
            // Not before the controller has said that it waits: a merge that comes sooner is recorded as a push.
            when: |fleet| is_held_for(fleet, "RevertPullRequest") && fleet.count("Reverted") > 0,
            act: merge_revert,
        }],
        ends: "RolledBack",
        either_way: End::forget_names_of_reverts,
        spared: &[],
    },
    Scenario {
        name: "told",
        about: "a bad commit on a protected config branch, and a forge and a receiver of alerts are told of it; a person merges the pull request",
        begin: |bases| {
            let fleet = on(&bases.settled(), "2-bad-east").with_audience();
            github(&fleet).add_statuses(bases.posted.iter().cloned());
            fleet.server.protect(REPO, MAIN);
            fleet
        },
        steps: &[Step {
            // Nobody merges what has not been proposed; and what is over before the controller has said that it waits for
            // a person is never said.
            when: |fleet| {
                let proposed = |audience: &Audience| audience.open_pull().is_some();
                fleet.audience.as_ref().is_some_and(proposed)
                    && ["RevertPullRequest", "Quarantined"]
                        .iter()
                        .all(|reason| is_held_for(fleet, reason))
            },
            act: merge_pull_request,
        }],
        ends: "RolledBack",
        either_way: End::forget_names_of_reverts,
        spared: &[],
    },
    Scenario {
        name: "drift",
        about: "somebody pushes to a wave branch while it is given back, and later gives ours back",
        begin: |bases| on(&bases.settled(), "2-bad"),
        steps: &[
            Step {
                when: |fleet| fleet.count("Failed") > 0,
                act: |fleet| {
                    let theirs = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: theirs\n";
                    intrude(fleet, BRANCHES[1], "east/theirs.yaml", theirs)
                },
            },
            Step {
                when: |fleet| has_ended(fleet) && is_held_for(fleet, "Drift"),
                act: |fleet| {
                    request(fleet, "resume", ("Option", "restore"));
                    true
                },
            },
        ],
        // Whoever was faster: theirs on ours, which has been given back, or ours not given back on theirs.
        ends: "Rol",
        either_way: End::forget_how_it_was_given_back,
        spared: &[],
    },
    Scenario {
        name: "hotfix",
        about: "a commit is under way when a person asks for a newer one at once, which supersedes it",
        begin: |bases| on(&bases.settled(), "2-stuck"),
        steps: &[Step {
            when: |fleet| shows(fleet, "west", "2-stuck"),
            act: |fleet| {
                let fix = fleet.publish_version("3");
                request(fleet, "hotfix", ("To", &fix));
                true
            },
        }],
        ends: "Succeeded",
        either_way: as_it_is,
        spared: &[],
    },
    Scenario {
        name: "supersede",
        about: "a commit's canary shows nothing new, so that it is held, and yields to the next commit",
        begin: |bases| on(&bases.impatient(), "2-stuck"),
        steps: &[Step {
            when: |fleet| is_held_for(fleet, "Unreachable"),
            act: |fleet| {
                fleet.publish_version("3");
                true
            },
        }],
        ends: "Succeeded",
        either_way: as_it_is,
        spared: &[Fault::Cut, Fault::Silence],
    },
    Scenario {
        name: "later",
        about: "a bad commit that changes regions of the last wave alone",
        begin: |bases| {
            let fleet = SmallFleet::copied(&bases.settled());
            let bad = "version: \"2-bad-north\"\n";
            fleet.work.publish(
                &[("values/north.yaml", bad), ("values/south.yaml", bad)],
                "Roll 2 out in the north and the south",
            );
            fleet
        },
        steps: &[],
        ends: "RolledBack",
        either_way: as_it_is,
        spared: &[],
    },
];

/// For whoever looks into a failure.
pub(crate) fn how_it_stands(fleet: &SmallFleet) -> String {
    let state = fleet.state().map(|state| {
        let holds: Vec<String> = state
            .holds
            .iter()
            .map(|hold| format!("{:?}", hold.reason))
            .collect();
        let rollout = state
            .rollout
            .as_ref()
            .map(|rollout| (rollout.state, &rollout.source));
        format!(
            "{rollout:?}, holds {holds:?}, {} intents, settled {:?}",
            state.intents.len(),
            state.settled
        )
    });
    let log = fleet.git(&["log", "--first-parent", "-14", "--format=%s", LOG]);
    format!(
        "{state:?}; the newest entries: {}",
        log.replace('\n', " | ")
    )
}
