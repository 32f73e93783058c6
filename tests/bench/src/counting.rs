//! How many git processes the program starts, seen by a git that stands in front of the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tidegate_testkit::tidegate::Running;

use crate::generator::fleet_values;
use crate::scenarios::Setting;
use crate::site::Site;

/// The verbs of git commands, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commands(Vec<String>);

#[expect(clippy::cast_precision_loss, reason = "a handful of processes")]
impl Commands {
    /// How many there were.
    pub(crate) fn processes(&self) -> f64 {
        self.0.len() as f64
    }

    /// How many of them pushed.
    pub(crate) fn pushes(&self) -> f64 {
        self.0.iter().filter(|verb| *verb == "push").count() as f64
    }
}

/// What one rollout started.
pub(crate) struct Counts {
    pub(crate) to_canary: Commands,
    pub(crate) whole: Commands,
}

/// Carries one commit through all waves and counts.
pub(crate) fn rollout(setting: &Setting<'_>, site: &mut Site) -> Counts {
    let counter = Counter::new(site.folder());
    let program = setting.program.clone().env("PATH", counter.path());
    let mut controller = site.start(&program, true);
    site.wait_for_entry("Succeeded", &mut controller);
    let begun = settled(&counter, &mut controller);
    let before = site.wave_tips();
    site.publish(&[("values/fleet.yaml", &fleet_values("1.1.0"))], "1.1.0");
    site.wait_for_moves(&[0], &before, &mut controller);
    let at_canary = counter.read().len();
    site.wait_for_entry("Succeeded", &mut controller);
    let whole = counter.read();
    Counts {
        to_canary: Commands(whole[begun..at_canary].to_vec()),
        whole: Commands(whole[begun..].to_vec()),
    }
}

/// Waits until nothing is started any more; gives how many were.
fn settled(counter: &Counter, controller: &mut Running) -> usize {
    let mut last = (counter.read().len(), std::time::Instant::now());
    controller.wait_until("quiet", crate::site::PATIENCE, || {
        let now = counter.read().len();
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        last.1.elapsed() > std::time::Duration::from_secs(1)
    });
    last.0
}

/// A folder with a git that notes what it is asked for.
struct Counter {
    folder: PathBuf,
    log: PathBuf,
}

impl Counter {
    fn new(site: &Path) -> Self {
        let folder = site.join("counting-git");
        let log = site.join("git-commands");
        fs::create_dir(&folder).unwrap();
        fs::write(&log, "").unwrap();
        let script = folder.join("git");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nfor word; do case \"$skip$word\" in -c) skip=x; continue;; x*) skip=; continue;; -*) continue;; esac; echo \"$word\" >>'{}'; break; done\nPATH=${{PATH#*:}} exec git \"$@\"\n",
                log.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, log }
    }

    fn path(&self) -> String {
        let rest = std::env::var("PATH").unwrap_or_default();
        format!("{}:{rest}", self.folder.display())
    }

    fn read(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.log).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}
