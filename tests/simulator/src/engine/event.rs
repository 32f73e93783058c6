//! What can happen in a schedule.

use std::fmt;

use tidegate_waves::rollout::simulation::network::Fault;
use tidegate_waves::rollout::{RequestOption, Verb};

use crate::event::{Foreign, Health, LOG_BRANCH, REGIONS, WAVES};

/// What a controller that died finds when it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Its whole data folder.
    Everything,
    /// Its mirror and its identity.
    NoSums,
    /// Nothing: it is another controller.
    Nothing,
}

/// Where a controller dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dies {
    /// Now, wherever it waits: for the remote, a region, or time.
    Now,
    /// At so many of the engine's crash points from here.
    AtPoint(u8),
    /// The same, of those alone that lie beside a render, an entry of the log or a push.
    AtEffect(u8),
}

#[expect(missing_docs, reason = "the names of the fields say it")]
/// One thing that happens. Numbers name controllers, regions and waves by their place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// So many seconds go by.
    Pass(u8),
    /// All faults are taken away, and everything comes to rest.
    Rest,
    /// Somebody changes what one region gets, or (from 5 on) all of them.
    Commit { region: u8, word: u8 },
    /// Somebody commits what is not valid, or mends it.
    Broken(bool),
    /// Somebody replaces the config branch's history.
    RewriteConfig { word: u8 },
    /// A region turns ill, or well.
    Health { region: u8, health: Health },
    /// Pushes to a branch go wrong, or right again: waves, then the config branch, then the log.
    Network { branch: u8, fault: Option<Fault> },
    /// Nobody reaches the server, or everybody does again.
    Down(bool),
    /// All that is under way arrives.
    Deliver,
    /// One push that is under way arrives.
    DeliverPush(u8),
    /// A controller dies, and is back after so many seconds.
    Crash {
        controller: u8,
        dies: Dies,
        keeps: Keeps,
        seconds: u8,
    },
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
    /// A controller's disk is full, or has room again.
    Disk { controller: u8, full: bool },
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

impl Event {
    /// Whether it is about what is to be rolled out, not about what comes between.
    #[must_use]
    pub fn is_of_the_story(&self) -> bool {
        matches!(self, Self::Rest | Self::Commit { .. } | Self::Broken(_))
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
            Self::Pass(seconds) => write!(f, "{seconds} s go by"),
            Self::Rest => f.write_str("everything works again and comes to rest"),
            Self::Commit { region: at, word } => write!(f, "commit w{word} for {}", region(*at)),
            Self::Broken(true) => f.write_str("commit what is not valid"),
            Self::Broken(false) => f.write_str("commit what is valid again"),
            Self::RewriteConfig { word } => write!(f, "the config branch is rewritten to w{word}"),
            Self::Health { region: at, health } => write!(f, "{} is {health:?}", region(*at)),
            Self::Network { branch, fault } => match fault {
                Some(fault) => write!(f, "pushes to {} are {fault:?}", wave(*branch)),
                None => write!(f, "pushes to {} work", wave(*branch)),
            },
            Self::Down(true) => f.write_str("the server cannot be reached"),
            Self::Down(false) => f.write_str("the server can be reached"),
            Self::Deliver => f.write_str("all that is under way arrives"),
            Self::DeliverPush(which) => write!(f, "push {which} of those under way arrives"),
            Self::Crash {
                controller: index,
                dies,
                keeps,
                seconds,
            } => write!(
                f,
                "{} dies ({dies:?}), keeps {keeps:?}, and is back after {seconds} s",
                controller(*index)
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
            Self::Disk {
                controller: index,
                full,
            } => write!(
                f,
                "the disk of {} {}",
                controller(*index),
                if *full { "is full" } else { "has room again" }
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
