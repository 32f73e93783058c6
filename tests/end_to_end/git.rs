//! The controller's git layer against real git servers: what every kind of push comes to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use tidegate_controller::git::child::Surroundings;
use tidegate_controller::git::failure::RemoteError;
use tidegate_controller::git::mirror::{Deadlines, Mirror, MirrorOptions, RefView};
use tidegate_controller::git::push::{PushError, RefOutcome, RefUpdate};
use tidegate_controller::git::remote::{CredentialSource, RemoteUrl};
use tidegate_controller::secret::SecretSource;
use tidegate_renderer::tree::{NewCommit, ObjectStore};
use tidegate_testkit::git_server::{Fault, GitServer, On, PASSWORD, USERNAME};
use tidegate_testkit::work::{Work, git_command};
use tidegate_waves::oid::Oid;

mod lies;

const REPO: &str = "fleet.git";
const MAIN: &str = "refs/heads/main";
const LOG: &str = "refs/heads/tidegate/log";
const CANARY: &str = "refs/heads/tidegate/canary";

struct World {
    server: GitServer,
    work: Work,
    folder: tempfile::TempDir,
    mirror: Mirror,
    view: RefView,
}

fn options(folder: &Path, url: &str, password: &Path) -> MirrorOptions {
    let user = password.with_extension("user");
    std::fs::write(&user, USERNAME).unwrap();
    MirrorOptions {
        folder: folder.join("data"),
        remote: RemoteUrl::parse(url).unwrap(),
        credentials: CredentialSource::Basic {
            username: Some(SecretSource::File(user)),
            password: SecretSource::File(password.to_owned()),
        },
        surroundings: Surroundings::Hermetic,
        branch: None,
        prefix: "tidegate".to_owned(),
        deadlines: Deadlines {
            list: Duration::from_secs(20),
            fetch: Duration::from_secs(20),
            push: Duration::from_secs(20),
        },
    }
}

impl World {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut MirrorOptions)) -> Self {
        let server = GitServer::start();
        server.create(REPO);
        let work = Work::new(&server.url_with_password(REPO));
        work.publish(&[("a", "1\n")], "First");
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let mut options = options(folder.path(), &server.url(REPO), &password);
        change(&mut options);
        let mut mirror = Mirror::open(options).unwrap();
        let view = mirror.refresh().await.unwrap();
        Self {
            server,
            work,
            folder,
            mirror,
            view,
        }
    }

    /// A new commit with one file on top of a parent.
    fn commit(&self, parent: Option<Oid>, content: &str) -> Oid {
        let store = ObjectStore::open(self.mirror.git_dir()).unwrap();
        let blob = store.blob(content.as_bytes()).unwrap();
        let files = BTreeMap::from([("westus3/a.yaml".to_owned(), blob)]);
        let id = store
            .commit(&NewCommit {
                tree: store.folder(&files).unwrap(),
                parents: parent.as_slice(),
                author_name: "Tidegate",
                author_email: "tidegate@example.com",
                seconds: 7,
                message: content,
            })
            .unwrap();
        store.flush().unwrap();
        id
    }

    fn create(&self, name: &str) -> RefUpdate {
        RefUpdate {
            name: name.to_owned(),
            old: Oid::ZERO,
            new: self.commit(None, name),
        }
    }

    async fn push(&mut self, updates: &[RefUpdate]) -> BTreeMap<String, RefOutcome> {
        self.mirror.push(updates).await.unwrap()
    }

    fn tip(&self, name: &str) -> Option<Oid> {
        self.server.tip(REPO, name).map(|id| id.parse().unwrap())
    }
}

#[tokio::test]
async fn a_view_names_the_remotes_branches_and_brings_their_objects() {
    let mut world = World::new().await;
    let first = world.view.get(MAIN).unwrap();
    assert_eq!(world.view.head.as_deref(), Some(MAIN));
    assert!(!world.mirror.has_changed().await.unwrap());
    let next = world.work.publish(&[("a", "2\n")], "Second");
    assert!(world.mirror.has_changed().await.unwrap());
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get(MAIN).unwrap().to_string(), next);
    let chain = world
        .mirror
        .history()
        .unwrap()
        .chain(Some(first), view.get(MAIN).unwrap());
    assert_eq!(chain.unwrap().unwrap().len(), 1);
    let before = world.server.requests();
    world.mirror.refresh().await.unwrap();
    assert!(
        world.server.requests() - before <= 3,
        "an idle look is one listing"
    );
}

