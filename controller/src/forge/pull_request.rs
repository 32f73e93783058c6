//! The pull request that takes a failed rollout's commits back where the config branch cannot simply be
//! pushed to.

use std::fmt::Write as _;

use tidegate_waves::rollout::{FleetIdentity, RevertObstacle, Rollout, SourceRevert};

use super::{Forge, ForgeError, NewPullRequest, PullRequest};
use crate::crash;
use crate::engine::message;
use crate::git::trailers::one_line;

/// Most commits that a description lists.
const MOST_COMMITS: usize = 50;

/// Why there is no pull request.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// The forge did not do it.
    #[error("the pull request that reverts rollout {rollout} cannot be opened: {source}")]
    Forge {
        /// The rollout.
        rollout: String,
        /// Why; says whether it may succeed later.
        source: ForgeError,
    },
    /// The revert commit's message cannot be told. Permanent.
    #[error("the pull request that reverts rollout {rollout} has no title: {source}")]
    Message {
        /// The rollout.
        rollout: String,
        /// Why.
        source: crate::git::trailers::BadKey,
    },
}

impl EnsureError {
    /// How long the forge wants to be left alone, if it says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Forge { source, .. } => source.retry_after(),
            Self::Message { .. } => None,
        }
    }
}

/// Sees to it that the revert of a rollout is a pull request, and gives it; `None` for a rollout whose revert
/// is not proposed.
///
/// One that exists is left as it is, also if somebody closed it: closing it is an answer. It may be called
/// any number of times, by several controllers at once.
pub async fn ensure(
    forge: &dyn Forge,
    fleet: &FleetIdentity,
    rollout: &Rollout,
) -> Result<Option<PullRequest>, EnsureError> {
    if !matches!(rollout.source_revert, SourceRevert::Proposed { .. }) {
        return Ok(None);
    }
    let new = proposal(fleet, rollout)?;
    let failed = |source| EnsureError::Forge {
        rollout: rollout.id.clone(),
        source,
    };
    let find = || forge.find_pull_request(&new.head, &new.base);
    if let Some(found) = find().await.map_err(failed)? {
        return Ok(Some(found));
    }
    crash::point("before-pull-request-opened");
    let answered = forge.create_pull_request(&new).await;
    crash::point("after-pull-request-opened");
    let refused = match answered {
        Ok(created) => return Ok(Some(created)),
        Err(error) => error,
    };
    // Somebody else may have been faster, or the answer to our own request was lost on an earlier try.
    if matches!(
        refused,
        ForgeError::Permanent {
            status: 409 | 422,
            ..
        }
    ) && let Some(found) = find().await.map_err(failed)?
    {
        return Ok(Some(found));
    }
    Err(failed(refused))
}

/// The pull request that reverts a rollout: the title is the revert commit's.
fn proposal(fleet: &FleetIdentity, rollout: &Rollout) -> Result<NewPullRequest, EnsureError> {
    let message = message::of_source_revert(rollout).map_err(|source| EnsureError::Message {
        rollout: rollout.id.clone(),
        source,
    })?;
    let head = fleet.revert_ref(&rollout.id);
    Ok(NewPullRequest {
        title: message.lines().next().unwrap_or_default().to_owned(),
        body: body(fleet, rollout),
        head: head.strip_prefix("refs/heads/").unwrap_or(&head).to_owned(),
        base: fleet.branch.clone(),
    })
}

