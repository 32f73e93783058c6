//! From a commit to the canary branch, and from a passed gate to the next wave's branch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Setting;
use crate::counting;
use crate::generator::{Shape, fleet_values};
use crate::site::{Site, records, region_server};
use crate::table::{Figure, Unit, percentile};

/// The times of some rollouts, in milliseconds each.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// From the moment at which the commit stood on the config branch, as somebody outside sees it.
    pub(crate) commit_to_canary: Vec<f64>,
    /// From the record that says that the head was seen to the one that says that the canary's branch was pushed.
    pub(crate) seen_to_canary: Vec<f64>,
    /// From the answer that made the gate pass.
    pub(crate) gate_to_next: Vec<f64>,
}

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let (server, health) = region_server();
    let regions = setting.size(100, 10);
    let rounds = setting.size(20, 2);
    let shape = Shape::new(regions, 4, setting.seed).gated(&server.url(""), Duration::from_secs(1));
    let mut site = Site::new(shape.clone(), Arc::clone(&health));
    let measured = measure(setting, &mut site, rounds);
    let mut figures = Vec::new();
    let mut both = |name: &str, values: &[f64], most: f64| {
        figures.push(Figure::time(format!("{name}, p50"), percentile(values, 50)));
        figures.push(Figure::time(format!("{name}, p95"), percentile(values, 95)).limit(most));
    };
    both(
        &format!("{regions} regions, all changed: commit seen → canary branch pushed"),
        &measured.seen_to_canary,
        300.0,
    );
    both(
        &format!(
            "{regions} regions, all changed: commit on the branch → canary branch moved (with the time to notice)"
        ),
        &measured.commit_to_canary,
        500.0,
    );
    both(
        "gate passed → next wave's branch moved",
        &measured.gate_to_next,
        150.0,
    );

    // Counting slows git down a little, so that it is done apart.
    let mut site = Site::new(shape, health);
    let counts = counting::rollout(setting, &mut site);
    figures.push(Figure::new(
        "git processes from the commit to the canary branch",
        counts.to_canary.processes(),
        Unit::Count,
    ));
    figures.push(Figure::new(
        "pushes among them",
        counts.to_canary.pushes(),
        Unit::Count,
    ));
    figures.push(Figure::new(
        "git processes of a whole rollout of four waves",
        counts.whole.processes(),
        Unit::Count,
    ));
    figures.push(Figure::new(
        "pushes among them",
        counts.whole.pushes(),
        Unit::Count,
    ));
    figures
}

/// Carries commits that change every manifest, one after the other, and takes the times.
pub(crate) fn measure(setting: &Setting<'_>, site: &mut Site, rounds: usize) -> Latencies {
    let mut controller = site.start(setting.program, true);
    site.wait_for_entry("Succeeded", &mut controller);
    let mut latencies = Latencies::default();
    let waves: Vec<usize> = (0..site.shape.waves).collect();
    for round in 0..rounds {
        let before = site.wave_tips();
        let version = format!("1.1.{round}");
        let published = site.publish(&[("values/fleet.yaml", &fleet_values(&version))], &version);
        let moved = site.wait_for_moves(&waves, &before, &mut controller);
        latencies
            .commit_to_canary
            .push(milliseconds(published, moved[&0]));
        for pair in waves.windows(2) {
            let regions = site.shape.regions_of(pair[0]);
            let passed = site.health.all_healthy_after(&regions, moved[&pair[0]]);
            latencies
                .gate_to_next
                .push(milliseconds(passed, moved[&pair[1]]));
        }
        site.wait_for_entry("Succeeded", &mut controller);
    }
    let records = records(&controller);
    let seen: Vec<f64> = records
        .iter()
        .filter(|record| record.message() == "the config branch has a new head")
        .map(|record| record.at)
        .collect();
    let pushed: Vec<f64> = records
        .iter()
        .filter(|record| {
            record.message() == "pushed"
                && record.fields["reference"] == "refs/heads/tidegate/canary"
        })
        .map(|record| record.at)
        .collect();
    // Whatever was seen first, at the start, was no part of it.
    for seen in seen.iter().skip(seen.len() - rounds) {
        if let Some(pushed) = pushed.iter().find(|pushed| *pushed > seen) {
            latencies.seen_to_canary.push((pushed - seen) * 1000.0);
        }
    }
    assert_eq!(latencies.seen_to_canary.len(), rounds);
    latencies
}

/// How long it is from one moment to another.
pub(super) fn milliseconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1000.0
}
