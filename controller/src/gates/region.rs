//! All kinds of gates of one fleet, as one prober.

use tidegate_waves::fleet::{GateCheck, HttpCheck};

use super::argocd::ArgocdGate;
use super::http::HttpProber;
use super::workloads::WorkloadsGate;
use super::{Memory, Prober, Probing, Target, Watch};

/// Asks each gate in its own way.
pub struct RegionProber {
    http: HttpProber,
    argocd: ArgocdGate,
    workloads: WorkloadsGate,
}

impl RegionProber {
    /// A prober of these gates.
    #[must_use]
    pub fn new(http: HttpProber, argocd: ArgocdGate, workloads: WorkloadsGate) -> Self {
        Self {
            http,
            argocd,
            workloads,
        }
    }
}

impl Prober for RegionProber {
    fn probe<'a>(
        &'a self,
        target: &'a Target,
        watch: &'a Watch,
        memory: &'a mut Memory,
    ) -> Probing<'a> {
        Box::pin(async move {
            match &watch.check {
                GateCheck::Http(check) => {
                    let older: Vec<HttpCheck> = watch
                        .older
                        .iter()
                        .filter_map(|older| older.as_http().cloned())
                        .collect();
                    self.http.sample(check, &older, watch.timeout).await
                }
                GateCheck::Argocd(check) => {
                    self.argocd
                        .sample(check, target, watch, &mut memory.argocd)
                        .await
                }
                GateCheck::Workloads(check) => {
                    self.workloads
                        .sample(check, target, watch, &mut memory.workloads)
                        .await
                }
            }
        })
    }
}
