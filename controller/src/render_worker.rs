//! Templates run in child processes of the same program, under limits, for a template can overflow the stack
//! and nothing in the same process could catch that.
//!
//! [`ChildWorkers`] is the parent's side; [`serve`] is the child's whole life, behind the hidden subcommand
//! `render-worker`. It is spent in a [`sandbox`].

pub mod sandbox;

use std::io::{self, BufReader, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rlimit::Resource;
use rustix::process::{Signal, set_parent_process_death_signal};
use sandbox::Missing;
use tidegate_renderer::worker::{self, Job, RegionAnswer, TalkError, TemplateWorker, WorkerError};
use tracing::warn;

/// The name of the hidden subcommand that is a worker.
pub const SUBCOMMAND: &str = "render-worker";

/// The most memory that a worker may map. What it holds at once is bounded far below by the renderer's own limits.
const MEMORY_BYTES: u64 = 2 << 30;
/// The most processor time that a worker may use in its life, which is one commit.
const CPU_SECONDS: u64 = 600;
/// How much of what a dying worker says is kept.
const LAST_WORDS_BYTES: u64 = 16 << 10;
/// How long a child that has stopped talking may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// The child could not live its life.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The operating system refused a limit; without limits nothing is rendered.
    #[error("cannot limit the render worker: {0}")]
    Limit(#[source] io::Error),
    /// The parent went away or said something that is not the protocol.
    #[error(transparent)]
    Talk(#[from] TalkError),
}

/// Limits this process and locks it in, then renders what stdin asks for until it ends.
pub fn serve() -> Result<(), ServeError> {
    let limit = |resource: Resource, most: u64| {
        let (_, hard) = resource.get().map_err(ServeError::Limit)?;
        let most = most.min(hard);
        resource.set(most, most).map_err(ServeError::Limit)
    };
    limit(Resource::AS, MEMORY_BYTES)?;
    limit(Resource::CPU, CPU_SECONDS)?;
    limit(Resource::CORE, 0)?;
    limit(Resource::FSIZE, 0)?;
    // It has its three pipes and needs no file.
    limit(Resource::NOFILE, 16)?;
    // The thread that started it waits for it. One that computes would not notice that nobody does any more.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| ServeError::Limit(error.into()))?;
    sandbox::enter().say();
    worker::serve(io::stdin(), io::stdout())?;
    Ok(())
}

/// Renders in child processes, several regions at a time.
#[derive(Debug, Clone)]
pub struct ChildWorkers {
    program: PathBuf,
    count: usize,
    deadline: Duration,
}

impl ChildWorkers {
    /// Workers that are this program itself, as many as there are processors.
    pub fn new() -> io::Result<Self> {
        std::env::current_exe().map(Self::running)
    }

    /// Workers that run the `tidegate` at this path.
    #[must_use]
    pub fn running(program: PathBuf) -> Self {
        Self {
            program,
            count: thread::available_parallelism().map_or(1, usize::from),
            deadline: Duration::from_secs(30),
        }
    }

    /// The same with another bound on the time that one region may take.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn start(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            // A Ctrl-C at the terminal is the parent's to answer.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// One child's share of a job: regions for as long as `next` gives any.
    fn work(
        &self,
        job: &Job,
        next: &AtomicUsize,
        answer: &(dyn Fn(RegionAnswer) + Sync),
    ) -> Result<(), WorkerError> {
        let mut child = self.start().map_err(broken)?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(broken("it was started without its pipes"));
        };
        let child = Mutex::new(child);
        let current = AtomicUsize::new(usize::MAX);
        let (tell, told) = mpsc::channel();
        let indices = std::iter::from_fn(|| {
            let index = next.fetch_add(1, Ordering::SeqCst);
            (index < job.regions.len()).then_some(index)
        });
        let (talk, late, given_up, last_words) = thread::scope(|scope| {
            let (watched, deadline) = (&child, self.deadline);
            let watch = scope.spawn(move || watch(watched, deadline, &told));
            let listen = scope.spawn(move || last_words(stderr));
            let asked = |index| {
                current.store(index, Ordering::SeqCst);
                // The watch ends first only when it has killed the child, which is noticed below.
                let _ = tell.send(Moment::Working);
            };
            let answered = |given| {
                // Time that we take ourselves is not the child's.
                let _ = tell.send(Moment::Waiting);
                answer(given);
                let _ = tell.send(Moment::Working);
            };
            let talk = worker::converse(stdout, stdin, job, indices, asked, &answered);
            let _ = tell.send(Moment::Ended);
            let given_up = talk.is_err() && !ended_by_itself(&child);
            let late = watch.join().unwrap_or(false);
            (talk, late, given_up, listen.join().unwrap_or_default())
        });
        let status = child
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .wait()
            .map_err(broken)?;
        match talk {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problems)) => Err(WorkerError::Templates(problems)),
            Err(error) => {
                let reason = if late {
                    Some(format!(
                        "it took longer than {}",
                        tidegate_waves::duration::format(self.deadline)
                    ))
                } else if given_up {
                    None
                } else {
                    reason(status, &last_words)
                };
                let Some(reason) = reason else {
                    let last_line = last_words.trim().lines().last().unwrap_or_default();
                    return Err(broken(format!("{error} {last_line}").trim()));
                };
                let region = job.regions.get(current.load(Ordering::SeqCst));
                Err(WorkerError::Stopped {
                    reason,
                    regions: region.iter().map(|region| region.region.clone()).collect(),
                })
            }
        }
    }
}

