//! Render workers as child processes: what becomes of templates that never end, and what a worker has of the machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use serde_json::json;
use tidegate_controller::render_worker::ChildWorkers;
use tidegate_renderer::worker::{Job, RegionJob, TemplateSource, TemplateWorker, WorkerError};
use tidegate_testkit::wait::{wait_for, wait_until};

use crate::small_fleet::{LONG, SmallFleet};

fn workers() -> ChildWorkers {
    ChildWorkers::running(env!("CARGO_BIN_EXE_tidegate").into())
}

fn job(text: &str, regions: usize) -> Job {
    let many: Vec<_> = (0..1000).collect();
    Job {
        templates: vec![TemplateSource {
            file: "templates/a.yaml.hbs".to_owned(),
            partial: None,
            region: None,
            text: text.to_owned(),
        }],
        expressions: Vec::new(),
        regions: (0..regions)
            .map(|index| RegionJob {
                region: format!("region-{index}"),
                context: json!({ "name": format!("region-{index}"), "many": many }),
                templates: vec![0],
                expressions: false,
            })
            .collect(),
    }
}

#[test]
fn every_region_is_answered_once() {
    let answers = Mutex::new(Vec::new());
    let answer = |given: tidegate_renderer::worker::RegionAnswer| {
        answers
            .lock()
            .unwrap()
            .push((given.index, given.outputs[0].clone().unwrap()));
    };
    workers().run(&job("name: {{name}}", 20), &answer).unwrap();
    let mut answers = answers.into_inner().unwrap();
    answers.sort();
    let wanted: Vec<_> = (0..20)
        .map(|index| (index, format!("name: region-{index}")))
        .collect();
    assert_eq!(answers, wanted);
}

#[test]
fn a_template_that_never_ends_is_stopped_and_its_region_named() {
    let each = "{{#each @root.many}}".repeat(5) + &"{{/each}}".repeat(5);
    let error = workers()
        .deadline(Duration::from_millis(300))
        .run(&job(&each, 1), &|_| {})
        .unwrap_err();
    assert_eq!(
        error,
        WorkerError::Stopped {
            reason: "it took longer than 300ms".to_owned(),
            regions: vec!["region-0".to_owned()],
        }
    );
}

#[test]
fn templates_that_do_not_parse_are_refused_before_any_region() {
    let error = workers()
        .run(&job("{{#if name}}", 3), &|_| panic!("nothing to answer"))
        .unwrap_err();
    assert!(matches!(error, WorkerError::Templates(_)), "{error:?}");
}

#[test]
fn a_program_that_is_no_worker_is_broken_and_no_verdict() {
    let error = ChildWorkers::running("/bin/true".into())
        .run(&job("a", 1), &|_| {})
        .unwrap_err();
    assert!(matches!(error, WorkerError::Broken { .. }), "{error:?}");
}

#[test]
fn a_worker_that_runs_out_of_memory_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    // Less memory than a worker has otherwise, so that the test needs less too. Written by a process of its own: see
    // `copy_of_the_program`.
    let script = format!(
        "printf '#!/bin/sh\\nulimit -v 300000\\nexec {} \"$@\"\\n' > {program} && chmod +x {program}",
        env!("CARGO_BIN_EXE_tidegate"),
        program = program.display(),
    );
    let written = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(written.success());
    let mut job = job("a", 1);
    let maps: Vec<_> = (0..150_000).map(|_| json!({ "": 0 })).collect();
    job.regions[0].context = json!({ "many": maps });
    let error = ChildWorkers::running(program)
        .run(&job, &|_| {})
        .unwrap_err();
    assert_eq!(
        error,
        WorkerError::Stopped {
            reason: "it needed more than 2048 MiB of memory".to_owned(),
            regions: vec!["region-0".to_owned()],
        }
    );
}

/// The render workers of a process.
fn workers_of(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children: String = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .collect();
    children
        .split_whitespace()
        .filter_map(|id| id.parse::<u32>().ok())
        .filter(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains("render-worker")
        })
        .collect()
}

/// The fields of `/proc/<id>/status`; none of a process that is gone.
fn status_of(id: u32) -> BTreeMap<String, String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The open file descriptors of a process, and what is open there.
fn descriptors_of(id: &str) -> BTreeMap<String, PathBuf> {
    let folder = fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    folder
        .filter_map(|entry| {
            let entry = entry.unwrap();
            // Of this process, others are opened and closed meanwhile.
            let opened = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().into_string().unwrap(), opened))
        })
        .collect()
}

/// Whether what `/proc/<id>/fdinfo` says of a file descriptor is that no program that is run gets it.
fn closes_at_exec(about: &str) -> bool {
    let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    flags & libc::O_CLOEXEC != 0
}

