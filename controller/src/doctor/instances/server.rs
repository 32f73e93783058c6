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
