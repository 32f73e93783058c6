//! What the regions of a small fleet answer: each speaks as its wave branch's manifests say, in the server's bare repo.

use std::path::Path;

use crate::http::{HttpServer, Request, Response};
use crate::small_fleet::BRANCHES;
use crate::way::Way;

/// A region of the last wave turns sick with versions that end so; with `-bad-<region>` it is that region.
pub(crate) const SICK: &str = "-bad";
const SICK_REGION: &str = "north";
/// A region with a version that ends so still shows the fleet's first, and is neither healthy nor sick.
const STUCK: &str = "-stuck";

/// The health of all regions, read from what their wave branches hold.
pub struct Health {
    http: HttpServer,
    way: Way,
}

impl Health {
    /// Reads the bare repo in a folder.
    pub fn start(repo: &Path) -> Self {
        let way = Way::default();
        let http = HttpServer::start({
            let (repo, way) = (repo.to_owned(), way.clone());
            move |request| (!way.loses()).then(|| answer(&repo, &request))
        });
        Self { http, way }
    }

    /// What the endpoint `regions` of the settings is.
    pub fn url(&self) -> String {
        self.http.url("")
    }

    /// No region answers any more, or all do again: as when packets are lost, and none that comes late.
    pub fn cut(&self, cut: bool) {
        if cut {
            self.way.silence();
        } else {
            self.way.open();
        }
    }
}

fn answer(repo: &Path, request: &Request) -> Response {
    let region = request.path.split('/').nth(1).unwrap_or_default();
    let Some(version) = version_of(repo, region) else {
        return Response::json(503, "{}");
    };
    if version.ends_with(STUCK) {
        return Response::json(200, "{\"version\":\"1\"}");
    }
    let named = version.split_once("-bad-").map(|(_, region)| region);
    let sick = version.ends_with(SICK).then_some(SICK_REGION).or(named);
    if sick == Some(region) {
        return Response::json(500, format!("{{\"version\":\"{version}\",\"sick\":true}}"));
    }
    Response::json(200, format!("{{\"version\":\"{version}\"}}"))
}

/// The version that stands in a region's manifest on its wave branch, in the bare repo in a folder.
///
/// A region that changes wave is for a while on two branches, with the same manifest.
pub fn version_of(repo: &Path, region: &str) -> Option<String> {
    let repository = git2::Repository::open_bare(repo).ok()?;
    let blob = BRANCHES.iter().find_map(|branch| {
        let path = format!("{branch}:{region}/app.yaml");
        repository.revparse_single(&path).ok()?.peel_to_blob().ok()
    })?;
    let text = String::from_utf8(blob.content().to_vec()).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("version:"))?;
    Some(line.trim().trim_matches('"').to_owned())
}
