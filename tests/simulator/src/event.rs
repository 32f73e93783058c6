//! What can happen in a schedule.

use std::fmt;

use tidegate_waves::rollout::simulation::network::Fault;
use tidegate_waves::rollout::{HoldReason, RequestOption, Verb};

/// The regions of the world, in the order of its waves.
pub const REGIONS: [&str; 5] = ["r0", "r1", "r2", "r3", "r4"];

/// The waves of the world, in order.
pub const WAVES: [&str; 3] = ["canary", "pilot", "broad"];

/// The word that makes whoever has it ill.
pub const BAD: u8 = 4;

/// How a region answers, whatever runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// As its tree lets it.
    Well,
    /// Badly.
    Ill,
    /// Not at all.
    Dark,
    /// With the old revision, for its follower does not move.
    Lagging,
    /// Not to us: the operator's egress rules forbid its address.
    Denied,
    /// Well and badly in turn.
    Flapping,
}

/// What somebody pushes to a wave branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A tree of their own.
    Tree,
    /// The region's folder is gone.
    Removal,
    /// A commit that changes nothing.
    Nothing,
    /// The tree that is last good.
    LastGood,
}

/// In which order the controllers of a round look and act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first one first, each to its end.
    Forward,
    /// The last one first.
    Backward,
    /// All look before any of them acts, again and again.
    Abreast,
}

#[expect(missing_docs, reason = "the names of the fields say it")]
/// One thing that happens. Numbers name controllers, regions and waves by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// So many rounds go by.
    Rounds(u8, Order),
    /// Somebody changes what one region gets, or (from 5 on) all of them.
    Commit { region: u8, word: u8 },
    /// The same, saying that it fixes what failed last.
    Fix { word: u8 },
    /// Somebody takes the newest commit back.
    Undo,
    /// Somebody commits what is not valid, or mends it.
    Broken(bool),
    /// Somebody changes the policy, or who is where.
    Spec(u8),
    /// Somebody commits what a guard objects to.
    Guarded { region: u8, reason: HoldReason },
    /// Somebody replaces the config branch's history.
    RewriteConfig { word: u8 },
    /// A region turns ill, or well.
    Health { region: u8, health: Health },
    /// Pushes to a branch go wrong, or right again: waves, then the config branch, then the log.
    Network { branch: u8, fault: Option<Fault> },
    /// All that is under way arrives.
    Deliver,
    /// One push that is under way arrives.
    DeliverPush(u8),
    /// One entry that is under way arrives.
    DeliverEntry(u8),
    /// A controller looks and decides, and does nothing yet.
    Decide(u8),
    /// A controller does what it decided when it last looked.
    Act(u8),
    /// A controller dies and comes back.
    Crash { controller: u8, keeps_cache: bool },
    /// A controller stops (`SIGSTOP`): its monotonic clock goes on.
    Stop(u8),
    /// A controller's machine is suspended: its monotonic clock stands still.
    Suspend(u8),
    /// A controller goes on.
    Continue(u8),
    /// All wall clocks jump by so many hours.
    WallClock(i8),
    /// All processes sleep for so many hours; while suspended, their monotonic clocks stand still.
    Sleep { hours: u8, suspended: bool },
    /// Somebody pushes to a wave branch.
    Drift { wave: u8, region: u8, what: Foreign },
    /// Somebody deletes a wave branch.
    Delete(u8),
    /// Somebody forces a wave branch back by one commit.
    Rewind(u8),
    /// Somebody asks for something.
    Ask {
        verb: Verb,
        option: Option<RequestOption>,
        region: u8,
    },
}

/// All kinds of events, as coverage counts them.
pub const KINDS: [&str; 53] = [
    "rounds",
    "rounds-abreast",
    "commit-good",
    "commit-bad",
    "fix",
    "undo",
    "broken",
    "mended",
    "spec",
    "guarded",
    "rewrite-config",
    "well",
    "ill",
    "dark",
    "lagging",
    "denied",
    "flapping",
    "push-lost",
    "push-answer-lost",
    "push-delayed",
    "push-duplicated",
    "push-refused",
    "push-works",
    "log-lost",
    "log-answer-lost",
    "log-delayed",
    "log-duplicated",
    "log-refused",
    "log-works",
    "deliver",
    "deliver-push",
    "deliver-entry",
    "decide",
    "act",
    "crash",
    "crash-with-cache",
    "stop",
    "suspend",
    "continue",
    "wall-clock",
    "sleep",
    "sleep-suspended",
    "drift",
    "delete",
    "rewind",
    "approve",
    "hold",
    "resume",
    "skip",
    "abort",
    "retry",
    "revert",
    "hotfix",
];

/// The place of the log among the branches of [`Event::Network`].
pub const LOG_BRANCH: u8 = 4;

