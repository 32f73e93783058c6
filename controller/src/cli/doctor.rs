//! `tidegate doctor`: looks at ways to clusters, rights and Argo CD's settings before a rollout finds them out.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::error::CommandError;
use super::log_view::{LogArgs, LogView};
use super::output::{OutputFormat, lines, plain_table, print_structured};
use super::terminal::Terminal;
use crate::doctor::{
    Finding, ReadRegion, Report, Severity, examine_clusters, examine_instances, policy,
    read_regions,
};
use crate::gates::egress::EgressRules;
use crate::gates::trees::RegionTrees;
use crate::regions::Clusters;
use crate::regions::rights::roles;
use crate::settings::FleetSettings;

/// The name of the roles that are printed, and of the account of an Argo CD.
const ROLE: &str = "tidegate";

/// Look at what gates rest on: ways to clusters, rights there, settings of Argo CD; changes nothing, and ends with 1 if there is a problem
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate doctor --settings settings.yaml                                   what is wrong, and what to do about it
  tidegate doctor --settings settings.yaml --roles | kubectl apply -f -      grant what the gates need, and no more")]
pub struct DoctorArgs {
    /// Print the roles that the gates need, as manifests for each cluster and as comments for each Argo CD's own API, instead of what was found
    #[arg(long, conflicts_with = "output")]
    roles: bool,

    #[command(flatten)]
    log: LogArgs,

    /// How to print it
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: OutputFormat,
}

/// Runs `tidegate doctor`.
pub fn run(arguments: &DoctorArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let Some((settings, fleet)) = arguments.log.settings()? else {
        return Err(
            CommandError::usage("ways to clusters stand in the operator's settings")
                .hint("name them with --settings FILE"),
        );
    };
    let view = LogView::find(&arguments.log)?;
    let regions = match &view {
        Some(view) => {
            view.fetch_waves()?;
            read_regions(view.state())
        }
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(CommandError::failed)?;
    let mirror = view.as_ref().map(|view| view.repo().path().to_owned());
    let trees = RegionTrees::new(mirror.unwrap_or_default());
    let mut report = runtime.block_on(examine(&fleet, settings.egress, &trees, &regions));
    let unseen = match (&view, regions.is_empty()) {
        (None, _) => Some(
            "nothing was promoted yet: what its gates need in which cluster is known from the first rollout on",
        ),
        (Some(_), true) if fleet.argocd.is_empty() => {
            Some("no region has a gate that reads a cluster, and the settings name no Argo CD")
        }
        _ => None,
    };
    if let Some(message) = unseen {
        report.findings.push(Finding {
            severity: Severity::Ok,
            subject: "fleet".to_owned(),
            message: message.to_owned(),
            advice: None,
        });
    }
    if arguments.roles {
        return print_roles(&report, terminal);
    }
    report.findings.sort_by_key(|finding| finding.severity);
    print(&report, arguments.output, terminal)?;
    match report.count(Severity::Problem) {
        0 => Ok(()),
        1 => Err(CommandError::failed("there is a problem")),
        several => Err(CommandError::failed(format!(
            "there are {several} problems"
        ))),
    }
}

async fn examine(
    fleet: &FleetSettings,
    egress: EgressRules,
    trees: &RegionTrees,
    regions: &[ReadRegion],
) -> Report {
    let clusters = Arc::new(Clusters::new(fleet.clusters.clone(), egress));
    let mut report = examine_clusters(&clusters, trees, regions).await;
    let log = format!("{}/log", fleet.prefix);
    report.extend(examine_instances(&clusters, &fleet.argocd, &fleet.repo, &log, regions).await);
    report
}

fn print(report: &Report, format: OutputFormat, terminal: &Terminal) -> Result<(), CommandError> {
    match format {
        OutputFormat::Json | OutputFormat::Yaml => {
            print_structured(terminal, format, &report.findings)
        }
        OutputFormat::Name => terminal.data(&lines(
            report
                .findings
                .iter()
                .map(|finding| finding.subject.as_str()),
        )),
        OutputFormat::Table | OutputFormat::Wide => {
            let mut rows: Vec<[&str; 3]> = Vec::new();
            let advice: Vec<String> = report
                .findings
                .iter()
                .map(|finding| format!("→ {}", finding.advice.as_deref().unwrap_or_default()))
                .collect();
            for (finding, advice) in report.findings.iter().zip(&advice) {
                rows.push([finding.severity.word(), &finding.subject, &finding.message]);
                if finding.advice.is_some() {
                    rows.push(["", "", advice]);
                }
            }
            terminal.data(&plain_table(["STATE", "SUBJECT", "FOUND"], rows))
        }
    }
}

/// Manifests of roles; clusters that need the same are named together.
fn print_roles(report: &Report, terminal: &Terminal) -> Result<(), CommandError> {
    let mut same: Vec<(Vec<Value>, Vec<&str>)> = Vec::new();
    for (cluster, rights) in &report.needed {
        let wanted = roles(ROLE, rights);
        match same.iter_mut().find(|(known, _)| *known == wanted) {
            Some((_, clusters)) => clusters.push(cluster),
            None => same.push((wanted, vec![cluster])),
        }
    }
    let mut text = String::new();
    for (roles, clusters) in same {
        let _ = writeln!(text, "# In {}.", clusters.join(", "));
        for role in roles {
            let yaml = serde_yaml::to_string(&role).map_err(CommandError::failed)?;
            let _ = write!(text, "---\n{yaml}");
        }
    }
    // Comments: what is printed is applied to clusters.
    for (argocd, projects) in &report.policies {
        let _ = writeln!(
            text,
            "# In Argo CD {argocd}: `policy.csv` of its ConfigMap argocd-rbac-cm, for the account `{ROLE}`."
        );
        for line in policy(ROLE, projects) {
            let _ = writeln!(text, "#   {line}");
        }
    }
    if text.is_empty() {
        return Err(
            CommandError::failed("no cluster told what the gates need there")
                .hint("`tidegate doctor` without --roles says why"),
        );
    }
    terminal.data(&text)
}
