//! When to look at a config repo: a poll, and for local repos a watch of their refs.
//!
//! Nothing here says *what* happened. A hint is only ever a reason to look earlier; each of the two
//! alone is enough to notice every commit in the end.

mod poll;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Hints that it is time to look. Dropping it ends its tasks.
#[derive(Debug)]
pub struct Source {
    looks: mpsc::Receiver<()>,
    nudge: mpsc::Sender<()>,
    tasks: JoinSet<()>,
}

/// Something that may call for a look, such as a webhook.
#[derive(Debug, Clone)]
pub struct Nudge(mpsc::Sender<()>);

impl Nudge {
    /// Calls for a look. Calls that come before it is taken are one.
    pub fn look(&self) {
        // A full channel holds a look already; a closed one has nobody left to look.
        let _ = self.0.try_send(());
    }
}

impl Source {
    /// Starts to poll, and to watch `local`, the repo's folder if it is on this machine. The first look is due
    /// at once.
    ///
    /// `seed` spreads the polls of several fleets and processes; any number will do. Must be called
    /// within a tokio runtime.
    #[must_use]
    pub fn start(local: Option<PathBuf>, poll: Duration, seed: u64) -> Self {
        let (nudge, looks) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(poll::run(poll, seed, Nudge(nudge.clone())));
        if let Some(folder) = local {
            tasks.spawn(watch::run(folder, Nudge(nudge.clone())));
        }
        Self {
            looks,
            nudge,
            tasks,
        }
    }

    /// Waits until a look is due; `false` if a task of this source died, which is a bug. Cancel-safe: a
    /// look that was due stays due.
    pub async fn look(&mut self) -> bool {
        tokio::select! {
            biased;
            look = self.looks.recv() => look.is_some(),
            _ = self.tasks.join_next() => false,
        }
    }

    /// A handle to call for a look with.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge(self.nudge.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_come_in_their_rhythm_and_nudges_between() {
        let begun = tokio::time::Instant::now();
        let mut source = Source::start(None, Duration::from_secs(30), 7);
        assert!(source.look().await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let nudge = source.nudge();
        nudge.look();
        nudge.look();
        assert!(source.look().await);
        assert_eq!(begun.elapsed(), Duration::ZERO);
        for count in 1..10 {
            assert!(source.look().await);
            let polled = Duration::from_secs(30) * count;
            assert!(begun.elapsed() >= polled * 9 / 10 && begun.elapsed() <= polled * 11 / 10);
        }
    }
}
