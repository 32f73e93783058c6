//! One region of the demo: it follows its branch as Argo CD would, and answers `/healthz` as its workload would.
//!
//! It learns from `regions.json` on the log where its folder is, reads what the manifests there say, and
//! takes a moment to come up with it, as a cluster does.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a follower looks at its branch.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// How long a cluster takes to run what its branch says.
const COMES_UP_AFTER: Duration = Duration::from_millis(700);

/// More database connections than this, and the demo's database refuses the application.
const CONNECTIONS_THE_DATABASE_HAS: u64 = 100;

/// What runs in a region.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Running {
    /// The version of the storefront's image.
    pub(super) version: String,
    /// Its pool of database connections.
    pub(super) pool: u64,
}

impl Running {
    /// Whether the application works with this configuration.
    pub(super) fn is_healthy(&self) -> bool {
        !self.version.is_empty() && self.pool <= CONNECTIONS_THE_DATABASE_HAS
    }
}

/// A region that runs until this is dropped.
pub(super) struct Follower {
    /// The region's name.
    pub(super) region: String,
    running: Arc<Mutex<Running>>,
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Follower {
    /// Begins to answer on an address of its own; it follows nothing yet.
    pub(super) fn new(region: &str) -> std::io::Result<(Self, TcpListener)> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let follower = Self {
            region: region.to_owned(),
            running: Arc::default(),
            stop: Arc::default(),
            address,
            threads: Vec::new(),
        };
        Ok((follower, listener))
    }

    /// Where it answers.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins to follow the repo, and to answer.
    pub(super) fn start(&mut self, listener: TcpListener, repo: PathBuf) {
        let (region, running, stop) = (
            self.region.clone(),
            Arc::clone(&self.running),
            Arc::clone(&self.stop),
        );
        self.threads.push(std::thread::spawn(move || {
            follow(&region, &repo, &running, &stop);
        }));
        let (running, stop) = (Arc::clone(&self.running), Arc::clone(&self.stop));
        self.threads.push(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    // A client that goes away is no concern of the region's.
                    let _ = answer(stream, &lock(&running));
                }
            }
        }));
    }

    /// What runs there now.
    pub(super) fn running(&self) -> Running {
        lock(&self.running)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        for thread in self.threads.drain(..) {
            // A follower that panicked has said so already.
            drop(thread.join());
        }
    }
}

fn lock(running: &Mutex<Running>) -> Running {
    running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

fn follow(region: &str, repo: &Path, running: &Mutex<Running>, stop: &AtomicBool) {
    let mut coming: Option<(Running, Instant)> = None;
    while !stop.load(Ordering::Relaxed) {
        if let Some(wanted) = wanted(region, repo) {
            let due = match &coming {
                Some((known, since)) if *known == wanted => since.elapsed() >= COMES_UP_AFTER,
                _ => {
                    coming = Some((wanted.clone(), Instant::now()));
                    false
                }
            };
            if due {
                *running.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
            }
        }
        std::thread::sleep(LOOKS_EVERY);
    }
}

/// What the manifests of the region's folder ask for; `None` before its branch holds it.
fn wanted(region: &str, repo: &Path) -> Option<Running> {
    let repository = git2::Repository::open_bare(repo).ok()?;
    let file = |reference: &str, path: &str| -> Option<Vec<u8>> {
        let tree = repository
            .find_reference(reference)
            .ok()?
            .peel_to_tree()
            .ok()?;
        let entry = tree.get_path(Path::new(path)).ok()?;
        Some(repository.find_blob(entry.id()).ok()?.content().to_vec())
    };
    let regions: serde_json::Value =
        serde_json::from_slice(&file("refs/heads/tidegate/log", "regions.json")?).ok()?;
    let place = regions
        .as_array()?
        .iter()
        .find(|entry| entry.get("name").and_then(|name| name.as_str()) == Some(region))?;
    let branch = format!("refs/heads/{}", place.get("branch")?.as_str()?);
    let folder = place.get("folder")?.as_str()?;
    let text = |path: &str| {
        file(&branch, &format!("{folder}/{path}"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let deployment = text("storefront/deployment.yaml")?;
    let config = text("storefront/configmap.yaml")?;
    let version = value_behind(&deployment, "/storefront:")?;
    let pool = value_behind(&config, "DATABASE_POOL:")?.parse().ok()?;
    Some(Running { version, pool })
}

/// The word behind a mark in a manifest, without quotes.
fn value_behind(text: &str, mark: &str) -> Option<String> {
    let (_, rest) = text.split_once(mark)?;
    let line = rest.lines().next()?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}

fn answer(mut stream: TcpStream, running: &Running) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let status = if running.is_healthy() {
        "200 OK"
    } else {
        "500 Internal Server Error"
    };
    let body = serde_json::json!({ "version": running.version, "healthy": running.is_healthy() })
        .to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_manifests_say() {
        assert_eq!(
            value_behind("image: \"registry/storefront:1.4.0\"\n", "/storefront:"),
            Some("1.4.0".to_owned())
        );
        assert_eq!(
            value_behind("  DATABASE_POOL: \"20\"\n", "DATABASE_POOL:"),
            Some("20".to_owned())
        );
        assert_eq!(value_behind("nothing", "DATABASE_POOL:"), None);
    }

    #[test]
    fn too_large_a_pool_makes_it_sick() {
        assert!(
            Running {
                version: "1".to_owned(),
                pool: 20
            }
            .is_healthy()
        );
        assert!(
            !Running {
                version: "1".to_owned(),
                pool: 500
            }
            .is_healthy()
        );
        assert!(!Running::default().is_healthy());
    }
}
