//! `tidegate run --settle` on a repo on this machine: what it ends with, and what a hold yields to.

use std::fs;
use std::path::PathBuf;

use tidegate_testkit::tidegate::Tidegate;
use tidegate_testkit::work::{Work, git_command};

const FLEET: &str = "apiVersion: tidegate.dev/v1alpha1
kind: Fleet
name: quick
values: [values/all.yaml]
waves:
  - { name: canary, regions: [west], bake: 0 }
gates: []
";
const POLICY: &str = "guards: { maxDeletedObjectsPercent: 20 }\n";
const REGION: &str = "apiVersion: tidegate.dev/v1alpha1\nkind: Region\nname: west\n";
const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: app }\ndata: { version: {{quote values.version}} }\n";

/// A fleet of one region that nothing watches, so that every commit is through in a moment.
struct Quick {
    repo: PathBuf,
    work: Work,
    tidegate: Tidegate,
    _folder: tempfile::TempDir,
}

impl Quick {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("quick.git");
        git_command(
            folder.path(),
            &["init", "-q", "--bare", "-b", "main", "quick.git"],
        );
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let quick = Self {
            work: Work::new(&repo.display().to_string()),
            tidegate: Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), &home),
            repo,
            _folder: folder,
        };
        quick.work.publish(
            &[
                ("tidegate.yaml", FLEET),
                ("regions/west.yaml", REGION),
                ("templates/app.yaml.hbs", TEMPLATE),
                ("values/all.yaml", "version: \"1\"\n"),
            ],
            "Start",
        );
        quick.settles(0);
        quick
    }

    /// What the newest log entry says, once a run ended with `code`.
    fn settles(&self, code: i32) -> String {
        let repo = self.repo.display().to_string();
        let answer = self
            .tidegate
            .call(&["run", "--repo", &repo, "--settle", "--timeout", "60s"]);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        git_command(
            &self.repo,
            &["log", "-1", "--first-parent", "--format=%s", "tidegate/log"],
        )
        .trim()
        .to_owned()
    }
}

#[test]
fn a_commit_that_is_held_yields_to_the_next_one() {
    let quick = Quick::start();
    let both = [
        ("tidegate.yaml", &*format!("{FLEET}{POLICY}")),
        ("values/all.yaml", "version: \"2\"\n"),
    ];
    quick.work.publish(&both, "Policy and content");
    let held = quick.settles(5);
    assert!(held.starts_with("Held: PolicyWithContent"), "{held}");
    // Another commit on top that leaves both in takes the hold over, once.
    quick
        .work
        .publish(&[("values/all.yaml", "version: \"3\"\n")], "More content");
    let held = quick.settles(5);
    assert!(held.starts_with("Held: PolicyWithContent"), "{held}");
    assert_eq!(quick.settles(5), held);
    // Taken back, it is as if it had never been there.
    quick.work.publish(
        &[
            ("tidegate.yaml", FLEET),
            ("values/all.yaml", "version: \"1\"\n"),
        ],
        "Take it back",
    );
    let nothing = quick.settles(0);
    assert!(nothing.starts_with("NoChange"), "{nothing}");
    // Split in two, each is carried by itself, also where both are there at once.
    quick.work.publish(&both[..1], "Policy");
    quick.work.publish(&both[1..], "Content");
    assert_eq!(quick.settles(0), "Succeeded: every wave passed");
    let entries = git_command(
        &quick.repo,
        &["log", "--first-parent", "--format=%s", "tidegate/log"],
    );
    assert_eq!(entries.matches("RolloutOpened:").count(), 3, "{entries}");
}

#[test]
fn below_an_invalid_head_nothing_opens() {
    let quick = Quick::start();
    quick
        .work
        .publish(&[("values/all.yaml", "version: \"2\"\n")], "Content");
    quick
        .work
        .publish(&[("tidegate.yaml", &*format!("{FLEET}{POLICY}"))], "Policy");
    quick
        .work
        .publish(&[("templates/app.yaml.hbs", "{{typo}}\n")], "Broken");
    let invalid = quick.settles(3);
    assert!(invalid.starts_with("Invalid: "), "{invalid}");
    quick
        .work
        .publish(&[("templates/app.yaml.hbs", TEMPLATE)], "Mended");
    // Content and policy one by one; what is left of the range changes nothing.
    let nothing = quick.settles(0);
    assert!(nothing.starts_with("NoChange"), "{nothing}");
}

#[test]
fn settings_name_the_fleet_for_every_command_whatever_the_environment_says() {
    let quick = Quick::start();
    let settings = quick.work.path("settings.yaml");
    let repo = quick.repo.display();
    fs::write(
        &settings,
        format!(
            "dataDir: data\nfleets:\n  - {{ name: quick, repo: {repo} }}\n  - {{ name: other, repo: {repo}.nowhere }}\n"
        ),
    )
    .unwrap();
    let settings = settings.display().to_string();
    let home = quick.work.path("");
    let tidegate =
        Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), &home).env("TIDEGATE_REPO", "/there/is/none");
    let call = |arguments: &[&str]| {
        let answer = tidegate.call(&[arguments, &["--settings", &settings]].concat());
        (answer.code, answer.stdout, answer.stderr)
    };
    let (code, stdout, _) = call(&["history", "--fleet", "quick", "-o", "name"]);
    assert_eq!((code, stdout.lines().count()), (Some(0), 1), "{stdout}");
    let (code, _, stderr) = call(&["status"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("choose one with --fleet\nhint: its fleets are: quick, other"),
        "{stderr}"
    );
    assert_eq!(call(&["status", "--fleet", "quik"]).0, Some(2));
    // What is said twice is said alike; neither wins in silence.
    let quick = ["status", "--fleet", "quick", "-o", "name"];
    let with = |more: [&str; 2]| call(&[quick.as_slice(), &more].concat());
    assert_eq!(with(["--repo", &repo.to_string()]).0, Some(0));
    let (code, _, stderr) = with(["--repo", "/there/is/none"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("--repo names /there/is/none") && stderr.contains("leave out one of"),
        "{stderr}"
    );
    let (code, _, stderr) = with(["--prefix", "elsewhere"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("elsewhere/log"), "{stderr}");
    assert_eq!(with(["--prefix", "a..b"]).0, Some(2));
    // The environment does not contradict the settings.
    let (code, _, stderr) = call(&["run", "--settle", "--timeout", "60s"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("nowhere"), "{stderr}");
}
