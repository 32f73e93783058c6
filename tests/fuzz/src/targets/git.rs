//! What git and git servers say.

use tidegate_controller::fuzzing;
use tidegate_controller::git::push::{RefOutcome, RefUpdate, is_branch};
use tidegate_controller::git::remote::{InvalidRemote, RemoteUrl, Transport};
use tidegate_controller::git::trailers::{Message, compose, one_line, parse};
use tidegate_renderer::tree::{MODE_TREE, parse_tree};
use tidegate_waves::oid::Oid;

use super::checks::{is_plain, panic_with};
use super::parts::{part, parts};

const CANARY: &str = "refs/heads/tidegate/canary";
const BROAD: &str = "refs/heads/tidegate/broad";

/// A secret that nothing may show.
const SECRET: &str = "hunter2-secret";

fn remotes_of(address: &str) -> Option<RemoteUrl> {
    RemoteUrl::parse(address).ok()
}

fn remote(parts: &[(String, Vec<u8>)]) -> Option<RemoteUrl> {
    let over_ssh = !part(parts, "ssh").is_empty();
    remotes_of(if over_ssh {
        "ssh://git@git.example.com/shop.git"
    } else {
        "https://git.example.com/shop.git"
    })
}

fn code(parts: &[(String, Vec<u8>)]) -> Option<i32> {
    String::from_utf8_lossy(part(parts, "code"))
        .trim()
        .parse()
        .ok()
}

/// Standard error as the child's reader gives it: masked and printable.
fn stderr(parts: &[(String, Vec<u8>)]) -> String {
    let said = fuzzing::printable(part(parts, "stderr"), &[SECRET.to_owned()]);
    assert!(!said.contains(SECRET), "{said}");
    said.lines().for_each(is_plain);
    said
}

/// Exactly the updates have an outcome, and none is called applied that the text does not say.
pub(super) fn push_answers(input: &[u8]) {
    let parts = parts(input);
    let Some(remote) = remote(&parts) else { return };
    let updates = [CANARY, BROAD].map(|name| RefUpdate {
        name: name.to_owned(),
        old: Oid::ZERO,
        new: Oid::from_bytes([7; 20]),
    });
    let stdout = part(&parts, "stdout");
    let code = code(&parts);
    let answer = fuzzing::push_answer(&updates, &remote, code, stdout, &stderr(&parts));
    let outcomes = match answer {
        Ok(outcomes) => outcomes,
        Err(error) => {
            is_plain(&error.to_string());
            assert_ne!(code, Some(0), "a push that succeeded is called unsent");
            return;
        }
    };
    let names: Vec<&str> = outcomes.keys().map(String::as_str).collect();
    assert_eq!(names, [BROAD, CANARY]);
    let text = String::from_utf8_lossy(stdout);
    let says = |name: &str, flags: &[&str]| {
        text.lines().any(|line| {
            let fields: Vec<&str> = line.splitn(3, '\t').collect();
            let [flag, refs, _] = fields.as_slice() else {
                return false;
            };
            flags.contains(flag) && refs.split_once(':').is_some_and(|(_, to)| to == name)
        })
    };
    for (name, outcome) in &outcomes {
        match outcome {
            RefOutcome::Applied => {
                assert!(says(name, &[" ", "*"]), "{name} is not applied in {text}");
                assert!(!says(name, &["!"]), "{name} is refused in {text}");
                assert!(
                    code == Some(0) || text.lines().any(|line| line.starts_with('!')),
                    "the answer was cut: {text}"
                );
            }
            RefOutcome::UpToDate => assert!(says(name, &["="])),
            RefOutcome::LostRace => assert!(says(name, &["!"])),
            RefOutcome::ServerBusy { message } | RefOutcome::Refused { message } => {
                assert!(says(name, &["!"]));
                is_plain(message);
            }
            RefOutcome::Ambiguous { why } => is_plain(why),
        }
    }
}

