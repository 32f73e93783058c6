//! The poster against a forge in memory that can be told to fail; time is tokio's, and stands still.

use std::sync::{Mutex, PoisonError};

use super::super::statuses::Carried;
use super::super::{Asking, CommitInfo, NewPullRequest, PullRequest};
use super::*;

/// What a request is answered, before the forge does what it should.
type Fault = Box<dyn FnMut(Oid, &str) -> Option<ForgeError> + Send>;

#[derive(Default)]
struct Told {
    /// What stands.
    standing: BTreeMap<Oid, BTreeMap<String, CommitStatus>>,
    /// Every write that was asked for, and when.
    writes: Vec<(Instant, Oid, CommitStatus)>,
    /// Commits that were read.
    reads: Vec<Oid>,
    /// Commits that the forge does not have.
    unknown: BTreeSet<Oid>,
    fault: Option<Fault>,
}

#[derive(Clone, Default)]
struct FakeForge(Arc<Mutex<Told>>);

impl std::fmt::Debug for FakeForge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeForge")
    }
}

impl FakeForge {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failing(fault: impl FnMut(Oid, &str) -> Option<ForgeError> + Send + 'static) -> Self {
        let forge = Self::default();
        forge.told().fault = Some(Box::new(fault));
        forge
    }

    fn texts(&self) -> Vec<String> {
        self.told()
            .writes
            .iter()
            .map(|(_, _, status)| status.description.clone())
            .collect()
    }
}

impl Forge for FakeForge {
    fn post_status<'a>(&'a self, commit: Oid, status: &'a CommitStatus) -> Asking<'a, ()> {
        let mut told = self.told();
        told.writes.push((Instant::now(), commit, status.clone()));
        let fault = told
            .fault
            .as_mut()
            .and_then(|fault| fault(commit, &status.description));
        if fault.is_none() {
            told.standing
                .entry(commit)
                .or_default()
                .insert(status.context.clone(), status.clone());
        }
        Box::pin(async move { fault.map_or(Ok(()), Err) })
    }

    fn statuses(&self, commit: Oid) -> Asking<'_, BTreeMap<String, CommitStatus>> {
        let mut told = self.told();
        told.reads.push(commit);
        let standing = told.standing.get(&commit).cloned().unwrap_or_default();
        let unknown = told.unknown.contains(&commit);
        Box::pin(async move {
            if unknown {
                Err(refusal(404))
            } else {
                Ok(standing)
            }
        })
    }

    fn find_pull_request<'a>(&'a self, _: &'a str, _: &'a str) -> Asking<'a, Option<PullRequest>> {
        unreachable!()
    }

    fn create_pull_request<'a>(&'a self, _: &'a NewPullRequest) -> Asking<'a, PullRequest> {
        unreachable!()
    }

    fn commit(&self, _: Oid) -> Asking<'_, CommitInfo> {
        unreachable!()
    }
}

fn oid(byte: u8) -> Oid {
    Oid::from_bytes([byte; 20])
}

fn wish(commit: Oid, context: &str, state: StatusState, text: &str) -> DesiredStatus {
    DesiredStatus {
        commit,
        status: CommitStatus {
            context: context.to_owned(),
            state,
            description: text.to_owned(),
            target_url: None,
        },
        carried: None,
    }
}

fn pending(byte: u8, context: &str, text: &str) -> DesiredStatus {
    wish(oid(byte), context, StatusState::Pending, text)
}

struct Running {
    forge: FakeForge,
    board: StatusBoard,
    cancelled: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    began: Instant,
}

fn run(forge: FakeForge) -> Running {
    let (board, poster) = poster(Arc::new(forge.clone()));
    let cancelled = CancellationToken::new();
    Running {
        forge,
        board,
        task: tokio::spawn(poster.run(cancelled.clone())),
        cancelled,
        began: Instant::now(),
    }
}

fn busy(after: Option<Duration>) -> ForgeError {
    ForgeError::Retryable {
        message: "busy".to_owned(),
        after,
    }
}

