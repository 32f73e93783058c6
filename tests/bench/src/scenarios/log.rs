//! How many bytes a rollout adds to the control log.

use std::sync::Arc;
use std::time::Duration;

use tidegate_testkit::work::git_command;

use super::Setting;
use crate::generator::{Shape, fleet_values};
use crate::site::{Site, region_server};
use crate::table::{Figure, Unit, percentile};

/// What one entry added to the repo: its commit, and the trees and files that the entry before did not have.
struct Entry {
    kind: String,
    bytes: f64,
    on_disk: f64,
}

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let (server, health) = region_server();
    let regions = setting.size(1000, 20);
    let shape = Shape {
        manifests: 2,
        ..Shape::new(regions, 10, setting.seed).gated(&server.url(""), Duration::from_secs(2))
    };
    let mut site = Site::new(shape, Arc::clone(&health));
    let mut controller = site.start(setting.program, true);
    site.wait_for_entry("Succeeded", &mut controller);
    let before = site.tip("tidegate/log").unwrap();
    site.publish(&[("values/fleet.yaml", &fleet_values("1.1.0"))], "1.1.0");
    site.wait_for_entry_after(Some(&before), "Succeeded", &mut controller);
    let entries = entries(&site, &before);
    let of = format!("log, {regions} regions in 10 waves");
    let once: f64 = entries
        .iter()
        .filter(|entry| is_once_a_rollout(&entry.kind))
        .map(|entry| entry.on_disk)
        .sum();
    let others: Vec<&Entry> = entries
        .iter()
        .filter(|entry| !is_once_a_rollout(&entry.kind))
        .collect();
    let on_disk: Vec<f64> = others.iter().map(|entry| entry.on_disk).collect();
    let whole: f64 = entries.iter().map(|entry| entry.on_disk).sum();
    let plain: f64 = entries.iter().map(|entry| entry.bytes).sum();
    for entry in &entries {
        eprintln!(
            "  {:14} {:8} bytes, {:7} on disk",
            entry.kind, entry.bytes, entry.on_disk
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of entries")]
    let count = entries.len() as f64;
    vec![
        Figure::new(format!("{of}: entries of a rollout"), count, Unit::Count),
        Figure::new(
            format!("{of}: any other entry on disk, p50"),
            percentile(&on_disk, 50),
            Unit::Bytes,
        )
        .limit(4096.0),
        Figure::new(
            format!("{of}: any other entry on disk, largest"),
            percentile(&on_disk, 100),
            Unit::Bytes,
        )
        .limit(4096.0),
        Figure::new(
            format!("{of}: the opening and the end together, on disk"),
            once,
            Unit::Bytes,
        ),
        Figure::new(format!("{of}: a whole rollout on disk"), whole, Unit::Bytes),
        Figure::new(
            format!("{of}: a whole rollout, not compressed"),
            plain,
            Unit::Bytes,
        ),
    ]
}

/// Plan, gates and last good are written once for each rollout, by these.
fn is_once_a_rollout(kind: &str) -> bool {
    matches!(kind, "RolloutOpened" | "Succeeded")
}

fn entries(site: &Site, before: &str) -> Vec<Entry> {
    let repo = site.repo();
    let git = |arguments: &[&str]| git_command(&repo, arguments);
    let range = format!("{before}..refs/heads/tidegate/log");
    let listed = git(&[
        "log",
        "--first-parent",
        "--reverse",
        "--format=%H %P %(trailers:key=Tidegate-Entry,valueonly,separator=)",
        &range,
    ]);
    listed
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (commit, parent) = (words[0], words[1]);
            let new = git(&[
                "rev-list",
                "--objects",
                "--no-object-names",
                &format!("{commit}^{{tree}}"),
                &format!("^{parent}^{{tree}}"),
            ]);
            let mut entry = Entry {
                kind: (*words.last().unwrap()).to_owned(),
                bytes: 0.0,
                on_disk: 0.0,
            };
            for object in new.lines().chain([commit]) {
                let plain: f64 = git(&["cat-file", "-s", object]).parse().unwrap();
                entry.bytes += plain;
            }
            entry.on_disk = compressed(site, new.lines().chain([commit]));
            entry
        })
        .collect()
}

/// The size of these objects in a pack of their own, deltas among them only.
fn compressed<'a>(site: &Site, objects: impl Iterator<Item = &'a str>) -> f64 {
    use std::io::Write as _;
    let mut pack = std::process::Command::new("git")
        .arg("--git-dir")
        .arg(site.repo())
        .args(["pack-objects", "--stdout", "--quiet"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = pack.stdin.take().unwrap();
    for object in objects {
        writeln!(stdin, "{object}").unwrap();
    }
    drop(stdin);
    let output = pack.wait_with_output().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "kilobytes")]
    {
        output.stdout.len() as f64
    }
}
