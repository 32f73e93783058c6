//! Followers: each stands where Argo CD and a cluster would, for one region.
//!
//! A follower reads its region's folder from its wave branch each time it is asked, and answers `/healthz`
//! as its manifests say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::http::{HttpServer, Response};
use crate::work::try_git;

/// The files of a region by their path below its folder.
pub type Files = BTreeMap<String, String>;

/// What a region with these files answers: status and JSON body.
pub type Health = dyn Fn(&Files) -> (u16, String) + Send + Sync;

struct Shared {
    repo: PathBuf,
    branch: String,
    region: String,
    health: Box<Health>,
    forced: Mutex<Option<(u16, String)>>,
    /// What the branch held for the region at a tip.
    read: Mutex<Option<(String, Option<Files>)>>,
}

/// The follower of one region.
pub struct Follower {
    shared: Arc<Shared>,
    http: HttpServer,
}

impl Follower {
    /// Starts a follower of `<region>/` on `branch` (such as `tidegate/canary`) of the bare repo at `repo`.
    pub fn start(
        repo: &Path,
        branch: &str,
        region: &str,
        health: impl Fn(&Files) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            repo: repo.to_owned(),
            branch: branch.to_owned(),
            region: region.to_owned(),
            health: Box::new(health),
            forced: Mutex::new(None),
            read: Mutex::new(None),
        });
        let http = HttpServer::start({
            let shared = Arc::clone(&shared);
            move |request| Some(shared.answer(&request.path))
        });
        Self { shared, http }
    }

    /// Where its health is asked.
    #[must_use]
    pub fn url(&self) -> String {
        self.http.url("/healthz")
    }

    /// Answers this, whatever the manifests say; `None`: as they say again.
    pub fn force(&self, answer: Option<(u16, &str)>) {
        *self.shared.forced.lock().unwrap() =
            answer.map(|(status, body)| (status, body.to_owned()));
    }

    /// The files that its branch holds for it now; `None` before there is a folder for it.
    #[must_use]
    pub fn files(&self) -> Option<Files> {
        self.shared.files()
    }
}

impl Shared {
    fn answer(&self, path: &str) -> Response {
        if path != "/healthz" {
            return Response::text(404, "only /healthz is here\n");
        }
        if let Some((status, body)) = self.forced.lock().unwrap().clone() {
            return Response::json(status, body);
        }
        match self.files() {
            None => Response::json(503, r#"{"healthy":false,"reason":"nothing is deployed"}"#),
            Some(files) => {
                let (status, body) = (self.health)(&files);
                Response::json(status, body)
            }
        }
    }

    fn git(&self, arguments: &[&str]) -> Option<String> {
        let output = try_git(&self.repo, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// A loose ref is read as a file: a process for every look would make a slow machine miss deadlines.
    fn files(&self) -> Option<Files> {
        let reference = format!("refs/heads/{}", self.branch);
        let tip = fs::read_to_string(self.repo.join(&reference)).ok();
        let mut read = self.read.lock().unwrap();
        if let Some((known, files)) = read.as_ref()
            && Some(known) == tip.as_ref()
        {
            return files.clone();
        }
        let revision = tip.as_deref().map_or(reference.as_str(), str::trim);
        let files = self.read_folder(&format!("{revision}:{}", self.region));
        *read = tip.map(|tip| (tip, files.clone()));
        files
    }

    fn read_folder(&self, folder: &str) -> Option<Files> {
        self.git(&["rev-parse", "--verify", "--quiet", folder])?;
        // Every line of every file, behind the file's name.
        let lines = self.git(&["grep", "-a", "-z", "--full-name", "-e", "", folder])?;
        let mut files = Files::new();
        for (name, line) in lines.lines().filter_map(|line| line.split_once('\0')) {
            let name = name.strip_prefix(folder).unwrap_or(name);
            let file = files
                .entry(name.trim_start_matches([':', '/']).to_owned())
                .or_default();
            file.push_str(line);
            file.push('\n');
        }
        Some(files)
    }
}

/// The value that stands behind `key:` in the first line of any file that begins with it (after blanks), without
/// quotes: enough for a ConfigMap's `version: "1.2"`.
#[must_use]
pub fn value_of(files: &Files, key: &str) -> Option<String> {
    files
        .values()
        .flat_map(|text| text.lines())
        .find_map(|line| {
            let value = line.trim_start().strip_prefix(key)?.strip_prefix(':')?;
            Some(value.trim().trim_matches(['"', '\'']).to_owned())
        })
}