fn refusal(status: u16) -> ForgeError {
    ForgeError::Permanent {
        status,
        message: "no".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_difference_is_written() {
    let forge = FakeForge::default();
    let stands = pending(1, "a", "same").status;
    forge
        .told()
        .standing
        .insert(oid(1), BTreeMap::from([("a".to_owned(), stands)]));
    let running = run(forge);
    let wishes = vec![
        pending(1, "a", "same"),
        pending(1, "b", "new"),
        pending(2, "a", "other commit"),
    ];
    running.board.want(wishes.clone());
    running.board.posted().await;
    assert_eq!(running.forge.texts(), ["new", "other commit"]);
    // Wishing for the same again does nothing, and a commit is read once.
    running.board.want(wishes);
    running.board.posted().await;
    assert_eq!(running.forge.texts().len(), 2);
    assert_eq!(running.forge.told().reads, [oid(1), oid(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_changes_often_is_written_rarely_and_a_state_at_once() {
    let running = run(FakeForge::default());
    for step in 0..20 {
        running.board.want(vec![pending(
            1,
            "tidegate/wave/a",
            &format!("{step}/20 healthy"),
        )]);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    running.board.want(vec![wish(
        oid(1),
        "tidegate/wave/a",
        StatusState::Success,
        "passed",
    )]);
    running.board.posted().await;
    let texts = running.forge.texts();
    assert_eq!(texts.first().unwrap(), "0/20 healthy");
    assert_eq!(texts.last().unwrap(), "passed");
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert_eq!(running.began.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_forge_that_is_down_is_tried_again_later_and_later() {
    let mut left = 12;
    let running = run(FakeForge::failing(move |_, _| {
        left -= 1;
        (left >= 0).then(|| busy(None))
    }));
    running.board.want(vec![pending(1, "a", "x")]);
    running.board.posted().await;
    let told = running.forge.told();
    let gaps: Vec<f64> = told
        .writes
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).as_secs_f64())
        .collect();
    assert_eq!(gaps.len(), 12);
    let mut expected: f64 = 1.0;
    for gap in gaps {
        assert!(
            gap <= expected + 0.01 && gap >= expected * 0.74,
            "{gap} is not about {expected}"
        );
        expected = (expected * 2.0).min(300.0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_that_the_forge_names_is_kept() {
    let mut left = 1;
    let running = run(FakeForge::failing(move |_, _| {
        left -= 1;
        (left >= 0).then(|| busy(Some(Duration::from_secs(600))))
    }));
    running.board.want(vec![pending(1, "a", "x")]);
    running.board.posted().await;
    assert_eq!(running.began.elapsed().as_secs(), 600);
    assert_eq!(running.forge.texts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_wished_for_meanwhile_takes_the_place_of_what_was_not_posted() {
    let mut left = 1;
    let running = run(FakeForge::failing(move |_, _| {
        left -= 1;
        (left >= 0).then(|| busy(Some(Duration::from_secs(60))))
    }));
    running.board.want(vec![pending(1, "a", "first")]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.board.want(vec![pending(1, "a", "second")]);
    running
        .board
        .want(vec![wish(oid(1), "a", StatusState::Success, "third")]);
    running.board.posted().await;
    assert_eq!(running.forge.texts(), ["first", "third"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_status_blocks_no_other_and_is_tried_again_when_it_changes() {
    let running = run(FakeForge::failing(|commit, text| {
        (commit == oid(1) && text != "good").then(|| refusal(422))
    }));
    running.board.want(vec![
        pending(1, "a", "bad"),
        pending(1, "b", "bad too"),
        pending(2, "a", "fine"),
    ]);
    running.board.posted().await;
    assert_eq!(running.forge.texts(), ["bad", "bad too", "fine"]);
    running.board.want(vec![pending(1, "a", "good")]);
    running.board.posted().await;
    assert_eq!(running.forge.texts().len(), 4);
    assert_eq!(running.forge.told().standing.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_forge_chokes_on_lets_the_others_pass() {
    let running = run(FakeForge::failing(|commit, _| {
        (commit == oid(1)).then(|| busy(None))
    }));
    running
        .board
        .want(vec![pending(1, "a", "chokes"), pending(2, "a", "fine")]);
    while running.forge.told().standing.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(running.began.elapsed() < Duration::from_secs(5));
    }
    assert!(running.forge.told().standing.contains_key(&oid(2)));
}

#[tokio::test(start_paused = true)]
async fn what_comes_later_does_not_wait_for_a_commit_that_the_forge_chokes_on() {
    let running = run(FakeForge::failing(|commit, _| {
        (commit == oid(1)).then(|| busy(None))
    }));
    running.board.want(vec![pending(1, "a", "chokes")]);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let tries = running.forge.texts().len();
    assert!(tries < 15, "{tries}");
    let began = Instant::now();
    for byte in 2..10 {
        running.board.want(vec![pending(byte, "a", "fine")]);
    }
    while running.forge.told().standing.len() < 8 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forge_that_is_down_is_not_asked_for_every_commit() {
    let running = run(FakeForge::failing(|_, _| Some(busy(None))));
    running
        .board
        .want((1..50).map(|byte| pending(byte, "a", "x")).collect());
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let tries = running.forge.texts().len();
    assert!((9..15).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_the_forge_does_not_have_is_not_written_to() {
    let forge = FakeForge::default();
    forge.told().unknown.insert(oid(1));
    let running = run(forge);
    running.board.want(vec![
        pending(1, "a", "x"),
        pending(1, "b", "x"),
        pending(2, "a", "fine"),
    ]);
    running.board.posted().await;
    assert_eq!(running.forge.texts(), ["fine"]);
    assert_eq!(running.forge.told().reads, [oid(1), oid(2)]);
    // It may have it by the time that there is something new to say.
    running.forge.told().unknown.clear();
    running.board.want(vec![pending(1, "a", "new")]);
    running.board.posted().await;
    assert_eq!(running.forge.texts(), ["fine", "new"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_waited_for_and_keeps_nobody_waiting() {
    let mut left = 2;
    let running = run(FakeForge::failing(move |_, _| {
        left -= 1;
        (left >= 0).then(|| refusal(401))
    }));
    running
        .board
        .want(vec![pending(1, "a", "x"), pending(2, "a", "y")]);
    running.board.posted().await;
    assert!(running.began.elapsed() < Duration::from_secs(1));
    assert_eq!(
        running.forge.texts().len(),
        1,
        "one request tells as much as all"
    );
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(running.forge.told().standing.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_carried_status_yields_to_a_rollout_of_the_commits_own() {
    let forge = FakeForge::default();
    let own = wish(oid(1), "tidegate/wave/canary", StatusState::Failure, "bad").status;
    forge.told().standing.insert(
        oid(1),
        BTreeMap::from([("tidegate/wave/canary".to_owned(), own)]),
    );
    let running = run(forge);
    let carried = |commit| DesiredStatus {
        carried: Some(Carried {
            by: oid(9),
            yields_to: "tidegate/wave/".to_owned(),
        }),
        ..wish(commit, "tidegate/rollout", StatusState::Success, "carried")
    };
    running.board.want(vec![carried(oid(1)), carried(oid(2))]);
    running.board.posted().await;
    let told = running.forge.told();
    assert_eq!(told.standing[&oid(1)].len(), 1);
    assert_eq!(told.standing[&oid(2)].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_writes_keep_to_what_a_forge_allows() {
    let running = run(FakeForge::default());
    running.board.want(
        (0..90)
            .map(|n| pending(1, &format!("context {n}"), "x"))
            .collect(),
    );
    running.board.posted().await;
    let told = running.forge.told();
    assert_eq!(told.writes.len(), 90);
    for first in &told.writes {
        let within = told
            .writes
            .iter()
            .filter(|write| write.0 >= first.0 && write.0 - first.0 < Duration::from_secs(60))
            .count();
        assert!(within <= 80, "{within} in a minute");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_told_to_although_the_forge_is_down() {
    let running = run(FakeForge::failing(|_, _| Some(busy(None))));
    running.board.want(vec![pending(1, "a", "x")]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    running.cancelled.cancel();
    running.task.await.unwrap();
    // And nobody waits for one that is gone.
    running.board.posted().await;
}

#[test]
fn the_oldest_commits_are_forgotten_first() {
    let mut statuses: Vec<DesiredStatus> = (0..=MOST_STATUSES)
        .map(|n| pending(u8::try_from(n / 100).unwrap(), &n.to_string(), "x"))
        .collect();
    let whole = statuses.clone();
    forget_oldest(&mut statuses, &BTreeSet::from([oid(0)]));
    assert!(statuses.len() <= MOST_STATUSES);
    assert!(statuses.iter().any(|wish| wish.commit == oid(0)));
    assert!(statuses.iter().all(|wish| wish.commit != oid(1)));
    // What is wished for now stays, however much it is.
    let mut statuses = whole.clone();
    forget_oldest(
        &mut statuses,
        &whole.iter().map(|wish| wish.commit).collect(),
    );
    assert_eq!(statuses, whole);
}
