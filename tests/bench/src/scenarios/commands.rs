//! Whole-process time of what people run by hand, on the config repo that `tidegate init` writes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_testkit::tidegate::{Running, Tidegate};
use tidegate_testkit::work::Work;

use super::Setting;
use crate::site::{bare_repo, start_controller};
use crate::table::{Figure, percentile};

const ROUNDS: usize = 15;

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let repo = bare_repo(folder.path());
    let work = Work::new(repo.to_str().unwrap());
    let config = work.path("").display().to_string();
    let made = setting.program.call(&["init", &config]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let validate = times(|| {
        let answer = setting.program.call(&["validate", &config]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    });
    let version = times(|| {
        assert_eq!(setting.program.call(&["--version"]).code, Some(0));
    });
    let mut controller = carried(setting.program, &work, &repo);
    let status = times(|| {
        let answer = setting
            .program
            .call(&["status", "--repo", repo.to_str().unwrap()]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    });
    controller.terminate();
    let listing = times(|| {
        let listed = Command::new("git")
            .arg("ls-remote")
            .arg(&repo)
            .stdout(Stdio::null())
            .status();
        assert!(listed.unwrap().success());
    });
    let starting = percentile(&version, 50);
    vec![
        Figure::time("tidegate --version, whole process, p50", starting),
        Figure::time(
            "tidegate validate, template repo, whole process, p50",
            percentile(&validate, 50),
        )
        .against("tidegate --version", starting, None),
        Figure::time(
            "tidegate status, template repo, whole process, p50",
            percentile(&status, 50),
        )
        .against("git ls-remote", percentile(&listing, 50), None),
    ]
}

/// The fleet of the template, as far as its first rollout gets while its regions cannot be reached.
fn carried(program: &Tidegate, work: &Work, repo: &Path) -> Running {
    work.commit("Begin the shop");
    work.push("main");
    let data = repo.with_file_name("data");
    let mut controller = start_controller(program, repo.to_str().unwrap(), &data, "30s");
    controller.wait_until("an opened rollout", Duration::from_secs(60), || {
        repo.join("refs/heads/tidegate/canary").exists()
    });
    controller
}

fn times(mut work: impl FnMut()) -> Vec<f64> {
    (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed().as_secs_f64() * 1000.0
        })
        .collect()
}
