//! The model's state: a world, and how much of what may happen has happened.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::simulation::projection::project;
use tidegate_waves::rollout::simulation::world::World;

/// What may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Budget {
    /// Pushes that may be delayed.
    pub delays: u8,
    /// How often time may go on while something is under way.
    pub patience: u8,
    /// Controllers that may be killed or frozen.
    pub stops: u8,
    /// Whether the commit's tree is still to turn out harmful.
    pub illness: bool,
    /// Whether the newer commit is still to come.
    pub newer: bool,
    /// Whether the foreign commit is still to come.
    pub drift: bool,
    /// Whether a person is still to answer it.
    pub answer: bool,
}

/// One state.
#[derive(Clone)]
pub struct State {
    /// The world; nothing in it is changed once it is here.
    pub world: Arc<World>,
    /// What may still happen.
    pub budget: Budget,
    /// Which of the searches that begin together it belongs to.
    pub search: usize,
    /// How often time went on: what makes every run finite, and every path one without a cycle.
    pub ticks: u32,
    /// What the auditor found.
    pub wrong: Arc<Vec<String>>,
    /// Who sent the pushes that are under way, and whether it was killed since. (A witness, not part of the state.)
    pub senders: BTreeMap<Oid, (usize, bool)>,
    /// Whether a push landed after the process that sent it was killed. (A witness, not part of the state.)
    pub landed_late: bool,
    number: u64,
}

impl State {
    /// A state of this world.
    #[must_use]
    pub fn new(world: World, budget: Budget, search: usize) -> Self {
        let number = project(&world);
        Self {
            world: Arc::new(world),
            budget,
            search,
            ticks: 0,
            wrong: Arc::new(Vec::new()),
            senders: BTreeMap::new(),
            landed_late: false,
            number,
        }
    }

    /// The same with another world.
    #[must_use]
    pub fn with(&self, world: World) -> Self {
        let number = project(&world);
        Self {
            world: Arc::new(world),
            number,
            ..self.clone()
        }
    }

    /// The number of its world: see [`project`].
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    fn key(&self) -> (u64, Budget, usize, u32, bool) {
        (
            self.number,
            self.budget,
            self.search,
            self.ticks,
            self.wrong.is_empty(),
        )
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.key().hash(hasher);
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.world.story())
    }
}
