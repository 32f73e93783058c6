use git2::{Repository, Signature};
use tidegate_renderer::tree::from_git;

use super::*;

/// A bare repository with commits whose root has the folder `westus3`, unless they are empty.
struct World {
    folder: tempfile::TempDir,
    repository: Repository,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        Self { folder, repository }
    }

    /// A region tree of one file.
    fn tree(&self, path: &str, text: &str) -> git2::Oid {
        let blob = self.repository.blob(text.as_bytes()).unwrap();
        let mut builder = self.repository.treebuilder(None).unwrap();
        builder.insert(path, blob, 0o100_644).unwrap();
        builder.write().unwrap()
    }

    fn commit(&self, parents: &[git2::Oid], tree: Option<git2::Oid>, message: &str) -> git2::Oid {
        let mut builder = self.repository.treebuilder(None).unwrap();
        if let Some(tree) = tree {
            builder.insert("westus3", tree, 0o040_000).unwrap();
        }
        let root = self.repository.find_tree(builder.write().unwrap()).unwrap();
        let who = Signature::new("t", "t@example.com", &git2::Time::new(0, 0)).unwrap();
        let parents: Vec<_> = parents
            .iter()
            .map(|id| self.repository.find_commit(*id).unwrap())
            .collect();
        let parents: Vec<_> = parents.iter().collect();
        self.repository
            .commit(None, &who, &who, message, &root, &parents)
            .unwrap()
    }

    fn set_tip(&self, tip: git2::Oid) {
        let name = "refs/remotes/origin/tidegate/canary";
        self.repository.reference(name, tip, true, "").unwrap();
    }

    fn revisions(&self, tree: git2::Oid, older: &[git2::Oid]) -> BranchRevisions {
        let older: Vec<Oid> = older.iter().map(|id| from_git(*id)).collect();
        RegionTrees::new(self.folder.path().to_owned())
            .revisions(
                "refs/heads/tidegate/canary",
                "westus3",
                from_git(tree),
                &older,
            )
            .unwrap()
    }
}

#[test]
fn a_commit_is_wanted_by_its_tree_and_not_by_its_id() {
    let world = World::new();
    let (one, two) = (world.tree("a.yaml", "1"), world.tree("a.yaml", "2"));
    let created = world.commit(&[], None, "create");
    let first = world.commit(&[created], Some(one), "promote");
    let second = world.commit(&[first], Some(two), "promote");
    // Another region's change: this one keeps its tree.
    let third = world.commit(&[second], Some(two), "promote another");
    world.set_tip(third);
    let revisions = world.revisions(two, &[one]);
    let standing = |id: git2::Oid| revisions.standing(&id.to_string());
    assert_eq!(standing(second), Standing::Wanted);
    assert_eq!(standing(third), Standing::Wanted);
    assert_eq!(standing(first), Standing::Older);
    assert_eq!(standing(created), Standing::Older);
    assert!(revisions.tip_is_ours());

    let given_back = world.revisions(one, &[two]);
    assert_eq!(given_back.standing(&first.to_string()), Standing::Wanted);
    assert!(!given_back.tip_is_ours());
    assert_eq!(
        given_back.standing(&third.to_string()),
        Standing::Newer { ours: false }
    );
}

#[test]
fn who_made_a_later_commit_is_told_apart() {
    let world = World::new();
    let (one, two) = (world.tree("a.yaml", "1"), world.tree("a.yaml", "2"));
    let first = world.commit(&[], Some(one), "promote");
    let ours = world.commit(&[first], Some(two), "x\n\nTidegate-Kind: promote\n");
    let theirs = world.commit(&[ours], Some(world.tree("a.yaml", "3")), "by hand");
    world.set_tip(theirs);
    let revisions = world.revisions(one, &[]);
    let standing = |id: git2::Oid| revisions.standing(&id.to_string());
    assert_eq!(standing(ours), Standing::Newer { ours: true });
    assert_eq!(standing(theirs), Standing::Newer { ours: false });
    // The same words on a commit that never was on the branch.
    let copy = world.commit(&[first], Some(two), "y\n\nTidegate-Kind: promote\n");
    assert_eq!(standing(copy), Standing::Newer { ours: false });
}

#[test]
fn what_is_not_known_is_not_judged() {
    let world = World::new();
    let (one, two) = (world.tree("a.yaml", "1"), world.tree("a.yaml", "2"));
    let first = world.commit(&[], Some(one), "promote");
    let stranger = world.commit(&[], Some(two), "another history");
    world.set_tip(first);
    let revisions = world.revisions(one, &[]);
    let unknown = "1".repeat(40);
    assert_eq!(revisions.standing(&unknown), Standing::UnknownCommit);
    assert_eq!(revisions.standing("tidegate/canary"), Standing::NotACommit);
    assert_eq!(revisions.standing(&stranger.to_string()), Standing::Foreign);

    // What was promoted is not fetched back yet: only trees are known.
    let three = world.tree("a.yaml", "3");
    let revisions = world.revisions(three, &[one]);
    assert_eq!(revisions.standing(&first.to_string()), Standing::Older);
    assert_eq!(
        revisions.standing(&stranger.to_string()),
        Standing::UnknownCommit
    );
}

#[test]
fn objects_come_with_what_they_are() {
    let world = World::new();
    let text = "apiVersion: batch/v1\nkind: Job\nmetadata: { generateName: migrate-, annotations: { argocd.argoproj.io/hook: PreSync } }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: settings, namespace: shop }\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: notes, namespace: shop, annotations: { argocd.argoproj.io/hook: Skip } }\n";
    let tree = world.tree("app.yaml", text);
    let trees = RegionTrees::new(world.folder.path().to_owned());
    let objects = trees.objects(from_git(tree)).unwrap();
    let told: Vec<_> = objects
        .iter()
        .map(|object| {
            (
                object.place.id.to_string(),
                object.place.is_hook,
                object.place.is_generated,
                object.place.is_skipped,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Job.batch migrate-".to_owned(), true, true, false),
            ("ConfigMap shop/settings".to_owned(), false, false, false),
            ("ConfigMap shop/notes".to_owned(), false, false, true),
        ]
    );
    let broken = world.tree("app.yaml", "a: [");
    assert!(matches!(
        trees.objects(from_git(broken)),
        Err(TreeError::NoManifest { .. })
    ));
}
