//! A real Gitea as the config repo's server: both stories, a protected config branch, a private authority, and a token
//! that is rotated.

use std::fs;
use std::path::PathBuf;

use tidegate_testkit::branch_health::Health;
use tidegate_testkit::gitea::{BOT, ENGINEER, Gitea, Status, Token};
use tidegate_testkit::stack::STACK_VARIABLE;
use tidegate_testkit::tidegate::{Answer, Running, Tidegate};
use tidegate_testkit::work::{Work, git_command};

use crate::crash::say;
use crate::small_fleet::{BRANCHES, LOG, LONG, MAIN, publish_first, publish_version};

/// A fleet whose repo is on Gitea.
struct Harbour {
    gitea: Gitea,
    repo: String,
    work: Work,
    health: Health,
    token: Token,
    folder: tempfile::TempDir,
}

impl Harbour {
    /// A fleet with its first commit, and nothing rolled out yet; `None`, said loudly, where there is no Gitea.
    fn new() -> Option<Self> {
        let gitea = Gitea::start();
        if gitea.is_none() {
            say(&format!(
                "SKIPPED: a test on Gitea; set {STACK_VARIABLE} to the folder with gitea/gitea"
            ));
        }
        Some(Self::on(gitea?))
    }

    fn on(gitea: Gitea) -> Self {
        let repo = gitea.create_repo("fleet");
        let work = Work::new(&gitea.repo_url_as(ENGINEER, &repo));
        if let Some(authority) = gitea.authority() {
            let authority = authority.display().to_string();
            work.git(&["config", "http.sslCAInfo", &authority]);
        }
        publish_first(&work);
        let harbour = Self {
            health: Health::start(&gitea.repo_folder(&repo)),
            token: gitea.token(BOT),
            folder: tempfile::tempdir().unwrap(),
            gitea,
            repo,
            work,
        };
        fs::write(harbour.token_file(), &harbour.token.text).unwrap();
        harbour
    }

    fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// A controller, and the arguments that it is called with.
    fn controller(&self) -> (Tidegate, [String; 3]) {
        let folder = self.folder.path();
        fs::write(folder.join("user"), BOT).unwrap();
        let settings = folder.join("settings.yaml");
        let authority = self
            .gitea
            .authority()
            .map(|file| format!(", caFile: {}", file.display()))
            .unwrap_or_default();
        let text = format!(
            "dataDir: data\npoll: 300ms\ntakeoverAfter: 1s\negress: {{ loopback: true }}\nfleets:\n  - name: small\n    \
             repo: {}\n    credentials: {{ usernameFile: user, passwordFile: token }}\n    \
             endpoints: [ {{ name: regions, url: \"{}\" }} ]\n    \
             forge: {{ kind: gitea, api: {}, repository: {}, tokenFile: token{} }}\n",
            self.gitea.repo_url(&self.repo),
            self.health.url(),
            self.gitea.api(),
            self.repo,
            authority
        );
        fs::write(&settings, text).unwrap();
        let mut program = Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), folder);
        if let Some(authority) = self.gitea.authority() {
            program = program.env("SSL_CERT_FILE", authority);
        }
        let arguments = ["run", "--settings", settings.to_str().unwrap()];
        (program, arguments.map(str::to_owned))
    }

    fn start(&self) -> Running {
        let (program, arguments) = self.controller();
        program.start(&arguments.each_ref().map(String::as_str))
    }

    /// Runs a controller until there is nothing more to wait for.
    #[track_caller]
    fn settle(&self, code: i32) -> Answer {
        let (program, [run, option, settings]) = self.controller();
        let answer = program
            .start(&[&run, &option, &settings, "--settle"])
            .wait(LONG);
        assert_eq!(answer.code, Some(code), "{}", answer.stderr);
        assert!(!answer.stderr.contains(&self.token.text));
        answer
    }

    /// Runs git in the repo as Gitea keeps it.
    fn git(&self, arguments: &[&str]) -> String {
        git_command(&self.gitea.repo_folder(&self.repo), arguments)
    }

    /// The trees of the wave branches.
    fn trees(&self) -> Vec<String> {
        let tree = |branch: &str| self.git(&["rev-parse", &format!("{branch}^{{tree}}")]);
        BRANCHES.into_iter().map(tree).collect()
    }

    /// What the log's newest entry says.
    fn newest(&self) -> String {
        self.git(&["log", "-1", "--first-parent", "--format=%s", LOG])
    }

    /// The id of the newest rollout.
    fn rollout(&self) -> String {
        self.git(&[
            "log",
            "-1",
            "--first-parent",
            "--grep=^Tidegate-Entry: RolloutOpened$",
            "--format=%(trailers:key=Tidegate-Rollout,valueonly,separator=%x2c)",
            LOG,
        ])
    }

    /// The statuses of a commit: context, state and text, in the order of their contexts.
    fn statuses(&self, commit: &str) -> Vec<(String, String, String)> {
        let statuses = self.gitea.statuses(&self.repo, commit);
        let plain =
            |(context, status): (String, Status)| (context, status.state, status.description);
        statuses.into_iter().map(plain).collect()
    }

    /// Compares the statuses of a commit with what is wanted, line by line.
    #[track_caller]
    fn assert_statuses(&self, commit: &str, wanted: &[(&str, &str, &str)]) {
        let is: Vec<_> = self.statuses(commit);
        let is: Vec<(&str, &str, &str)> = is
            .iter()
            .map(|(context, state, text)| (context.as_str(), state.as_str(), text.as_str()))
            .collect();
        assert_eq!(is, wanted);
    }

    /// Brings the engineer's tree to where the config branch is.
    fn pull(&self) {
        self.work.pull("main");
    }
}

