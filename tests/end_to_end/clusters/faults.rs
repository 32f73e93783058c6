//! API servers that answer badly, late or not at all in the middle of a wave: nothing passes and nothing fails by what they
//! do not say, people are told, and it goes on by itself.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::json;
use tidegate_testkit::http::{Request, Response};
use tidegate_testkit::kubernetes::ADMIN;
use tidegate_testkit::relay::{Relay, cut, shifted};
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::wait::wait_until;

use super::fixture::{LONG, Stage};
use super::fleet::{Fleet, Gates};
use super::follower::Follower;

/// So short that people are soon told of what cannot be known.
const SOON: &str = "10s";

/// Applies what the branches hold: a follower for as long as it is kept, or Argo CD, which looks at the canary at once.
fn applies(stage: &Stage) -> Option<Follower> {
    let Some(argocd) = &stage.argocd else {
        return Some(stage.follower());
    };
    argocd.refresh("shop-west");
    None
}

/// Lets a commit come to the canary's branch, and something go wrong before it is applied, or before it has been well for long
/// enough; then it is applied, and the canary is well, which nobody can know. It must be held with these words.
fn held_meanwhile(
    stage: &Stage,
    controller: &mut Running,
    image: &str,
    words: &str,
    goes_wrong: impl FnOnce(),
) -> String {
    let before = stage.images();
    let commit = stage.publish_values(image, "hello");
    controller.wait_until("the canary is judged", LONG, || {
        stage.region_of(&commit, 0) == "Verifying"
    });
    goes_wrong();
    let follower = applies(stage);
    wait_until("the canary is well", LONG, || {
        stage.image("west").as_deref() == Some(image) && is_available(stage, "west")
    });
    drop(follower);
    stage.held(controller, &commit, "west", ("Unreachable", words));
    assert_eq!(
        stage.images()[1..],
        before[1..],
        "no other region is touched"
    );
    commit
}

/// Waits until all regions have the commit; gives how long the canary took.
fn goes_on(stage: &Stage, controller: &mut Running, commit: &str, image: &str) -> Duration {
    let begun = Instant::now();
    let _follower = applies(stage);
    controller.wait_until("the canary is through", LONG, || {
        stage.region_of(commit, 0) == "Done"
    });
    let took = begun.elapsed();
    stage.say(&format!("the canary was through after {took:?}"));
    controller.wait_until("all regions are through", LONG, || {
        stage.state_of(commit) == "Succeeded"
    });
    let images = stage.images();
    assert_eq!(images, vec![image; images.len()]);
    assert_eq!(stage.status()["holds"], json!([]), "{}", stage.state());
    took
}

fn is_available(stage: &Stage, region: &str) -> bool {
    let path = format!("/apis/apps/v1/namespaces/{region}/deployments/web");
    let deployment = stage.cluster.client().get(&path).unwrap_or_default();
    let status = &deployment["status"];
    let all = |field: &str| status[field] == 2;
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && all("replicas")
        && all("updatedReplicas")
        && all("availableReplicas")
}

/// Whether a controller has logged such a sample of the canary since its log had this length.
fn has_sampled(controller: &Running, since: usize, reading: &str) -> bool {
    let said = controller.stderr();
    let wanted = format!("\"reading\":\"{reading}\"");
    said[since..]
        .lines()
        .any(|line| line.contains("\"region\":\"west\"") && line.contains(&wanted))
}

fn lists_pods(request: &Request) -> bool {
    request.path.ends_with("/pods")
}

/// As an API server answers that is asked for a page of a list that it does not remember.
fn gone() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Expired", "code": 410,
        "message": "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results.",
    });
    Response::json(410, status.to_string())
}

/// As an API server answers that has too much to do.
fn later() -> Response {
    let later = Response::text(429, "Too many requests, please try again later.\n");
    later.with("Retry-After", "3")
}

