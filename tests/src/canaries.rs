//! Secrets that are planted to be looked for: wherever one turns up in any of the forms that text takes on its way, it leaked.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::git_server::PASSWORD;

/// Shorter pieces could stand somewhere by chance.
const SHORTEST: usize = 12;

/// A piece of a secret where none may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// Which secret.
    pub secret: String,
    /// In which form.
    pub form: &'static str,
    /// Where: a file, an object, a stream.
    pub place: String,
    /// What stands around it, as far as it can be shown.
    pub around: String,
}

/// Secrets to look for.
#[derive(Debug)]
pub struct Canaries {
    needles: AhoCorasick,
    /// What each needle is: the name of the secret and the form.
    meanings: Vec<(String, &'static str)>,
}

/// The secrets that every test's git server has.
pub static STANDING: LazyLock<Canaries> =
    LazyLock::new(|| Canaries::new([("the git server's password", PASSWORD)]));

impl Canaries {
    /// Looks for secrets, each with a name for messages.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut needles = Vec::new();
        let mut meanings = Vec::new();
        for (name, secret) in secrets {
            for (form, needle) in forms(secret) {
                assert!(needle.len() >= SHORTEST, "{name}: {form} is too short");
                needles.push(needle);
                meanings.push((name.to_owned(), form));
            }
        }
        Self {
            needles: AhoCorasick::new(&needles).unwrap(),
            meanings,
        }
    }

    /// What of them is in some bytes, once for each secret and form.
    pub fn find(&self, place: &str, bytes: &[u8]) -> Vec<Leak> {
        let mut seen = BTreeSet::new();
        self.needles
            .find_overlapping_iter(bytes)
            .filter(|found| seen.insert(found.pattern()))
            .map(|found| {
                let (secret, form) = &self.meanings[found.pattern().as_usize()];
                let from = found.start().saturating_sub(120);
                let to = bytes.len().min(found.end() + 40);
                Leak {
                    secret: secret.clone(),
                    form,
                    place: place.to_owned(),
                    around: String::from_utf8_lossy(&bytes[from..to]).into_owned(),
                }
            })
            .collect()
    }

    /// What of them is in the files below a folder and in their names, but for files that are left out.
    pub fn find_in_folder(&self, folder: &Path, left_out: &dyn Fn(&Path) -> bool) -> Vec<Leak> {
        let mut leaks = Vec::new();
        let Ok(entries) = fs::read_dir(folder) else {
            return leaks;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let place = path.display().to_string();
            leaks.extend(self.find(&format!("the name {place}"), place.as_bytes()));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => leaks.extend(self.find_in_folder(&path, left_out)),
                Ok(kind) if kind.is_file() && !left_out(&path) => {
                    // It may be gone by now.
                    leaks.extend(self.find(&place, &fs::read(&path).unwrap_or_default()));
                }
                _ => {}
            }
        }
        leaks
    }

    /// What of them is in the objects of a bare repo, reached or not, but for some that are left out.
    pub fn find_in_objects(&self, repo: &Path, left_out: &BTreeSet<String>) -> Vec<Leak> {
        let output = Command::new("git")
            .arg("--git-dir")
            .arg(repo)
            .args(["cat-file", "--batch-all-objects", "--batch", "--buffer"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        // Nothing in most of them: then it is not worth while to tell one from another.
        if self.needles.find(&output.stdout).is_none() {
            return Vec::new();
        }
        let mut leaks = Vec::new();
        let mut rest = output.stdout.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let head = String::from_utf8_lossy(&rest[..end]).into_owned();
            let fields: Vec<&str> = head.split(' ').collect();
            let length: usize = fields[2].parse().unwrap();
            let object = &rest[end + 1..=end + length];
            if !left_out.contains(fields[0]) {
                let place = format!("{} {} in {}", fields[1], fields[0], repo.display());
                leaks.extend(self.find(&place, object));
            }
            rest = &rest[(end + length + 2).min(rest.len())..];
        }
        leaks
    }

    /// Panics where some bytes have any of them.
    #[track_caller]
    pub fn assert_absent(&self, place: &str, bytes: &[u8]) {
        let leaks = self.find(place, bytes);
        assert!(leaks.is_empty(), "secrets leaked: {leaks:#?}");
    }
}

