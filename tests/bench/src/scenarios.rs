//! What is measured, one subject a file. Each gives figures; what cannot run here says so and gives none.

pub(crate) mod clusters;
pub(crate) mod commands;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod log;
pub(crate) mod neighbours;
pub(crate) mod network;
pub(crate) mod render;
pub(crate) mod revert;
pub(crate) mod synced;

use std::path::PathBuf;

use tidegate_testkit::tidegate::Tidegate;

use crate::table::Figure;

/// What every scenario is given.
pub(crate) struct Setting<'a> {
    /// The program under measurement.
    pub(crate) program: &'a Tidegate,
    /// Small sizes: to see that everything works, not how fast.
    pub(crate) quick: bool,
    pub(crate) seed: u64,
    /// Whether pictures go into the docs.
    pub(crate) draws: bool,
}

impl Setting<'_> {
    /// The full size, or the small one.
    pub(crate) fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Where pictures go: into the docs, but for those of small sizes and of other programs.
    pub(crate) fn pictures(&self) -> PathBuf {
        if self.draws {
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src"))
        } else {
            std::env::temp_dir()
        }
    }
}

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&Setting<'_>) -> Vec<Figure>,
}

/// All scenarios in the order in which they run.
pub(crate) const ALL: [Scenario; 11] = [
    Scenario {
        name: "render",
        about: "a whole fleet rendered, checked and written, against git fast-import and kubectl kustomize",
        run: render::run,
    },
    Scenario {
        name: "latency",
        about: "commit to canary branch, gate to next wave",
        run: latency::run,
    },
    Scenario {
        name: "revert",
        about: "evidence of harm to all branches given back",
        run: revert::run,
    },
    Scenario {
        name: "log",
        about: "growth of the control log",
        run: log::run,
    },
    Scenario {
        name: "commands",
        about: "whole-process time of commands",
        run: commands::run,
    },
    Scenario {
        name: "network",
        about: "round trips, and a rollout over a slow network",
        run: network::run,
    },
    Scenario {
        name: "idle",
        about: "many fleets with nothing to do",
        run: idle::run,
    },
    Scenario {
        name: "neighbours",
        about: "what a fleet waits beside others that render without end",
        run: neighbours::run,
    },
    Scenario {
        name: "clusters",
        about: "gates that ask clusters: a thousand at once, and from harm to the give-back",
        run: clusters::run,
    },
    Scenario {
        name: "synced",
        about: "promotion to synced by a real Argo CD, asked by the gate and left to itself",
        run: synced::run,
    },
    Scenario {
        name: "growth",
        about: "cost by regions and by commits of history",
        run: growth::run,
    },
];
