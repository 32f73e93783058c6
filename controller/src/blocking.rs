//! Work that blocks: git objects, rendering, the disk.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// How many may do at once what comes due for hundreds of regions together.
const AT_ONCE: usize = 4;

static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Does work that blocks. On a runtime with several threads another one takes over what waits for this one meanwhile; on
/// one with a single thread, where simulations run, everything waits.
///
/// Must be called within a runtime.
pub(crate) fn in_place<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

/// The same for work that comes due for hundreds of regions together: a few threads do it, one after the other.
///
/// Done in place it would start a thread for nearly each of them, for who takes over rarely gets to run before the next one
/// blocks; and each thread keeps what its allocator once needed.
///
/// Must be called within a runtime. Whoever stops waiting does not end the work.
pub(crate) async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // It is never closed: this does not fail.
    let turn = TURNS.acquire().await;
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    });
    match done.await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and with it whoever waits here.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_comes_due_for_hundreds_at_once_is_done_by_few_threads() {
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut all = JoinSet::new();
        for _ in 0..100 {
            let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
            all.spawn(in_turn(move || {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
                busy.fetch_sub(1, Ordering::SeqCst);
            }));
        }
        assert_eq!(all.join_all().await.len(), 100);
        let most = most.load(Ordering::SeqCst);
        assert!((1..=AT_ONCE).contains(&most), "{most} at once");
    }

    #[test]
    fn work_is_done_on_every_kind_of_runtime() {
        for mut runtime in [
            tokio::runtime::Builder::new_current_thread(),
            tokio::runtime::Builder::new_multi_thread(),
        ] {
            let runtime = runtime.build().unwrap();
            let done = runtime.block_on(async { tokio::spawn(async { in_place(|| 7) }).await });
            assert_eq!(done.unwrap(), 7);
        }
    }
}