#[test]
fn a_live_worker_is_locked_in_inherits_nothing_and_dies_with_its_parent() {
    let fleet = SmallFleet::settled();
    let mut running = fleet.controller("watched").start();
    // A template that computes for longer than anybody waits.
    let poison = "{{#each values.few}}{{#each @root.values.few}}{{#if (eq (sha256 (toJson @root.values.many)) \"\")}}{{/if}}{{/each}}{{/each}}";
    let list = |length: u32| -> String {
        let items: Vec<String> = (0..length).map(|number| number.to_string()).collect();
        items.join(", ")
    };
    let values = format!(
        "version: \"2\"\nfew: [{}]\nmany: [{}]\n",
        list(100),
        list(20_000)
    );
    fleet.work.publish(
        &[
            ("templates/poison.yaml.hbs", poison),
            ("values/fleet.yaml", &values),
        ],
        "Compute without end",
    );
    // Its thread for rendering is started when it is locked in.
    let worker = wait_for("a worker that renders", LONG, || {
        workers_of(running.id()).into_iter().find(|id| {
            status_of(*id)
                .get("Threads")
                .is_some_and(|count| count == "2")
        })
    });
    let status = status_of(worker);
    assert_eq!(status["NoNewPrivs"], "1");
    // A filter is in force.
    assert_eq!(status["Seccomp"], "2");
    let process = PathBuf::from(format!("/proc/{worker}"));
    let mut descriptors = descriptors_of(&worker.to_string());
    for descriptor in ["0", "1", "2"] {
        let opened = descriptors.remove(descriptor).unwrap();
        assert!(opened.to_string_lossy().starts_with("pipe:"), "{opened:?}");
    }
    // Beside its pipes there is what whoever runs the tests leaves open for all programs; the filter keeps a worker from
    // using it.
    let mut left_open = descriptors_of("self");
    left_open.retain(|descriptor, _| {
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}"));
        !["0", "1", "2"].contains(&descriptor.as_str())
            && about.is_ok_and(|about| !closes_at_exec(&about))
    });
    assert_eq!(descriptors, left_open);
    assert_eq!(fs::read_to_string(process.join("environ")).unwrap(), "");
    assert_eq!(
        fs::read_link(process.join("cwd")).unwrap(),
        PathBuf::from("/")
    );
    let limits = fs::read_to_string(process.join("limits")).unwrap();
    for (limit, most) in [
        ("Max address space", "2147483648"),
        ("Max cpu time", "600"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max open files", "16"),
    ] {
        let line = limits.lines().find_map(|line| line.strip_prefix(limit));
        let values: Vec<_> = line.unwrap().split_whitespace().take(2).collect();
        assert_eq!(values, [most, most], "{limit}");
    }
    assert!(!running.stderr().contains("without a part of their sandbox"));
    running.kill();
    wait_until("the worker's end", LONG, || {
        status_of(worker)
            .get("State")
            .is_none_or(|state| state.starts_with('Z'))
    });
}

/// Set in the process that takes the sandbox from those it starts.
const BARE: &str = "TIDEGATE_TEST_BARE";

#[test]
fn where_the_kernel_has_no_sandbox_it_is_said_once_and_rendered_all_the_same() {
    if std::env::var_os(BARE).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=2"])
            .arg("render_worker::where_the_kernel_has_no_sandbox_it_is_said_once_and_rendered_all_the_same")
            .env(BARE, "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("1 passed"), "{stdout}");
        return;
    }
    // From here on this thread, and whatever it starts, is on a kernel without Landlock and seccomp.
    let without = SeccompFilter::new(
        BTreeMap::from([
            (libc::SYS_landlock_create_ruleset, Vec::new()),
            (libc::SYS_seccomp, Vec::new()),
        ]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap();
    let without: BpfProgram = without.try_into().unwrap();
    seccompiler::apply_filter(&without).unwrap();
    let fleet = SmallFleet::empty();
    let mut running = fleet.controller("bare").start();
    fleet.publish_first();
    running.wait_until("success", LONG, || fleet.rollout_is("Succeeded"));
    fleet.publish_version("2");
    running.wait_until("success of the second", LONG, || {
        fleet.count("RolloutOpened") == 2 && fleet.rollout_is("Succeeded")
    });
    let said = running.stderr();
    let warnings: Vec<_> = said
        .lines()
        .filter(|line| line.contains("without a part of their sandbox"))
        .collect();
    assert_eq!(warnings.len(), 1, "{said}");
    assert!(
        warnings[0].contains("the kernel does not have it")
            && warnings[0].contains("Function not implemented"),
        "{said}"
    );
}
