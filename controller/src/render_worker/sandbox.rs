//! What a render worker may still do: read its questions, write its answers, compute. Whoever broke out of a template
//! finds no file, no network and no other process.
//!
//! Two layers of the kernel, for neither covers everything alone:
//!
//! * [Landlock](https://docs.kernel.org/userspace-api/landlock.html) takes away what names can reach: files, TCP ports,
//!   abstract sockets, other processes. It knows what a path means, and by kernel version only some of the ways in.
//! * [seccomp](https://docs.kernel.org/userspace-api/seccomp_filter.html) takes away system calls. What is allowed is
//!   a list of what a worker was seen to need (`allowed`); everything else is refused with `EPERM`, so that what
//!   meets it can say so.
//!
//! A kernel, or a container's own seccomp profile, may refuse either. Then a worker works with what is left, and says
//! what is [`Missing`]: the parent warns of it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr as _, RulesetError,
    RulesetStatus, Scope,
};
use libc::c_int;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};

/// How the line begins in which a worker says what it misses.
const NOTICE: &str = "sandbox: missing ";
/// The longest such line.
const MAX_NOTICE_BYTES: u64 = 4 << 10;

/// The layers that could not be had, each with why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Missing {
    /// Files, TCP and other processes are out of reach only as far as seccomp sees to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock: Option<String>,
    /// Every system call is there, and with them UDP and whatever else this kernel's Landlock does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp: Option<String>,
}

impl Missing {
    /// Says on stderr what is missing, if anything is; to be called before anything else is written there.
    pub(super) fn say(&self) {
        if *self == Self::default() {
            return;
        }
        let Ok(json) = serde_json::to_string(self) else {
            return;
        };
        // Without a stderr there is nobody to be told.
        let _ = writeln!(io::stderr(), "{NOTICE}{json}");
    }

    /// What a worker said of itself first on its stderr; nothing if it began with something else, which `words` keeps.
    ///
    /// Only the first line counts: it is from before the worker has read any template.
    pub(super) fn heard(stderr: &mut impl BufRead, words: &mut Vec<u8>) -> Option<Self> {
        let read = stderr.take(MAX_NOTICE_BYTES).read_until(b'\n', words);
        let notice = read.ok().and_then(|_| {
            let json = words.strip_prefix(NOTICE.as_bytes())?;
            serde_json::from_slice(json).ok()
        });
        if notice.is_some() {
            words.clear();
        }
        notice
    }
}

/// Takes away from this thread, and those that it starts, what rendering does not need. There is no way back.
///
/// To be called while the process has only this thread.
pub(super) fn enter() -> Missing {
    // In this order: the filter also refuses Landlock's own system calls.
    let landlock = restrict_reach().err();
    let seccomp = filter_system_calls()
        .map_err(|error| error.to_string())
        .err();
    Missing { landlock, seccomp }
}

/// Landlock with no exception: a ruleset that handles whatever this kernel can, and allows none of it.
fn restrict_reach() -> Result<ABI, String> {
    // Each right that a later version adds is one more that is refused, so the newest that the library knows.
    const NEWEST: ABI = ABI::V10;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(NEWEST)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|error: RulesetError| error.to_string())?;
    match (status.ruleset, status.landlock) {
        (
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced,
            LandlockStatus::Available { effective_abi, .. },
        ) => Ok(effective_abi),
        (_, LandlockStatus::NotEnabled) => {
            Err("the kernel has it, but it was not enabled at boot".to_owned())
        }
        (_, LandlockStatus::NotImplemented | LandlockStatus::Available { .. }) => Err(
            "the kernel does not have it, or what this runs in does not let it through".to_owned(),
        ),
    }
}

/// Why no filter was set up.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    /// It cannot be expressed, as on a processor that the library does not know.
    #[error(transparent)]
    Compile(#[from] BackendError),
    /// The kernel does not take it.
    #[error(transparent)]
    Apply(#[from] seccompiler::Error),
}

/// Allows the system calls of [`allowed`] to this thread and those that it starts; all others fail.
fn filter_system_calls() -> Result<(), FilterError> {
    let architecture: TargetArch = std::env::consts::ARCH.try_into()?;
    let errno = |number: c_int| SeccompAction::Errno(number.unsigned_abs());
    // What `clone3` is asked for stands in memory, where a filter cannot look. Without it the C library takes
    // `clone`, whose flags it can see. The strictest answer of all filters counts, and this one comes first because
    // the other refuses filters.
    let no_clone3: BpfProgram = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        errno(libc::ENOSYS),
        architecture,
    )?
    .try_into()?;
    let nothing_else: BpfProgram = SeccompFilter::new(
        allowed()?,
        errno(libc::EPERM),
        SeccompAction::Allow,
        architecture,
    )?
    .try_into()?;
    seccompiler::apply_filter(&no_clone3)?;
    seccompiler::apply_filter(&nothing_else)?;
    Ok(())
}

