//! A rollout over a slow network: how many round trips each step costs, and what they come to.

use std::time::{Duration, SystemTime};

use tidegate_testkit::git_server::{GitServer, PASSWORD, USERNAME};
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::wait::wait_for;
use tidegate_testkit::work::Work;

use super::Setting;
use crate::generator::{Shape, fleet_values};
use crate::site::{PATIENCE, Record, records, region_server, start_controller, write};
use crate::slow_network::SlowNetwork;
use crate::table::{Figure, Unit};

/// The time for a question and its answer.
const ROUND_TRIP: Duration = Duration::from_millis(200);

const REPO: &str = "fleet.git";

/// What a step of a rollout cost.
struct Step {
    round_trips: usize,
    milliseconds: f64,
}

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let near = rollout(setting, Duration::ZERO);
    let far = rollout(setting, ROUND_TRIP);
    let mut figures = Vec::new();
    #[expect(clippy::cast_precision_loss, reason = "a few round trips")]
    for ((name, near), (_, far)) in near.into_iter().zip(far) {
        figures.push(Figure::new(
            format!("git by HTTP, {name}: round trips"),
            far.round_trips as f64,
            Unit::Count,
        ));
        figures.push(
            Figure::time(
                format!("git by HTTP, {name}, 200 ms a round trip"),
                far.milliseconds,
            )
            .against("without delay", near.milliseconds, None),
        );
    }
    figures
}

/// Carries one commit through four waves, and cuts what happened into steps.
fn rollout(setting: &Setting<'_>, delay: Duration) -> Vec<(&'static str, Step)> {
    let (regions, _) = region_server();
    let shape = Shape::new(setting.size(100, 10), 4, setting.seed)
        .gated(&regions.url(""), Duration::from_secs(1));
    let server = GitServer::keeping_alive();
    server.create(REPO);
    let network = SlowNetwork::to(server.address(), delay);
    let work = Work::new(&server.url_with_password(REPO));
    write(&work, &shape.files());
    work.commit("Begin the fleet");
    work.push("main");
    let data = tempfile::tempdir().unwrap();
    let url = format!("http://{}/{REPO}", network.address());
    let program = setting
        .program
        .clone()
        .env("TIDEGATE_GIT_USERNAME", USERNAME)
        .env("TIDEGATE_GIT_PASSWORD", PASSWORD);
    let mut controller = start_controller(&program, &url, data.path(), "5s");
    let succeeded = |count: usize, controller: &Running| {
        times_of(controller, |record| record.fields["entry"] == "Succeeded").len() >= count
    };
    wait_for("the first rollout", PATIENCE, || {
        succeeded(1, &controller).then_some(())
    });
    // Two polls and more: in one of the pauses between them the commit lands.
    let quiet = network.round_trips().len();
    let idle = wait_for("looks at an unchanged remote", PATIENCE, || {
        let looks = looks(network.round_trips().split_off(quiet));
        let last = looks.last().and_then(|look| look.last()).copied();
        let is_over = last.is_some_and(|last| since_1970(SystemTime::now()) - last > 1.5);
        (looks.len() > 2 && is_over).then_some(looks)
    });
    work.publish(&[("values/fleet.yaml", &fleet_values("1.1.0"))], "1.1.0");
    let published = since_1970(SystemTime::now());
    wait_for("the rollout", PATIENCE, || {
        assert!(controller.is_running(), "{}", controller.stderr());
        succeeded(2, &controller).then_some(())
    });
    let trips: Vec<f64> = network.round_trips().into_iter().map(since_1970).collect();
    let last = |times: Vec<f64>| times.last().copied().unwrap();
    let branch = |wave: usize| {
        let name = format!("refs/heads/tidegate/{}", Shape::wave(wave));
        last(times_of(&controller, |record| {
            record.message() == "pushed" && record.fields["reference"] == name
        }))
    };
    let seen = last(times_of(&controller, |record| {
        record.message() == "the config branch has a new head"
    }));
    let end = last(times_of(&controller, |record| {
        record.fields["entry"] == "Succeeded"
    }));
    let noticed = trips.iter().copied().find(|at| *at > published).unwrap();
    let step = |from: f64, to: f64| Step {
        round_trips: trips.iter().filter(|at| (from..to).contains(*at)).count(),
        milliseconds: (to - from) * 1000.0,
    };
    vec![
        (
            "a look that finds nothing new",
            Step {
                round_trips: idle[1].len(),
                milliseconds: 1000.0
                    * (idle[1][idle[1].len() - 1] - idle[1][0] + delay.as_secs_f64()),
            },
        ),
        ("a look that finds a commit", step(noticed, seen)),
        ("commit seen → canary branch pushed", step(seen, branch(0))),
        (
            "canary branch pushed → next wave's pushed",
            step(branch(0), branch(1)),
        ),
        (
            "last wave's branch pushed → rollout ended",
            step(branch(3), end),
        ),
    ]
}

/// When the records of a kind were written.
fn times_of(controller: &Running, is_meant: impl Fn(&Record) -> bool) -> Vec<f64> {
    let records = records(controller);
    let meant = records.iter().filter(|record| is_meant(record));
    meant.map(|record| record.at).collect()
}

/// Round trips by the look that they belong to: between two looks lie seconds.
fn looks(round_trips: Vec<SystemTime>) -> Vec<Vec<f64>> {
    let mut looks: Vec<Vec<f64>> = Vec::new();
    for at in round_trips.into_iter().map(since_1970) {
        match looks.last_mut() {
            Some(look) if look.last().is_some_and(|before| at - before < 1.0) => look.push(at),
            _ => looks.push(vec![at]),
        }
    }
    looks
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}
