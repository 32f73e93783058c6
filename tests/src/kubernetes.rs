//! Real Kubernetes API servers and controllers: as many clusters as a test wants, on one etcd.
//!
//! There are no nodes: pods stay as they are until a test plays the kubelet (see [`crate::kubelet`]).

mod client;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;

pub(crate) use client::http_client;
pub use client::{Client, Failure};

use crate::stack::{Server, answers_ok, free_port, installed, stack_file};

/// The user who may do everything.
pub const ADMIN: &str = "admin";

const ETCD: &str = "kubernetes/etcd";
const API_SERVER: &str = "kubernetes/kube-apiserver";
const CONTROLLERS: &str = "kubernetes/kube-controller-manager";

/// A store for clusters. It ends, and all that it holds goes, when dropped: after its clusters, please.
#[derive(Debug)]
pub struct Etcd {
    url: String,
    server: Server,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts one; `None` where there is no Kubernetes, or no `openssl` to make keys.
    pub fn start() -> Option<Self> {
        let program = stack_file(ETCD)?;
        stack_file(API_SERVER)?;
        stack_file(CONTROLLERS)?;
        installed("openssl")?;
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let peers = format!("http://127.0.0.1:{}", free_port());
        let mut command = Command::new(program);
        // What is written need not outlive the machine.
        command
            .args(["--unsafe-no-fsync", "--data-dir", "data"])
            .args(["--listen-client-urls", &url])
            .args(["--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")]);
        let mut server = Server::start("etcd", command, folder.path());
        server.wait_until_ready(|| answers_ok(port, "/health"));
        Some(Self {
            url,
            server,
            _folder: folder,
        })
    }

    /// Its process, to hold it up or to see what it said.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// A user of a cluster besides [`ADMIN`], who may do what the roles allow that a test binds to the name or a group.
#[derive(Debug, Clone, Default)]
pub struct User {
    /// The name.
    pub name: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl User {
    /// A user without groups.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            groups: Vec::new(),
        }
    }
}

/// What a cluster has besides an API server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether it has the controllers: of deployments, replica sets, stateful sets, daemon sets, jobs, namespaces,
    /// service accounts and aggregated roles (`view`), and the garbage collector.
    pub controllers: bool,
    /// Its users besides [`ADMIN`].
    pub users: Vec<User>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: true,
            users: Vec::new(),
        }
    }
}