#[test]
fn a_good_and_a_bad_commit_go_their_way_on_gitea() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.settle(0);
    let second = publish_version(&harbour.work, "2");
    harbour.settle(0);
    let passed = [
        ("tidegate/render", "success", "rendered for 4 regions"),
        (
            "tidegate/rollout",
            "success",
            "3 waves passed, 4/4 regions healthy",
        ),
        (
            "tidegate/wave/broad",
            "success",
            "broad: passed, 2/2 regions healthy",
        ),
        (
            "tidegate/wave/canary",
            "success",
            "canary: passed, 1/1 regions healthy",
        ),
        (
            "tidegate/wave/pilot",
            "success",
            "pilot: passed, 1/1 regions healthy",
        ),
    ];
    harbour.assert_statuses(&second, &passed);
    // Posted on change only: nothing follows itself, and a run without memory finds that all stands already.
    let history = harbour.gitea.status_history(&harbour.repo, &second);
    for context in passed.map(|(context, ..)| context) {
        let of_context: Vec<_> = history.iter().filter(|(of, _)| of == context).collect();
        assert!(of_context.windows(2).all(|two| two[0] != two[1]));
        // What is over before it could be told is told as it ended.
        if context != "tidegate/render" {
            assert_eq!(of_context[0].1.state, "pending", "{context}");
        }
    }
    fs::remove_dir_all(harbour.folder.path().join("data")).unwrap();
    harbour.settle(0);
    let after = harbour.gitea.status_history(&harbour.repo, &second);
    assert_eq!(after, history);
    // One that somebody has written over is set right from the log, by a run that remembers nothing either.
    harbour.gitea.call(
        reqwest::Method::POST,
        &format!("/repos/{}/statuses/{second}", harbour.repo),
        Some(&serde_json::json!({ "context": "tidegate/rollout", "state": "failure", "description": "forged" })),
    );
    fs::remove_dir_all(harbour.folder.path().join("data")).unwrap();
    harbour.settle(0);
    harbour.assert_statuses(&second, &passed);
    let good = harbour.trees();
    let bad = publish_version(&harbour.work, "3-bad");
    harbour.settle(4);
    assert_eq!(harbour.trees(), good);
    let revert = harbour.git(&["log", "-1", "--format=%P %s", MAIN]);
    assert_eq!(revert, format!("{bad} Revert \"Roll 3-bad out\""));
    assert!(harbour.gitea.pulls(&harbour.repo).is_empty());
    let head = harbour.git(&["rev-parse", MAIN]);
    let why = "north healthz answered 500, 2 times in a row";
    harbour.assert_statuses(
        &bad,
        &[
            ("tidegate/render", "success", "rendered for 4 regions"),
            (
                "tidegate/rollout",
                "failure",
                &format!("reverted by {}: {why}", &head[..7]),
            ),
            ("tidegate/wave/broad", "failure", &format!("broad: {why}")),
            (
                "tidegate/wave/canary",
                "failure",
                "canary: given back, broad failed",
            ),
            (
                "tidegate/wave/pilot",
                "failure",
                "pilot: given back, broad failed",
            ),
        ],
    );
    harbour.assert_statuses(
        &head,
        &[
            ("tidegate/render", "success", "rendered for 4 regions"),
            ("tidegate/rollout", "success", "no region changes"),
        ],
    );
}

