//! The regions' clusters: whether there is a way, and the rights that gates need there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Finding, ReadRegion, Report};
use crate::blocking::in_place;
use crate::gates::trees::RegionTrees;
use crate::gates::workloads::Needed;
use crate::regions::Clusters;
use crate::regions::request::{self, RequestError};
use crate::regions::rights::Right;

/// So many clusters are looked at side by side.
const AT_ONCE: usize = 16;
/// How long one cluster may take, with all questions.
const WITHIN: Duration = Duration::from_secs(30);

/// Looks at every cluster that the gates of these regions read, or that has Secrets which lead to others.
pub async fn examine_clusters(
    clusters: &Arc<Clusters>,
    trees: &RegionTrees,
    regions: &[ReadRegion],
) -> Report {
    let mut of_cluster: BTreeMap<String, (Vec<ReadRegion>, BTreeSet<Right>)> = BTreeMap::new();
    for region in regions.iter().filter(|region| region.workloads.is_some()) {
        let (all, _) = of_cluster.entry(region.cluster.clone()).or_default();
        all.push(region.clone());
    }
    for (holder, right) in clusters.secrets_read() {
        let (_, rights) = of_cluster.entry(holder).or_default();
        rights.insert(right);
    }
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for (cluster, (regions, known)) in of_cluster {
        let (clusters, trees, slots) = (Arc::clone(clusters), trees.clone(), Arc::clone(&slots));
        asked.spawn(async move {
            let _slot = slots.acquire().await;
            let looked = tokio::time::timeout(
                WITHIN,
                examine(&clusters, &trees, &cluster, &regions, known),
            );
            let report = looked.await.unwrap_or_else(|_| {
                let subject = subject_of(&cluster);
                let said = format!("no answer within {} s", WITHIN.as_secs());
                Report {
                    findings: vec![unreachable(&subject, said)],
                    ..Report::default()
                }
            });
            (cluster, report)
        });
    }
    let mut whole = Report::default();
    let mut reports = BTreeMap::new();
    while let Some(ended) = asked.join_next().await {
        match ended {
            Ok((cluster, report)) => {
                reports.insert(cluster, report);
            }
            Err(error) => whole.findings.push(Finding::problem(
                "doctor",
                format!("looking at a cluster ended by itself: {error}"),
                "this is a bug: report it, please",
            )),
        }
    }
    for report in reports.into_values() {
        whole.extend(report);
    }
    whole
}

fn subject_of(cluster: &str) -> String {
    format!("cluster {cluster}")
}

fn unreachable(subject: &str, said: impl Into<String>) -> Finding {
    Finding::problem(
        subject,
        said,
        "see `clusters` in the operator's settings; gates of its regions hold their rollouts until it answers",
    )
}

/// `needed` is what is needed there whatever the regions have.
async fn examine(
    clusters: &Clusters,
    trees: &RegionTrees,
    cluster: &str,
    regions: &[ReadRegion],
    needed: BTreeSet<Right>,
) -> Report {
    let subject = subject_of(cluster);
    let mut report = Report::default();
    let begun = Instant::now();
    let client = match clusters.client(cluster).await {
        Ok(client) => client,
        Err(error) => {
            report
                .findings
                .push(unreachable(&subject, error.to_string()));
            return report;
        }
    };
    match request::get(&client, "/version").await {
        Ok(version) => report.findings.push(Finding::ok(
            &subject,
            format!(
                "it answers in {} ms, Kubernetes {}",
                begun.elapsed().as_millis(),
                version
                    .as_ref()
                    .and_then(|version| version.get("gitVersion")?.as_str())
                    .unwrap_or("of an unknown version"),
            ),
        )),
        // Whoever may not ask for the version may still read what the gates read.
        Err(RequestError::Forbidden(_)) => {}
        Err(error) => {
            report
                .findings
                .push(unreachable(&subject, error.to_string()));
            return report;
        }
    }
    let mut found = Needed::default();
    found.rights.extend(needed);
    for region in regions {
        let Some(namespace) = &region.workloads else {
            continue;
        };
        let objects = match in_place(|| trees.objects(region.tree)) {
            Ok(objects) => objects,
            Err(error) => {
                let advice = "run it again; if it says so again, the log and the branches do not fit: `tidegate audit`";
                let region = format!("region {}", region.region);
                report
                    .findings
                    .push(Finding::problem(&region, error.to_string(), advice));
                continue;
            }
        };
        if let Err(error) = found.add(&client, &objects, namespace).await {
            report
                .findings
                .push(unreachable(&subject, error.to_string()));
            return report;
        }
    }
    for kind in &found.unknown {
        report.findings.push(Finding::problem(
            &subject,
            format!("it has no kind {kind}, of which objects are rendered for its regions"),
            "install the definition before the next rollout, or leave the objects out",
        ));
    }
    let rights = rights(&client, &subject, &found.rights).await;
    report.findings.extend(rights);
    report.needed.insert(cluster.to_owned(), found.rights);
    report
}

/// Which of these rights we lack, and whether we have far more.
pub(super) async fn rights(
    client: &Client,
    subject: &str,
    needed: &BTreeSet<Right>,
) -> Vec<Finding> {
    let everything = Right::everything();
    let mut asked = JoinSet::new();
    for right in needed.iter().chain([&everything]).cloned() {
        let client = client.clone();
        asked.spawn(async move {
            let answer = right.is_ours(&client).await;
            (right, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut findings = Vec::new();
    let mut lacking = Vec::new();
    let mut may_do_everything = false;
    for (right, answer) in answers {
        match answer {
            Ok(is_ours) if right == everything => may_do_everything = is_ours,
            Ok(true) => {}
            Ok(false) => lacking.push(right.to_string()),
            Err(error) => {
                findings.push(Finding::problem(
                    subject,
                    format!("whether it lets us {right} is not known: {error}"),
                    "run it again",
                ));
                return findings;
            }
        }
    }
    if !lacking.is_empty() {
        findings.push(Finding::problem(
            subject,
            format!("it does not let us {}", lacking.join("; ")),
            "bind the roles that `tidegate doctor --roles` prints to the account that asks",
        ));
    } else if !needed.is_empty() {
        findings.push(Finding::ok(
            subject,
            format!("it grants all {} rights that the gates need", needed.len()),
        ));
    }
    if may_do_everything {
        findings.push(Finding::advice(
            subject,
            "it lets us do everything, so that whoever steals these credentials may, too",
            "use an account that has only the roles that `tidegate doctor --roles` prints",
        ));
    }
    findings
}
