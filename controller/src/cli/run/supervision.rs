//! A fleet that dies of a bug is started again, and costs the other fleets of the process nothing.

use std::time::Duration;

use tidegate_waves::duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error};

use crate::cli::error::CommandError;
use crate::engine::{Ending, EngineError};

/// How long a fleet rests when it has died for the first time. Each further death doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long it rests at most: what was mended on the server meanwhile is noticed soon enough.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How long it has to live for its next death to count as the first.
const RECOVERED: Duration = Duration::from_secs(600);

/// Runs what `prepare` gives until it ends by itself, and anew when it dies: by a panic, or because a task of its own died.
/// What it does not survive over and over again is tried more and more rarely.
///
/// Everything that decides is in git, so that a life begins where the last one ended, as that of another process would.
///
/// With `once` the first death is the end, for whoever waits for the exit code.
///
/// # Errors
///
/// Those of the fleet. With `once`, [`EngineError::TaskDied`] when it has died.
pub(super) async fn supervised<Prepare, Life>(
    mut prepare: Prepare,
    once: bool,
    cancel: CancellationToken,
) -> Result<Ending, EngineError>
where
    Prepare: FnMut(CancellationToken) -> Result<Life, CommandError>,
    Life: Future<Output = Result<Ending, EngineError>> + Send + 'static,
{
    let mut pause = FIRST_PAUSE;
    loop {
        let began = Instant::now();
        let reason = match life(&mut prepare, &cancel).await {
            Ok(ended) => return ended,
            Err(reason) => reason,
        };
        if once {
            return Err(EngineError::TaskDied(reason));
        }
        if began.elapsed() >= RECOVERED {
            pause = FIRST_PAUSE;
        }
        error!(
            reason,
            pause = duration::format(pause),
            "a fleet has died, which is a bug to report; it is started again, and the other fleets go on"
        );
        tokio::select! {
            () = cancel.cancelled() => return Ok(Ending::Cancelled),
            () = tokio::time::sleep(pause) => {}
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

/// One life, to its end: what it ended with, or what it died of.
async fn life<Prepare, Life>(
    prepare: &mut Prepare,
    cancel: &CancellationToken,
) -> Result<Result<Ending, EngineError>, String>
where
    Prepare: FnMut(CancellationToken) -> Result<Life, CommandError>,
    Life: Future<Output = Result<Ending, EngineError>> + Send + 'static,
{
    // What it has started beside itself ends with it.
    let token = cancel.child_token();
    let _ended = token.clone().drop_guard();
    let life = prepare(token).map_err(|error| error.message)?;
    // A set, because whoever drops that ends the task in it.
    let mut tasks = JoinSet::new();
    tasks.spawn(life.in_current_span());
    match tasks.join_next().await {
        Some(Ok(Err(EngineError::TaskDied(reason)))) => Err(reason),
        Some(Ok(ended)) => Ok(ended),
        Some(Err(died)) => Err(died.to_string()),
        // One task is in the set.
        None => Err("it was gone".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    type Life = fn() -> Result<Ending, EngineError>;

    /// What the next lives come to, and when each began.
    struct Lives {
        to_come: RefCell<Vec<Life>>,
        began: RefCell<Vec<Instant>>,
    }

    impl Lives {
        async fn live(
            to_come: Vec<Life>,
            once: bool,
        ) -> (Result<Ending, EngineError>, Vec<Duration>) {
            let lives = Self {
                to_come: RefCell::new(to_come),
                began: RefCell::default(),
            };
            let start = Instant::now();
            let ended = supervised(
                |_| {
                    lives.began.borrow_mut().push(Instant::now());
                    let next = lives.to_come.borrow_mut().remove(0);
                    Ok(async move { next() })
                },
                once,
                CancellationToken::new(),
            )
            .await;
            let began = lives.began.borrow();
            (ended, began.iter().map(|at| *at - start).collect())
        }
    }

    fn panics() -> Result<Ending, EngineError> {
        panic!("an index is out of bounds")
    }

    fn dies() -> Result<Ending, EngineError> {
        Err(EngineError::TaskDied("a task ended".to_owned()))
    }

    fn refuses() -> Result<Ending, EngineError> {
        Err(EngineError::OtherSettings("another fleet".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_dies_lives_again_after_a_pause_that_grows() {
        let mut to_come: Vec<Life> = vec![panics, dies, panics];
        to_come.extend([panics as Life; 8]);
        to_come.push(|| Ok(Ending::Held));
        let (ended, began) = Lives::live(to_come, false).await;
        assert!(matches!(ended, Ok(Ending::Held)), "{ended:?}");
        let pauses: Vec<u64> = began
            .windows(2)
            .map(|pair| pair[1].as_secs() - pair[0].as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_of_its_own_is_the_end() {
        let (ended, began) = Lives::live(vec![refuses], false).await;
        assert!(
            matches!(ended, Err(EngineError::OtherSettings(_))),
            "{ended:?}"
        );
        assert_eq!(began.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_exit_code_is_told_of_the_first_death() {
        let (ended, began) = Lives::live(vec![panics], true).await;
        let Err(EngineError::TaskDied(reason)) = ended else {
            panic!("{ended:?}");
        };
        assert!(reason.contains("an index is out of bounds"), "{reason}");
        assert_eq!(began.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_lived_for_long_is_started_again_soon() {
        let mut lives = 0;
        let start = Instant::now();
        let ended = supervised(
            |_| {
                lives += 1;
                let life = lives;
                Ok(async move {
                    match life {
                        1..=5 => panic!("at once"),
                        6 => {
                            tokio::time::sleep(RECOVERED).await;
                            panic!("after a while")
                        }
                        _ => Ok(Ending::Done),
                    }
                })
            },
            false,
            CancellationToken::new(),
        )
        .await;
        assert!(matches!(ended, Ok(Ending::Done)), "{ended:?}");
        let pauses = Duration::from_secs(1 + 2 + 4 + 8 + 16 + 1);
        assert_eq!(start.elapsed(), pauses + RECOVERED);
    }

    #[tokio::test(start_paused = true)]
    async fn told_to_stop_it_waits_for_no_pause() {
        let cancel = CancellationToken::new();
        let start = Instant::now();
        let stopper = cancel.clone();
        let ended = supervised(
            move |_| {
                stopper.cancel();
                Ok(async { panics() })
            },
            false,
            cancel,
        )
        .await;
        assert!(matches!(ended, Ok(Ending::Cancelled)), "{ended:?}");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
