//! What is found of an Argo CD through its own API.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::Looking;
use crate::doctor::{Finding, Report};
use crate::gates::argocd::{Application, Server, ServerError};
use crate::settings::ArgocdServer;

/// What is to be done where the token may not do what gates need.
const GRANT: &str =
    "give its account the lines of `policy.csv` that `tidegate doctor --roles` prints";

impl Looking<'_> {
    /// Looks at one through its own API.
    pub(super) async fn examine_server(
        &self,
        settings: &ArgocdServer,
        found: &mut BTreeSet<String>,
    ) -> (Report, bool) {
        let namespace = self.settings.namespace.as_str();
        let server = Server::new(&self.settings.name, namespace, settings);
        let mut report = Report::default();
        if settings.url.scheme() == "http" {
            report.findings.push(Finding::advice(
                &self.subject,
                "its token is sent without encryption, for everybody on the way to read",
                "write an https:// address as `server.url`",
            ));
        }
        let name = self.settings.name.clone();
        report.policies.insert(name.clone(), BTreeSet::new());
        let begun = Instant::now();
        let applications = match server.applications().await {
            Ok(applications) => applications,
            Err(error) => {
                report.extend(self.unreachable(error.to_string()));
                return (report, false);
            }
        };
        let readers = self.readers(&applications);
        let seen = || {
            readers
                .values()
                .flatten()
                .map(|(_, application, _)| application)
        };
        let projects = seen().map(|application| application.project.clone());
        report.policies.insert(name, projects.collect());
        // What the token may not get is left out without a word.
        if applications.is_empty() {
            report.findings.push(Finding::problem(
                &self.subject,
                format!("its API shows the token no Application in {namespace}"),
                format!("{GRANT}, and see whether its `namespace` is right"),
            ));
            return (report, false);
        }
        report.findings.push(Finding::ok(
            &self.subject,
            format!(
                "its API shows the token {} Applications in {namespace}, listed in {} ms",
                applications.len(),
                begun.elapsed().as_millis()
            ),
        ));
        // One of each project: rules are by project, as a rule.
        let one_each: BTreeMap<&str, &Application> = seen()
            .map(|application| (application.project.as_str(), application))
            .collect();
        for application in one_each.into_values() {
            match self.of_rights(&server, application).await {
                Ok(findings) => report.findings.extend(findings),
                Err(error) => report.findings.push(Finding::problem(
                    &self.subject,
                    format!("what the token may do is not known: {error}"),
                    "run it again",
                )),
            }
        }
        let findings = self.of_applications(&applications, found);
        report.findings.extend(findings);
        report.findings.extend(self.of_shown_sets(&server).await);
        report.findings.push(Finding::ok(
            &self.subject,
            "its API does not show its ConfigMaps: its own settings were not looked at",
        ));
        (report, true)
    }

    /// Whether the token may do with an Application what gates need, and whether it may do far more.
    async fn of_rights(
        &self,
        server: &Server,
        application: &Application,
    ) -> Result<Vec<Finding>, ServerError> {
        let name = &application.name;
        let mut findings = Vec::new();
        if server.may("sync", application).await? {
            findings.push(Finding::ok(
                &self.subject,
                format!("its API lets the token get and sync {name}"),
            ));
        } else {
            findings.push(Finding::problem(
                &self.subject,
                format!("its API does not let the token sync {name}: nobody ends what it does for a commit that was given back"),
                GRANT,
            ));
        }
        if server.may("delete", application).await? {
            findings.push(Finding::advice(
                &self.subject,
                format!("its API lets the token delete {name}, so that whoever steals it may, too"),
                "use an account that has only the lines of `policy.csv` that `tidegate doctor --roles` prints",
            ));
        }
        Ok(findings)
    }

    /// What is found of the `ApplicationSet`s that the token may get; gates do not need them.
    async fn of_shown_sets(&self, server: &Server) -> Vec<Finding> {
        match server.application_sets().await {
            Ok(sets) if !sets.is_empty() => self.of_sets(&sets),
            _ => vec![Finding::ok(
                &self.subject,
                "its API shows the token no ApplicationSet: what generates its Applications was not looked at (`applicationsets, get`)",
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tidegate_testkit::http::{HttpServer, Response};
    use tidegate_waves::oid::Oid;

    use super::super::examine_instances;
    use super::*;
    use crate::doctor::{ReadRegion, Severity};
    use crate::gates::egress::EgressRules;
    use crate::regions::Clusters;
    use crate::settings::Argocd;

    const REPO: &str = "https://git.example.com/acme/shop.git";

    /// What is said of an Argo CD with an Application whose token may do these things.
    async fn found(may: &'static [&'static str]) -> Report {
        let server = HttpServer::start(move |request| {
            let answer = match request.path.strip_prefix("/api/v1/").unwrap_or_default() {
                "applications" => json!({ "items": [{
                    "metadata": { "name": "shop-westus3" },
                    "spec": {
                        "project": "shop",
                        "source": { "repoURL": REPO, "targetRevision": "tidegate/canary", "path": "westus3" },
                        "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
                    },
                }] }),
                "applicationsets" => json!({ "items": null }),
                other => {
                    let asked = other.strip_prefix("account/can-i/applications/").unwrap();
                    let action = asked.strip_suffix("/shop/argocd/shop-westus3").unwrap();
                    json!({ "value": if may.contains(&action) { "yes" } else { "no" } })
                }
            };
            Some(Response::json(200, answer.to_string()))
        });
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "token").unwrap();
        let settings = Argocd::by_its_api("far", &server.url("/"), token_file);
        let regions = [ReadRegion {
            region: "westus3".to_owned(),
            cluster: "westus3".to_owned(),
            branch: "tidegate/canary".to_owned(),
            tree: Oid::ZERO,
            workloads: None,
            argocd: true,
        }];
        let clusters = Arc::new(Clusters::new(Vec::new(), EgressRules::default()));
        examine_instances(&clusters, &[settings], REPO, "tidegate/log", &regions).await
    }

    fn has(report: &Report, severity: Severity, part: &str) -> bool {
        let mut findings = report.findings.iter();
        findings.any(|finding| finding.severity == severity && finding.message.contains(part))
    }

    #[tokio::test]
    async fn what_the_token_may_do_and_what_is_not_seen_is_told() {
        let report = found(&["sync"]).await;
        assert_eq!(report.count(Severity::Problem), 0, "{report:?}");
        for part in [
            "shows the token 1 Applications in argocd",
            "lets the token get and sync shop-westus3",
            "no ApplicationSet",
            "does not show its ConfigMaps",
        ] {
            assert!(has(&report, Severity::Ok, part), "{part}: {report:?}");
        }
        assert!(has(&report, Severity::Advice, "without encryption"));
        assert!(!has(&report, Severity::Advice, "delete"));
        let projects = BTreeSet::from(["shop".to_owned()]);
        assert_eq!(
            report.policies,
            BTreeMap::from([("far".to_owned(), projects)])
        );

        let report = found(&[]).await;
        assert_eq!(report.count(Severity::Problem), 1, "{report:?}");
        assert!(has(&report, Severity::Problem, "not let the token sync"));
        let report = found(&["sync", "delete"]).await;
        assert!(has(&report, Severity::Advice, "lets the token delete"));
    }
}