impl TemplateWorker for ChildWorkers {
    fn run(&self, job: &Job, answer: &(dyn Fn(RegionAnswer) + Sync)) -> Result<(), WorkerError> {
        let next = AtomicUsize::new(0);
        let count = self.count.min(job.regions.len()).max(1);
        let results: Vec<Result<(), WorkerError>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..count)
                .map(|_| {
                    scope.spawn(|| {
                        let result = self.work(job, &next, answer);
                        if result.is_err() {
                            // What failed once fails the commit: the others need not begin another region.
                            next.store(job.regions.len(), Ordering::SeqCst);
                        }
                        result
                    })
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| {
                    worker
                        .join()
                        .unwrap_or_else(|_| Err(broken("its thread panicked")))
                })
                .collect()
        });
        gather(results)
    }
}

/// One result of several: what is known about the templates counts before what is known about workers.
fn gather(results: Vec<Result<(), WorkerError>>) -> Result<(), WorkerError> {
    let mut stopped: Option<(String, Vec<String>)> = None;
    let mut broken = None;
    for error in results.into_iter().filter_map(Result::err) {
        match error {
            WorkerError::Templates(_) => return Err(error),
            WorkerError::Stopped { reason, regions } => {
                stopped
                    .get_or_insert_with(|| (reason, Vec::new()))
                    .1
                    .extend(regions);
            }
            WorkerError::Broken { .. } => broken = Some(error),
        }
    }
    if let Some((reason, mut regions)) = stopped {
        regions.sort();
        return Err(WorkerError::Stopped { reason, regions });
    }
    broken.map_or(Ok(()), Err)
}

/// What the conversation with a child has come to.
enum Moment {
    /// The child has something to do.
    Working,
    /// We have something to do.
    Waiting,
    /// Nothing more is said.
    Ended,
}

/// Kills a child that works on one region for longer than `deadline`; says whether it did.
fn watch(child: &Mutex<Child>, deadline: Duration, told: &Receiver<Moment>) -> bool {
    let mut moment = Moment::Working;
    loop {
        let next = match moment {
            Moment::Working => match told.recv_timeout(deadline) {
                Err(RecvTimeoutError::Timeout) => {
                    kill(child);
                    return true;
                }
                Ok(next) => next,
                Err(RecvTimeoutError::Disconnected) => return false,
            },
            Moment::Waiting => match told.recv() {
                Ok(next) => next,
                Err(mpsc::RecvError) => return false,
            },
            Moment::Ended => return false,
        };
        moment = next;
    }
}