/// How a secret may look: as it is, its halves (where a text is cut), and as the usual encodings write it.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = secret.as_bytes();
    let mut forms: Vec<(&'static str, Vec<u8>)> = vec![
        ("raw", bytes.to_vec()),
        (
            "percent-encoded",
            percent_encoded(secret, false).into_bytes(),
        ),
        (
            "percent-encoded in lower case",
            percent_encoded(secret, true).into_bytes(),
        ),
        ("JSON", json_escaped(secret).into_bytes()),
        (
            "JSON with escaped slashes",
            json_escaped(secret).replace('/', "\\/").into_bytes(),
        ),
        ("hexadecimal", hexadecimal(bytes).into_bytes()),
        (
            "hexadecimal in upper case",
            hexadecimal(bytes).to_uppercase().into_bytes(),
        ),
    ];
    if bytes.len() >= 2 * SHORTEST {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        forms.push(("its first half", first.to_vec()));
        forms.push(("its second half", second.to_vec()));
    }
    for before in 0..3 {
        forms.push(("base64", within_base64(bytes, before, &STANDARD)));
        forms.push(("base64 for URLs", within_base64(bytes, before, &URL_SAFE)));
    }
    forms.sort();
    forms.dedup_by(|one, other| one.1 == other.1);
    forms
}

/// The digits of base64 that a text comes to wherever it stands `before` bytes behind a multiple of three.
fn within_base64(bytes: &[u8], before: usize, engine: &impl Engine) -> Vec<u8> {
    let mut all = vec![0; before];
    all.extend_from_slice(bytes);
    let digits = engine.encode(&all);
    let (first, last) = ((before * 8).div_ceil(6), all.len() * 8 / 6);
    digits.as_bytes()[first..last].to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// As it stands in a URL.
pub fn percent_encoded(text: &str, lower: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else if lower {
            write!(encoded, "%{byte:02x}").unwrap();
        } else {
            write!(encoded, "%{byte:02X}").unwrap();
        }
    }
    encoded
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::git_command;

    const SECRET: &str = "q7\"Kd+Vx/29&wLmZ%t4R=hNs8";

    fn canaries() -> Canaries {
        Canaries::new([("it", SECRET), ("another", "0123456789abcdefghijklmn")])
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let user = |before: usize| format!("{}{SECRET}", "u".repeat(before));
        let mut hidden = vec![
            SECRET.to_owned(),
            serde_json::json!({ "a": SECRET }).to_string(),
            format!("{:?}", Some(SECRET)),
            percent_encoded(SECRET, false),
            percent_encoded(SECRET, true),
            hexadecimal(SECRET.as_bytes()),
            hexadecimal(SECRET.as_bytes()).to_uppercase(),
            SECRET[..20].to_owned(),
            SECRET[8..].to_owned(),
        ];
        for before in 0..7 {
            hidden.push(STANDARD.encode(user(before)));
            hidden.push(URL_SAFE.encode(format!("{}\n", user(before))));
        }
        for text in hidden {
            let leaks = canaries().find("here", format!("before {text} behind").as_bytes());
            assert!(leaks.iter().any(|leak| leak.secret == "it"), "{text}");
            assert!(leaks.iter().all(|leak| leak.secret == "it"), "{text}");
        }
        assert_eq!(canaries().find("here", b"nothing of that kind"), []);
    }

    #[test]
    fn a_secret_is_found_in_files_their_names_and_objects() {
        let folder = tempfile::tempdir().unwrap();
        let looked = |left_out: &dyn Fn(&Path) -> bool| {
            let leaks = canaries().find_in_folder(folder.path(), left_out);
            leaks.into_iter().map(|leak| leak.place).collect::<Vec<_>>()
        };
        assert!(looked(&|_| false).is_empty());
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/file"), SECRET).unwrap();
        assert!(
            looked(&|_| false)
                .iter()
                .all(|place| place.ends_with("below/file"))
        );
        assert!(!looked(&|_| false).is_empty());
        assert!(looked(&|path| path.ends_with("file")).is_empty());
        fs::write(folder.path().join("0123456789abcdefghijklmn"), "").unwrap();
        assert!(!looked(&|path| path.ends_with("file")).is_empty());

        let repo = folder.path().join("repo");
        git_command(folder.path(), &["init", "-q", "--bare", "repo"]);
        let find = |left_out: &[&str]| {
            let left_out = left_out.iter().map(|id| (*id).to_owned()).collect();
            canaries().find_in_objects(&repo, &left_out)
        };
        assert_eq!(find(&[]), []);
        let file = folder.path().join("below/file");
        let blob = git_command(&repo, &["hash-object", "-w", file.to_str().unwrap()]);
        assert!(find(&[])[0].place.starts_with(&format!("blob {blob}")));
        assert_eq!(find(&[&blob]), []);
        // A message that nothing reaches.
        let tree = git_command(&repo, &["hash-object", "-t", "tree", "-w", "/dev/null"]);
        let message = format!("it is {SECRET}");
        let commit = git_command(&repo, &["commit-tree", &tree, "-m", &message]);
        let leaks = find(&[&blob]);
        assert!(
            leaks
                .iter()
                .all(|leak| leak.place.starts_with(&format!("commit {commit}"))),
            "{leaks:?}"
        );
        assert!(!leaks.is_empty());
    }
}