fn body(fleet: &FleetIdentity, rollout: &Rollout) -> String {
    let mut text = format!(
        "Rollout {} of the fleet {} failed, and the regions that it had touched were given their last good manifests back.\n",
        verbatim(&rollout.id),
        verbatim(&fleet.name),
    );
    if let Some(failure) = &rollout.failure {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\nWhy: {}", verbatim(&failure.evidence));
        if !failure.wave.is_empty() {
            let _ = writeln!(
                text,
                "\nWave {}, region {}.",
                verbatim(&failure.wave),
                verbatim(&failure.region)
            );
        }
    }
    let branch = verbatim(&fleet.branch);
    match &rollout.revert_obstacle {
        None => {
            let _ = writeln!(
                text,
                "\nMerging this takes the following off {branch} again. It changes nothing in any region: they have their last good manifests already."
            );
        }
        Some(obstacle) => {
            let _ = writeln!(text, "\n{}", by_hand(obstacle, &branch));
        }
    }
    let _ = writeln!(
        text,
        "\nUntil it is merged, commits on top of these bring the failed content along and are held, unless they fix it \
         (`Tidegate-Fixes: {}` in their message) or undo it. Closing this instead leaves that to you.\n",
        rollout.source
    );
    for commit in rollout.commits.iter().take(MOST_COMMITS) {
        let _ = writeln!(
            text,
            "* {} {} ({})",
            commit.id,
            verbatim(&commit.subject),
            verbatim(&commit.author)
        );
    }
    let more = rollout.commits.len().saturating_sub(MOST_COMMITS);
    if more > 0 {
        let _ = writeln!(text, "* and {more} more");
    }
    text
}

