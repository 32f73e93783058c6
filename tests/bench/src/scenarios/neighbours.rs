//! What a fleet waits beside others of the same controller whose templates never end.

use std::sync::Arc;
use std::time::Duration;

use tidegate_testkit::wait::wait_until;

use super::Setting;
use super::latency::milliseconds;
use crate::generator::{Shape, fleet_values};
use crate::site::{PATIENCE, Site, records, region_server, start_together};
use crate::table::{Figure, percentile};

/// A template that goes on until its worker is stopped: it hashes a long text once for each pair of few.
const ENDLESS: &str = "{{#each values.few}}{{#each @root.values.few}}{{#if (eq (sha256 (toJson @root.values.many)) \"\")}}{{/if}}{{/each}}{{/each}}";

pub(crate) fn run(setting: &Setting<'_>) -> Vec<Figure> {
    let rounds = setting.size(15, 2);
    let regions = setting.size(100, 10);
    let mut figures = Vec::new();
    let mut alone = None;
    for hostile in [0, 1, 3] {
        let times = beside(setting, hostile, regions, rounds);
        let (middle, longest) = (percentile(&times, 50), percentile(&times, 100));
        let company = match hostile {
            0 => "alone".to_owned(),
            _ => format!("beside {hostile} that never end to render"),
        };
        let name = format!("{regions} regions, {company}: commit → canary branch");
        let p50 = Figure::time(format!("{name}, p50"), middle);
        let most = Figure::time(format!("{name}, longest"), longest);
        match alone {
            None => {
                alone = Some((middle, longest));
                figures.extend([p50, most]);
            }
            Some((middle, longest)) => {
                // Each fleet has as many workers as there are processors, and all have the same share of them.
                figures.push(p50.against("alone", middle, None));
                figures.push(most.against("alone", longest, None));
            }
        }
    }
    figures
}

/// The times of a fleet, from the commit to the canary's branch, in milliseconds, while others render without end.
fn beside(setting: &Setting<'_>, hostile: usize, regions: usize, rounds: usize) -> Vec<f64> {
    let (server, health) = region_server();
    let site = |name: &str, regions: usize| {
        let shape = Shape {
            name: name.to_owned(),
            ..Shape::new(regions, 3, setting.seed)
        };
        let shape = shape.gated(&server.url(""), Duration::from_secs(1));
        Site::new(shape, Arc::clone(&health))
    };
    let mut sites = vec![site("good", regions)];
    sites.extend((0..hostile).map(|number| site(&format!("hostile-{number}"), 4)));
    let home = tempfile::tempdir().unwrap();
    let poll = Duration::from_secs(30);
    let mut controller = start_together(setting.program, &sites, home.path(), poll);
    let (good, hostile) = sites.split_first().unwrap();
    let mut times = Vec::new();
    for round in 0..rounds {
        for site in hostile {
            let head = poison(site, round);
            // From then on it always has something to render.
            if round == 0 {
                wait_until("the hostile commit to be seen", PATIENCE, || {
                    records(&controller)
                        .iter()
                        .any(|record| record.fields["commit"] == head.as_str())
                });
            }
        }
        let before = good.wave_tips();
        let version = format!("1.1.{round}");
        let published = good.publish(&[("values/fleet.yaml", &fleet_values(&version))], &version);
        let moved = good.wait_for_moves(&[0], &before, &mut controller);
        times.push(milliseconds(published, moved[&0]));
        good.wait_for_entry("Succeeded", &mut controller);
    }
    times
}

/// Gives a hostile fleet something new to render without end; tells the commit.
fn poison(site: &Site, round: usize) -> String {
    let values = format!(
        "{}few: {:?}\nmany: {:?}\nround: {round}\n",
        fleet_values("1.0.0"),
        (0..2000).collect::<Vec<_>>(),
        (0..20_000).collect::<Vec<_>>()
    );
    site.publish(
        &[
            ("templates/endless.yaml.hbs", ENDLESS),
            ("values/fleet.yaml", &values),
        ],
        "Render without end",
    );
    site.work.head()
}