#[tokio::test]
async fn what_was_pushed_needs_one_listing_and_a_commit_under_the_same_log_one_and_a_fetch() {
    let mut world = World::new().await;
    let (log, canary) = (world.create(LOG), world.create(CANARY));
    world.push(&[log.clone(), canary.clone()]).await;
    let before = world.server.requests();
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(
        (view.get(LOG), view.get(CANARY)),
        (Some(log.new), Some(canary.new))
    );
    let listing = world.server.requests() - before;
    assert!((1..=2).contains(&listing), "{listing} requests");

    let head = world.work.publish(&[("a", "2\n")], "Second");
    let before = world.server.requests();
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get(MAIN).unwrap().to_string(), head);
    let noticing = world.server.requests() - before;
    assert!(noticing <= listing + 3, "{noticing} requests");

    // Under a log that moved, the branches may be older than it says: two listings have to agree.
    world.work.git(&["fetch", "-q", "origin", "tidegate/log"]);
    world.work.git(&["checkout", "-q", "FETCH_HEAD"]);
    world.work.commit("theirs");
    world.work.push("tidegate/log");
    let before = world.server.requests();
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get(LOG).unwrap().to_string(), world.work.head());
    let moved = world.server.requests() - before;
    assert_eq!(moved, noticing + listing, "one listing more");
}

#[tokio::test]
async fn rewritten_and_deleted_branches_are_seen_and_their_old_commits_stay() {
    let mut world = World::new().await;
    let first = world.view.get(MAIN).unwrap();
    world.push(&[world.create("refs/heads/tidegate/a")]).await;
    world.mirror.refresh().await.unwrap();
    world
        .work
        .git(&["push", "-q", "origin", ":refs/heads/tidegate/a"]);
    world.work.git(&["commit", "-q", "--amend", "-m", "Other"]);
    world
        .work
        .git(&["push", "-q", "--force", "origin", "HEAD:main"]);
    // Where a branch was, a folder of branches can be now.
    world
        .work
        .git(&["push", "-q", "origin", "HEAD:refs/heads/tidegate/a/b"]);
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get("refs/heads/tidegate/a"), None);
    assert_eq!(view.get("refs/heads/tidegate/a/b"), view.get(MAIN));
    let history = world.mirror.history().unwrap();
    assert!(!history.is_ancestor(first, view.get(MAIN).unwrap()).unwrap());
    assert!(history.has(first));
}

#[tokio::test]
async fn an_empty_repo_is_an_empty_view() {
    let server = GitServer::start();
    let repo = server.create(REPO);
    for url in [server.url(REPO), repo.to_str().unwrap().to_owned()] {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        let mut mirror = Mirror::open(options(folder.path(), &url, &password)).unwrap();
        assert_eq!(mirror.refresh().await.unwrap(), RefView::default(), "{url}");
    }
}

#[tokio::test]
async fn several_refs_go_in_one_push_and_the_journal_knows_their_order() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    assert_eq!(
        world.push(std::slice::from_ref(&log)).await[LOG],
        RefOutcome::Applied
    );
    let canary = world.create(CANARY);
    let next = RefUpdate {
        name: LOG.to_owned(),
        old: log.new,
        new: world.commit(Some(log.new), "second"),
    };
    let pushes = world.server.pushes();
    let outcomes = world.push(&[canary.clone(), next.clone()]).await;
    assert!(
        outcomes
            .values()
            .all(|outcome| *outcome == RefOutcome::Applied),
        "{outcomes:?}"
    );
    assert_eq!(world.server.pushes() - pushes, 1);
    let again = world.push(std::slice::from_ref(&next)).await;
    assert_eq!(again[LOG], RefOutcome::UpToDate);
    let journal = world.server.journal(REPO);
    let names: Vec<&str> = journal.iter().map(|update| update.name.as_str()).collect();
    assert_eq!(names[..2], [MAIN, LOG]);
    assert_eq!(journal.len(), 4);
    assert_eq!(journal[1].new, log.new.to_string());
}

