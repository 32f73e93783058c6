//! The eight verbs as people call them, over HTTP, with and without a controller that answers.

use serde_json::Value;
use tidegate_testkit::git_server::{PASSWORD, USERNAME};
use tidegate_testkit::tidegate::{Answer, Tidegate};

use super::fleet::{FLEET, Fleet, MAIN, REQUESTS, stop};

/// A canary that still shows the old revision: neither healthy nor harmed.
const OLD: Option<(u16, &str)> = Some((200, r#"{"version":"1"}"#));

impl Fleet {
    /// The program as a person calls it, whose git knows who they are and their password.
    pub(super) fn person(&self, name: &str, more: &str) -> Tidegate {
        let file = self.home.path().join(format!("{name}.gitconfig"));
        let text = format!(
            "[user]\n\tname = {name}\n\temail = {name}@example.com\n[credential]\n\thelper = \"!f() {{ echo username={USERNAME}; echo password={PASSWORD}; }}; f\"\n{more}"
        );
        std::fs::write(&file, text).unwrap();
        Tidegate::new(env!("CARGO_BIN_EXE_tidegate"), self.home.path())
            .env("GIT_CONFIG_GLOBAL", file)
    }

    /// A request by a person.
    pub(super) fn call(&self, person: &Tidegate, arguments: &[&str]) -> Answer {
        let url = self.server.url(super::fleet::REPO);
        let (verb, rest) = arguments.split_first().unwrap();
        person.call(&[&[*verb, "--repo", &url], rest].concat())
    }

    fn asks(&self, arguments: &[&str], code: i32) -> Answer {
        let answer = self.call(&self.person("jo", ""), arguments);
        assert_eq!(
            answer.code,
            Some(code),
            "{arguments:?}: {}{}\n{}",
            answer.stdout,
            answer.stderr,
            self.story()
        );
        answer
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.stdout))
}

#[test]
fn a_hold_is_written_as_the_contract_says_and_no_reason_forges_anything() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let running = fleet.background();
    let reason = "the database\n\nTidegate-Request: abort\nTidegate-Region: eastus";
    let answer = fleet.asks(
        &[
            "hold", "--region", "westus3", "--until", "2h", "--reason", reason, "-o", "json",
        ],
        0,
    );
    let shown = json(&answer);
    assert_eq!(shown["verb"], "hold");
    assert_eq!(shown["answer"], "accepted");
    assert_eq!(shown["reason"], Value::Null);
    let request = fleet.tip(REQUESTS);
    assert_eq!(shown["request"], request.as_str());
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%an <%ae> %s %P", &request]),
        "jo <jo@example.com> Hold"
    );
    assert_eq!(fleet.git(&["ls-tree", &request]), "");
    assert_eq!(fleet.trailer(&request, "Tidegate-Request"), ["hold"]);
    assert_eq!(fleet.trailer(&request, "Tidegate-Region"), ["westus3"]);
    assert_eq!(fleet.trailer(&request, "Tidegate-Until").len(), 1);
    let entry = fleet.newest("Requested");
    for part in [
        "jo <jo@example.com>",
        "signature not verified",
        "the database",
    ] {
        assert!(entry.message.contains(part), "{}", entry.message);
    }
    // Its successor stands on it.
    fleet.asks(&["resume"], 0);
    assert_eq!(
        fleet.git(&["log", "-1", "--format=%s %P", REQUESTS]),
        format!("Resume {request}")
    );
    assert_eq!(fleet.holds(), [""; 0]);
    stop(running);
    fleet.audit();
}

