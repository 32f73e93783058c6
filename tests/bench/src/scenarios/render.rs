//! A whole fleet rendered, checked and written to the object store, as the controller does it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_testkit::tidegate::Running;
use tidegate_testkit::work::git_command;

use super::Setting;
use crate::generator::{Files, Shape};
use crate::process;
use crate::site::{self, Health, PATIENCE, Site, records};
use crate::table::{Figure, Unit, percentile};

/// How often all of it is done; the figures are medians.
const ROUNDS: usize = 3;

/// How many regions `kubectl kustomize` is timed on.
const KUSTOMIZED: usize = 5;

/// The times of one fleet's renders, in milliseconds, and the controller's memory.
pub(crate) struct Times {
    pub(crate) cold: f64,
    pub(crate) one_region: f64,
    pub(crate) nothing: f64,
    pub(crate) peak_mebibytes: f64,
}

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let regions = setting.size(1000, 20);
    let mut times = Vec::new();
    let mut imports = Vec::new();
    let mut kustomize = None;
    for round in 0..ROUNDS {
        let mut site = Site::new(
            Shape::new(regions, 10, setting.seed),
            Arc::new(Health::default()),
        );
        times.push(measure(setting, &mut site));
        let files = rendered(&site);
        imports.push(fast_import(&site, &files));
        if round == 0 {
            kustomize = kustomize_region(&site, &files);
        }
    }
    let median =
        |pick: fn(&Times) -> f64| percentile(&times.iter().map(pick).collect::<Vec<_>>(), 50);
    let cold = median(|times| times.cold);
    let import = percentile(&imports, 50);
    let of = format!("{regions} regions × 20 manifests");
    let mut figures = vec![
        Figure::time(format!("{of}: cold render, check, write"), cold).against(
            "git fast-import",
            import,
            Some(1.5),
        ),
        Figure::time(
            format!("{of}: one region's values changed"),
            median(|times| times.one_region),
        )
        .against("cold", cold, Some(0.05)),
        Figure::time(
            format!("{of}: a commit that changes nothing"),
            median(|times| times.nothing),
        )
        .against("cold", cold, Some(0.02)),
        Figure::new(
            format!("{of}: peak memory of the controller"),
            median(|times| times.peak_mebibytes),
            Unit::Mebibytes,
        ),
    ];
    #[expect(clippy::cast_precision_loss, reason = "a number of regions")]
    match kustomize {
        Some(one) => figures.push(
            Figure::time(format!("{of}: cold, against kustomize"), cold).against(
                "kubectl kustomize of one region, times regions",
                one * regions as f64,
                None,
            ),
        ),
        None => eprintln!("SKIPPED: there is no kubectl to compare with"),
    }
    figures
}

/// Lets a controller render a fleet cold, then with one region changed, then with nothing changed.
pub(crate) fn measure(setting: &Setting<'_>, site: &mut Site) -> Times {
    let mut controller = site.start(setting.program, true);
    let cold = nth_render(&mut controller, 0);
    site.wait_for_entry("Succeeded", &mut controller);
    let log = site.tip("tidegate/log");
    let changed = site.shape.regions / 2;
    site.publish(
        &[(
            &Shape::region_file(changed),
            &site.shape.region_document(changed, 1),
        )],
        "Give one region another replica",
    );
    let one_region = nth_render(&mut controller, 1);
    site.wait_for_entry_after(log.as_ref(), "Succeeded", &mut controller);
    site.publish(&[("NOTES.txt", "nothing that is rendered\n")], "Take notes");
    let nothing = nth_render(&mut controller, 2);
    let peak_mebibytes = process::peak_memory(controller.id());
    Times {
        cold,
        one_region,
        nothing,
        peak_mebibytes,
    }
}

/// How long the render number `place` of a controller took, in milliseconds.
fn nth_render(controller: &mut Running, place: usize) -> f64 {
    let begun = Instant::now();
    loop {
        let renders: Vec<f64> = records(controller)
            .iter()
            .filter(|record| record.message() == "rendered")
            .filter_map(|record| record.fields["milliseconds"].as_f64())
            .collect();
        if let Some(time) = renders.get(place) {
            return *time;
        }
        assert!(
            controller.is_running() && begun.elapsed() < PATIENCE,
            "nothing was rendered: {}",
            controller.stderr()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The files that the wave branches hold.
fn rendered(site: &Site) -> Files {
    let mut files = Files::new();
    for wave in site.shape.wave_names() {
        let out = site.folder().join(format!("checkout-{wave}"));
        fs::create_dir_all(&out).unwrap();
        git_command(
            &site.repo(),
            &[
                &format!("--work-tree={}", out.display()),
                "checkout",
                "-q",
                "-f",
                &format!("tidegate/{wave}"),
                "--",
                ".",
            ],
        );
        read_all(&out, &out, &mut files);
        fs::remove_dir_all(&out).unwrap();
    }
    files
}

fn read_all(root: &Path, folder: &Path, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_all(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// How long `git fast-import` takes to write the same files into an empty repo, in milliseconds.
fn fast_import(site: &Site, files: &Files) -> f64 {
    let repo = site.folder().join("imported.git");
    fs::create_dir(&repo).unwrap();
    git_command(&repo, &["init", "-q", "--bare"]);
    let mut stream =
        "commit refs/heads/main\ncommitter Jo <jo@example.com> 1700000000 +0000\ndata 0\n"
            .to_owned();
    for (path, text) in files {
        // Writing to a String cannot fail.
        let _ = write!(
            stream,
            "M 100644 inline {path}\ndata {}\n{text}\n",
            text.len()
        );
    }
    stream.push_str("\ndone\n");
    let begun = Instant::now();
    site::fast_import(&repo, &stream);
    let took = begun.elapsed();
    fs::remove_dir_all(&repo).unwrap();
    took.as_secs_f64() * 1000.0
}

/// How long `kubectl kustomize` takes for one region's manifests, in milliseconds; `None` without kubectl.
fn kustomize_region(site: &Site, files: &Files) -> Option<f64> {
    let there = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut times = Vec::new();
    for number in 0..KUSTOMIZED.min(site.shape.regions) {
        let region = Shape::region(number);
        let folder = site.folder().join(format!("kustomize-{region}"));
        let mut resources = "resources:\n".to_owned();
        for (path, text) in files {
            if let Some(name) = path.strip_prefix(&format!("{region}/")) {
                let file = folder.join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
                let _ = writeln!(resources, "  - {name}");
            }
        }
        fs::write(folder.join("kustomization.yaml"), resources).unwrap();
        let begun = Instant::now();
        let output = Command::new("kubectl")
            .arg("kustomize")
            .arg(&folder)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    Some(percentile(&times, 50))
}