#[test]
fn a_protected_config_branch_is_reverted_by_a_pull_request() {
    let Some(harbour) = Harbour::new() else {
        return;
    };
    harbour.settle(0);
    let good = harbour.trees();
    harbour.gitea.protect(&harbour.repo, "main", &[ENGINEER]);
    let bad = publish_version(&harbour.work, "2-bad");
    harbour.settle(4);
    // The wave branches are given back all the same.
    assert_eq!(harbour.trees(), good);
    assert_eq!(harbour.git(&["rev-parse", MAIN]), bad);
    let rollout = harbour.rollout();
    let proposal = format!("tidegate-revert/{rollout}");
    let revert = harbour.git(&["log", "-1", "--format=%P %s", &proposal]);
    assert_eq!(revert, format!("{bad} Revert \"Roll 2-bad out\""));

    // An unrelated commit on top does not bring the bad content anywhere.
    harbour
        .work
        .publish(&[("README.md", "About the fleet\n")], "Say what this is");
    harbour.settle(5);
    assert_eq!(harbour.trees(), good);
    let newest = harbour.newest();
    assert!(newest.starts_with("Held: Quarantined"), "{newest}");

    // The merge of the pull request settles it, and what comes next goes its way.
    let pulls = harbour.gitea.pulls(&harbour.repo);
    let [pull] = pulls.as_slice() else {
        panic!("one pull request: {pulls:?}");
    };
    assert_eq!(pull.title, "Revert \"Roll 2-bad out\"");
    assert!(!pull.merged);
    harbour.gitea.merge(&harbour.repo, pull.number);
    harbour.settle(0);
    assert_eq!(harbour.trees(), good);
    assert!(
        harbour.newest().starts_with("NoChange"),
        "{}",
        harbour.newest()
    );
    let pulls = harbour.gitea.pulls(&harbour.repo);
    assert!(pulls.iter().all(|pull| pull.merged), "{pulls:?}");
    harbour.pull();
    publish_version(&harbour.work, "3");
    harbour.settle(0);
    assert_ne!(harbour.trees(), good);
    assert_eq!(harbour.newest(), "Succeeded: every wave passed");
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named_and_a_token_is_rotated_under_way() {
    let Some(gitea) = Gitea::start_https() else {
        say(&format!(
            "SKIPPED: a test on Gitea by HTTPS; set {STACK_VARIABLE}, and install openssl"
        ));
        return;
    };
    let harbour = Harbour::on(gitea);
    let (program, [run, option, settings]) = harbour.controller();
    let answer = program
        .env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
        .call(&[&run, &option, &settings, "--settle"]);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    for part in ["TLS certificate", "is not trusted", "SSL_CERT_FILE"] {
        assert!(answer.stderr.contains(part), "{part} in {}", answer.stderr);
    }
    harbour.settle(0);

    let succeeded = || harbour.newest() == "Succeeded: every wave passed";
    let mut running = harbour.start();
    publish_version(&harbour.work, "2");
    let first = || harbour.git(&["rev-parse", BRANCHES[2]]);
    let before = first();
    running.wait_until("a rollout with the first token", LONG, || {
        first() != before && succeeded()
    });
    harbour.gitea.revoke(BOT, &harbour.token);
    let next = harbour.gitea.token(BOT);
    publish_version(&harbour.work, "3");
    running.wait_until_said("refuses our credentials", LONG);
    let before = first();
    fs::write(harbour.token_file(), &next.text).unwrap();
    running.wait_until("a rollout with the next token", LONG, || {
        first() != before && succeeded()
    });
    let said = running.stderr();
    assert_eq!(said.matches("refuses our credentials").count(), 1, "{said}");
    for token in [&harbour.token, &next] {
        assert!(!said.contains(&token.text));
    }
}
