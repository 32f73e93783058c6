//! How cost grows: with regions, with commits of history, and with commits that land at once.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Setting, latency, render};
use crate::chart::{Chart, Series};
use crate::generator::{Shape, fleet_values};
use crate::site::{Health, Site, fast_import, region_server};
use crate::table::{Figure, percentile};

/// How many rollouts are timed at each size.
const ROUNDS: usize = 3;

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let mut figures = by_regions(setting);
    figures.extend(by_history(setting));
    figures
}

#[expect(clippy::cast_precision_loss, reason = "sizes of fleets")]
fn by_regions(setting: &Setting<'_>) -> Vec<Figure> {
    let sizes: &[usize] = if setting.quick {
        &[5, 10]
    } else {
        &[10, 100, 1000, 5000]
    };
    let mut figures = Vec::new();
    let mut series = [
        Series::new("cold render (ms)"),
        Series::new("one region changed (ms)"),
        Series::new("nothing changed (ms)"),
        Series::new("one region changed: commit on the branch → canary branch moved (ms)"),
        Series::new("peak memory (MiB)"),
    ];
    for &regions in sizes {
        let mut site = Site::new(
            Shape::new(regions, 10, setting.seed),
            Arc::new(Health::default()),
        );
        let times = render::measure(setting, &mut site);
        let canary = commit_to_canary(setting, &mut site);
        let values = [
            times.cold,
            times.one_region,
            times.nothing,
            canary,
            times.peak_mebibytes,
        ];
        for (series, value) in series.iter_mut().zip(values) {
            series.points.push((regions as f64, value));
        }
        figures.push(Figure::time(
            format!("{regions} regions: cold render"),
            times.cold,
        ));
        figures.push(Figure::time(
            format!("{regions} regions: one region changed, render"),
            times.one_region,
        ));
        figures.push(Figure::time(
            format!(
                "{regions} regions: canary changed, commit on the branch → canary branch moved, p50"
            ),
            canary,
        ));
    }
    Chart {
        title: "Cost by regions (20 manifests each)",
        x: "regions",
    }
    .write(&setting.pictures().join("growth-regions.svg"), &series);
    figures
}

/// The median time from a commit that changes the canary alone to its branch.
fn commit_to_canary(setting: &Setting<'_>, site: &mut Site) -> f64 {
    let mut controller = site.start(setting.program, false);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let before = site.wave_tips();
        let published = site.publish(
            &[(
                &Shape::region_file(0),
                &site.shape.region_document(0, round + 2),
            )],
            "Give the canary another replica",
        );
        let moved = site.wait_for_moves(&[0], &before, &mut controller);
        times.push(moved[&0].saturating_duration_since(published).as_secs_f64() * 1000.0);
        site.wait_for_entry("Succeeded", &mut controller);
    }
    percentile(&times, 50)
}

#[expect(clippy::cast_precision_loss, reason = "numbers of commits")]
fn by_history(setting: &Setting<'_>) -> Vec<Figure> {
    let sizes: &[usize] = if setting.quick {
        &[5, 10]
    } else {
        &[10, 100, 1000, 10_000]
    };
    let (server, health) = region_server();
    let mut figures = Vec::new();
    let mut series = [
        Series::new("history of N commits: commit on the branch → canary branch moved (ms)"),
        Series::new("N commits land at once → canary branch moved (ms)"),
        Series::new("history of N commits: tidegate status (ms)"),
    ];
    for &commits in sizes {
        let shape = Shape::new(10, 4, setting.seed).gated(&server.url(""), Duration::from_secs(1));
        let mut site = Site::new(shape, Arc::clone(&health));
        append(&site.repo(), commits, None);
        site.work.pull("main");
        let times = latency::measure(setting, &mut site, ROUNDS);
        let usual = percentile(&times.commit_to_canary, 50);
        let repo = site.repo();
        let begun = Instant::now();
        let answer = setting
            .program
            .call(&["status", "--repo", repo.to_str().unwrap()]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        let status = begun.elapsed().as_secs_f64() * 1000.0;
        let at_once = land_at_once(setting, &mut site, commits);
        for (series, value) in series.iter_mut().zip([usual, at_once, status]) {
            series.points.push((commits as f64, value));
        }
        figures.push(Figure::time(
            format!(
                "history of {commits} commits: commit on the branch → canary branch moved, p50"
            ),
            usual,
        ));
        figures.push(Figure::time(
            format!("{commits} commits land at once → canary branch moved"),
            at_once,
        ));
    }
    Chart {
        title: "Cost by commits (10 regions)",
        x: "commits",
    }
    .write(&setting.pictures().join("growth-history.svg"), &series);
    figures
}

/// Lets many commits land in one push while a controller waits.
fn land_at_once(setting: &Setting<'_>, site: &mut Site, commits: usize) -> f64 {
    let mut controller = site.start(setting.program, false);
    site.wait_for_entry("Succeeded", &mut controller);
    site.work
        .publish(&[("values/fleet.yaml", &fleet_values("2.0.0"))], "2.0.0");
    let before = site.wave_tips();
    // The commit before may open before the many are there; what is timed is the last one's.
    site.wait_for_moves(&[0], &before, &mut controller);
    site.wait_for_entry("Succeeded", &mut controller);
    let before = site.wave_tips();
    let values = fleet_values("2.0.1");
    append(&site.repo(), commits, Some(&values));
    let begun = Instant::now();
    let moved = site.wait_for_moves(&[0], &before, &mut controller);
    moved[&0].saturating_duration_since(begun).as_secs_f64() * 1000.0
}

/// Appends commits to `main`, each with another note; the last one may also change the fleet's values.
fn append(repo: &Path, commits: usize, values: Option<&str>) {
    let mut stream = String::new();
    for number in 0..commits {
        let note = format!("note {number}\n");
        let from = if number == 0 {
            "from refs/heads/main^0\n"
        } else {
            ""
        };
        // Writing to a String cannot fail.
        let _ = write!(
            stream,
            "commit refs/heads/main\ncommitter Jo Engineer <jo@example.com> {} +0000\ndata 4\nNote\n{from}M 100644 inline NOTES.txt\ndata {}\n{note}\n",
            1_767_225_600 + number,
            note.len()
        );
        if let Some(values) = values.filter(|_| number + 1 == commits) {
            let _ = write!(
                stream,
                "M 100644 inline values/fleet.yaml\ndata {}\n{values}\n",
                values.len()
            );
        }
    }
    stream.push_str("done\n");
    fast_import(repo, &stream);
}
