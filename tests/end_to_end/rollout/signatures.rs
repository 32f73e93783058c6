//! Whose signature a request carries, with real keys of `ssh-keygen`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_testkit::git_server::{PASSWORD, USERNAME};
use tidegate_testkit::tidegate::{Answer, Tidegate};

use super::fleet::{Fleet, REPO, REQUESTS, stop};

/// Makes a key; `None`, and a line that says so, where there is no `ssh-keygen`.
fn key(folder: &Path, name: &str) -> Option<PathBuf> {
    let file = folder.join(name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(&file)
        .status();
    match made {
        Ok(status) => {
            assert!(status.success());
            Some(file)
        }
        Err(error) => {
            eprintln!("SKIPPED a test of signatures: cannot run ssh-keygen: {error}");
            None
        }
    }
}

fn allowed(principal: &str, key: &Path) -> String {
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    format!("{principal} namespaces=\"git\" {public}")
}

impl Fleet {
    /// A person who signs with this key, if their git is told to.
    fn signer(&self, name: &str, key: &Path) -> Tidegate {
        self.person(
            name,
            &format!(
                "[gpg]\n\tformat = ssh\n[user]\n\tsigningKey = {}.pub\n",
                key.display()
            ),
        )
    }

    /// Settings that demand or accept signatures, with the file of allowed signers beside them.
    fn settings(&self, unsigned: &str) -> PathBuf {
        let home = self.home.path();
        std::fs::write(home.join("username"), USERNAME).unwrap();
        std::fs::write(home.join("password"), PASSWORD).unwrap();
        let file = home.join("settings.yaml");
        let text = format!(
            "dataDir: {}\npoll: 200ms\negress: {{ loopback: true }}\nfleets:\n- name: shop\n  repo: {}\n  credentials: {{ usernameFile: username, passwordFile: password }}\n  requests: {{ allowedSigners: allowed, unsigned: {unsigned} }}\n",
            home.join("signed-data").display(),
            self.server.url(REPO)
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn refused(&self, answer: &Answer, why: &str) {
        assert_eq!(answer.code, Some(1), "{}\n{}", answer.stderr, self.story());
        assert!(answer.stderr.contains(why), "{why}: {}", answer.stderr);
    }

    /// The newest request made anew as somebody changes it: on another parent, and with other words.
    fn copied(&self, parent: Option<&str>, change: impl Fn(String) -> String) -> String {
        self.work.git(&["fetch", "-q", "origin", REQUESTS]);
        let raw = self.git(&["cat-file", "commit", REQUESTS]);
        let lines: Vec<String> = raw
            .lines()
            .map(|line| match (line.strip_prefix("parent "), parent) {
                (Some(_), Some(parent)) => format!("parent {parent}"),
                _ => line.to_owned(),
            })
            .collect();
        self.work
            .write(".git/forged", change(lines.join("\n") + "\n"));
        let commit = self
            .work
            .git(&["hash-object", "-t", "commit", "-w", ".git/forged"]);
        self.work
            .git(&["push", "-q", "origin", &format!("{commit}:{REQUESTS}")]);
        commit
    }
}

#[test]
fn where_signatures_are_demanded_only_an_allowed_key_counts() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let home = fleet.home.path().to_owned();
    let (Some(jo), Some(eve)) = (key(&home, "jo-key"), key(&home, "eve-key")) else {
        return;
    };
    std::fs::write(home.join("allowed"), allowed("jo@shop", &jo)).unwrap();
    let settings = fleet.settings("refuse");
    let mut running = fleet
        .program()
        .start(&["run", "--settings", settings.to_str().unwrap()]);
    let (jo_person, eve_person) = (fleet.signer("jo", &jo), fleet.signer("eve", &eve));

    let answer = fleet.call(&jo_person, &["hold"]);
    fleet.refused(&answer, "it is not signed");
    let answer = fleet.call(&eve_person, &["hold", "--sign"]);
    fleet.refused(&answer, "is not allowed to");
    assert_eq!(fleet.holds(), [""; 0]);

    let answer = fleet.call(&jo_person, &["hold", "--sign", "--reason", "a move"]);
    assert_eq!(
        answer.code,
        Some(0),
        "{}\n{}",
        answer.stderr,
        running.stderr()
    );
    let message = fleet.newest("Requested").message;
    assert!(
        message.contains("asked by jo <jo@example.com> (signature verified: jo@shop)"),
        "{message}"
    );
    let good = fleet.tip(REQUESTS);
    let requests = fleet.history(&[])[0]["requests"].clone();
    let held = requests.as_array().unwrap().last().unwrap();
    assert_eq!(held["commit"], good.as_str(), "{requests}");
    assert_eq!(held["by"], "jo <jo@example.com>", "{requests}");
    assert_eq!(held["verified"], "jo@shop", "{requests}");
    assert!(requests[0]["verified"].is_null(), "{requests}");

    // The same words, signature included, on top of the branch: another commit, which the signature does not fit.
    let replayed = fleet.copied(Some(&good), |text| text);
    let mut answer = None;
    fleet.wait_until(&mut running, "the answer to the replay", |fleet| {
        answer = fleet.answer(&replayed);
        answer.is_some()
    });
    let answer = answer.unwrap();
    assert!(answer.contains("does not fit what it says"), "{answer}");

    // The file is read anew for each request.
    std::fs::write(home.join("allowed"), allowed("eve@shop", &eve)).unwrap();
    let answer = fleet.call(&jo_person, &["resume", "--sign"]);
    fleet.refused(&answer, "is not allowed to");
    let answer = fleet.call(&eve_person, &["resume", "--sign"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    std::fs::remove_file(home.join("allowed")).unwrap();
    let answer = fleet.call(&eve_person, &["hold", "--sign"]);
    fleet.refused(&answer, "could not be checked");
    stop(running);
    fleet.audit();
}

#[test]
fn where_unsigned_requests_are_accepted_a_bad_signature_still_is_not() {
    let fleet = Fleet::new();
    fleet.settle(0);
    let home = fleet.home.path().to_owned();
    let Some(jo) = key(&home, "jo-key") else {
        return;
    };
    std::fs::write(home.join("allowed"), allowed("jo@shop", &jo)).unwrap();
    let settings = fleet.settings("accept");
    let mut running = fleet
        .program()
        .start(&["run", "--settings", settings.to_str().unwrap()]);
    let person = fleet.signer("jo", &jo);
    let answer = fleet.call(&person, &["hold"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let message = fleet.newest("Requested").message;
    assert!(message.contains("signature not verified"), "{message}");
    // The user's own configuration signs without being asked.
    let person = fleet.person(
        "jo",
        &format!(
            "[gpg]\n\tformat = ssh\n[user]\n\tsigningKey = {}.pub\n[commit]\n\tgpgSign = true\n",
            jo.display()
        ),
    );
    let answer = fleet.call(&person, &["resume", "--reason", "the move is over"]);
    assert_eq!(answer.code, Some(0), "{}", answer.stderr);
    let message = fleet.newest("Requested").message;
    assert!(message.contains("signature verified: jo@shop"), "{message}");
    let tip = fleet.tip(REQUESTS);
    let forged = fleet.copied(Some(&tip), |text| {
        text.replace("the move is over", "another reason")
    });
    let mut answer = None;
    fleet.wait_until(&mut running, "the answer to the forgery", |fleet| {
        answer = fleet.answer(&forged);
        answer.is_some()
    });
    let answer = answer.unwrap();
    assert!(answer.contains("does not fit what it says"), "{answer}");
    stop(running);
    fleet.audit();
}