/// Only branches that are watched, each with an id that the text has beside it.
pub(super) fn listings(input: &[u8]) {
    let Some(remote) = remotes_of("https://git.example.com/shop.git") else {
        return;
    };
    for branch in [None, Some("main")] {
        let view = fuzzing::listing(&remote, branch, "tidegate", input);
        let text = String::from_utf8_lossy(input).to_lowercase();
        for (name, id) in &view.refs {
            assert!(is_branch(name), "{name}");
            let is_head = view.head.as_ref() == Some(name);
            assert!(
                name == "refs/heads/main"
                    || (branch.is_none() && is_head)
                    || name.starts_with("refs/heads/tidegate/")
                    || name.starts_with("refs/heads/tidegate-revert/"),
                "{name}"
            );
            let line = format!("{id}\t{}", name.to_lowercase());
            let of_head = format!("{id}\thead");
            assert!(
                text.contains(&line) || (is_head && text.contains(&of_head)),
                "{name} is not at {id} in {text}"
            );
        }
    }
}

/// What went wrong is told in one plain line, without the secret.
pub(super) fn words(input: &[u8]) {
    let parts = parts(input);
    let Some(remote) = remote(&parts) else { return };
    let error = fuzzing::git_failure(&remote, code(&parts), &stderr(&parts));
    let said = error.to_string();
    is_plain(&said);
    assert!(!said.contains(SECRET), "{said}");
    assert!(!error.reason().is_empty());
    let _ = error.recovery();
}

/// An address shows no password, reads the same when it is written, and nothing in it is an option for git or ssh.
pub(super) fn remotes(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match RemoteUrl::parse(text) {
        Ok(remote) => {
            let address = remote.address();
            is_control_free(address);
            assert!(!address.starts_with('-'), "{address}");
            if let Transport::Http | Transport::Https = remote.transport() {
                let host = remote.origin().unwrap_or_default();
                assert!(!host.contains('@'), "{host}");
            }
            if let Some((host, _)) = remote.ssh_host() {
                assert!(!host.starts_with('-') && !host.contains('@'), "{host:?}");
            }
            if remote.transport() != Transport::File || !address.contains(':') {
                let again = RemoteUrl::parse(address);
                assert_eq!(
                    again.as_ref().map(RemoteUrl::address),
                    Ok(address),
                    "{text:?}"
                );
            }
        }
        Err(error) => {
            if error == InvalidRemote::Password {
                assert!(!error.to_string().contains(text));
            }
            is_control_free(&error.to_string());
        }
    }
    if is_branch(text) {
        let bad = ["..", "@{", "//", "\\", " ", "~", "^", ":", "?", "*", "["];
        assert!(bad.iter().all(|bad| !text.contains(bad)), "{text:?}");
        let bad_ends = ["/", ".", ".lock"];
        assert!(bad_ends.iter().all(|end| !text.ends_with(end)), "{text:?}");
        is_control_free(text);
    }
}

fn is_control_free(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Whatever a message says, what we write with its words in it is read back as what we meant.
pub(super) fn commit_messages(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let read = parse(&text);
    let trailers: Vec<(String, String)> = read
        .iter()
        .map(|(key, value)| (key.to_owned(), one_line(value)))
        .collect();
    let lines: Vec<String> = text.lines().take(20).map(str::to_owned).collect();
    for ours in [
        trailers,
        vec![("Tidegate-Seq".to_owned(), text.to_string())],
    ] {
        let message = Message {
            subject: text.lines().next().unwrap_or_default().to_owned(),
            body: vec![lines.clone()],
            outside: lines.clone(),
            trailers: ours.clone(),
        };
        let Ok(composed) = compose(&message) else {
            panic_with("a key that was read cannot be written");
        };
        composed.lines().for_each(is_plain);
        let expected: Vec<(String, String)> = ours
            .into_iter()
            .map(|(key, value)| (key, one_line(&value)))
            .collect();
        let again: Vec<(String, String)> = parse(&composed)
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(again, expected, "{composed}");
    }
    let line = one_line(&text);
    is_plain(&line);
    assert!(line.chars().count() <= 501);
    assert_eq!(one_line(&line), line);
}

/// Trees and commits as they lie in a pack: read, or said to be damaged.
pub(super) fn objects(input: &[u8]) {
    if let Some(entries) = parse_tree(input) {
        let mut length = 0_usize;
        for entry in &entries {
            assert!(!entry.name.contains(&0));
            assert_eq!(entry.is_tree(), entry.mode == MODE_TREE);
            length += entry.name.len() + 22;
        }
        assert!(length <= input.len());
    }
    if let Some(view) = fuzzing::commit(input) {
        is_plain(&view.subject());
        for (key, _) in view.trailers().iter() {
            assert!(!key.is_empty() && !key.contains(':'));
        }
        let request = fuzzing::request(&view);
        is_plain(&request.author);
    }
}