/// An API server with its controllers. All of it ends when dropped.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    url: String,
    authority: String,
    tokens: BTreeMap<String, String>,
    client: Client,
    // Before what it talks to.
    controllers: Option<Server>,
    server: Server,
    folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts one with controllers. Each name stands for one cluster of the store.
    pub fn start(etcd: &Etcd, name: &str) -> Self {
        Self::start_with(etcd, name, &Options::default())
    }

    /// Starts one.
    pub fn start_with(etcd: &Etcd, name: &str, options: &Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        make_key(&folder.path().join("sa.key"));
        let tokens = write_tokens(folder.path(), name, &options.users);
        let program = stack_file(API_SERVER).expect("kube-apiserver, as there was etcd");
        let mut command = Command::new(program);
        command
            .arg(format!("--etcd-servers={}", etcd.url))
            .arg(format!("--etcd-prefix=/{name}"))
            .arg(format!("--secure-port={port}"))
            .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
            .args(["--cert-dir=certs", "--token-auth-file=tokens.csv"])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--service-account-key-file=sa.key")
            .arg("--service-account-signing-key-file=sa.key")
            .args(["--authorization-mode=RBAC", "--anonymous-auth=false"])
            .arg("--service-cluster-ip-range=10.96.0.0/16")
            .arg("--endpoint-reconciler-type=none")
            .arg("--disable-admission-plugins=ServiceAccount");
        let mut server = Server::start("kube-apiserver", command, folder.path());
        let certificates = folder.path().join("certs");
        server.wait_until_ready(|| is_filled(&certificates.join("apiserver.key")));
        let authority = authority_of(&certificates.join("apiserver.crt"));
        let url = format!("https://127.0.0.1:{port}");
        let client = Client::new(&url, &authority, &tokens[ADMIN]);
        server.wait_until_ready(|| client.call(Method::GET, "/readyz", None).is_ok());
        let mut this = Self {
            name: name.to_owned(),
            url,
            authority,
            tokens,
            client,
            controllers: None,
            server,
            folder,
        };
        if options.controllers {
            this.controllers = Some(this.start_controllers());
        }
        this
    }

    fn start_controllers(&self) -> Server {
        let program = stack_file(CONTROLLERS).expect("kube-controller-manager, as there was etcd");
        let mut command = Command::new(program);
        command
            .arg("--kubeconfig")
            .arg(self.write_kubeconfig(&self.path("controllers.kubeconfig"), ADMIN))
            .args(["--service-account-private-key-file=sa.key", "--leader-elect=false"])
            .args(["--secure-port=0", "--kube-api-qps=200", "--kube-api-burst=400"])
            .arg("--controllers=deployment,replicaset,statefulset,daemonset,job,namespace,serviceaccount,garbagecollector,clusterrole-aggregation-controller");
        Server::start("kube-controller-manager", command, self.folder.path())
    }

    /// Its name, also that of the context in its kubeconfig.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its API is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate of the authority by which its API is known, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The token of a user.
    pub fn token(&self, user: &str) -> &str {
        self.tokens
            .get(user)
            .unwrap_or_else(|| panic!("{} has no user {user}", self.name))
    }

    /// A client of [`ADMIN`].
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A client of another user.
    pub fn client_of(&self, user: &str) -> Client {
        self.client.with_token(self.token(user))
    }

    /// The kubeconfig of a user; its only and current context has the name of the cluster.
    pub fn kubeconfig(&self, user: &str) -> String {
        kubeconfig(&[(self, user)])
    }

    /// Writes the kubeconfig of a user, which only the user of this machine can read, and gives the file.
    pub fn write_kubeconfig(&self, file: &Path, user: &str) -> PathBuf {
        write_private(file, &self.kubeconfig(user));
        file.to_owned()
    }

    /// Ends the API server at once, as a crash would. The controllers wait for it.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts the API server again on its port, with what it held, and waits until it is ready.
    pub fn restart(&mut self) {
        self.server.stop();
        self.server.start_again();
        let client = &self.client;
        self.server
            .wait_until_ready(|| client.call(Method::GET, "/readyz", None).is_ok());
        if let Some(controllers) = &mut self.controllers {
            controllers.start_again();
        }
    }

    /// Lets the API server answer nothing until [`Cluster::resume`]; connections stay.
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets the API server go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// The API server's process.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }

    /// The controllers' process, if there are any.
    pub fn controllers(&mut self) -> Option<&mut Server> {
        self.controllers.as_mut()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The kubeconfig of whoever has this token in a cluster at this address, whose certificate is by this authority (PEM);
/// its only and current context has the name of the cluster.
pub fn kubeconfig_of(cluster: &str, url: &str, authority: &str, token: &str) -> String {
    let authority = STANDARD.encode(authority);
    format!(
        "apiVersion: v1
kind: Config
current-context: {cluster}
clusters:
- name: {cluster}
  cluster: {{ server: \"{url}\", certificate-authority-data: {authority} }}
users:
- name: user
  user: {{ token: {token} }}
contexts:
- name: {cluster}
  context: {{ cluster: {cluster}, user: user }}
"
    )
}

/// One kubeconfig with a context for each of these clusters and users; the first is the current one. A context has the
/// name of its cluster, and of a cluster that comes again `<cluster>-<user>`.
pub fn kubeconfig(contexts: &[(&Cluster, &str)]) -> String {
    let mut clusters: BTreeMap<&str, String> = BTreeMap::new();
    let mut names: Vec<String> = Vec::new();
    let (mut users, mut listed) = (String::new(), String::new());
    for (cluster, user) in contexts {
        let of_user = format!("{}-{user}", cluster.name);
        let context = if clusters.contains_key(cluster.name.as_str()) {
            of_user.clone()
        } else {
            cluster.name.clone()
        };
        let entry = format!(
            "- name: {}\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n",
            cluster.name,
            cluster.url,
            STANDARD.encode(&cluster.authority)
        );
        clusters.insert(&cluster.name, entry);
        let token = cluster.token(user);
        let _ = writeln!(users, "- name: {of_user}\n  user:\n    token: {token}");
        let _ = writeln!(
            listed,
            "- name: {context}\n  context:\n    cluster: {}\n    user: {of_user}",
            cluster.name
        );
        names.push(context);
    }
    let clusters: String = clusters.into_values().collect();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {}\nclusters:\n{clusters}users:\n{users}contexts:\n{listed}",
        names.first().expect("a context")
    )
}

fn write_private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The tokens of all users, by name.
fn write_tokens(folder: &Path, cluster: &str, users: &[User]) -> BTreeMap<String, String> {
    let admin = User {
        name: ADMIN.to_owned(),
        groups: vec!["system:masters".to_owned()],
    };
    let mut tokens = BTreeMap::new();
    let mut file = String::new();
    for user in std::iter::once(&admin).chain(users) {
        let token = format!("token-of-{}-in-{cluster}", user.name);
        let groups = user.groups.join(",");
        let _ = writeln!(file, "{token},{0},{0},\"{groups}\"", user.name);
        tokens.insert(user.name.clone(), token);
    }
    write_private(&folder.join("tokens.csv"), &file);
    tokens
}

/// The key of service accounts' tokens.
fn make_key(file: &Path) {
    let output = Command::new("openssl")
        .args(["ecparam", "-name", "prime256v1", "-genkey", "-noout"])
        .output()
        .expect("openssl");
    assert!(output.status.success(), "openssl: {output:?}");
    write_private(file, &String::from_utf8(output.stdout).unwrap());
}

fn is_filled(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| file.len() > 0)
}

/// The authority's certificate, which the API server writes after its own.
fn authority_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let begin = text
        .rfind("-----BEGIN CERTIFICATE-----")
        .unwrap_or_else(|| panic!("{} holds no certificate", file.display()));
    text[begin..].to_owned()
}