impl Event {
    /// Which of [`KINDS`] it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rounds(_, Order::Abreast) => "rounds-abreast",
            Self::Rounds(..) => "rounds",
            Self::Commit { word: BAD, .. } => "commit-bad",
            Self::Commit { .. } => "commit-good",
            Self::Fix { .. } => "fix",
            Self::Undo => "undo",
            Self::Broken(true) => "broken",
            Self::Broken(false) => "mended",
            Self::Spec(_) => "spec",
            Self::Guarded { .. } => "guarded",
            Self::RewriteConfig { .. } => "rewrite-config",
            Self::Health { health, .. } => match health {
                Health::Well => "well",
                Health::Ill => "ill",
                Health::Dark => "dark",
                Health::Lagging => "lagging",
                Health::Denied => "denied",
                Health::Flapping => "flapping",
            },
            Self::Network { branch, fault } => match (*branch == LOG_BRANCH, fault) {
                (false, None) => "push-works",
                (false, Some(Fault::Lost)) => "push-lost",
                (false, Some(Fault::AnswerLost)) => "push-answer-lost",
                (false, Some(Fault::Delayed)) => "push-delayed",
                (false, Some(Fault::Duplicated)) => "push-duplicated",
                (false, Some(Fault::Refused)) => "push-refused",
                (true, None) => "log-works",
                (true, Some(Fault::Lost)) => "log-lost",
                (true, Some(Fault::AnswerLost)) => "log-answer-lost",
                (true, Some(Fault::Delayed)) => "log-delayed",
                (true, Some(Fault::Duplicated)) => "log-duplicated",
                (true, Some(Fault::Refused)) => "log-refused",
            },
            Self::Deliver => "deliver",
            Self::DeliverPush(_) => "deliver-push",
            Self::DeliverEntry(_) => "deliver-entry",
            Self::Decide(_) => "decide",
            Self::Act(_) => "act",
            Self::Crash {
                keeps_cache: false, ..
            } => "crash",
            Self::Crash { .. } => "crash-with-cache",
            Self::Stop(_) => "stop",
            Self::Suspend(_) => "suspend",
            Self::Continue(_) => "continue",
            Self::WallClock(_) => "wall-clock",
            Self::Sleep {
                suspended: false, ..
            } => "sleep",
            Self::Sleep { .. } => "sleep-suspended",
            Self::Drift { .. } => "drift",
            Self::Delete(_) => "delete",
            Self::Rewind(_) => "rewind",
            Self::Ask { verb, .. } => verb.name(),
        }
    }
}

fn region(index: u8) -> &'static str {
    REGIONS.get(usize::from(index)).copied().unwrap_or("all")
}

fn wave(index: u8) -> &'static str {
    WAVES
        .get(usize::from(index))
        .copied()
        .unwrap_or(if index == LOG_BRANCH { "log" } else { "main" })
}

fn controller(index: u8) -> char {
    char::from(b'a'.saturating_add(index))
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounds(rounds, order) => write!(f, "{rounds} rounds, {order:?}"),
            Self::Commit { region: at, word } => write!(f, "commit w{word} for {}", region(*at)),
            Self::Fix { word } => write!(f, "commit w{word} for all as a fix"),
            Self::Undo => f.write_str("the newest commit is taken back"),
            Self::Broken(true) => f.write_str("commit what is not valid"),
            Self::Broken(false) => f.write_str("commit what is valid again"),
            Self::Spec(spec) => write!(f, "commit waves and policy {spec}"),
            Self::Guarded { region: at, reason } => {
                write!(f, "commit what {reason:?} objects to in {}", region(*at))
            }
            Self::RewriteConfig { word } => write!(f, "the config branch is rewritten to w{word}"),
            Self::Health { region: at, health } => write!(f, "{} is {health:?}", region(*at)),
            Self::Network { branch, fault } => match fault {
                Some(fault) => write!(f, "pushes to {} are {fault:?}", wave(*branch)),
                None => write!(f, "pushes to {} work", wave(*branch)),
            },
            Self::Deliver => f.write_str("all that is under way arrives"),
            Self::DeliverPush(which) => write!(f, "push {which} of those under way arrives"),
            Self::DeliverEntry(which) => write!(f, "entry {which} of those under way arrives"),
            Self::Decide(index) => write!(f, "{} decides", controller(*index)),
            Self::Act(index) => write!(f, "{} acts", controller(*index)),
            Self::Crash {
                controller: index,
                keeps_cache,
            } => write!(
                f,
                "{} crashes {} its cache",
                controller(*index),
                if *keeps_cache { "and keeps" } else { "without" }
            ),
            Self::Stop(index) => write!(f, "{} stops", controller(*index)),
            Self::Suspend(index) => write!(f, "{} is suspended", controller(*index)),
            Self::Continue(index) => write!(f, "{} goes on", controller(*index)),
            Self::WallClock(hours) => write!(f, "wall clocks jump by {hours} h"),
            Self::Sleep { hours, suspended } => write!(
                f,
                "all {} for {hours} h",
                if *suspended { "are suspended" } else { "stop" }
            ),
            Self::Drift {
                wave: on,
                region: at,
                what,
            } => write!(
                f,
                "somebody pushes {what:?} for {} to {}",
                region(*at),
                wave(*on)
            ),
            Self::Delete(on) => write!(f, "somebody deletes {}", wave(*on)),
            Self::Rewind(on) => write!(f, "somebody forces {} back", wave(*on)),
            Self::Ask {
                verb,
                option,
                region: at,
            } => write!(f, "somebody asks for {verb:?} {option:?} ({})", region(*at)),
        }
    }
}