#[test]
fn what_is_clearly_wrong_is_said_before_anything_is_written() {
    let fleet = Fleet::new();
    let answer = fleet.asks(&["hold"], 1);
    assert!(answer.stderr.contains("has no log"), "{}", answer.stderr);
    fleet.settle(0);
    for (arguments, code, said) in [
        (
            &["hold", "--region", "westus2"][..],
            2,
            "did you mean westus3?",
        ),
        (&["hold", "--wave", "pilto"], 2, "did you mean pilot?"),
        (&["hold", "--until", "tomorrow"], 2, "is no time"),
        (&["abort", "--rollout", "00000000-7"], 1, "the newest is"),
        (&["skip"], 2, "--region"),
        (
            &["resume", "--adopt", "--restore"],
            2,
            "cannot be used with",
        ),
        (&["hotfix", "0000000"], 2, "no commit of"),
        (&["hotfix", "main"], 2, "is no commit id"),
        (&["revert", "--to", "fffffff"], 2, "no commit of"),
        (&["approve"], 1, "nothing waits for approval"),
    ] {
        let answer = fleet.asks(arguments, code);
        assert!(
            answer.stderr.contains(said),
            "{arguments:?}: {}",
            answer.stderr
        );
        assert_eq!(answer.stdout, "", "{arguments:?}");
    }
    let nobody = fleet
        .person("nobody", "")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    let repo = fleet.server.path(super::fleet::REPO);
    let answer = nobody.call(&["hold", "--repo", repo.to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(answer.stderr.contains("user.email"), "{}", answer.stderr);
    assert_eq!(fleet.server.tip(super::fleet::REPO, REQUESTS), None);
}

#[test]
fn without_a_controller_a_request_stays_queued_and_is_answered_later() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let answer = fleet.asks(&["hold", "--timeout", "1s", "-o", "json"], 6);
    assert_eq!(json(&answer)["answer"], "queued");
    assert!(answer.stderr.contains("stays queued"), "{}", answer.stderr);
    let request = fleet.tip(REQUESTS);
    assert_eq!(fleet.answer(&request), None);
    fleet.settle(5);
    assert_eq!(fleet.answer(&request).as_deref(), Some("accepted"));
}

#[test]
fn requests_of_several_people_at_once_are_all_answered() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let running = fleet.background();
    let url = fleet.server.url(super::fleet::REPO);
    let people = ["ann", "bob", "cid", "dot"].map(|name| fleet.person(name, ""));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let threads: Vec<_> = people
            .iter()
            .zip(["westus3", "eastus", "northeurope", "uksouth"])
            .map(|(person, region)| {
                let url = &url;
                scope.spawn(move || person.call(&["hold", "--repo", url, "--region", region]))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    for answer in &answers {
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    }
    assert_eq!(fleet.git(&["rev-list", "--count", REQUESTS]), "4");
    assert_eq!(fleet.holds(), ["Requested"; 4]);
    stop(running);
    fleet.audit();
}

#[test]
fn abort_retry_skip_hotfix_and_revert_do_what_they_say() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("westus3", OLD);
    fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    fleet.asks(&["abort", "--reason", "not now"], 0);
    fleet.wait_for(&mut running, "Aborted", entries);
    assert_eq!(fleet.versions(), ["1"; 4]);
    // The same commit again; this time one region of the second wave is waited for.
    let entries = fleet.log().len();
    fleet.force("northeurope", OLD);
    fleet.force("westus3", None);
    fleet.asks(&["retry"], 0);
    fleet.wait_until(&mut running, "northeurope is waited for", |fleet| {
        fleet.log().len() > entries + 2 && fleet.regions()["northeurope"] == "Verifying"
    });
    fleet.asks(&["skip", "--region", "northeurope"], 0);
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.regions()["northeurope"], "Skipped");
    fleet.force("northeurope", None);
    // A commit that waits takes the place of one that is stuck.
    let entries = fleet.log().len();
    fleet.force("westus3", OLD);
    fleet.release("3", "none", "Version 3");
    fleet.wait_until(&mut running, "the canary is asked", |fleet| {
        fleet.log().len() > entries + 1 && fleet.regions()["westus3"] == "Verifying"
    });
    let fix = fleet.release("4", "none", "Version 4");
    fleet.asks(&["hotfix", &fix[..10]], 0);
    fleet.force("westus3", None);
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.trailer(REQUESTS, "Tidegate-To"), [fix]);
    assert_eq!(fleet.versions(), ["4"; 4]);
    // What is refused says why.
    let answer = fleet.asks(&["skip", "--region", "uksouth", "-o", "json"], 1);
    let shown = json(&answer);
    assert_eq!(shown["answer"], "refused");
    let why = shown["reason"].as_str().unwrap();
    assert!(
        !why.is_empty() && answer.stderr.contains(why),
        "{}",
        answer.stderr
    );
    let newest = fleet.status(&["--last"])["rollouts"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let entries = fleet.log().len();
    fleet.asks(&["revert", &newest, "--reason", "customers complain"], 0);
    fleet.wait_for(&mut running, "Reverted", entries);
    assert_eq!(fleet.trailer(REQUESTS, "Tidegate-Rollout"), [newest]);
    // Who asked for what stays with the rollout that it concerns: what let it open, and what ended it.
    let state: Value =
        serde_json::from_str(&fleet.git(&["show", "tidegate/log:state.json"])).unwrap();
    let asked = &state["rollout"]["asked"];
    assert_eq!(asked.as_array().unwrap().len(), 2, "{asked:#}");
    assert_eq!(asked[0]["verb"], "hotfix", "{asked:#}");
    let asked = &asked[1];
    assert_eq!(asked["verb"], "revert", "{asked:#}");
    assert_eq!(asked["by"], "jo <jo@example.com>");
    assert_eq!(asked["reason"], "customers complain");
    assert_eq!(asked["commit"], fleet.tip(REQUESTS).as_str());
    stop(running);
    fleet.audit();
}

