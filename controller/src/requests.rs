//! What people ask for: commits on the requests branch, read into requests.

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, Request, RequestOption, Verb};

use crate::engine::EngineError;
use crate::engine::ports::RefView;
use crate::git::history::{CommitView, History};
use crate::git::trailers::one_line;
use crate::settings::Unsigned;
use crate::signatures::Signature;

/// The oldest request that the log has not answered yet, if there is one: they are answered one by one, each in the
/// light of what those before it did. `begun` tells when the log's entry 0 was written, `signature` checks a commit's.
pub(crate) fn unanswered(
    history: &History,
    state: &FleetState,
    begun: impl FnOnce() -> Result<i64, EngineError>,
    view: &RefView,
    unsigned: Unsigned,
    signature: impl FnOnce(Oid) -> Signature,
) -> Result<Vec<Request>, EngineError> {
    let Some(tip) = view.get(&state.fleet.requests_ref()) else {
        return Ok(Vec::new());
    };
    if state.requests == Some(tip) {
        return Ok(Vec::new());
    }
    let (chain, rewritten) = match history.chain(state.requests, tip)? {
        Some(chain) => (chain, false),
        None => (history.chain(None, tip)?.unwrap_or_default(), true),
    };
    let begun = begun()?;
    // Whatever stands on a rewritten branch may have been answered before: one refusal of its tip answers all of it.
    let oldest = if rewritten {
        chain.first()
    } else {
        chain.last()
    };
    let Some(commit) = oldest else {
        return Ok(Vec::new());
    };
    let mut request = read(commit);
    let why = if rewritten {
        Some(
            "the requests branch was rewritten, so that this and what stands below it may have been answered before; ask again"
                .to_owned(),
        )
    } else if commit.seconds < begun && request.verb != Verb::Hold {
        Some("it is older than the log".to_owned())
    } else {
        match judge(signature(commit.id), unsigned) {
            Ok(verified) => {
                request.verified = verified;
                None
            }
            Err(why) => Some(why),
        }
    };
    request.refused = request.refused.or(why);
    Ok(vec![request])
}

/// Whose request it is proven to be, or why it does not count.
fn judge(signature: Signature, unsigned: Unsigned) -> Result<Option<String>, String> {
    match (signature, unsigned) {
        (Signature::Good(principal), _) => Ok(Some(principal)),
        // Somebody changed what was signed, or made it up: that is never an oversight.
        (Signature::Bad, _) => Err(Signature::Bad.to_string()),
        (_, Unsigned::Accept) => Ok(None),
        (other, Unsigned::Refuse) => Err(format!("the operator demands signatures, and {other}")),
    }
}

/// Reads one request; whatever cannot be read is refused with the reason, so that it gets an answer.
pub(crate) fn read(commit: &CommitView) -> Request {
    let trailers = commit.trailers();
    let all = |name: &str| trailers.all(name).map(str::to_owned).collect::<Vec<_>>();
    let one = |name: &str| trailers.all(name).next().map(str::to_owned);
    let mut refused = None;
    let mut refuse = |why: String| {
        refused.get_or_insert(why);
    };
    let verb = match one("Tidegate-Request").as_deref() {
        Some("approve") => Verb::Approve,
        Some("hold") => Verb::Hold,
        Some("resume") => Verb::Resume,
        Some("skip") => Verb::Skip,
        Some("abort") => Verb::Abort,
        Some("retry") => Verb::Retry,
        Some("revert") => Verb::Revert,
        Some("hotfix") => Verb::Hotfix,
        Some(other) => {
            refuse(format!("{:?} is no request", one_line(other)));
            Verb::Hold
        }
        None => {
            refuse("the commit has no Tidegate-Request trailer".to_owned());
            Verb::Hold
        }
    };
    let until = one("Tidegate-Until").and_then(|text| match text.parse::<jiff::Timestamp>() {
        Ok(until) => Some(until.as_second()),
        Err(_) => {
            refuse(format!(
                "Tidegate-Until {:?} is no RFC 3339 time",
                one_line(&text)
            ));
            None
        }
    });
    let to = one("Tidegate-To").and_then(|text| match text.parse::<Oid>() {
        Ok(to) => Some(to),
        Err(error) => {
            refuse(format!("Tidegate-To: {error}"));
            None
        }
    });
    let option = one("Tidegate-Option").and_then(|text| match text.as_str() {
        "adopt" => Some(RequestOption::Adopt),
        "restore" => Some(RequestOption::Restore),
        "keep" => Some(RequestOption::Keep),
        other => {
            refuse(format!(
                "Tidegate-Option {:?} is not adopt, restore or keep",
                one_line(other)
            ));
            None
        }
    });
    Request {
        commit: commit.id,
        author: one_line(&format!("{} <{}>", commit.author.name, commit.author.email)),
        verified: None,
        verb,
        rollout: one("Tidegate-Rollout"),
        wave: one("Tidegate-Wave"),
        regions: all("Tidegate-Region"),
        until,
        to,
        option,
        reason: reason(&commit.message),
        refused,
    }
}

/// The body between the subject and the trailers, as one line.
fn reason(message: &str) -> String {
    let paragraphs: Vec<&str> = message.trim_end().split("\n\n").collect();
    let body = match paragraphs.as_slice() {
        [_subject, body @ .., _trailers] => body.join(" "),
        _ => String::new(),
    };
    one_line(&body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::history::Person;

    fn commit(message: &str) -> CommitView {
        CommitView {
            id: Oid::from_bytes([1; 20]),
            parents: Vec::new(),
            tree: Oid::ZERO,
            message: message.to_owned(),
            author: Person {
                name: "A Person".to_owned(),
                email: "a@example.com".to_owned(),
            },
            is_by_its_author: true,
            seconds: 0,
        }
    }

    #[test]
    fn reads_what_the_contract_says() {
        let request = read(&commit(
            "Hold\n\nthe database is\nbeing moved\n\nTidegate-Request: hold\nTidegate-Region: westus3\nTidegate-Region: eastus\nTidegate-Until: 2027-01-31T00:00:00Z\n",
        ));
        assert_eq!(request.verb, Verb::Hold);
        assert_eq!(request.regions, ["westus3", "eastus"]);
        assert_eq!(request.reason, "the database is being moved");
        assert!(request.until.is_some());
        assert_eq!(request.refused, None);
    }

    #[test]
    fn only_a_good_signature_proves_anything_and_a_bad_one_never_counts() {
        let good = || Signature::Good("jo".to_owned());
        for unsigned in [Unsigned::Accept, Unsigned::Refuse] {
            assert_eq!(judge(good(), unsigned), Ok(Some("jo".to_owned())));
            assert!(judge(Signature::Bad, unsigned).is_err());
        }
        for other in [
            Signature::None,
            Signature::UnknownKey,
            Signature::Unchecked("there is no ssh-keygen".to_owned()),
        ] {
            assert_eq!(judge(other.clone(), Unsigned::Accept), Ok(None));
            let why = judge(other, Unsigned::Refuse).unwrap_err();
            assert!(why.starts_with("the operator demands signatures, and "));
        }
    }

    #[test]
    fn whatever_cannot_be_read_is_refused_with_the_reason() {
        for message in [
            "",
            "Hello\n",
            "x\n\nTidegate-Request: explode\n",
            "x\n\nTidegate-Request: hold\nTidegate-Until: tomorrow\n",
            "x\n\nTidegate-Request: hotfix\nTidegate-To: abc\n",
        ] {
            assert!(read(&commit(message)).refused.is_some(), "{message:?}");
        }
    }
}
