//! `tidegate gates`: asks the regions' gates once, outside any rollout.

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::{Serialize, Serializer};
use tidegate_renderer::suggest::nearest;
use tidegate_waves::gate::Reading;
use tidegate_waves::rollout::{Probe, present_probes};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::error::{CommandError, ErrorKind};
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, plain_table, print_structured};
use super::run::prober;
use super::terminal::Terminal;
use crate::clock::{Clock, SystemClock};
use crate::explain::regions_of;
use crate::gates::trees::RegionTrees;
use crate::gates::{CONCURRENT_PROBES, Memory, Prober, Target, Watch};

/// Ask the gates how regions are
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate gates test --settings settings.yaml                     every gate of every region
  tidegate gates test --settings settings.yaml --region westus3    those of one region")]
pub struct GatesArgs {
    #[command(subcommand)]
    command: GatesCommand,
}

#[derive(Debug, Subcommand)]
enum GatesCommand {
    Test(TestArgs),
}

/// Ask every gate of every region that has a tree once, and print what it says; changes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate gates test --settings settings.yaml                     every gate of every region
  tidegate gates test --settings settings.yaml --region westus3    those of one region
  tidegate gates test --settings settings.yaml --exit-code         for scripts")]
struct TestArgs {
    /// Only this region (may be repeated)
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,

    /// Exit with 4 if a gate sees harm or sickness, else with 5 if one is not healthy or cannot tell; without this, with 0
    /// whatever they say
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    log: LogArgs,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// What a gate said.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    region: String,
    gate: String,
    /// `healthy`, `harm`, `sick`, `progressing`, `stale`, `unknown`, `unreachable` or `egressDenied`.
    #[serde(serialize_with = "serialize_word")]
    says: Reading,
    evidence: String,
}

/// Runs `tidegate gates`.
pub fn run(arguments: GatesArgs, terminal: &Terminal) -> Result<(), CommandError> {
    match arguments.command {
        GatesCommand::Test(arguments) => test(&arguments, terminal),
    }
}

fn test(arguments: &TestArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let Some((settings, fleet)) = arguments.log.settings()? else {
        return Err(CommandError::usage(
            "gates are asked with what the operator's settings allow and know",
        )
        .hint("name them with --settings FILE"));
    };
    let view = LogView::open(&arguments.log)?;
    view.fetch_waves()?;
    let mut probes = present_probes(view.state());
    let known: BTreeSet<&str> = view.state().placements.keys().map(String::as_str).collect();
    for region in &arguments.regions {
        if !known.contains(region.as_str()) {
            let error = CommandError::usage(format!(
                "nothing was promoted to a region {region:?} yet, or there is none"
            ));
            return Err(match nearest(region, known) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error,
            });
        }
    }
    if arguments.regions.is_empty() {
        let without: Vec<&str> = regions_of(view.state())
            .into_iter()
            .filter(|region| !known.contains(region))
            .collect();
        if !without.is_empty() {
            let names = without.join(", ");
            terminal.say(&format!(
                "nothing was promoted yet to {names}; their gates are not asked"
            ));
        }
    }
    probes
        .retain(|probe| arguments.regions.is_empty() || arguments.regions.contains(&probe.region));
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let trees = RegionTrees::new(view.repo().path().to_owned());
    let prober: Arc<dyn Prober> = Arc::new(prober(&fleet, &settings, trees, &clock)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::failed)?;
    let mut said = runtime.block_on(ask(&prober, probes))?;
    said.sort_by(|left, right| (&left.region, &left.gate).cmp(&(&right.region, &right.gate)));
    match arguments.output {
        OutputFormat::Json | OutputFormat::Yaml => {
            print_structured(terminal, arguments.output, &said)?;
        }
        OutputFormat::Name => {
            let names: Vec<String> = said
                .iter()
                .map(|said| format!("{}/{}", said.region, said.gate))
                .collect();
            terminal.data(&lines(names.iter().map(String::as_str)))?;
        }
        OutputFormat::Table | OutputFormat::Wide => {
            let rows = said
                .iter()
                .map(|said| [&*said.region, &*said.gate, word(said.says), &*said.evidence]);
            terminal.data(&plain_table(["REGION", "GATE", "SAYS", "EVIDENCE"], rows))?;
        }
    }
    match ending(said.iter().map(|said| said.says)).filter(|_| arguments.exit_code) {
        Some(kind) => Err(CommandError::silent(kind)),
        None => Ok(()),
    }
}

/// What the worst of the readings means; `None` if all are healthy.
fn ending(readings: impl IntoIterator<Item = Reading>) -> Option<ErrorKind> {
    let mut worst = None;
    for reading in readings {
        match reading {
            Reading::Healthy { .. } => {}
            Reading::Bad | Reading::Sick => return Some(ErrorKind::RolledBack),
            Reading::Progressing
            | Reading::Stale
            | Reading::Unknown
            | Reading::Unreachable
            | Reading::EgressDenied => worst = Some(ErrorKind::Held),
        }
    }
    worst
}

/// Takes one sample of each, many side by side.
async fn ask(prober: &Arc<dyn Prober>, probes: Vec<Probe>) -> Result<Vec<Said>, CommandError> {
    let slots = Arc::new(Semaphore::new(CONCURRENT_PROBES));
    let mut asked = JoinSet::new();
    for probe in probes {
        let (prober, slots) = (Arc::clone(prober), Arc::clone(&slots));
        asked.spawn(async move {
            let _slot = slots.acquire().await;
            let target = Target {
                region: probe.region,
                gate: probe.gate.name,
            };
            let watch = Watch {
                generation: 0,
                rollout: probe.rollout,
                anew: 0,
                phase: probe.phase,
                check: probe.gate.check,
                older: Vec::new(),
                place: probe.place,
                settle: std::time::Duration::ZERO,
                unproven_for: std::time::Duration::ZERO,
                every: None,
                timeout: probe.gate.sampling.timeout,
                at_once: true,
            };
            let sample = prober.probe(&target, &watch, &mut Memory::default()).await;
            Said {
                region: target.region,
                gate: target.gate,
                says: sample.reading,
                evidence: sample.evidence,
            }
        });
    }
    let mut said = Vec::new();
    while let Some(ended) = asked.join_next().await {
        said.push(ended.map_err(CommandError::failed)?);
    }
    Ok(said)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands fields by reference"
)]
fn serialize_word<S: Serializer>(reading: &Reading, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word(*reading))
}

fn word(reading: Reading) -> &'static str {
    match reading {
        Reading::Healthy { .. } => "healthy",
        Reading::Bad => "harm",
        Reading::Sick => "sick",
        Reading::Progressing => "progressing",
        Reading::Stale => "stale",
        Reading::Unknown => "unknown",
        Reading::Unreachable => "unreachable",
        Reading::EgressDenied => "egressDenied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_weighs_more_than_not_knowing() {
        let healthy = Reading::Healthy { proven: true };
        assert_eq!(ending([]), None);
        assert_eq!(ending([healthy]), None);
        assert_eq!(
            ending([healthy, Reading::Unreachable]),
            Some(ErrorKind::Held)
        );
        assert_eq!(
            ending([Reading::Unknown, Reading::Bad, healthy]),
            Some(ErrorKind::RolledBack)
        );
    }
}
