//! A real `sshd` on a port of its own, with throw-away keys, that lets whoever has the right key run git on repos
//! below one folder. Whoever runs the tests is also the account that is logged into.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::wait_until;

/// How long a server may take to come up or go down.
const DEADLINE: Duration = Duration::from_secs(20);

/// A key for clients.
#[derive(Debug, Clone)]
pub struct SshKey {
    /// The file with the private half, mode 0600; the public half lies beside it.
    pub file: PathBuf,
}

impl SshKey {
    /// Makes a new key.
    pub fn generate(file: &Path) -> Self {
        generate(file);
        Self {
            file: file.to_owned(),
        }
    }

    /// The public half, one line.
    #[must_use]
    pub fn public(&self) -> String {
        read(&public_half(&self.file))
    }

    /// The private half.
    #[must_use]
    pub fn private(&self) -> String {
        read(&self.file)
    }
}

/// A server. It ends, with all its connections, when dropped.
#[derive(Debug)]
pub struct SshServer {
    folder: tempfile::TempDir,
    repos: PathBuf,
    user: String,
    port: u16,
    /// An address of this machine whose port 22 the server has too.
    short_host: Option<String>,
    process: Option<Child>,
}

impl SshServer {
    /// Starts a server for the repos in a folder. Nobody may log in yet. `None` where this machine has no `sshd`.
    #[must_use]
    pub fn start(repos: &Path) -> Option<Self> {
        let sshd = program("sshd")?;
        let folder = tempfile::tempdir().unwrap();
        generate(&folder.path().join("host"));
        fs::write(folder.path().join("authorized"), "").unwrap();
        let mut server = Self {
            folder,
            repos: repos.to_owned(),
            user: said(Command::new("id").arg("-un")),
            port: free_port("127.0.0.1:0").expect("a free port"),
            short_host: free_short_host(),
            process: None,
        };
        if rustix::process::getuid().is_root() {
            // Where the part of sshd that has given up its rights lives; it must exist.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        server.write_command();
        server.write_configuration(&sshd);
        server.run();
        Some(server)
    }

    fn write_command(&self) {
        let path = self.path("command");
        let home = self.folder.path().display();
        let script = format!(
            "#!/bin/sh\nexport GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null HOME='{home}'\n\
             cd '{}' && exec git shell -c \"$SSH_ORIGINAL_COMMAND\"\n",
            self.repos.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn write_configuration(&self, sshd: &Path) {
        let mut lines = vec![
            format!("ListenAddress 127.0.0.1:{}", self.port),
            format!("HostKey {}", self.path("host").display()),
            format!("AuthorizedKeysFile {}", self.path("authorized").display()),
            format!("ForceCommand {}", self.path("command").display()),
            format!("AllowUsers {}", self.user),
            "PidFile none".to_owned(),
            "PermitRootLogin prohibit-password".to_owned(),
            "PasswordAuthentication no".to_owned(),
            "KbdInteractiveAuthentication no".to_owned(),
            "UsePAM no".to_owned(),
            "StrictModes no".to_owned(),
            "AcceptEnv GIT_PROTOCOL".to_owned(),
            "MaxStartups 200".to_owned(),
            "LogLevel VERBOSE".to_owned(),
        ];
        lines.extend(
            self.short_host
                .as_ref()
                .map(|host| format!("ListenAddress {host}:22")),
        );
        let file = self.path("sshd_config");
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        // Newer servers shut out who knocks with a wrong key too often; older ones do not know the word.
        let penal = self.path("sshd_config.new");
        lines.push("PerSourcePenalties no".to_owned());
        fs::write(&penal, lines.join("\n") + "\n").unwrap();
        let known = Command::new(sshd).arg("-t").arg("-f").arg(&penal).output();
        if known.is_ok_and(|output| output.status.success()) {
            fs::rename(&penal, &file).unwrap();
        }
    }

    /// Starts the server, also again after [`SshServer::stop`].
    pub fn run(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let before = self.listens();
        let process = Command::new(program("sshd").expect("sshd"))
            .args(["-D", "-e", "-f"])
            .arg(self.path("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd");
        self.process = Some(process);
        let wanted = before + 1 + usize::from(self.short_host.is_some());
        wait_until("sshd listens", DEADLINE, || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "sshd ended: {}", self.log());
            self.listens() >= wanted
        });
    }

    fn listens(&self) -> usize {
        self.log().matches("Server listening on").count()
    }

    /// Ends the server and cuts all its connections; what it runs for them may go on.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // Connections are children of the server, and those that have given up their rights are theirs.
        let connections = descendants(process.id(), "sshd");
        let _ = process.kill();
        let _ = process.wait();
        for connection in connections {
            if let Some(id) = i32::try_from(connection).ok().and_then(Pid::from_raw) {
                let _ = kill_process(id, Signal::KILL);
            }
        }
    }

    /// Gives the server another key of its own.
    pub fn replace_host_key(&mut self) {
        self.stop();
        for file in [self.path("host"), public_half(&self.path("host"))] {
            fs::remove_file(file).unwrap();
        }
        generate(&self.path("host"));
        self.run();
    }

    /// Lets the holders of these keys in, and nobody else.
    pub fn authorize(&self, keys: &[&SshKey]) {
        let lines: Vec<String> = keys.iter().map(|key| key.public()).collect();
        let draft = self.path("authorized.draft");
        fs::write(&draft, lines.concat()).unwrap();
        fs::rename(&draft, self.path("authorized")).unwrap();
    }

    /// The lines by which a client knows this server, at all its addresses.
    #[must_use]
    pub fn known_hosts(&self) -> String {
        let public = read(&public_half(&self.path("host")));
        let key: Vec<&str> = public.split_whitespace().take(2).collect();
        let mut hosts = format!("[127.0.0.1]:{}", self.port);
        if let Some(host) = &self.short_host {
            hosts.push(',');
            hosts.push_str(host);
        }
        format!("{hosts} {}\n", key.join(" "))
    }

    /// The address of a repo as `ssh://user@host:port/path`.
    #[must_use]
    pub fn url(&self, repo: &str) -> String {
        format!(
            "ssh://{}@127.0.0.1:{}{}/{repo}",
            self.user,
            self.port,
            self.repos.display()
        )
    }

    /// The address of a repo as `user@host:path`, which has no place for a port; `None` where port 22 is not to be had.
    #[must_use]
    pub fn short_address(&self, repo: &str) -> Option<String> {
        let host = self.short_host.as_ref()?;
        Some(format!("{}@{host}:{repo}", self.user))
    }

    /// Host and port of [`SshServer::url`].
    #[must_use]
    pub fn host_and_port(&self) -> (&'static str, u16) {
        ("127.0.0.1", self.port)
    }

    /// All that the server has said.
    #[must_use]
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(self.path("log")) {
            let _ = file.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// How many connections it has taken so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log().matches("Connection from ").count()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where a program is; those for administrators are often not on a user's PATH.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

fn generate(file: &Path) {
    said(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "throw-away", "-f"])
            .arg(file),
    );
}

fn public_half(file: &Path) -> PathBuf {
    file.with_extension("pub")
}

fn said(command: &mut Command) -> String {
    let output = command.output().expect("the program");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

fn free_port(address: &str) -> Option<u16> {
    let listener = TcpListener::bind(address).ok()?;
    Some(listener.local_addr().ok()?.port())
}

/// An address whose port 22 we may have; several tests look for one at once, so each begins elsewhere.
fn free_short_host() -> Option<String> {
    let mut seed = [0; 2];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut seed))
        .ok()?;
    let host = format!("127.{}.{}.22", 64 + seed[0] / 2, seed[1]);
    free_port(&format!("{host}:22")).map(|_| host)
}

/// The processes of a name below one, at any depth.
fn descendants(of: u32, name: &str) -> Vec<u32> {
    let children = read_or_empty(&format!("/proc/{of}/task/{of}/children"));
    let mut all = Vec::new();
    for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
        if read_or_empty(&format!("/proc/{child}/comm"))
            .trim()
            .starts_with(name)
        {
            all.push(child);
        }
        all.extend(descendants(child, name));
    }
    all
}

fn read_or_empty(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
