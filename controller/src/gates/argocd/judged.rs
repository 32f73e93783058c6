//! From what the table says of a region to one sample.

use tidegate_waves::gate::{Reading, Sample};

use super::instance::Listed;
use super::{Kind, RegionVerdict, Verdict};

/// What the table says of a region.
pub(super) struct Judged {
    pub(super) names: Vec<String>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) region: RegionVerdict,
    /// Whether all Applications are synced and healthy by their own words.
    pub(super) is_healthy: bool,
}

impl Judged {
    /// Whether the region has no Application, or one that is not found.
    pub(super) fn lacks_application(&self, listed: &[Listed]) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| find(listed, name).is_none())
    }

    /// Before a promotion one look has to do: nothing is waited for, and nothing is asked of Argo CD.
    pub(super) fn before(self) -> Sample {
        let reading = match (self.region.kind, self.region.row) {
            (Kind::Pass | Kind::Soak, _) => Reading::Healthy { proven: true },
            // What Argo CD compared some minutes ago will do here.
            (Kind::Wait, 26) if self.is_healthy => Reading::Healthy { proven: true },
            (Kind::Fail, _) | (Kind::Hold | Kind::Wait, 17 | 18) => Reading::Bad,
            _ => Reading::Unknown,
        };
        Sample::new(reading, self.region.evidence)
    }

    /// After a promotion: a reading of the table.
    pub(super) fn after(self) -> Sample {
        let reading = match (self.region.kind, self.region.row) {
            (Kind::Pass, _) => Reading::Healthy { proven: true },
            (Kind::Fail, _) => Reading::Bad,
            // As it was before the promotion.
            (Kind::Hold | Kind::Wait, 17) => Reading::Sick,
            (Kind::Superseded, _) | (Kind::Wait, 2 | 8 | 10 | 11 | 26) => Reading::Stale,
            (Kind::Hold | Kind::Blocked, _) | (Kind::Wait, 4 | 6 | 7) => Reading::Unknown,
            (Kind::Soak | Kind::Wait, _) => Reading::Progressing,
        };
        Sample::new(reading, self.region.evidence)
    }
}

pub(super) fn find<'a>(listed: &'a [Listed], name: &str) -> Option<&'a Listed> {
    listed.iter().find(|listed| listed.application.name == name)
}
