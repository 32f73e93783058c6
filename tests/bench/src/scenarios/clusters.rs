//! Gates that ask clusters: every region of a large fleet once, and from evidence of harm to the give-back.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_testkit::tidegate::Running;
use tidegate_testkit::wait::wait_until;

use super::Setting;
use super::latency::milliseconds;
use crate::argocd::ArgoCd;
use crate::clusters::Clusters;
use crate::generator::{Shape, fleet_values};
use crate::process;
use crate::site::{PATIENCE, Site};
use crate::table::{Figure, Unit, percentile};

/// 150 MB, in MiB.
const MOST_MEMORY: f64 = 150_000_000.0 / 1_048_576.0;

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let mut figures = sweep_of_clusters(setting);
    figures.extend(sweep_of_argocd(setting));
    figures.extend(verdicts(setting));
    figures
}

/// A fleet of four objects in each region, and its settings, which lead to its clusters by a kubeconfig that is still to be written.
fn site(
    setting: &Setting<'_>,
    (regions, waves): (usize, usize),
    asking: impl FnOnce(Shape) -> Shape,
) -> Site {
    let shape = Shape {
        manifests: 4,
        ..Shape::new(regions, waves, setting.seed)
    };
    let site = Site::new(asking(shape), std::sync::Arc::default());
    let settings = format!(
        "dataDir: data\npoll: 30s\nfleets:\n  - name: {}\n    repo: {}\n    clusters: [{{ kubeconfig: kubeconfig }}]\n    argocd: [{{ cluster: home }}]\n",
        site.shape.name,
        site.repo().display()
    );
    fs::write(site.folder().join("settings.yaml"), settings).unwrap();
    site
}

/// One whose gate asks the regions' clusters.
fn site_of_clusters(
    setting: &Setting<'_>,
    size: (usize, usize),
    every: Duration,
) -> (Site, Clusters) {
    let site = site(setting, size, |shape| shape.asking_clusters(every));
    let clusters = Clusters::start(&site.shape, &site.repo());
    fs::write(site.folder().join("kubeconfig"), clusters.kubeconfig()).unwrap();
    (site, clusters)
}

fn start(setting: &Setting<'_>, site: &Site) -> Running {
    let settings = site.folder().join("settings.yaml");
    let settings = settings.to_str().unwrap();
    let mut controller = setting.program.start(&["run", "--settings", settings]);
    site.wait_for_entry("Succeeded", &mut controller);
    controller
}

fn sweep_of_clusters(setting: &Setting<'_>) -> Vec<Figure> {
    let regions = setting.size(1000, 20);
    let (site, _clusters) = site_of_clusters(setting, (regions, 2), Duration::from_secs(10));
    let name = format!("{regions} clusters, 4 objects each: every gate asked once, whole process");
    sweep(setting, &site, &name)
}

/// A fleet of which one Argo CD has an Application for each region.
fn sweep_of_argocd(setting: &Setting<'_>) -> Vec<Figure> {
    let regions = setting.size(1000, 20);
    let every = Duration::from_secs(5);
    let site = site(setting, (regions, 2), |shape| shape.asking_argocd(every));
    let argocd = ArgoCd::start(&site.shape, &site.repo());
    fs::write(site.folder().join("kubeconfig"), argocd.kubeconfig()).unwrap();
    let name =
        format!("{regions} Applications of one Argo CD: every gate asked once, whole process");
    sweep(setting, &site, &name)
}

/// `gates test` on a fleet of which every region is healthy.
fn sweep(setting: &Setting<'_>, site: &Site, name: &str) -> Vec<Figure> {
    let regions = site.shape.regions;
    let mut controller = start(setting, site);
    controller.terminate();
    wait_until("the controller's end", PATIENCE, || {
        !controller.is_running()
    });
    let settings = site.folder().join("settings.yaml");
    let settings = settings.to_str().unwrap();
    let begun = Instant::now();
    let mut asking =
        setting
            .program
            .start(&["gates", "test", "--settings", settings, "-o", "json"]);
    let mut memory: f64 = 0.0;
    while asking.is_running() {
        memory = memory.max(process::peak_memory_if_it_runs(asking.id()).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    let said: Vec<Value> = serde_json::from_str(&asking.stdout()).unwrap();
    let other = said.iter().find(|said| said["says"] != "healthy");
    assert!(said.len() == regions && other.is_none(), "{other:?}");
    vec![
        Figure::time(name, took.as_secs_f64() * 1000.0).limit(10_000.0),
        Figure::new(format!("{name}, peak memory"), memory, Unit::Mebibytes).limit(MOST_MEMORY),
    ]
}

/// From the answer in which a Deployment has failed to the moment at which every wave's branch has its last good trees back.
/// One such answer is enough for the gate.
fn verdicts(setting: &Setting<'_>) -> Vec<Figure> {
    let rounds = setting.size(10, 1);
    let (site, clusters) = site_of_clusters(setting, (10, 3), Duration::from_secs(1));
    let mut controller = start(setting, &site);
    let waves: Vec<usize> = (0..site.shape.waves).collect();
    let sick = site.shape.regions_of(2);
    let mut times = Vec::new();
    for round in 0..rounds {
        let before = site.wave_tips();
        let version = format!("1.1.{round}");
        site.publish(&[("values/fleet.yaml", &fleet_values(&version))], &version);
        site.wait_for_moves(&waves, &before, &mut controller);
        let bad = site.wave_tips();
        clusters.make_sick(sick.first().map(String::as_str));
        let moved = site.wait_for_moves(&waves, &bad, &mut controller);
        let all = moved.values().max().unwrap();
        times.push(milliseconds(clusters.first_sick_answer().unwrap(), *all));
        clusters.make_sick(None);
        // The revert of the commit comes to the config branch, and changes nothing.
        site.wait_for_entry("NoChange", &mut controller);
        site.work.pull("main");
    }
    let name = "10 clusters, 3 waves: a failed Deployment answered → all branches given back";
    vec![
        Figure::time(format!("{name}, p50"), percentile(&times, 50)),
        Figure::time(
            format!("{name}, slowest of {rounds}"),
            percentile(&times, 100),
        ),
    ]
}
