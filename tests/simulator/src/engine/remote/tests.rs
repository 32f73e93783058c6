use super::*;
use crate::engine::regions::Regions;
use crate::engine::server::Server;
use crate::engine::world::World;

const WAVE: &str = "refs/heads/tidegate/canary";

fn commit(repository: &Repository, parent: Option<Oid>, text: &str) -> Oid {
    use tidegate_renderer::tree::{from_git, to_git};
    let person = git2::Signature::new("A", "a@example.com", &git2::Time::new(0, 0)).unwrap();
    let tree = repository.treebuilder(None).unwrap().write().unwrap();
    let tree = repository.find_tree(tree).unwrap();
    let parents: Vec<git2::Commit<'_>> = parent
        .into_iter()
        .map(|parent| repository.find_commit(to_git(parent)).unwrap())
        .collect();
    let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
    let made = repository.commit(None, &person, &person, text, &tree, &parents);
    from_git(made.unwrap())
}

#[test]
fn an_engine_that_asks_for_what_is_never_sent_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    make_mirror(folder.path()).unwrap();
    let repository = Repository::open_bare(folder.path()).unwrap();
    let first = commit(&repository, None, "first");
    let second = commit(&repository, Some(first), "second");
    let stranger = commit(&repository, None, "stranger");
    let world = Shared::new(World {
        now: Duration::ZERO,
        step_began: None,
        server: Server::new(false),
        regions: Regions::default(),
        answers: Vec::new(),
        random: fastrand::Rng::with_seed(1),
    });
    let remote = SimulatedRemote::new(world.clone(), folder.path().to_owned());
    let asked = |old, new| {
        let update = remote.prepare(&PushOrder {
            reference: WAVE.to_owned(),
            old,
            new,
        });
        let wrong = std::mem::take(&mut world.get().server.wrong);
        assert_eq!(update.is_none(), wrong.len() == 1, "{wrong:?}");
        wrong.join("")
    };
    assert_eq!(asked(Oid::ZERO, first), "");
    assert_eq!(asked(first, second), "");
    assert!(asked(second, first).contains("no fast-forward"));
    assert!(asked(first, stranger).contains("no fast-forward"));
    assert!(asked(first, Oid::ZERO).contains("no fast-forward"));
    // Its mirror does not have it.
    let nowhere = Oid::from_bytes([7; 20]);
    assert!(asked(first, nowhere).contains("lacks something"));
    // Part of what it needs is lost.
    let hex = first.to_string();
    let (folders, file) = hex.split_at(2);
    fs::remove_file(folder.path().join("objects").join(folders).join(file)).unwrap();
    assert!(asked(Oid::ZERO, second).contains("lacks something"));
}
