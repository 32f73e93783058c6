//! What people ask for: commits on the requests branch, read into requests.

use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{FleetState, Request, RequestOption, Verb};

use crate::engine::EngineError;
use crate::engine::ports::RefView;
use crate::git::history::{CommitView, History};
use crate::git::trailers::one_line;
use crate::settings::Unsigned;

/// The requests that the log has not answered yet, oldest first; `begun` tells when its entry 0 was written.
pub(crate) fn unanswered(
    history: &History,
    state: &FleetState,
    begun: impl FnOnce() -> Result<i64, EngineError>,
    view: &RefView,
    unsigned: Unsigned,
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
    let mut requests: Vec<Request> = chain.iter().rev().map(read).collect();
    for (request, commit) in requests.iter_mut().zip(chain.iter().rev()) {
        let why = if rewritten {
            Some(
                "the requests branch was rewritten, so that this may have been answered before; ask again",
            )
        } else if unsigned == Unsigned::Refuse {
            Some("the operator demands signatures, and this version verifies none")
        } else if commit.seconds < begun && request.verb != Verb::Hold {
            Some("it is older than the log")
        } else {
            None
        };
        if request.refused.is_none() {
            request.refused = why.map(str::to_owned);
        }
    }
    Ok(requests)
}

/// Reads one request; whatever cannot be read is refused with the reason, so that it gets an answer.
fn read(commit: &CommitView) -> Request {
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
