//! Named points at which tests make the process die as if it had been killed, or freeze.
//!
//! They exist in debug builds only: `TIDEGATE_CRASH_AT=after-log-push:2` ends the process at the second
//! time it comes by that point, `any:7` at the seventh point whatever its name, and `none` only tells which
//! points it comes by. With `:stop` behind it (`after-log-push:2:stop`) the process stops itself there (SIGSTOP)
//! and goes on where it was when somebody continues it: meanwhile a test can do anything to the world around it.
//! With `:panic` behind it the engine that comes by panics, as by a bug.
//!
//! A point stands on both sides of every push and fetch, of whatever tells a forge or a receiver of alerts, of what is
//! written to the outbox, and of the renaming of a damaged mirror. Behind each look, and behind each chance to write
//! the sums, stands one. The sums' file also remembers the log's tip, once an entry was pushed and once a log was read:
//! no point stands between; to die there is to die before the answer of the push, which other tests bring about. None
//! stands beside git's repacking of the mirror, the file with the identity, and the calls that make an Argo CD refresh
//! or end an operation.
//!
//! With the feature `simulation` each point also tells a hook of the thread's own, which may end the engine by
//! unwinding, as a panic would. Only an engine runs there: what fetches, posts and alerts is not part of it.

#[cfg(feature = "simulation")]
mod hook {
    use std::cell::RefCell;
    use std::rc::Rc;

    type Hook = Rc<dyn Fn(&str)>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    /// From now on `hook` is told the name of each point that this thread comes by; `None` tells nobody.
    pub fn tell(hook: Option<Hook>) {
        HOOK.with(|known| *known.borrow_mut() = hook);
    }

    pub(super) fn told(name: &str) {
        let hook = HOOK.with(|known| known.borrow().clone());
        if let Some(hook) = hook {
            hook(name);
        }
    }
}

#[cfg(feature = "simulation")]
pub use hook::tell;

/// A point at which the process may be made to end.
pub(crate) fn point(name: &str) {
    #[cfg(feature = "simulation")]
    hook::told(name);
    as_the_environment_asks(name);
}

/// Ends or stops the process here, as by kill -9 or kill -STOP, if the environment asks for it.
#[cfg(debug_assertions)]
fn as_the_environment_asks(name: &str) {
    use std::sync::atomic::{AtomicU32, Ordering};
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("TIDEGATE_CRASH_AT") else {
        return;
    };
    tracing::info!(point = name, "passing a crash point");
    let mut parts = wanted.split(':');
    let wanted = parts.next().unwrap_or_default();
    let count = parts
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1);
    if (wanted == name || wanted == "any") && SEEN.fetch_add(1, Ordering::SeqCst) + 1 == count {
        match parts.next() {
            Some("stop") => return stop_here(name),
            Some("panic") => panic_here(name),
            _ => {}
        }
        tracing::warn!(point = name, "ending here, as TIDEGATE_CRASH_AT asks");
        // Its own killer: nothing of ours runs any more, no destructor, no flush. What it started lives on.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // Never reached, unless the system refuses a process its own end.
        std::process::abort();
    }
}

#[cfg(debug_assertions)]
fn stop_here(name: &str) {
    tracing::warn!(point = name, "stopping here, as TIDEGATE_CRASH_AT asks");
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    // Any thread may be the one that takes the signal: this one does nothing more until it surely has been taken.
    std::thread::sleep(std::time::Duration::from_millis(50));
    tracing::warn!(point = name, "going on");
}

#[cfg(debug_assertions)]
#[expect(clippy::panic, reason = "asked for, to see what a bug would cost")]
fn panic_here(name: &str) {
    panic!("at {name}, as TIDEGATE_CRASH_AT asks");
}

/// Nothing: release builds cannot be made to crash.
#[cfg(not(debug_assertions))]
fn as_the_environment_asks(_name: &str) {}
