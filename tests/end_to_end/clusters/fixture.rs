//! A fleet on a real cluster, with or without Argo CD in it, and the program that rolls it out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_testkit::argocd::ArgoCd;
use tidegate_testkit::canaries::{Canaries, Leak};
use tidegate_testkit::git_server::{GitServer, PASSWORD, USERNAME};
use tidegate_testkit::kubelet::{Kubelet, Player, by_image};
use tidegate_testkit::kubernetes::{ADMIN, Cluster, Etcd, Options, User};
use tidegate_testkit::requests;
use tidegate_testkit::stack::STACK_VARIABLE;
use tidegate_testkit::tidegate::{Answer, Running, Tidegate, built};
use tidegate_testkit::wait::wait_until;
use tidegate_testkit::work::{Work, git_command};

use super::fleet::{Fleet, Gates, REGIONS, write_region};
use super::follower::Follower;

/// How long anything may take on a slow machine.
pub(super) const LONG: Duration = Duration::from_secs(240);
const REPO: &str = "fleet.git";
/// The canary's Application.
pub(super) const CANARYS_APPLICATION: &str =
    "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop-west";
/// The user of the cluster who has only what the doctor's roles give.
const ACCOUNT: &str = "tidegate";
/// What the config repo of every user begins with.
const APPLICATION_SET: &str = include_str!("../../../repo-template/argocd/applicationset.yaml");

/// Everything that a story needs.
pub(super) struct Stage {
    // In the order of their end.
    pub(super) argocd: Option<ArgoCd>,
    pub(super) player: Player,
    pub(super) cluster: Cluster,
    _etcd: Etcd,
    pub(super) server: GitServer,
    pub(super) work: Work,
    fleet: Fleet,
    folder: tempfile::TempDir,
    begun: Instant,
}

impl Stage {
    /// Starts all of it, and commits a fleet that is fine; `None`, loudly, where something is missing.
    pub(super) fn set_up(gates: Gates) -> Option<Self> {
        Self::set_up_with(Fleet::of(gates))
    }

    /// The same with a fleet of the story's own.
    pub(super) fn set_up_with(fleet: Fleet) -> Option<Self> {
        let stage = Self::try_set_up(fleet);
        if stage.is_none() {
            eprintln!(
                "SKIPPED: a test on a real cluster; set {STACK_VARIABLE} to the folder with kubernetes/ and argocd/, and install redis-server and openssl"
            );
        }
        stage
    }

    fn try_set_up(fleet: Fleet) -> Option<Self> {
        let begun = Instant::now();
        let etcd = Etcd::start()?;
        let options = Options {
            users: vec![User::new(ACCOUNT)],
            ..Options::default()
        };
        let cluster = Cluster::start_with(&etcd, "home", &options);
        for region in REGIONS {
            cluster.client().create_namespace(region);
        }
        let player = Player::start(cluster.client(), &REGIONS, by_image);
        let argocd = match fleet.gates {
            Gates::Argocd => Some(ArgoCd::start(&cluster)?),
            Gates::Workloads => None,
        };
        let server = GitServer::start();
        server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        let stage = Self {
            argocd,
            player,
            cluster,
            _etcd: etcd,
            server,
            work,
            fleet,
            folder: tempfile::tempdir().unwrap(),
            begun,
        };
        fleet.write(&stage.work);
        stage.write_settings();
        if stage.argocd.is_some() {
            stage.apply_set();
        }
        Some(stage)
    }

    /// Puts a region into a ring.
    pub(super) fn write_region(&self, region: &str, ring: &str) {
        write_region(&self.work, region, ring);
    }

    fn write_settings(&self) {
        self.write_file("username", USERNAME);
        self.write_file("password", PASSWORD);
        self.cluster
            .write_kubeconfig(&self.file("kubeconfig"), ADMIN);
        let mut ways = "clusters: [{ kubeconfig: kubeconfig }]".to_owned();
        if self.argocd.is_some() {
            let argocd = format!("{{ cluster: home, repoUrls: [{:?}] }}", self.repo_url());
            write!(ways, "\n    argocd: [{argocd}]").unwrap();
        }
        self.write_ways(&ways);
    }

    /// Writes the operator's settings, with these ways to clusters and Argo CDs.
    pub(super) fn write_ways(&self, ways: &str) {
        let settings = format!(
            "dataDir: data\npoll: 1s\nfleets:\n  - name: shop\n    repo: {}\n    credentials: {{ usernameFile: username, passwordFile: password }}\n    {ways}\n",
            self.server.url(REPO)
        );
        self.write_file("settings.yaml", &settings);
    }