/// Waits for a child that has stopped talking, for it is probably dying of something that its exit status tells;
/// kills it if it does not.
fn ended_by_itself(child: &Mutex<Child>) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LAST_MOMENTS {
        let ended = child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_wait();
        if let Ok(Some(_)) = ended {
            return true;
        }
        thread::sleep(Duration::from_millis(10));
    }
    kill(child);
    false
}

fn kill(child: &Mutex<Child>) {
    // It may have ended by itself, which is as good.
    let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
}

/// Hears a child out: warns of what its sandbox misses, and gives the beginning of what else it says.
fn last_words(stderr: impl Read) -> String {
    let mut stderr = BufReader::new(stderr);
    let mut kept = Vec::new();
    if let Some(missing) = Missing::heard(&mut stderr, &mut kept) {
        warn_once(&missing);
    }
    let read = stderr
        .by_ref()
        .take(LAST_WORDS_BYTES)
        .read_to_end(&mut kept);
    // The rest is read too, or the child would wait for a full pipe.
    let _ = read.and_then(|_| io::copy(&mut stderr, &mut io::sink()));
    String::from_utf8_lossy(&kept).into_owned()
}

/// Says what workers have to do without. It is the same for all, so once is enough.
fn warn_once(missing: &Missing) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        warn!(
            landlock = missing.landlock.as_deref().unwrap_or("in force"),
            seccomp = missing.seccomp.as_deref().unwrap_or("in force"),
            "render workers run without a part of their sandbox; their limits on memory, time and output are in force. \
             Landlock needs Linux 5.13 or later with landlock among its security modules, seccomp CONFIG_SECCOMP_FILTER, \
             and a container runtime whose profile allows both (docs: operating)"
        );
    });
}

/// What its input did to a child, as far as its end tells; nothing if it was not the input.
fn reason(status: ExitStatus, last_words: &str) -> Option<String> {
    if last_words.contains("overflowed its stack") {
        return Some("templates nest deeper than the stack allows".to_owned());
    }
    if last_words.contains("memory allocation") {
        return Some(format!(
            "it needed more than {} MiB of memory",
            MEMORY_BYTES >> 20
        ));
    }
    // SIGXCPU, and SIGKILL where the hard limit comes at the same moment or the system is out of memory.
    match status.signal() {
        Some(24) => Some(format!(
            "it used more than {CPU_SECONDS} s of processor time"
        )),
        Some(signal) => Some(format!("its process was ended by signal {signal}")),
        None => None,
    }
}

fn broken(reason: impl std::fmt::Display) -> WorkerError {
    WorkerError::Broken {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_on_templates_beats_one_on_workers() {
        let stopped = |region: &str| {
            Err(WorkerError::Stopped {
                reason: "late".to_owned(),
                regions: vec![region.to_owned()],
            })
        };
        assert_eq!(gather(vec![Ok(()), Ok(())]), Ok(()));
        assert_eq!(
            gather(vec![stopped("b"), Err(broken("x")), stopped("a")]),
            Err(WorkerError::Stopped {
                reason: "late".to_owned(),
                regions: vec!["a".to_owned(), "b".to_owned()],
            })
        );
        assert_eq!(
            gather(vec![stopped("b"), Err(WorkerError::Templates(Vec::new()))]),
            Err(WorkerError::Templates(Vec::new()))
        );
    }

    #[test]
    fn a_worker_that_cannot_be_started_is_broken_and_no_verdict() {
        let workers = ChildWorkers {
            program: "/nonexistent/tidegate".into(),
            count: 2,
            deadline: Duration::from_secs(1),
        };
        let job = Job {
            templates: Vec::new(),
            expressions: Vec::new(),
            regions: Vec::new(),
        };
        let error = workers.run(&job, &|_| {}).unwrap_err();
        assert!(matches!(error, WorkerError::Broken { .. }), "{error}");
    }
}