#[tokio::test]
async fn who_loses_the_race_learns_it_and_moves_nothing() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    world.push(std::slice::from_ref(&log)).await;
    let winner = world.commit(Some(log.new), "winner");
    let loser = world.commit(Some(log.new), "loser");
    for (new, expected) in [(winner, RefOutcome::Applied), (loser, RefOutcome::LostRace)] {
        let update = RefUpdate {
            name: LOG.to_owned(),
            old: log.new,
            new,
        };
        assert_eq!(world.push(&[update]).await[LOG], expected);
    }
    // A branch that must not exist, and does.
    let again = RefUpdate {
        new: world.commit(None, "again"),
        ..log
    };
    assert_eq!(world.push(&[again]).await[LOG], RefOutcome::LostRace);
    assert_eq!(world.tip(LOG), Some(winner));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ref_that_moved_while_the_push_was_under_way_is_not_overwritten() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    world.push(std::slice::from_ref(&log)).await;
    let ours = RefUpdate {
        name: LOG.to_owned(),
        old: log.new,
        new: world.commit(Some(log.new), "ours"),
    };
    world.server.fail_next(1, On::Push, Fault::Hold);
    let others = async {
        // The push has read the refs and is on its way: now somebody else's goes first.
        tokio::task::block_in_place(|| {
            world.server.wait_until_held(Duration::from_secs(10));
            world.work.git(&["fetch", "-q", "origin", "tidegate/log"]);
            world.work.git(&["checkout", "-q", "FETCH_HEAD"]);
            world.work.commit("theirs");
            world.work.push("tidegate/log");
            world.server.clear();
        });
    };
    let push = world.mirror.push(std::slice::from_ref(&ours));
    let (outcomes, ()) = tokio::join!(push, others);
    let outcome = &outcomes.unwrap()[LOG];
    assert!(
        matches!(
            outcome,
            RefOutcome::LostRace | RefOutcome::ServerBusy { .. }
        ),
        "{outcome:?}"
    );
    assert_eq!(world.tip(LOG).unwrap().to_string(), world.work.head());
}

#[tokio::test]
async fn what_is_no_fast_forward_is_never_sent() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    world.push(std::slice::from_ref(&log)).await;
    let requests = world.server.requests();
    for (old, new) in [
        (log.new, world.commit(None, "unrelated")),
        (log.new, Oid::ZERO),
        (Oid::from_bytes([9; 20]), log.new),
    ] {
        let name = LOG.to_owned();
        let pushed = world.mirror.push(&[RefUpdate { name, old, new }]).await;
        assert!(
            matches!(pushed, Err(PushError::NotForward { .. })),
            "{pushed:?}"
        );
    }
    assert_eq!(world.server.requests(), requests);
}

#[tokio::test]
async fn a_protected_branch_refuses_and_the_others_go_through() {
    let mut world = World::new().await;
    world.server.protect(REPO, CANARY);
    let outcomes = world.push(&[world.create(CANARY), world.create(LOG)]).await;
    let RefOutcome::Refused { message } = &outcomes[CANARY] else {
        panic!("{outcomes:?}");
    };
    assert!(message.contains("GH006"), "{message}");
    assert_eq!(outcomes[LOG], RefOutcome::Applied);
    assert_eq!(world.tip(CANARY), None);
}

#[tokio::test]
async fn a_server_that_refuses_a_push_whole_says_so_for_each_ref() {
    let mut world = World::new().await;
    world.server.protect_whole(REPO, CANARY);
    let updates = [world.create(CANARY), world.create(LOG)];
    let outcomes = world.push(&updates).await;
    assert!(
        outcomes
            .values()
            .all(|outcome| matches!(outcome, RefOutcome::Refused { .. })),
        "{outcomes:?}"
    );
    assert_eq!(world.push(&updates[1..]).await[LOG], RefOutcome::Applied);
}

#[tokio::test]
async fn a_branch_that_has_the_name_of_our_folder_is_named_before_anything_is_pushed() {
    let mut world = World::new().await;
    for (branch, prefix) in [("tidegate-revert", "tidegate"), ("tidegate", "tidegate")] {
        let name = format!("HEAD:refs/heads/{branch}");
        world.work.git(&["push", "-q", "origin", &name]);
        let error = world.mirror.refresh().await.unwrap_err();
        assert_eq!(error.reason(), "InTheWay", "{error}");
        let said = format!("has a branch {branch}, and no branch below");
        assert!(error.to_string().contains(&said), "{error}");
        assert!(
            error.to_string().contains(&format!("{prefix:?}")),
            "{error}"
        );
        world
            .work
            .git(&["push", "-q", "origin", &format!(":refs/heads/{branch}")]);
    }
    world.mirror.refresh().await.unwrap();
}

