//! libFuzzer over the targets, on the stable toolchain.
//!
//! The instrumentation is LLVM's own pass, asked for by code-generation options that are stable; libFuzzer itself is
//! built from the sources in the crate `libfuzzer-sys`. No sanitizer takes part: our code has no `unsafe`, so that a
//! finding is a panic, a hang, a stack that overflows or too much memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::corpus::{self, LONGEST_FILE, MOST_FILES};
use crate::table::Outcome;
use crate::targets::Target;

/// The environment variable that tells the fuzzer's binary which target to run.
pub const TARGET_VARIABLE: &str = "TIDEGATE_FUZZ_TARGET";

/// What makes LLVM count edges and show the operands of comparisons.
const INSTRUMENTATION: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg fuzzing",
];

/// How long one input may take, in seconds.
const LONGEST_EXECUTION: u64 = 20;

/// How much memory a target may take, in MiB.
const MOST_MEMORY: u64 = 2048;

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The fuzzer could not be built.
    #[error("the fuzzer cannot be built: {0}")]
    Build(String),
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// libFuzzer did not do what it was asked.
    #[error("{target}: {why}")]
    Fuzzer {
        /// The target.
        target: &'static str,
        /// What went wrong.
        why: String,
    },
}

/// The folder in which everything is built and found, beside what other builds leave in `target`.
fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz")
}

fn make(folder: &Path) -> Result<(), EngineError> {
    fs::create_dir_all(folder).map_err(|source| EngineError::Io {
        path: folder.to_owned(),
        source,
    })
}

/// The kind of machine that the compiler runs on.
fn host() -> Result<String, EngineError> {
    let failed = |why: String| EngineError::Build(why);
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .map_err(|error| failed(format!("rustc: {error}")))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| failed("rustc does not name its host".to_owned()))
}

/// Builds the fuzzer's binary, and says where it is.
///
/// The target is named although it is the host: only then do `RUSTFLAGS` leave build scripts and macros alone, which
/// have no libFuzzer to be linked with.
pub fn build() -> Result<PathBuf, EngineError> {
    let (home, host) = (home(), host()?);
    make(&home)?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--locked", "--profile", "fuzz"])
        .args(["--target", &host, "--target-dir"])
        .arg(&home)
        .args(["-p", "tidegate-fuzz", "--bin", "libfuzzer"])
        .args(["--features", "coverage-guided"])
        .env("CARGO_INCREMENTAL", "0")
        .env("RUSTFLAGS", INSTRUMENTATION.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .map_err(|error| EngineError::Build(error.to_string()))?;
    if !status.success() {
        return Err(EngineError::Build(format!("cargo ended with {status}")));
    }
    Ok(home.join(host).join("fuzz/libfuzzer"))
}

/// The folder of inputs that runs on this machine have found.
fn found(target: &Target) -> PathBuf {
    home().join("corpus").join(target.name)
}

/// The folder of inputs that ended a target.
fn findings(target: &Target) -> PathBuf {
    home().join("findings").join(target.name)
}

fn fuzzer(binary: &Path, target: &Target) -> Command {
    let mut command = Command::new(binary);
    command
        .env(TARGET_VARIABLE, target.name)
        .env("RUST_BACKTRACE", "0")
        .arg(format!("-timeout={LONGEST_EXECUTION}"))
        .arg(format!("-rss_limit_mb={MOST_MEMORY}"))
        .arg(format!("-max_len={LONGEST_FILE}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// What a run gives: numbers, and of a finding the fuzzer's last words.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The numbers.
    pub outcome: Outcome,
    /// The inputs that ended it.
    pub findings: Vec<PathBuf>,
    /// The end of what the fuzzer said, where there is a finding.
    pub last_words: String,
}

/// Runs each target for so long, `jobs` at a time; what they come to, in the order of the targets.
pub fn run(
    targets: &[&'static Target],
    length: Duration,
    jobs: usize,
) -> Result<Vec<Ran>, EngineError> {
    let binary = build()?;
    let next = AtomicUsize::new(0);
    let ran = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(&binary, target, length);
                    if let Ok(mut ran) = ran.lock() {
                        ran.push(outcome);
                    }
                }
            });
        }
    });
    let mut all = ran
        .into_inner()
        .unwrap_or_default()
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_by(|left, right| left.outcome.target.cmp(&right.outcome.target));
    Ok(all)
}

fn run_one(binary: &Path, target: &'static Target, length: Duration) -> Result<Ran, EngineError> {
    let (found, crashes) = (found(target), findings(target));
    make(&found)?;
    make(&crashes)?;
    let files_of = |folder: &Path| {
        corpus::files(folder).map_err(|source| EngineError::Io {
            path: folder.to_owned(),
            source,
        })
    };
    let before = files_of(&crashes)?;
    let began = Instant::now();
    let output = fuzzer(binary, target)
        .arg(format!("-max_total_time={}", length.as_secs().max(1)))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(&found)
        .arg(corpus::folder(target.name))
        .output()
        .map_err(|source| EngineError::Io {
            path: binary.to_owned(),
            source,
        })?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let findings: Vec<PathBuf> = files_of(&crashes)?
        .into_iter()
        .filter(|file| !before.contains(file))
        .collect();
    if findings.is_empty() && !output.status.success() && !said.contains("artifact") {
        return Err(EngineError::Fuzzer {
            target: target.name,
            why: format!("it ended with {}: {}", output.status, end_of(&said)),
        });
    }
    let mut outcome = Outcome::read(target.name, &said);
    outcome.took = began.elapsed();
    // The same input may end it again, and then lies there already.
    outcome.findings = findings.len().max(usize::from(!output.status.success()));
    Ok(Ran {
        last_words: if output.status.success() {
            String::new()
        } else {
            end_of(&said)
        },
        outcome,
        findings,
    })
}

/// The last lines of what the fuzzer said, without its running account.
fn end_of(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("stat::"))
        .collect();
    let skipped = lines.len().saturating_sub(40);
    lines
        .into_iter()
        .skip(skipped)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Keeps of all inputs that are known on this machine the few that show the most, and gives how many.
pub fn keep(binary: &Path, target: &'static Target) -> Result<usize, EngineError> {
    let folder = corpus::folder(target.name);
    let found = found(target);
    let merged = home().join("merged").join(target.name);
    let control = home().join(format!("{}.merge", target.name));
    for path in [&folder, &found, &merged] {
        make(path)?;
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| EngineError::Io { path, source }
    };
    let _ = fs::remove_file(&control);
    let output = fuzzer(binary, target)
        .arg("-merge=1")
        .arg(format!("-merge_control_file={}", control.display()))
        .args([&merged, &folder, &found])
        .output()
        .map_err(failed(binary))?;
    let text = fs::read_to_string(&control).map_err(failed(&control))?;
    if !output.status.success() {
        return Err(EngineError::Fuzzer {
            target: target.name,
            why: end_of(&String::from_utf8_lossy(&output.stderr)),
        });
    }
    let chosen = corpus::choose(&corpus::read_control_file(&text), MOST_FILES);
    for old in corpus::files(&folder).map_err(failed(&folder))? {
        if !chosen
            .iter()
            .any(|kept| kept.file_name() == old.file_name())
        {
            fs::remove_file(&old).map_err(failed(&old))?;
        }
    }
    for new in &chosen {
        if let Some(name) = new.file_name() {
            let kept = folder.join(name);
            if !kept.exists() {
                fs::copy(new, &kept).map_err(failed(new))?;
            }
        }
    }
    Ok(chosen.len())
}
