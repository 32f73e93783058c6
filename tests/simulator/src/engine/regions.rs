//! Regions: each follows its wave's branch after a while, runs what it finds there, and answers.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tidegate_controller::gates::http::read_answer;
use tidegate_controller::gates::{Memory, Prober, Probing, Target, Watch};
use tidegate_controller::secret::Mask;
use tidegate_waves::fleet::HttpCheck;
use tidegate_waves::gate::{Reading, Sample};
use tidegate_waves::oid::Oid;
use tokio::time::Instant;

use super::people::wave_of;
use super::server::Server;
use super::world::{Answer, Shared};
use crate::event::{BAD, Health, REGIONS};

/// How long an answer takes.
const ANSWERS_AFTER: Duration = Duration::from_millis(20);

/// A region from one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spell {
    pub(super) from: Duration,
    pub(super) to: Duration,
    /// The tree that really ran well then.
    pub(super) well: Option<Oid>,
}

/// One region.
#[derive(Debug)]
struct Region {
    health: Health,
    /// The tree that runs, and the version in it.
    running: Option<(Oid, String)>,
    /// The tree that is on the branch, and since when the follower has known of it.
    coming: Option<(Oid, Duration)>,
    lag: Duration,
    spells: Vec<Spell>,
}

/// All regions.
#[derive(Debug, Default)]
pub(super) struct Regions {
    of: BTreeMap<&'static str, Region>,
    /// The tips that followers have seen, by ref.
    seen: BTreeMap<String, Oid>,
}

impl Regions {
    /// Regions that run nothing; their followers take so many seconds.
    pub(super) fn new(lags: [u8; REGIONS.len()]) -> Self {
        let region = |lag| Region {
            health: Health::Well,
            running: None,
            coming: None,
            lag: Duration::from_secs(lag),
            spells: Vec::new(),
        };
        Self {
            of: REGIONS
                .into_iter()
                .zip(lags.map(|lag| region(u64::from(lag))))
                .collect(),
            seen: BTreeMap::new(),
        }
    }

    /// From now on a region answers so.
    pub(super) fn set(&mut self, region: &str, health: Health) {
        if let Some(region) = self.of.get_mut(region) {
            region.health = health;
        }
    }

    /// What really was so in a region.
    pub(super) fn spells(&self, region: &str) -> &[Spell] {
        self.of
            .get(region)
            .map(|region| region.spells.as_slice())
            .unwrap_or_default()
    }

    /// Time has gone on to `now`: followers do their work, and what is so is recorded.
    pub(super) fn pass(&mut self, server: &Server, from: Duration, now: Duration) {
        for (name, region) in &mut self.of {
            let reference = wave_of(name);
            if server.refs.get(&reference) != self.seen.get(*name) {
                // A branch that is gone, or no longer has the region, takes nothing away from it.
                if let Some(tree) = server.folders(&reference).get(*name)
                    && region.coming.is_none_or(|(coming, _)| coming != *tree)
                {
                    region.coming = Some((*tree, from));
                }
                match server.refs.get(&reference) {
                    Some(tip) => self.seen.insert((*name).to_owned(), *tip),
                    None => self.seen.remove(*name),
                };
            }
            if let Some((tree, since)) = region.coming
                && region.health != Health::Lagging
                && from >= since + region.lag
                && region.running.as_ref().map(|(running, _)| *running) != Some(tree)
            {
                region.running = Some((tree, version(server, tree)));
            }
            let well = region
                .running
                .as_ref()
                .filter(|(_, version)| region.is_well(version, from))
                .map(|(tree, _)| *tree);
            match region.spells.last_mut() {
                Some(last) if last.well == well && last.to == from => last.to = now,
                _ => region.spells.push(Spell {
                    from,
                    to: now,
                    well,
                }),
            }
        }
    }
}

impl Region {
    /// Whether it answers well, if it can be reached.
    fn is_well(&self, version: &str, now: Duration) -> bool {
        let ill = match self.health {
            Health::Ill => true,
            Health::Flapping => (now.as_secs() / 10).is_multiple_of(2),
            _ => false,
        };
        !ill && !version.contains(&format!("w{BAD}"))
    }
}

/// The version that a rendered tree says it is.
fn version(server: &Server, tree: Oid) -> String {
    let mut next = vec![tree];
    while let Some(id) = next.pop() {
        match server.read(id) {
            Some((git2::ObjectType::Tree, _)) => next.extend(server.tree(id).into_values()),
            Some((_, bytes)) => {
                let text = String::from_utf8_lossy(bytes);
                let found = text.lines().find_map(|line| {
                    line.trim()
                        .strip_prefix("version:")
                        .map(|version| version.trim().trim_matches('"').to_owned())
                });
                if let Some(found) = found {
                    return found;
                }
            }
            None => {}
        }
    }
    String::new()
}

/// Asks the world's regions, for one process.
pub(super) struct RegionProber {
    pub(super) world: Shared,
    pub(super) controller: String,
    pub(super) life: u32,
    pub(super) born: Instant,
}

impl RegionProber {
    /// What a region answers now; `None` is silence.
    fn ask(&self, region: &str) -> Asked {
        let world = self.world.get();
        let now = world.real();
        let Some(region) = world.regions.of.get(region) else {
            return Asked::Silence;
        };
        match (region.health, &region.running) {
            (Health::Denied, _) => Asked::Denied,
            (Health::Dark, _) | (_, None) => Asked::Silence,
            (_, Some((tree, version))) => Asked::Answer {
                status: if region.is_well(version, now) {
                    200
                } else {
                    500
                },
                body: json!({ "version": version }).to_string(),
                tree: *tree,
            },
        }
    }

    fn note(&self, region: &str, sample: &Sample, tree: Option<Oid>) {
        let mut world = self.world.get();
        let answer = Answer {
            at: world.real(),
            monotonic: self.born.elapsed(),
            controller: self.controller.clone(),
            life: self.life,
            region: region.to_owned(),
            tree,
            is_healthy: matches!(sample.reading, Reading::Healthy { .. }),
            is_bad: sample.reading == Reading::Bad,
        };
        world.answers.push(answer);
    }
}

enum Asked {
    Denied,
    Silence,
    Answer {
        status: u16,
        body: String,
        tree: Oid,
    },
}

impl Prober for RegionProber {
    fn probe<'a>(&'a self, _: &'a Target, watch: &'a Watch, _: &'a mut Memory) -> Probing<'a> {
        Box::pin(async move {
            let Some(check) = watch.check.as_http() else {
                return Sample {
                    reading: Reading::Unknown,
                    evidence: "nobody asks for this here".to_owned(),
                };
            };
            let older: Vec<HttpCheck> = watch
                .older
                .iter()
                .filter_map(|older| older.as_http().cloned())
                .collect();
            let region = check
                .url
                .strip_prefix("http://")
                .and_then(|url| url.split('.').next())
                .unwrap_or_default();
            let said = |reading, evidence: &str| Sample {
                reading,
                evidence: evidence.to_owned(),
            };
            let (sample, tree) = match self.ask(region) {
                Asked::Denied => (said(Reading::EgressDenied, "forbidden"), None),
                Asked::Silence => (said(Reading::Unreachable, "no answer"), None),
                Asked::Answer { status, body, tree } => (
                    read_answer(check, &older, status, body.as_bytes(), &Mask::default()),
                    Some(tree),
                ),
            };
            self.note(region, &sample, tree);
            let takes = if sample.reading == Reading::Unreachable {
                watch.timeout
            } else {
                ANSWERS_AFTER
            };
            tokio::time::sleep(takes).await;
            sample
        })
    }
}