/// git shows the line of a ref that moved, and ends with an error all the same.
#[tokio::test]
async fn a_moved_ref_in_an_answer_that_is_cut_behind_it_is_ambiguous_until_the_remote_is_read_again()
 {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new().await;
    let hook = world.server.path(REPO).join("hooks/post-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    // What receives the push dies behind its report, before it ends the answer.
    std::fs::write(&hook, "#!/bin/sh\nkill -9 \"$PPID\"\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let log = world.create(LOG);
    let outcomes = world.push(std::slice::from_ref(&log)).await;
    assert!(
        matches!(&outcomes[LOG], RefOutcome::Ambiguous { why } if why.contains("cut off")),
        "{outcomes:?}"
    );
    std::fs::remove_file(&hook).unwrap();
    assert_eq!(
        world.mirror.refresh().await.unwrap().get(LOG),
        Some(log.new)
    );
}

#[tokio::test]
async fn a_lost_answer_is_ambiguous_until_the_remote_is_read_again() {
    let mut world = World::new().await;
    let log = world.create(LOG);
    world.server.fail_next(1, On::Push, Fault::DropAnswer);
    let outcomes = world.push(std::slice::from_ref(&log)).await;
    assert!(
        matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }),
        "{outcomes:?}"
    );
    assert_eq!(
        world.mirror.refresh().await.unwrap().get(LOG),
        Some(log.new)
    );
    // And the other way round: it never got there.
    let canary = world.create(CANARY);
    world.server.fail_next(1, On::Push, Fault::DropRequest);
    let outcomes = world.push(std::slice::from_ref(&canary)).await;
    assert!(
        matches!(outcomes[CANARY], RefOutcome::Ambiguous { .. }),
        "{outcomes:?}"
    );
    assert_eq!(world.mirror.refresh().await.unwrap().get(CANARY), None);
}

#[tokio::test]
async fn a_push_that_stalls_ends_at_its_deadline() {
    let mut world = World::with(|options| options.deadlines.push = Duration::from_secs(2)).await;
    world.server.fail(On::Push, Fault::Stall);
    let started = Instant::now();
    let outcomes = world.push(&[world.create(LOG)]).await;
    assert!(
        matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }),
        "{outcomes:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(world.tip(LOG), None);
}

#[tokio::test]
async fn a_push_can_take_effect_long_after_we_gave_it_up() {
    let mut world = World::with(|options| options.deadlines.push = Duration::from_secs(2)).await;
    world.server.fail(On::Push, Fault::Hold);
    let log = world.create(LOG);
    let outcomes = world.push(std::slice::from_ref(&log)).await;
    assert!(
        matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }),
        "{outcomes:?}"
    );
    assert_eq!(world.tip(LOG), None);
    world.server.clear();
    tidegate_testkit::wait::wait_until("the late push", Duration::from_secs(10), || {
        world.tip(LOG) == Some(log.new)
    });
}

#[tokio::test]
async fn every_refusal_of_the_server_has_its_name() {
    let mut world = World::new().await;
    for (status, reason) in [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "NotFound"),
        (429, "RateLimited"),
        (503, "Unavailable"),
        (302, "Redirected"),
    ] {
        world.server.fail(On::Listing, Fault::Status(status));
        let error = world.mirror.list().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{status}: {error}");
        let pushed = world.mirror.push(&[world.create(LOG)]).await;
        match pushed {
            Err(PushError::Remote(error)) => assert_eq!(error.reason(), reason, "{error}"),
            Ok(outcomes) => {
                assert_eq!(status, 503, "{outcomes:?}");
                assert!(matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }));
            }
            Err(error) => panic!("{status}: {error}"),
        }
        world.server.clear();
    }
    world.server.fail(On::Any, Fault::Garbage);
    let error = world.mirror.list().await.unwrap_err();
    assert!(matches!(error, RemoteError::NotGit { .. }), "{error}");
    world.server.clear();
    for status in [401, 403, 429, 500, 503] {
        world.server.fail(On::Push, Fault::Status(status));
        let pushed = world.mirror.push(&[world.create(LOG)]).await;
        world.server.clear();
        match pushed {
            Ok(outcomes) => {
                assert!(
                    matches!(outcomes[LOG], RefOutcome::Ambiguous { .. }),
                    "{outcomes:?}"
                );
            }
            Err(error) => assert!(status < 500, "{error}"),
        }
    }
    assert_eq!(world.mirror.refresh().await.unwrap().get(LOG), None);
}