#[test]
fn what_an_api_server_does_not_say_is_held_and_goes_on_by_itself() {
    let Some(stage) = Stage::set_up_with(Fleet {
        regions: 3,
        deadlines: [SOON, "60s", "60s"],
        ..Fleet::of(Gates::Workloads)
    }) else {
        return;
    };
    let relay = Relay::start(&stage.cluster).expect("openssl, as there is a cluster");
    let token = account_token(&stage);
    stage.reach_by(&relay.kubeconfig(&token));
    let follower = stage.follower();
    stage.publish("the first");
    stage.settle(0);
    drop(follower);
    let mut controller = stage.controller();

    stage.say("connections that drop in the middle of an answer");
    let words = "the API server cannot be reached";
    let commit = held_meanwhile(&stage, &mut controller, "web:2", words, || {
        relay.spoil(|request, answer| {
            Some(if lists_pods(request) {
                cut(answer)
            } else {
                answer
            })
        });
    });
    relay.heal();
    goes_on(&stage, &mut controller, &commit, "web:2");

    stage.say("lists that are forgotten between their pages");
    let words = "410";
    // An API server gives pages of one object where somebody asks for that.
    relay.bend(|request| request.query = request.query.replace("limit=100", "limit=1"));
    let commit = held_meanwhile(&stage, &mut controller, "web:3", words, || {
        relay.spoil(|request, answer| {
            Some(if request.query.contains("continue=") {
                gone()
            } else {
                answer
            })
        });
    });
    let forgotten = Mutex::new(Vec::new());
    relay.spoil(move |request, answer| {
        let mut forgotten = forgotten.lock().unwrap();
        if request.query.contains("continue=") && !forgotten.contains(&request.path) {
            forgotten.push(request.path.clone());
            return Some(gone());
        }
        Some(answer)
    });
    goes_on(&stage, &mut controller, &commit, "web:3");
    relay.heal();

    stage.say("a server that asks for patience");
    let words = "the API server asks for patience (429)";
    let commit = held_meanwhile(&stage, &mut controller, "web:4", words, || {
        relay.spoil(|_, _| Some(later()));
        relay.asked();
    });
    // Once in three seconds by whoever asks first, and by those who were asking at that moment.
    let asked = relay.asked().len();
    stage.say(&format!("asked {asked} times"));
    assert!(asked <= 15, "{asked}");
    relay.heal();
    goes_on(&stage, &mut controller, &commit, "web:4");

    the_token_rotates(&stage, &mut controller, &relay, &token, "web:5");
}

#[test]
fn what_argo_cds_api_server_does_not_say_is_held_and_goes_on_by_itself() {
    let Some(stage) = Stage::set_up_with(Fleet {
        regions: 3,
        // So that no moment is too late to go wrong.
        stable_for: "5s",
        deadlines: [SOON, "60s", "60s"],
        ..Fleet::of(Gates::Argocd)
    }) else {
        return;
    };
    let relay = Relay::start(&stage.cluster).expect("openssl, as there is a cluster");
    let token = account_token(&stage);
    stage.reach_by(&relay.kubeconfig(&token));
    stage.publish("the first");
    stage.settle(0);
    let mut controller = stage.controller();

    stage.say("connections that drop in the middle of an answer");
    let words = "the API server cannot be reached";
    let commit = held_meanwhile(&stage, &mut controller, "web:2", words, || {
        relay.spoil(|_, answer| Some(cut(answer)));
    });
    relay.heal();
    goes_on(&stage, &mut controller, &commit, "web:2");

    stage.say("a server that asks for patience");
    let words = "the API server asks for patience (429)";
    let commit = held_meanwhile(&stage, &mut controller, "web:3", words, || {
        relay.spoil(|_, _| Some(later()));
    });
    relay.heal();
    goes_on(&stage, &mut controller, &commit, "web:3");

    stage.say("lists of Applications that are forgotten, and no Application is found");
    let words = "410";
    let commit = held_meanwhile(&stage, &mut controller, "web:4", words, || {
        relay.spoil(|_, _| Some(gone()));
    });
    relay.heal();
    goes_on(&stage, &mut controller, &commit, "web:4");

    the_token_rotates(&stage, &mut controller, &relay, &token, "web:5");
}

