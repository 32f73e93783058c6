//! Whose signature a request carries: SSH signatures, checked by git and `ssh-keygen` against the operator's file.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use tidegate_waves::oid::Oid;

use crate::git::child::{GitCommand, Surroundings};
use crate::git::trailers::one_line;
use crate::settings::{Requests, Unsigned};

/// How long a check may take; it reads two files.
const DEADLINE: Duration = Duration::from_secs(20);

/// The program by which git checks SSH signatures.
const KEY_PROGRAM: &str = "ssh-keygen";

/// What a commit's signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signature {
    /// It is by an allowed key; the principal that the file of allowed signers gives that key.
    Good(String),
    /// There is none.
    None,
    /// It does not fit the commit.
    Bad,
    /// It fits, but its key is none of the allowed ones, or not at that time.
    UnknownKey,
    /// It could not be checked; why.
    Unchecked(String),
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(principal) => write!(f, "it is signed by {principal}"),
            Self::None => f.write_str("it is not signed"),
            Self::Bad => f.write_str("its signature does not fit what it says"),
            Self::UnknownKey => f.write_str("the key that signed it is not allowed to"),
            Self::Unchecked(why) => write!(f, "its signature could not be checked: {why}"),
        }
    }
}

/// What keeps signatures from being checked as the settings say, for the log of the program when it starts.
pub(crate) fn preconditions(requests: &Requests) -> Option<String> {
    let consequence = match requests.unsigned {
        Unsigned::Accept => "every request counts as not verified",
        Unsigned::Refuse => "every request will be refused",
    };
    match &requests.allowed_signers {
        Some(file) => obstacle(file).map(|why| format!("{consequence}: {why}")),
        None if requests.unsigned == Unsigned::Refuse => Some(format!(
            "{consequence}: `unsigned: refuse` needs `allowedSigners`, the file of keys that may sign"
        )),
        None => None,
    }
}

/// Checks a commit's signature; the file is read each time.
///
/// Must be called where blocking is allowed, inside the runtime.
pub(crate) fn check(repo: &Path, allowed_signers: Option<&Path>, commit: Oid) -> Signature {
    let Some(file) = allowed_signers else {
        return Signature::Unchecked("the operator's settings name no `allowedSigners`".to_owned());
    };
    if let Some(why) = obstacle(file) {
        return Signature::Unchecked(why);
    }
    let command = GitCommand::local_with(
        Surroundings::Hermetic,
        Some(repo),
        "log",
        DEADLINE,
        &[
            "gpg.format=ssh",
            &format!("gpg.ssh.program={KEY_PROGRAM}"),
            &format!("gpg.ssh.allowedSignersFile={}", file.display()),
            // Other kinds of signatures prove nothing here, whatever keys the machine has.
            "gpg.openpgp.program=/nonexistent/gpg",
            "gpg.x509.program=/nonexistent/gpgsm",
            "core.useReplaceRefs=false",
        ],
    )
    .args(["-1", "--no-show-signature", "--format=%G?%n%GS"])
    .arg(commit.to_string());
    let finished = match tokio::runtime::Handle::current().block_on(command.run()) {
        Ok(finished) if finished.success() => finished,
        Ok(finished) => return Signature::Unchecked(one_line(&finished.stderr)),
        Err(error) => return Signature::Unchecked(one_line(&error.to_string())),
    };
    let text = String::from_utf8_lossy(&finished.stdout);
    let mut lines = text.lines();
    let verdict = lines.next().unwrap_or_default();
    let principal = one_line(lines.next().unwrap_or_default());
    read(verdict, principal, &finished.stderr)
}

/// Git's letters, as `%G?` is documented; whatever is not clearly good is not good.
pub(crate) fn read(verdict: &str, principal: String, said: &str) -> Signature {
    match verdict {
        "G" if !principal.is_empty() => Signature::Good(principal),
        "N" if said.trim().is_empty() => Signature::None,
        "B" => Signature::Bad,
        "G" | "U" | "X" | "Y" | "R" => Signature::UnknownKey,
        _ => Signature::Unchecked(one_line(said)),
    }
}

/// What keeps git from checking at all; git itself would call the signature bad.
fn obstacle(file: &Path) -> Option<String> {
    if let Err(error) = File::open(file) {
        return Some(format!("cannot read {}: {error}", file.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(KEY_PROGRAM).is_file());
    (!found).then(|| format!("there is no {KEY_PROGRAM} on PATH (install OpenSSH's client)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_g_with_a_principal_is_good() {
        let read = |verdict: &str, principal: &str| read(verdict, principal.to_owned(), "");
        assert_eq!(read("G", "jo"), Signature::Good("jo".to_owned()));
        for verdict in ["G", "U", "X", "Y", "R"] {
            assert_eq!(read(verdict, ""), Signature::UnknownKey, "{verdict}");
        }
        assert_eq!(read("U", "jo"), Signature::UnknownKey);
        assert_eq!(read("B", "jo"), Signature::Bad);
        assert_eq!(read("N", ""), Signature::None);
        for verdict in ["E", "", "g", "?"] {
            assert!(matches!(read(verdict, "jo"), Signature::Unchecked(_)));
        }
    }

    #[test]
    fn what_cannot_work_is_told_at_the_start() {
        let requests = |allowed_signers: Option<&str>, unsigned| Requests {
            allowed_signers: allowed_signers.map(Into::into),
            unsigned,
        };
        assert_eq!(preconditions(&requests(None, Unsigned::Accept)), None);
        let problem = preconditions(&requests(None, Unsigned::Refuse)).unwrap();
        assert!(problem.contains("allowedSigners"), "{problem}");
        let problem = preconditions(&requests(Some("/nonexistent/x"), Unsigned::Refuse)).unwrap();
        assert!(problem.contains("/nonexistent/x"), "{problem}");
    }
}
