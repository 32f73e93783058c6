//! A config repo by SSH, on a real `sshd`: the stories, both forms of an address, and everything that stands in the way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tidegate_testkit::ssh_server::{SshKey, SshServer};
use tidegate_testkit::tidegate::{Answer, Tidegate};

use crate::crash::{assert_undisturbed, say};
use crate::journal_audit;
use crate::small_fleet::{BRANCHES, Controller, LONG, REPO, SmallFleet, Story};

/// A fleet whose controllers come by SSH, with a key that is let in and the server's key known.
struct Reached {
    fleet: SmallFleet,
    server: SshServer,
    key: SshKey,
    known_hosts: PathBuf,
}

impl Reached {
    /// `None`, said loudly, where there is no `sshd`.
    fn of(story: Story) -> Option<Self> {
        Self::with(SmallFleet::of(story))
    }

    fn with(fleet: SmallFleet) -> Option<Self> {
        let Some(server) = SshServer::start(fleet.server.path(REPO).parent().unwrap()) else {
            say("SKIPPED: a test by SSH; install openssh-server");
            return None;
        };
        let folder = fleet.folder("ssh 'keys'");
        fs::create_dir(&folder).unwrap();
        let key = SshKey::generate(&folder.join("id"));
        server.authorize(&[&key]);
        let known_hosts = folder.join("known hosts");
        fs::write(&known_hosts, server.known_hosts()).unwrap();
        Some(Self {
            fleet,
            server,
            key,
            known_hosts,
        })
    }

    fn credentials(&self, key: &Path) -> String {
        format!(
            "{{ sshKeyFile: {:?}, knownHostsFile: {:?} }}",
            key.display().to_string(),
            self.known_hosts.display().to_string()
        )
    }

    fn controller(&self, name: &str) -> Controller<'_> {
        self.fleet
            .controller(name)
            .by(&self.server.url(REPO), &self.credentials(&self.key.file))
    }

    /// A run that cannot get through says so, and nothing of the key.
    #[track_caller]
    fn refused(&self, controller: &Controller<'_>, parts: &[&str]) -> Answer {
        let answer = controller.start_settling().wait(LONG);
        assert_eq!(answer.code, Some(1), "{}", answer.stderr);
        for part in parts {
            assert!(answer.stderr.contains(part), "{part} in {}", answer.stderr);
        }
        self.assert_key_is_kept(&answer.stderr);
        answer
    }

    #[track_caller]
    fn assert_key_is_kept(&self, text: &str) {
        let private = self.key.private();
        for line in private.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!text.contains(line), "a part of the key in {text}");
        }
    }
}

#[test]
fn a_good_and_a_bad_commit_go_the_same_way_by_ssh() {
    for (story, code, short) in [(Story::Good, 0, false), (Story::Bad, 4, true)] {
        let Some(reached) = Reached::of(story) else {
            return;
        };
        let address = match reached.server.short_address(REPO) {
            Some(address) if short => address,
            None if short => {
                say("SKIPPED: user@host:path, which needs port 22; let this user have it");
                reached.server.url(REPO)
            }
            _ => reached.server.url(REPO),
        };
        let before = reached.server.connections();
        let answer = reached
            .fleet
            .controller("ssh")
            .by(&address, &reached.credentials(&reached.key.file))
            .settle(code);
        assert!(reached.server.connections() > before);
        reached.assert_key_is_kept(&answer.stderr);
        journal_audit::check(&reached.fleet);
        assert_undisturbed(&reached.fleet, story, &address);
    }
}

#[test]
fn a_key_that_the_server_does_not_know_is_told_so() {
    let Some(reached) = Reached::of(Story::Good) else {
        return;
    };
    let other = SshKey::generate(&reached.fleet.folder("other"));
    let controller = reached
        .fleet
        .controller("stranger")
        .by(&reached.server.url(REPO), &reached.credentials(&other.file));
    reached.refused(
        &controller,
        &[
            "refuses our SSH key",
            "Permission denied (publickey)",
            "ssh-keygen -y -f",
        ],
    );
}

#[test]
fn a_server_that_is_not_known_or_has_another_key_gets_nothing() {
    let Some(mut reached) = Reached::of(Story::Good) else {
        return;
    };
    let (host, port) = reached.server.host_and_port();
    let file = reached.known_hosts.display().to_string();
    let known = reached.server.known_hosts();
    fs::write(&reached.known_hosts, "").unwrap();
    let unknown = [
        &*format!("{host}:{port}"),
        &file,
        &format!("ssh-keyscan -p {port} {host}"),
        "fingerprint",
    ];
    reached.refused(&reached.controller("unknown"), &unknown);
    fs::write(&reached.known_hosts, &known).unwrap();
    reached.server.replace_host_key();
    let changed = [
        &*format!("{host}:{port}"),
        "another key than the one in",
        &file,
        "somebody stands between",
    ];
    reached.refused(&reached.controller("changed"), &changed);
    assert!(!reached.server.log().contains("Accepted publickey"));
    // Written anew, it is taken up.
    fs::write(&reached.known_hosts, reached.server.known_hosts()).unwrap();
    reached.controller("known").settle(0);
}