#[tokio::test]
async fn wrong_credentials_are_named_and_new_ones_are_taken_up_without_a_restart() {
    let mut world = World::new().await;
    let password = world.folder.path().join("password");
    std::fs::write(&password, "wrong-password-Qy77").unwrap();
    let error = world.mirror.refresh().await.unwrap_err();
    assert!(matches!(error, RemoteError::Unauthorized { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("Qy77"), "{error:?}");
    std::fs::write(&password, PASSWORD).unwrap();
    world.mirror.refresh().await.unwrap();
}

#[tokio::test]
async fn nobody_at_the_address_and_no_repo_there_are_told_apart() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    for (url, reason) in [
        (world.server.url("none.git"), "NotFound"),
        ("http://127.0.0.1:1/none.git".to_owned(), "Unreachable"),
        ("/nonexistent/none.git".to_owned(), "NotFound"),
        ("git@example.com:none.git".to_owned(), "NoKey"),
    ] {
        let password = world.folder.path().join("password");
        let options = options(folder.path(), &url, &password);
        let mut mirror = Mirror::open(options).unwrap();
        let error = mirror.refresh().await.unwrap_err();
        assert_eq!(error.reason(), reason, "{url}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_mirror_is_made_anew_from_the_remote() {
    let mut world = World::new().await;
    let first = world.view.get(MAIN).unwrap();
    world.push(&[world.create(CANARY)]).await;
    world.mirror.refresh().await.unwrap();
    let generation = world.mirror.generation();
    world.work.publish(&[("a", "2\n")], "Second");
    // Everything that was fetched is gone, and the mirror does not know it.
    let objects = world.mirror.git_dir().join("objects");
    for entry in std::fs::read_dir(&objects).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "info" {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(world.mirror.generation(), generation + 1);
    let chain = world
        .mirror
        .history()
        .unwrap()
        .chain(Some(first), view.get(MAIN).unwrap());
    assert_eq!(chain.unwrap().unwrap().len(), 1);
    git_command(world.mirror.git_dir(), &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_tree_that_could_leave_its_folder_is_taken_as_it_is_and_written_nowhere() {
    let mut world = World::new().await;
    let blob = world.work.git(&["hash-object", "-w", "a"]);
    let entries = world.work.path("entries");
    std::fs::write(&entries, format!("100644 blob {blob}\t..\n")).unwrap();
    let script = format!("git mktree < '{}'", entries.display());
    let tree = world
        .work
        .git(&["-c", &format!("alias.make=!{script}"), "make"]);
    let commit = world
        .work
        .git(&["commit-tree", "-m", "evil", "-p", "HEAD", &tree]);
    world
        .work
        .git(&["push", "-q", "origin", &format!("{commit}:refs/heads/main")]);
    let view = world.mirror.refresh().await.unwrap();
    assert_eq!(view.get(MAIN).unwrap().to_string(), commit);
    let listed = git_command(world.mirror.git_dir(), &["ls-tree", &commit]);
    assert!(listed.ends_with("\t.."), "{listed}");
    // The checks are as strict with what comes next.
    let generation = world.mirror.generation();
    world.push(&[world.create(CANARY)]).await;
    world.mirror.refresh().await.unwrap();
    assert_eq!(world.mirror.generation(), generation);
}

/// Text that cannot be compressed, the same every time.
fn noise(characters: usize) -> String {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        char::from_u32(0x100 + ((state >> 33) % 0x1000) as u32).unwrap()
    })
    .take(characters)
    .collect()
}

#[tokio::test]
async fn a_push_too_large_for_one_request_arrives_whole() {
    let mut world = World::new().await;
    // More than git's buffer, and nothing that could be compressed: it is sent in chunks.
    let noise = noise(1_500_000);
    let log = RefUpdate {
        name: LOG.to_owned(),
        old: Oid::ZERO,
        new: world.commit(None, &noise),
    };
    assert_eq!(
        world.push(std::slice::from_ref(&log)).await[LOG],
        RefOutcome::Applied
    );
    assert_eq!(world.tip(LOG), Some(log.new));
}

#[tokio::test]
async fn a_command_that_is_dropped_takes_its_children_along() {
    let world = World::new().await;
    world.server.fail(On::Listing, Fault::Stall);
    let listing = tokio::time::timeout(Duration::from_millis(500), world.mirror.list()).await;
    assert!(listing.is_err());
    let address = world.server.url(REPO);
    tidegate_testkit::wait::wait_until("the end of git", Duration::from_secs(5), || {
        !std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .any(|process| {
                std::fs::read(process.path().join("cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&address))
            })
    });
}