#[test]
fn an_api_server_that_restarts_and_clocks_that_are_wrong_decide_nothing() {
    let Some(mut stage) = Stage::set_up_with(Fleet {
        regions: 4,
        stable_for: "4s",
        deadlines: ["15s", "60s", "60s"],
        ..Fleet::of(Gates::Workloads)
    }) else {
        return;
    };
    let follower = stage.follower();
    stage.publish("the first");
    stage.settle(0);
    drop(follower);
    let mut controller = stage.controller();

    for (image, stays_down) in [("web:2", false), ("web:3", true)] {
        stage.say(if stays_down {
            "an API server that stays down for longer than the deadline"
        } else {
            "an API server that restarts"
        });
        let commit = stage.publish_values(image, "hello");
        let follower = stage.follower();
        wait_until("the canary is well", LONG, || {
            stage.image("west").as_deref() == Some(image) && is_available(&stage, "west")
        });
        drop(follower);
        let since = controller.stderr().len();
        wait_until("that is seen", LONG, || {
            has_sampled(&controller, since, "Progressing")
        });
        stage.cluster.stop();
        wait_until("that is noticed", LONG, || {
            has_sampled(&controller, since, "Unreachable")
        });
        if stays_down {
            let words = "the API server cannot be reached";
            stage.held(&mut controller, &commit, "west", ("Unreachable", words));
        }
        // Where it was away for long, they would come back much later than it.
        let controllers = stage.cluster.controllers();
        controllers.expect("controllers").stop();
        stage.cluster.restart();
        goes_on(&stage, &mut controller, &commit, image);
    }

    stage.say("clocks that are hours off");
    let relay = Relay::start(&stage.cluster).expect("openssl, as there is a cluster");
    stage.reach_by(&relay.kubeconfig(stage.cluster.token(ADMIN)));
    relay.spoil(|request, answer| {
        let hours = match request
            .path
            .split('/')
            .skip_while(|part| *part != "namespaces")
            .nth(1)
        {
            Some("west") => 5,
            Some("east") => -7,
            Some("south") => -48,
            _ => return Some(answer),
        };
        Some(shifted(answer, SignedDuration::from_hours(hours)))
    });
    let commit = stage.publish_values("web:4", "hello");
    let took = goes_on(&stage, &mut controller, &commit, "web:4");
    // Healthy for four seconds by a clock that is right, and then the bake.
    assert!(took >= Duration::from_secs(5), "{took:?}");

    stage.say("the same, and an image that cannot be pulled");
    let commit = stage.publish_values("web:broken", "hello");
    let follower = stage.follower();
    controller.wait_until("it is taken back", LONG, || {
        stage.state_of(&commit) == "RolledBack"
    });
    let reason = stage.rollout()["reason"].clone();
    stage.say(reason.as_str().unwrap_or_default());
    // Which of the two is seen first depends on when one looks.
    let causes = ["ImagePullBackOff of web:broken", "ProgressDeadlineExceeded"];
    let is_true = |cause: &&str| reason.as_str().unwrap().contains(cause);
    assert!(causes.iter().any(is_true), "{reason}");
    wait_until("the canary has the last good image", LONG, || {
        stage.image("west").as_deref() == Some("web:4")
    });
    assert_eq!(stage.images(), vec!["web:4"; 4]);
    drop(follower);
}

/// A token that is not accepted any more, and the next one in the same file.
fn the_token_rotates(
    stage: &Stage,
    controller: &mut Running,
    relay: &Relay,
    token: &str,
    image: &str,
) {
    stage.say("a token that is not accepted any more, and the next one in the same file");
    let words = "the API server does not accept our credentials (401)";
    let expired = format!("Bearer {token}");
    let commit = held_meanwhile(stage, controller, image, words, || {
        relay.bend(move |request| {
            let headers = request.headers.iter_mut();
            for (_, value) in headers.filter(|(_, value)| *value == expired) {
                // The API server remembers for ten seconds which tokens were good; this one it has never seen.
                "Bearer expired".clone_into(value);
            }
        });
    });
    stage.reach_by(&relay.kubeconfig(&account_token(stage)));
    goes_on(stage, controller, &commit, image);
}

/// A token of a service account that may do everything.
fn account_token(stage: &Stage) -> String {
    let client = stage.cluster.client();
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "prober", "namespace": "default" },
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": { "name": "prober" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "prober", "namespace": "default" }],
    });
    for object in [account, binding] {
        client.apply(&client.path_of(&object), &object);
    }
    client.service_account_token("default", "prober")
}