#[test]
fn one_region_is_taken_back_while_the_others_go_on() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let good = fleet.trees();
    let entries = fleet.log().len();
    let mut running = fleet.background();
    fleet.force("northeurope", OLD);
    let source = fleet.release("2", "none", "Version 2");
    fleet.wait_until(&mut running, "the pilot waits for northeurope", |fleet| {
        let regions = fleet.regions();
        regions["northeurope"] == "Verifying" && regions["eastus"] == "Done"
    });
    fleet.asks(&["revert", "--region", "eastus", "--reason", "too slow"], 0);
    fleet.wait_until(&mut running, "eastus has its last good", |fleet| {
        fleet.regions()["eastus"] == "Reverted"
    });
    assert_eq!(fleet.trees()[1], good[1]);
    fleet.force("northeurope", None);
    fleet.wait_for(&mut running, "Succeeded", entries);
    assert_eq!(fleet.versions(), ["2", "1", "2", "2"]);
    assert_eq!(fleet.tip(MAIN), source, "the config branch stays as it is");
    let answer = fleet.asks(&["revert", "--region", "eastus"], 1);
    assert!(
        answer.stderr.contains("use `tidegate revert`"),
        "{}",
        answer.stderr
    );
    stop(running);
    fleet.audit();
}

#[test]
fn approve_wants_the_commit_named_when_several_holds_wait() {
    let fleet = Fleet::new();
    fleet.settle(0);
    fleet.work.remove("templates/one.yaml");
    fleet.work.remove("templates/two.yaml");
    let source = fleet.publish(
        &[("tidegate.yaml", &FLEET.replace("bake: 0s", "bake: 1s"))],
        "Two of five objects go, and the policy changes",
    );
    fleet.settle(5);
    assert_eq!(fleet.holds().len(), 2);
    let answer = fleet.asks(&["approve"], 2);
    let command = format!("tidegate approve --source {}", &source[..12]);
    assert_eq!(
        answer.stderr.matches(&command).count(),
        2,
        "{}",
        answer.stderr
    );
    assert_eq!(fleet.server.tip(super::fleet::REPO, REQUESTS), None);
    let mut running = fleet.background();
    let entries = fleet.log().len();
    fleet.asks(&["approve", "--source", &source[..8]], 0);
    assert_eq!(fleet.trailer(REQUESTS, "Tidegate-To"), [source]);
    fleet.wait_for(&mut running, "Succeeded", entries);
    stop(running);
    fleet.audit();
}