    /// A file beside the operator's settings.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside the operator's settings.
    pub(super) fn write_file(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).unwrap();
    }

    /// What of these secrets is where none may be: in the repo, or beside the settings but for the files of that name.
    pub(super) fn leaks(&self, canaries: &Canaries, file: &str) -> Vec<Leak> {
        let mut leaks = canaries.find_in_folder(self.folder.path(), &|path| path.ends_with(file));
        leaks.extend(canaries.find_in_objects(&self.server.path(REPO), &BTreeSet::new()));
        leaks
    }

    /// How Argo CD reads the repo.
    pub(super) fn repo_url(&self) -> String {
        format!("file://{}", self.server.path(REPO).display())
    }

    /// The template's ApplicationSet, with the repo's URL in it, and a namespace for each region: here they share a cluster.
    fn apply_set(&self) {
        let set = APPLICATION_SET
            .replace(
                "https://git.example.com/acme/shop-config.git",
                &self.repo_url(),
            )
            .replace("namespace: shop", "namespace: '{{.name}}'");
        let applied = self.cluster.client().apply_manifest(&set);
        assert_eq!(applied.len(), 1);
    }

    /// Commits what was written, and pushes it.
    pub(super) fn publish(&self, message: &str) -> String {
        let commit = self.work.commit(message);
        self.work.push("main");
        commit
    }

    /// Writes fleet-wide values and publishes them.
    pub(super) fn publish_values(&self, image: &str, greeting: &str) -> String {
        let values = format!("{{ image: {image:?}, replicas: 2, greeting: {greeting:?} }}\n");
        self.work.write("values/fleet.yaml", values);
        self.publish(&format!("{image} that says {greeting}"))
    }

    /// What applies the branches where there is no Argo CD.
    pub(super) fn follower(&self) -> Follower {
        Follower::start(self.cluster.client(), &self.server.path(REPO))
    }

    /// Says of single pods what the player does not.
    pub(super) fn kubelet(&self) -> Kubelet {
        Kubelet::new(self.cluster.client())
    }

    /// Goes on with an account that may do nothing but what these manifests of roles say.
    fn be_granted(&self, roles: &str) {
        let client = self.cluster.client();
        for role in client.apply_manifest(roles) {
            let (kind, namespace) = (&role["kind"], &role["metadata"]["namespace"]);
            let mut binding = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": format!("{}Binding", kind.as_str().unwrap()),
                "metadata": { "name": "tidegate" },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role["metadata"]["name"] },
                "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ACCOUNT }],
            });
            if namespace.is_string() {
                binding["metadata"]["namespace"] = namespace.clone();
            }
            client.apply(&client.path_of(&binding), &binding);
        }
        self.be_nobody();
    }

    /// Goes on with an account that may do nothing, unless something was granted to it.
    fn be_nobody(&self) {
        let file = self.folder.path().join("kubeconfig");
        self.cluster.write_kubeconfig(&file, ACCOUNT);
    }

    /// What the doctor says to an account that may do everything; from here on the account has the roles that it prints. On
    /// the way there it may do nothing, and the doctor must say that it lacks these rights.
    pub(super) fn go_on_by_least_rights(&self, lacking: &[&str]) -> String {
        let everything = "lets us do everything";
        let at_first = self.doctor(&[], 0);
        assert!(at_first.contains(everything), "{at_first}");
        let roles = self.doctor(&["--roles"], 0);
        self.be_nobody();
        let found = self.doctor(&[], 1);
        for right in lacking {
            assert!(found.contains(right), "{right}: {found}");
        }
        self.be_granted(&roles);
        let found = self.doctor(&[], 0);
        assert!(found.contains("grants all"), "{found}");
        assert!(!found.contains(everything), "{found}");
        at_first
    }

    /// What `tidegate doctor` says, which ends with this code.
    pub(super) fn doctor(&self, arguments: &[&str], code: i32) -> String {
        self.by_settings(&[&["doctor"], arguments].concat(), code)
    }

    /// What `tidegate doctor` says, however it ends.
    pub(super) fn found_by_doctor(&self) -> String {
        self.call_by_settings(&["doctor"]).stdout
    }

    /// What `tidegate gates test` says.
    pub(super) fn gates(&self) -> Value {
        let said = self.by_settings(&["gates", "test", "-o", "json"], 0);
        serde_json::from_str(&said).unwrap()
    }

    /// What a command says that reads the operator's settings and ends with this code.
    fn by_settings(&self, arguments: &[&str], code: i32) -> String {
        let answer = self.call_by_settings(arguments);
        assert_eq!(answer.code, Some(code), "{answer:?}");
        answer.stdout
    }

    fn call_by_settings(&self, arguments: &[&str]) -> Answer {
        let settings = self.file("settings.yaml");
        let settings = ["--settings", settings.to_str().unwrap()];
        self.with_git(self.tidegate())
            .call(&[arguments, &settings].concat())
    }

    /// With git's own credentials for the server, as a user has them.
    fn with_git(&self, tidegate: Tidegate) -> Tidegate {
        let url = self.server.url(REPO);
        let key = format!("url.{}.insteadOf", self.server.url_with_password(REPO));
        tidegate
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", key)
            .env("GIT_CONFIG_VALUE_0", url)
    }

    fn tidegate(&self) -> Tidegate {
        Tidegate::new(built(), self.folder.path())
    }

    /// Reaches the cluster by another kubeconfig, which a controller that runs takes up.
    pub(super) fn reach_by(&self, kubeconfig: &str) {
        let at = |name: &str| self.folder.path().join(name);
        // Nobody must read half of it.
        fs::write(at("kubeconfig.new"), kubeconfig).unwrap();
        fs::set_permissions(at("kubeconfig.new"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(at("kubeconfig.new"), at("kubeconfig")).unwrap();
    }

    /// A controller that runs until it is told to end, and logs every sample.
    pub(super) fn controller(&self) -> Running {
        self.start(|tidegate| tidegate)
    }

    /// Runs a controller until it dies at a point of its work.
    #[track_caller]
    pub(super) fn die_at(&self, point: &str) {
        let controller = self.start(|tidegate| tidegate.env("TIDEGATE_CRASH_AT", point));
        let answer = controller.wait(LONG);
        assert_eq!(
            answer.code, None,
            "{point} was not reached: {}",
            answer.stderr
        );
    }

    fn start(&self, with: impl FnOnce(Tidegate) -> Tidegate) -> Running {
        let settings = self.folder.path().join("settings.yaml");
        let tidegate = self.tidegate().env(
            "TIDEGATE_LOG",
            "info,tidegate_controller::engine::sampling=debug",
        );
        with(tidegate).start(&["run", "--settings", settings.to_str().unwrap()])
    }

    /// Follows what there is to its end; the exit code must be this one.
    pub(super) fn settle(&self, code: i32) -> Answer {
        self.settle_within("4m", code)
    }

    /// The same, for so long at most.
    pub(super) fn settle_within(&self, timeout: &str, code: i32) -> Answer {
        let settings = self.folder.path().join("settings.yaml");
        let begun = Instant::now();
        let answer = self
            .tidegate()
            .start(&[
                "run",
                "--settings",
                settings.to_str().unwrap(),
                "--settle",
                "--timeout",
                timeout,
            ])
            .wait(LONG + Duration::from_secs(30));
        self.say(&format!(
            "settled with {:?} after {:?}",
            answer.code,
            begun.elapsed()
        ));
        assert_eq!(
            answer.code,
            Some(code),
            "{}\n{}",
            answer.stderr,
            self.state()
        );
        answer
    }

    /// One line of the story, with the time.
    pub(super) fn say(&self, what: &str) {
        println!("{:>6.1} s  {what}", self.begun.elapsed().as_secs_f64());
    }

    /// What `tidegate status -o json` says, with the last rollout.
    pub(super) fn status(&self) -> Value {
        let answer = self.call(&["status", "--last", "-o", "json"]);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{}", answer.stderr))
    }

    /// The last rollout as `tidegate status` has it.
    pub(super) fn rollout(&self) -> Value {
        self.status()["rollouts"][0].clone()
    }

    /// Calls a command that reads git alone.
    pub(super) fn call(&self, arguments: &[&str]) -> Answer {
        let path = self.server.path(REPO);
        let mut all = arguments.to_vec();
        all.extend(["--repo", path.to_str().unwrap()]);
        self.tidegate().call(&all)
    }

    /// Calls a command that reads the work tree.
    pub(super) fn validate(&self) -> Answer {
        let work = self.work.path("");
        self.tidegate().call(&["validate", work.to_str().unwrap()])
    }

    /// Everything that tells why something did not come.
    pub(super) fn state(&self) -> String {
        let mut text = String::new();
        let status = self.call(&["status", "--last"]);
        let explain = self.call(&["explain"]);
        let _ = writeln!(text, "{}{}", status.stdout, explain.stdout);
        if let Some(argocd) = &self.argocd {
            for (name, application) in argocd.applications() {
                let status = &application["status"];
                let _ = writeln!(
                    text,
                    "{name}: {} at {} {} operation {} {} conditions {}",
                    status["sync"]["status"],
                    status["sync"]["revision"],
                    status["health"],
                    status["operationState"]["phase"],
                    status["operationState"]["message"],
                    status["conditions"],
                );
            }
        }
        text
    }

    /// The image of a region's Deployment, by the cluster.
    pub(super) fn image(&self, region: &str) -> Option<String> {
        let path = format!("/apis/apps/v1/namespaces/{region}/deployments/web");
        let deployment = self.cluster.client().get(&path)?;
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().map(str::to_owned)
    }

    /// The images of all regions, in their order.
    pub(super) fn images(&self) -> Vec<String> {
        let of = |region: &str| self.image(region).unwrap_or_default();
        self.fleet.regions().map(of).collect()
    }

    /// Asks for something as a person without the command line does.
    pub(super) fn request(&self, verb: &str, trailers: &[(&str, &str)]) {
        requests::ask(
            &self.server,
            REPO,
            &self.work,
            verb,
            trailers,
            "it is meant",
        );
    }

    /// The newest commit of a wave branch.
    pub(super) fn tip(&self, wave: &str) -> String {
        let branch = format!("refs/heads/tidegate/{wave}");
        self.server.tip(REPO, &branch).expect("a wave branch")
    }

    /// The tree of that commit.
    pub(super) fn tree(&self, wave: &str) -> String {
        let commit = format!("{}^{{tree}}", self.tip(wave));
        git_command(&self.server.path(REPO), &["rev-parse", &commit])
    }

    /// Publishes an image that does not run: the canary alone gets it, and `good` back. Gives what the command that waited for it said.
    pub(super) fn give_back(&self, image: &str, good: &str) -> Answer {
        self.say(image);
        self.publish_values(image, "hello");
        let answer = self.settle(4);
        let rollout = self.rollout();
        assert_eq!(rollout["state"], "RolledBack", "{}", self.state());
        self.say(rollout["reason"].as_str().unwrap_or_default());
        wait_until("the canary runs the last good image", LONG, || {
            self.image("west").as_deref() == Some(good)
        });
        let images = self.images();
        assert!(
            images.iter().all(|image| image == good),
            "no other region was touched: {images:?}"
        );
        answer
    }

    /// Argo CD.
    pub(super) fn argocd(&mut self) -> &mut ArgoCd {
        self.argocd.as_mut().unwrap()
    }

    /// Where the rollout of a commit stands; nothing if the newest one is another's.
    pub(super) fn state_of(&self, commit: &str) -> String {
        let rollout = self.rollout();
        let state = rollout["state"]
            .as_str()
            .filter(|_| rollout["source"] == commit);
        state.unwrap_or_default().to_owned()
    }

    /// Where the first region of a wave stands in the rollout of a commit.
    pub(super) fn region_of(&self, commit: &str, wave: usize) -> String {
        let rollout = self.rollout();
        let region = rollout["waves"][wave]["regions"][0]["state"].as_str();
        let state = region.filter(|_| rollout["source"] == commit);
        state.unwrap_or_default().to_owned()
    }

    /// Waits until the rollout of a commit is held because of a region, for this reason and with these words, of which
    /// people are told.
    #[track_caller]
    pub(super) fn held(
        &self,
        controller: &mut Running,
        commit: &str,
        region: &str,
        (reason, words): (&str, &str),
    ) {
        controller.wait_until("it comes to a hold or an end", LONG, || {
            !["", "Running"].contains(&self.state_of(commit).as_str())
        });
        assert_eq!(self.state_of(commit), "Held", "{}", self.state());
        let hold = self.status()["holds"][0].clone();
        self.say(hold["message"].as_str().unwrap_or_default());
        assert_eq!(hold["reason"], reason, "{hold}");
        assert_eq!(hold["regions"], json!([region]), "{hold}");
        assert!(hold["message"].as_str().unwrap().contains(words), "{hold}");
        let explained = self.call(&["explain"]).stdout;
        assert!(explained.contains(words), "{explained}");
    }

    /// Which Application and which Deployment each region has; others of the same names are not the same.
    pub(super) fn uids(&self) -> Vec<(String, Value, Value)> {
        let argocd = self.argocd.as_ref().unwrap();
        let of = |region: &str| {
            let application = argocd.application(&format!("shop-{region}")).unwrap();
            let path = format!("/apis/apps/v1/namespaces/{region}/deployments/web");
            let deployment = self.cluster.client().get(&path).unwrap();
            let uid = |object: &Value| object["metadata"]["uid"].clone();
            (region.to_owned(), uid(&application), uid(&deployment))
        };
        self.fleet.regions().map(of).collect()
    }
}