/// What a worker may ask of the kernel: the rules of which one must fit, by system call; no rules fit always.
///
/// Seen in traces of renders and of processes that panicked, overflowed the stack and ran out of memory; and their
/// nearest kin, which another version of the C library or of the allocator may use.
/// The allocator also asks how many memory nodes there are, by `access`, and takes the refusal for one.
fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let always = Vec::new;
    Ok(BTreeMap::from([
        // Questions come on stdin, answers go to stdout, last words to stderr. No other descriptor can be used, should
        // one have been inherited.
        (
            libc::SYS_read,
            vec![rule([descriptor(libc::STDIN_FILENO)])?],
        ),
        (libc::SYS_write, to_the_parent()?),
        (libc::SYS_writev, to_the_parent()?),
        (libc::SYS_close, always()),
        // Memory that comes from no file and can never be executed.
        (
            libc::SYS_mmap,
            vec![rule([
                flags(2, libc::PROT_EXEC, 0),
                flags(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS),
            ])?],
        ),
        (
            libc::SYS_mprotect,
            vec![rule([flags(2, libc::PROT_EXEC, 0)])?],
        ),
        (libc::SYS_brk, always()),
        (libc::SYS_madvise, always()),
        (libc::SYS_mremap, always()),
        (libc::SYS_munmap, always()),
        // Threads, but no processes, and no new namespaces.
        (
            libc::SYS_clone,
            vec![rule([flags(
                0,
                libc::CLONE_THREAD | NEW_NAMESPACES,
                libc::CLONE_THREAD,
            )])?],
        ),
        // Answered by the other filter.
        (libc::SYS_clone3, always()),
        (libc::SYS_futex, always()),
        // Names of threads, and those that the allocator gives to memory.
        (
            libc::SYS_prctl,
            vec![
                rule([equal(0, libc::PR_SET_NAME.unsigned_abs())])?,
                rule([equal(0, libc::PR_SET_VMA.unsigned_abs())])?,
            ],
        ),
        (libc::SYS_rseq, always()),
        (libc::SYS_sched_getaffinity, always()),
        (libc::SYS_sched_yield, always()),
        (libc::SYS_set_robust_list, always()),
        // Ends: of a thread, in order, by a fault whose handler tells of it, or by `abort`.
        (libc::SYS_exit, always()),
        (libc::SYS_exit_group, always()),
        (libc::SYS_getpid, always()),
        (libc::SYS_gettid, always()),
        (libc::SYS_restart_syscall, always()),
        (libc::SYS_rt_sigaction, always()),
        (libc::SYS_rt_sigprocmask, always()),
        (libc::SYS_rt_sigreturn, always()),
        (libc::SYS_sigaltstack, always()),
        (
            libc::SYS_tgkill,
            vec![rule([equal(0, std::process::id())])?],
        ),
        // Seeds of hash tables, and the time where the kernel gives it by no other way.
        (libc::SYS_clock_gettime, always()),
        (libc::SYS_getrandom, always()),
    ]))
}

const NEW_NAMESPACES: c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

fn to_the_parent() -> Result<Vec<SeccompRule>, BackendError> {
    [libc::STDOUT_FILENO, libc::STDERR_FILENO]
        .map(|number| rule([descriptor(number)]))
        .into_iter()
        .collect()
}

/// One argument of a system call: its place, how much of it the kernel reads, how it is compared, and with what.
type Condition = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// The argument is this number. (The kernel reads no more than 32 bits of what it takes for an `int`.)
fn equal(argument: u8, number: u32) -> Condition {
    (argument, Dword, Eq, number.into())
}

/// Of these flags in the argument exactly those are set.
fn flags(argument: u8, these: c_int, set: c_int) -> Condition {
    let (these, set) = (these.unsigned_abs().into(), set.unsigned_abs().into());
    (argument, Qword, MaskedEq(these), set)
}

/// The first argument is this file descriptor.
fn descriptor(number: c_int) -> Condition {
    equal(0, number.unsigned_abs())
}

/// A rule that fits where all these conditions hold.
fn rule<const N: usize>(conditions: [Condition; N]) -> Result<SeccompRule, BackendError> {
    let conditions = conditions
        .into_iter()
        .map(|(argument, length, operator, value)| {
            SeccompCondition::new(argument, length, operator, value)
        });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