#[test]
fn a_missing_key_is_named_and_taken_up_once_it_is_there() {
    let Some(reached) = Reached::of(Story::Good) else {
        return;
    };
    let url = reached.server.url(REPO);
    let gone = reached.fleet.folder("key-to-come");
    let mut running = reached
        .fleet
        .controller("patient")
        .by(&url, &reached.credentials(&gone))
        .start_settling();
    running.wait_until_said(&format!("cannot read the SSH key {}", gone.display()), LONG);
    // It may be in the middle of its rotation: there again, it is taken up.
    let draft = reached.fleet.folder("draft");
    fs::write(&draft, reached.key.private()).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&draft, &gone).unwrap();
    let answer = running.wait(LONG);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
}

#[test]
fn a_key_that_others_may_read_is_used_through_a_copy_that_is_removed() {
    let Some(reached) = Reached::of(Story::Good) else {
        return;
    };
    let open = fs::Permissions::from_mode(0o444);
    fs::set_permissions(&reached.key.file, open).unwrap();
    let controller = reached.controller("open");
    controller.settle(0);
    let mut left = Vec::new();
    let mut folders = vec![controller.data_folder().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_str().unwrap().starts_with("ssh-key") {
                left.push(entry.path());
            }
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_key_is_rotated_under_a_running_controller() {
    let Some(reached) = Reached::with(SmallFleet::settled()) else {
        return;
    };
    let mut running = reached.controller("rotated").start();
    running.wait_until("a look with the first key", LONG, || {
        reached.server.log().contains("Accepted publickey")
    });
    let next = SshKey::generate(&reached.fleet.folder("next"));
    reached.server.authorize(&[&next]);
    reached.fleet.publish_version("2");
    running.wait_until_said("refuses our SSH key", LONG);
    // It waits longer from time to time: what is asked between two looks is bounded.
    let before = reached.server.connections();
    let looks = || reached.server.connections() - before;
    running.wait_until("more looks", LONG, || looks() >= 2);
    let said = running.stderr();
    assert_eq!(said.matches("refuses our SSH key").count(), 1, "{said}");
    // The old public half still lies beside it.
    fs::rename(&next.file, &reached.key.file).unwrap();
    running.wait_until("a rollout with the next key", LONG, || {
        reached.fleet.rollout_is("Succeeded")
    });
    running.terminate();
    let answer = running.wait(LONG);
    reached.assert_key_is_kept(&answer.stderr);
}

#[test]
fn a_server_that_goes_away_in_the_middle_of_a_push_and_comes_back_changes_nothing() {
    let Some(mut reached) = Reached::of(Story::Bad) else {
        return;
    };
    let git = &reached.fleet.server;
    git.hold(REPO, BRANCHES[1]);
    let mut running = reached.controller("cut").start_settling();
    running.wait_until("a push under way", LONG, || git.has_held(REPO, BRANCHES[1]));
    reached.server.stop();
    running.wait_until_said("cannot be reached", LONG);
    reached.fleet.server.release(REPO);
    reached.server.run();
    let answer = running.wait(LONG);
    assert_eq!(answer.code, Some(4), "{}", answer.stderr);
    journal_audit::check(&reached.fleet);
    assert_undisturbed(&reached.fleet, Story::Bad, "cut");
}

#[test]
fn run_repo_and_the_commands_of_a_person_work_by_ssh_too() {
    let Some(reached) = Reached::with(SmallFleet::settled()) else {
        return;
    };
    let url = reached.server.url(REPO);
    let home = reached.fleet.folder("home");
    fs::create_dir(&home).unwrap();
    let program = env!("CARGO_BIN_EXE_tidegate");
    let alone = Tidegate::new(program, &home);
    let run = ["run", "--repo", &url, "--settle", "--timeout", "30s"];
    let answer = alone.call(&run);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("TIDEGATE_SSH_KEY_FILE"),
        "{}",
        answer.stderr
    );
    // Nothing changes for any region, which is an entry of the log all the same.
    let readme = [("README.md", "About the fleet\n")];
    reached.fleet.work.publish(&readme, "Say what this is");
    let before = reached.fleet.count("NoChange");
    let answer = Tidegate::new(program, &home)
        .env("TIDEGATE_SSH_KEY_FILE", &reached.key.file)
        .env("TIDEGATE_SSH_KNOWN_HOSTS_FILE", &reached.known_hosts)
        .call(&run);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    assert_eq!(reached.fleet.count("NoChange"), before + 1);

    // A person's own way to the server: their configuration of ssh.
    let config = reached.fleet.folder("ssh_config");
    let line = |name: &str, file: &Path| format!("{name} \"{}\"\n", file.display());
    let lines =
        line("IdentityFile", &reached.key.file) + &line("UserKnownHostsFile", &reached.known_hosts);
    fs::write(&config, lines).unwrap();
    let person = Tidegate::new(program, &home)
        .env("GIT_SSH_COMMAND", format!("ssh -F {}", config.display()));
    let mut addresses = vec![url.clone()];
    addresses.extend(reached.server.short_address(REPO));
    for address in &addresses {
        let revision = format!("{address}@main");
        let commands: [&[&str]; 4] = [
            &["status", "--repo", address],
            &["history", "--repo", address],
            &["validate", &revision],
            &["plan", &revision],
        ];
        for arguments in commands {
            let answer = person.call(arguments);
            assert_eq!(answer.code, Some(0), "{arguments:?}: {}", answer.stderr);
        }
    }
    // Without it, ssh's own words say why.
    let stranger = Tidegate::new(program, &home).env(
        "GIT_SSH_COMMAND",
        "ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile=/dev/null",
    );
    let answer = stranger.call(&["status", "--repo", &url]);
    assert_eq!(answer.code, Some(1));
    assert!(
        answer.stderr.contains("Host key verification failed"),
        "{}",
        answer.stderr
    );
}