/// What a person has to do where no merge alone takes the commits back.
fn by_hand(obstacle: &RevertObstacle, branch: &str) -> String {
    let why = match obstacle {
        RevertObstacle::Conflict { paths, count } => {
            let named: Vec<String> = paths.iter().map(|path| verbatim(path)).collect();
            let more = match count.saturating_sub(paths.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!(
                "**This conflicts** with later commits on {branch}, in {}{more}, and has to be resolved by hand.",
                named.join(", ")
            )
        }
        RevertObstacle::NotOnChain => format!(
            "**This needs a look before it is merged**: the rollout did not start from a first-parent ancestor of its commit, so history on {branch} was rewritten or merged the other way round."
        ),
    };
    format!(
        "{why} The branch of this pull request stands on the commit that failed and has the files of the commit before the rollout; \
         keep from {branch} what came later and is wanted, and take the following off. \
         Where what is merged has the old content again, it changes nothing in any region: they have their last good manifests already."
    )
}

/// Text from outside so that it is shown as it stands: no links, images, or mentions come of it.
fn verbatim(text: &str) -> String {
    let line = one_line(text).replace('`', "'");
    if line.is_empty() {
        "(none)".to_owned()
    } else {
        format!("`{line}`")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use tidegate_waves::oid::Oid;
    use tidegate_waves::rollout::{Failure, FailureReason};

    use super::super::statuses::fixture;
    use super::super::{Asking, CommitInfo, CommitStatus, PullRequestState};
    use super::*;

    /// A forge that knows pull requests alone.
    #[derive(Debug, Default)]
    struct Pulls {
        existing: Mutex<Vec<(String, String, PullRequest)>>,
        /// Somebody else opens it between our look and our request.
        race: bool,
        created: Mutex<Vec<NewPullRequest>>,
    }

    fn pull(number: u64) -> PullRequest {
        PullRequest {
            number,
            url: format!("https://git.example.com/pulls/{number}"),
            state: PullRequestState::Open,
        }
    }

    impl Forge for Pulls {
        fn post_status<'a>(&'a self, _: Oid, _: &'a CommitStatus) -> Asking<'a, ()> {
            unreachable!()
        }

        fn statuses(&self, _: Oid) -> Asking<'_, BTreeMap<String, CommitStatus>> {
            unreachable!()
        }

        fn find_pull_request<'a>(
            &'a self,
            head: &'a str,
            base: &'a str,
        ) -> Asking<'a, Option<PullRequest>> {
            let existing = self.existing.lock().unwrap_or_else(PoisonError::into_inner);
            let found = existing
                .iter()
                .find(|(from, onto, _)| from == head && onto == base)
                .map(|(_, _, pull)| pull.clone());
            Box::pin(async move { Ok(found) })
        }

        fn create_pull_request<'a>(&'a self, new: &'a NewPullRequest) -> Asking<'a, PullRequest> {
            self.created.lock().unwrap().push(new.clone());
            let mut existing = self.existing.lock().unwrap();
            let number = if self.race { 8 } else { 7 };
            existing.push((new.head.clone(), new.base.clone(), pull(number)));
            let answer = if self.race {
                Err(ForgeError::Permanent {
                    status: 422,
                    message: "a pull request already exists".to_owned(),
                })
            } else {
                Ok(pull(number))
            };
            Box::pin(async move { answer })
        }

        fn commit(&self, _: Oid) -> Asking<'_, CommitInfo> {
            unreachable!()
        }
    }

    fn proposed() -> (FleetIdentity, Rollout) {
        let state = fixture();
        let mut rollout = state.rollout.unwrap();
        rollout.source_revert = SourceRevert::Proposed {
            commit: Oid::from_bytes([9; 20]),
        };
        rollout.failure = Some(Failure {
            reason: FailureReason::Harm,
            wave: "canary".to_owned(),
            region: "r0".to_owned(),
            gate: "healthz".to_owned(),
            tree: None,
            evidence: "r0 healthz answered 500, 3 times in a row".to_owned(),
        });
        rollout.commits[0].subject =
            "tidy `up` @everyone ![x](http://evil.example.com/x)".to_owned();
        (state.fleet, rollout)
    }

    #[tokio::test]
    async fn a_proposed_revert_becomes_one_pull_request() {
        let (fleet, rollout) = proposed();
        let forge = Pulls::default();
        for _ in 0..3 {
            let found = ensure(&forge, &fleet, &rollout).await.unwrap().unwrap();
            assert_eq!(found.number, 7);
        }
        let created = forge.created.lock().unwrap();
        assert_eq!(created.len(), 1);
        let new = &created[0];
        assert_eq!(new.head, format!("tidegate-revert/{}", rollout.id));
        assert_eq!(new.base, "main");
        assert_eq!(
            new.title,
            "Revert \"tidy `up` @everyone ![x](http://evil.example.com/x)\""
        );
        assert!(
            new.body
                .contains("Why: `r0 healthz answered 500, 3 times in a row`"),
            "{}",
            new.body
        );
        assert!(
            new.body.contains(&format!(
                "* {} `tidy 'up' @everyone ![x](http://evil.example.com/x)` (`Ann`)",
                rollout.source
            )),
            "{}",
            new.body
        );
    }

    #[test]
    fn a_revert_that_conflicts_says_where_and_asks_to_be_resolved() {
        let (fleet, mut rollout) = proposed();
        let plain = body(&fleet, &rollout);
        assert!(!plain.contains("by hand"), "{plain}");
        rollout.revert_obstacle = Some(RevertObstacle::Conflict {
            paths: vec!["values/app.yaml".to_owned(), "a`b".to_owned()],
            count: 4,
        });
        let text = body(&fleet, &rollout);
        assert!(
            text.contains("**This conflicts** with later commits on `main`, in `values/app.yaml`, `a'b` and 2 more, and has to be resolved by hand."),
            "{text}"
        );
        assert!(text.contains("Tidegate-Fixes: "), "{text}");
        rollout.revert_obstacle = Some(RevertObstacle::NotOnChain);
        let text = body(&fleet, &rollout);
        assert!(text.contains("needs a look before it is merged"), "{text}");
        assert!(!text.contains("conflicts"), "{text}");
    }

    #[tokio::test]
    async fn losing_the_race_is_as_good_as_winning_it() {
        let (fleet, rollout) = proposed();
        let forge = Pulls {
            race: true,
            ..Pulls::default()
        };
        let found = ensure(&forge, &fleet, &rollout).await.unwrap().unwrap();
        assert_eq!(found.number, 8);
    }

    #[tokio::test]
    async fn only_a_proposed_revert_needs_one() {
        let (fleet, mut rollout) = proposed();
        let forge = Pulls::default();
        for revert in [
            SourceRevert::None,
            SourceRevert::Wanted,
            SourceRevert::Proposing,
            SourceRevert::NotWanted,
        ] {
            rollout.source_revert = revert;
            assert!(ensure(&forge, &fleet, &rollout).await.unwrap().is_none());
        }
        assert!(forge.created.lock().unwrap().is_empty());
    }
}
