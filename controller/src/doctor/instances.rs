//! The Argo CDs: whether they can be asked, and how they are set up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;

use super::clusters::rights;
use super::{Finding, ReadRegion, Report, argocd, gathered, text};
use crate::gates::argocd::is_same_repository;
use crate::regions::Clusters;
use crate::regions::request::{self, RequestError};
use crate::regions::rights::Right;
use crate::settings::Argocd;

/// How long one Argo CD may take, with all questions.
const WITHIN: Duration = Duration::from_secs(60);
const GROUP: &str = "argoproj.io";

/// Looks at every Argo CD of a fleet whose rendered branches stand in the repo of this URL, its log on `log` (without
/// `refs/heads/`).
pub async fn examine_instances(
    clusters: &Arc<Clusters>,
    instances: &[Argocd],
    repository: &str,
    log: &str,
    regions: &[ReadRegion],
) -> Report {
    let mut whole = Report::default();
    let mut found = BTreeSet::new();
    let mut all_listed = true;
    for settings in instances {
        let named = instances.iter().flat_map(|settings| &settings.repo_urls);
        let looking = Looking {
            clusters,
            settings,
            repositories: std::iter::once(repository)
                .chain(named.map(String::as_str))
                .collect(),
            log,
            regions,
            subject: format!("Argo CD {}", settings.name),
        };
        let looked = tokio::time::timeout(WITHIN, looking.examine(&mut found)).await;
        let (report, listed) = looked.unwrap_or_else(|_| {
            let said = format!("no answer within {} s", WITHIN.as_secs());
            (looking.unreachable(said), false)
        });
        all_listed &= listed;
        whole.extend(report);
    }
    // Where one of several could not be listed, it may be that one which has them.
    if all_listed && !instances.is_empty() {
        for region in regions.iter().filter(|region| region.argocd) {
            if !found.contains(&region.region) {
                whole.findings.push(Finding::problem(
                    &format!("region {}", region.region),
                    "no Argo CD has an Application that reads its folder of the rendered branches",
                    "apply the ApplicationSet of the config repo; where the Applications name the repo otherwise, add that URL to `repoUrls`",
                ));
            }
        }
    }
    whole
}

struct Looking<'a> {
    clusters: &'a Arc<Clusters>,
    settings: &'a Argocd,
    repositories: Vec<&'a str>,
    log: &'a str,
    regions: &'a [ReadRegion],
    subject: String,
}

impl Looking<'_> {
    fn unreachable(&self, said: impl Into<String>) -> Report {
        let advice = "see `argocd` and `clusters` in the operator's settings";
        Report {
            findings: vec![Finding::problem(&self.subject, said, advice)],
            ..Report::default()
        }
    }

    fn is_ours(&self, url: &str) -> bool {
        let mut repositories = self.repositories.iter();
        repositories.any(|ours| is_same_repository(ours, url))
    }

    /// Looks at one; adds the regions that have an Application, and tells whether all Applications were seen.
    async fn examine(&self, found: &mut BTreeSet<String>) -> (Report, bool) {
        let namespace = self.settings.namespace.as_str();
        let mut report = Report::default();
        let client = match self.clusters.client(&self.settings.cluster).await {
            Ok(client) => client,
            Err(error) => return (self.unreachable(error.to_string()), false),
        };
        let needed = self.needed();
        let begun = Instant::now();
        let applications = match self.list(&client, "applications").await {
            Ok(applications) => applications,
            Err(RequestError::Forbidden(_)) => {
                report.findings = rights(&client, &self.subject, &needed).await;
                report.needed.insert(self.settings.cluster.clone(), needed);
                return (report, false);
            }
            Err(error) => return (self.unreachable(error.to_string()), false),
        };
        report.findings.push(Finding::ok(
            &self.subject,
            format!(
                "it has {} Applications in {namespace}, listed in {} ms",
                applications.len(),
                begun.elapsed().as_millis()
            ),
        ));
        report
            .findings
            .extend(rights(&client, &self.subject, &needed).await);
        report.needed.insert(self.settings.cluster.clone(), needed);
        report
            .findings
            .extend(self.of_applications(&applications, found));
        if let Ok(sets) = self.list(&client, "applicationsets").await {
            report.findings.extend(self.of_sets(&sets));
        }
        let config = |name: &str| {
            format!(
                "/api/v1/namespaces/{}/configmaps/{name}",
                request::escaped(namespace)
            )
        };
        if let Ok(Some(cm)) = request::get(&client, &config("argocd-cm")).await {
            let params = request::get(&client, &config("argocd-cmd-params-cm")).await;
            // Where there is none, all is as Argo CD has it by itself.
            let params = params.map(Option::unwrap_or_default).ok();
            let found = argocd::of_config(&self.subject, &cm, params.as_ref());
            report.findings.extend(found);
        }
        (report, true)
    }

    /// The rights that the `argocd` gate needs where this one runs.
    fn needed(&self) -> BTreeSet<Right> {
        let right =
            |verb, resource| Right::new(verb, GROUP, resource, Some(&self.settings.namespace));
        BTreeSet::from([
            right("list", "applications"),
            right("patch", "applications"),
            right("list", "applicationsets"),
            right("patch", "applicationsets"),
        ])
    }

    async fn list(&self, client: &Client, plural: &str) -> Result<Vec<Value>, RequestError> {
        let namespace = request::escaped(&self.settings.namespace);
        let path = format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{plural}");
        request::list(client, &path, "").await
    }

    fn of_applications(
        &self,
        applications: &[Value],
        found: &mut BTreeSet<String>,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for application in applications {
            let single = application.pointer("/spec/source");
            let several = application
                .pointer("/spec/sources")
                .and_then(Value::as_array);
            let mut sources = single.into_iter().chain(several.into_iter().flatten());
            let read = sources.find_map(|source| {
                if !self.is_ours(text(source, "/repoURL")) {
                    return None;
                }
                let path = text(source, "/path").trim_start_matches("./");
                let folder = path.trim_matches('/').split('/').next()?;
                let mut regions = self.regions.iter();
                let region = regions.find(|region| region.region == folder)?;
                Some((region, text(source, "/targetRevision")))
            });
            let Some((region, followed)) = read else {
                continue;
            };
            found.insert(region.region.clone());
            let branch = &region.branch;
            let may_sync = self.settings.sync;
            findings.extend(argocd::of_application(
                application,
                followed,
                branch,
                may_sync,
            ));
        }
        gathered("Application", findings)
    }

    fn of_sets(&self, sets: &[Value]) -> Vec<Finding> {
        let is_ours = |set: &&Value| {
            let generators = set.pointer("/spec/generators").and_then(Value::as_array);
            let mut generators = generators.into_iter().flatten();
            generators.any(|generator| self.is_ours(text(generator, "/git/repoURL")))
        };
        let findings = sets
            .iter()
            .filter(is_ours)
            .flat_map(|set| argocd::of_set(set, |url| self.is_ours(url), self.log))
            .collect();
        gathered("ApplicationSet", findings)
    }
}
