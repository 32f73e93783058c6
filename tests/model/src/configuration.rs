//! What happens in one search, and how often: the bounds within which it is exhaustive.

/// The waves of the model's fleet, one region each.
pub const WAVES: [&str; 3] = ["canary", "pilot", "broad"];
/// The regions, in the order of their waves.
pub const REGIONS: [&str; 3] = ["r0", "r1", "r2"];

/// A commit that comes while another is being carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Newer {
    /// It is queued, or supersedes a held rollout.
    Commit,
    /// A person asked for it at once: it supersedes a running rollout.
    Hotfix,
}

/// How a person answers drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Their commit stays.
    Adopt,
    /// Ours come back on top of it.
    Restore,
}

/// Somebody else's commit on a wave branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift {
    /// The branch.
    pub wave: &'static str,
    /// What a person says to it.
    pub answer: Answer,
}

/// One search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// The searches that begin together: in which wave the commit shows harm, if in any.
    pub harm_in: Vec<Option<usize>>,
    /// How many controllers run.
    pub controllers: usize,
    /// How many pushes (of the log or of a branch) may be delayed, for any time.
    pub delays: u8,
    /// How often a controller may be killed (with or without its cache) or frozen, and go on after any time.
    pub stops: u8,
    /// The region whose new tree turns out to be harmful at any moment.
    pub turns_ill: Option<&'static str>,
    /// The commit that comes at any moment.
    pub newer: Option<Newer>,
    /// The foreign commit that comes at any moment.
    pub drift: Option<Drift>,
}

impl Configuration {
    fn new(name: &'static str, about: &'static str, harm_in: &[Option<usize>]) -> Self {
        Self {
            name,
            about,
            harm_in: harm_in.to_vec(),
            controllers: 2,
            delays: 0,
            stops: 0,
            turns_ill: None,
            newer: None,
            drift: None,
        }
    }

    /// The same with so many delayed pushes and stopped controllers.
    #[must_use]
    pub fn disturbed(mut self, delays: u8, stops: u8) -> Self {
        self.delays = delays;
        self.stops = stops;
        self
    }

    /// The same with one commit more.
    #[must_use]
    pub fn newer(mut self, newer: Newer) -> Self {
        self.newer = Some(newer);
        self
    }

    /// The same with a foreign commit on a wave branch.
    #[must_use]
    pub fn drift(mut self, wave: &'static str, answer: Answer) -> Self {
        self.drift = Some(Drift { wave, answer });
        self
    }

    /// The same with a tree that turns out to be harmful at any moment.
    #[must_use]
    pub fn turning_ill(mut self, region: &'static str) -> Self {
        self.turns_ill = Some(region);
        self
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let (good, bad) = ([None], [Some(1)]);
        vec![
            Self::new("good", "a good commit", &good).disturbed(1, 0),
            Self::new("good-stopped", "a good commit", &good).disturbed(0, 1),
            Self::new("bad", "a commit that shows harm in the second wave", &bad).disturbed(1, 0),
            Self::new(
                "bad-stopped",
                "a commit that shows harm in the second wave",
                &bad,
            )
            .disturbed(0, 1),
            Self::new(
                "late",
                "the first region's tree turns out to be harmful at any moment",
                &good,
            )
            .turning_ill("r0"),
            Self::new(
                "hotfix",
                "a hotfix at any moment, over a good or a bad commit",
                &[None, Some(1)],
            )
            .newer(Newer::Hotfix),
            Self::new(
                "queued",
                "another commit at any moment, behind a bad one",
                &bad,
            )
            .newer(Newer::Commit),
            Self::new(
                "drift",
                "a foreign commit on the second wave's branch at any moment, and its restoring",
                &bad,
            )
            .drift("pilot", Answer::Restore),
            Self::new("adopted", "the same, adopted", &bad).drift("pilot", Answer::Adopt),
            Self::new(
                "all",
                "a bad commit, a hotfix and a foreign commit at any moment",
                &bad,
            )
            .newer(Newer::Hotfix)
            .drift("canary", Answer::Restore),
        ]
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|known| known.name == name)
    }
}

impl std::fmt::Display for Configuration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {}; {} controllers, {} delayed pushes, {} stopped controllers",
            self.name, self.about, self.controllers, self.delays, self.stops
        )
    }
}
