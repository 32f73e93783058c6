//! The Argo CDs: whether they can be asked, and how they are set up.

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use serde_json::Value;

use super::clusters::rights;
use super::{Finding, ReadRegion, Report, argocd, gathered, text};
use crate::gates::argocd::{
    Application, branch_name, is_same_repository, objects_path, trim_folder,
};
use crate::regions::Clusters;
use crate::regions::request::{self, RequestError};
use crate::regions::rights::Right;
use crate::settings::{Argocd, ArgocdWay};

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

/// An Application that reads a region's folder: all of it, what rules read of it, and the revision that it follows.
type Reader<'v> = (&'v Value, Application, String);

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
        match &self.settings.way {
            ArgocdWay::Cluster(cluster) => self.examine_cluster(cluster, found).await,
            ArgocdWay::Server(server) => self.examine_server(server, found).await,
        }
    }

    /// Looks at one through the API of its cluster.
    async fn examine_cluster(&self, cluster: &str, found: &mut BTreeSet<String>) -> (Report, bool) {
        let namespace = self.settings.namespace.as_str();
        let mut report = Report::default();
        let client = match self.clusters.client(cluster).await {
            Ok(client) => client,
            Err(error) => return (self.unreachable(error.to_string()), false),
        };
        let needed = self.needed();
        let begun = Instant::now();
        let applications = match self.list(&client, "applications").await {
            Ok(applications) => applications,
            Err(RequestError::Forbidden(_)) => {
                report.findings = rights(&client, &self.subject, &needed).await;
                report.needed.insert(cluster.to_owned(), needed);
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
        report.needed.insert(cluster.to_owned(), needed);
        report
            .findings
            .extend(self.of_applications(&applications, found));
        match self.list(&client, "applicationsets").await {
            Ok(sets) => report.findings.extend(self.of_sets(&sets)),
            // Said above, among the rights that we lack.
            Err(RequestError::Forbidden(_)) => {}
            Err(error) => report.extend(self.unreachable(error.to_string())),
        }
        report.findings.extend(self.of_config(&client).await);
        (report, true)
    }

    /// What is found in its `ConfigMap`s, which no gate needs to read.
    async fn of_config(&self, client: &Client) -> Vec<Finding> {
        let namespace = request::escaped(&self.settings.namespace);
        let path = |name: &str| format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        let Ok(Some(cm)) = request::get(client, &path("argocd-cm")).await else {
            let said = "its ConfigMap argocd-cm cannot be read, so that its own settings were not looked at";
            return vec![Finding::ok(&self.subject, said)];
        };
        let params = request::get(client, &path("argocd-cmd-params-cm")).await;
        // Where there is none, all is as Argo CD has it by itself.
        let params = params.map(Option::unwrap_or_default).ok();
        argocd::of_config(&self.subject, &cm, params.as_ref())
    }

    /// The rights that the `argocd` gate needs where this one runs.
    fn needed(&self) -> BTreeSet<Right> {
        let right =
            |verb, resource| Right::new(verb, GROUP, resource, Some(&self.settings.namespace));
        BTreeSet::from([
            right("get", "applications"),
            right("list", "applications"),
            right("patch", "applications"),
            right("list", "applicationsets"),
            right("patch", "applicationsets"),
        ])
    }

    async fn list(&self, client: &Client, plural: &str) -> Result<Vec<Value>, RequestError> {
        let path = objects_path(&self.settings.namespace, plural);
        request::list(client, &path, "").await
    }

    fn regions_by_name(&self) -> BTreeMap<&str, &ReadRegion> {
        let regions = self.regions.iter();
        regions
            .map(|region| (region.region.as_str(), region))
            .collect()
    }

    /// The Applications that read regions' folders, by region.
    fn readers<'v>(&self, applications: &'v [Value]) -> BTreeMap<&str, Vec<Reader<'v>>> {
        let regions = self.regions_by_name();
        let mut readers: BTreeMap<&str, Vec<Reader<'v>>> = BTreeMap::new();
        for value in applications {
            let Ok(application) = Application::read(value) else {
                continue;
            };
            let read = application.sources.iter().find_map(|source| {
                let folder = trim_folder(&source.path).split('/').next()?;
                let (name, _) = regions.get_key_value(folder)?;
                let followed = branch_name(&source.target_revision).to_owned();
                self.is_ours(&source.repo_url).then_some((*name, followed))
            });
            if let Some((region, followed)) = read {
                let all = readers.entry(region).or_default();
                all.push((value, application, followed));
            }
        }
        readers
    }

    /// What is found of the Applications that read regions' folders; adds those regions.
    fn of_applications(
        &self,
        applications: &[Value],
        found: &mut BTreeSet<String>,
    ) -> Vec<Finding> {
        let regions = self.regions_by_name();
        let mut findings = Vec::new();
        for (name, mut own) in self.readers(applications) {
            let Some(region) = regions.get(name) else {
                continue;
            };
            found.insert(name.to_owned());
            // As the gate chooses: where some follow the region's branch, others are none of its.
            if own.iter().any(|(.., followed)| *followed == region.branch) {
                own.retain(|(.., followed)| *followed == region.branch);
            }
            for (value, application, followed) in &own {
                let (branch, may_sync) = (&region.branch, self.settings.sync);
                let about = argocd::of_application(value, application, followed, branch, may_sync);
                findings.extend(about);
            }
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidegate_waves::oid::Oid;

    use super::*;
    use crate::gates::egress::EgressRules;

    const REPO: &str = "https://git.example.com/acme/shop.git";

    fn application(name: &str, revision: &str, path: &str) -> Value {
        json!({
            "metadata": { "name": name },
            "spec": {
                "sources": [
                    { "repoURL": "https://charts.example.com", "targetRevision": "1.0", "path": "westus3" },
                    { "repoURL": REPO, "targetRevision": revision, "path": path },
                ],
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
        })
    }

    fn found(applications: &[Value]) -> (Vec<String>, Vec<String>) {
        let settings: Argocd = serde_yaml::from_str("cluster: home").unwrap();
        let regions = [ReadRegion {
            region: "westus3".to_owned(),
            cluster: "home".to_owned(),
            branch: "tidegate/canary".to_owned(),
            tree: Oid::ZERO,
            workloads: None,
            argocd: true,
        }];
        let looking = Looking {
            clusters: &Arc::new(Clusters::new(Vec::new(), EgressRules::default())),
            settings: &settings,
            repositories: vec![REPO],
            log: "tidegate/log",
            regions: &regions,
            subject: "Argo CD argocd".to_owned(),
        };
        let mut seen = BTreeSet::new();
        let findings = looking.of_applications(applications, &mut seen);
        let said = findings.into_iter().map(|finding| finding.subject);
        (said.collect(), seen.into_iter().collect())
    }

    #[test]
    fn only_applications_that_read_a_regions_folder_are_looked_at() {
        let astray = application("astray", "main", "westus3");
        let other = application("other", "main", "eastus");
        let (said, seen) = found(&[astray, other.clone()]);
        assert_eq!(said, ["Application astray"]);
        assert_eq!(seen, ["westus3"]);
        assert_eq!(found(&[other]), (Vec::new(), Vec::new()));
    }

    #[test]
    fn another_environment_that_reads_the_same_folder_is_none_of_the_regions() {
        let own = application("own", "refs/heads/tidegate/canary", "./westus3/");
        let staging = application("staging", "staging", "westus3");
        let (said, seen) = found(&[own, staging]);
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(seen, ["westus3"]);
    }
}
