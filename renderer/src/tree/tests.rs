use super::*;

fn files(pairs: &[(&str, Oid)]) -> BTreeMap<String, Oid> {
    pairs
        .iter()
        .map(|(path, id)| ((*path).to_owned(), *id))
        .collect()
}

fn bare() -> (tempfile::TempDir, ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    Repository::init_bare(folder.path()).unwrap();
    let store = ObjectStore::open(folder.path()).unwrap();
    (folder, store)
}

#[test]
fn the_empty_tree_has_the_id_that_everybody_knows() {
    let store = ObjectStore::in_memory();
    assert_eq!(store.tree(Vec::new()).unwrap(), EMPTY_TREE);
    assert_eq!(store.folder(&BTreeMap::new()).unwrap(), EMPTY_TREE);
    assert!(store.read_tree(EMPTY_TREE).unwrap().is_empty());
}

#[test]
fn trees_and_commits_are_what_libgit2_would_have_made() {
    let (folder, store) = bare();
    let one = store.blob(b"one\n").unwrap();
    let two = store.blob(b"two\n").unwrap();
    // `a.b` sorts before `a/`, which sorts before `a0`.
    let tree = store
        .folder(&files(&[
            ("a/x", one),
            ("a.b", two),
            ("a0", one),
            ("a/y/z", two),
        ]))
        .unwrap();
    let parent = store
        .commit(&NewCommit {
            tree: EMPTY_TREE,
            parents: &[],
            author_name: "Tide <gate>\n",
            author_email: "t@example.com",
            seconds: 1_700_000_000,
            message: "first",
        })
        .unwrap();
    let commit = store
        .commit(&NewCommit {
            tree,
            parents: &[parent],
            author_name: "Tide gate",
            author_email: "t@example.com",
            seconds: 1_700_000_001,
            message: "second\n\nbody\n",
        })
        .unwrap();
    store.tree(Vec::new()).unwrap();
    assert_eq!(store.flush().unwrap(), 8);
    assert_eq!(store.waiting(), 0);
    assert_eq!(store.flush().unwrap(), 0);

    let repository = Repository::open(folder.path()).unwrap();
    let found = repository.find_commit(to_git(commit)).unwrap();
    assert_eq!(found.author().name().unwrap(), "Tide gate");
    assert_eq!(found.message().unwrap(), "second\n\nbody\n");
    let signature = git2::Signature::new(
        "Tide gate",
        "t@example.com",
        &git2::Time::new(1_700_000_001, 0),
    )
    .unwrap();
    let theirs = repository
        .commit(
            None,
            &signature,
            &signature,
            "second\n\nbody\n",
            &found.tree().unwrap(),
            &[&repository.find_commit(to_git(parent)).unwrap()],
        )
        .unwrap();
    assert_eq!(from_git(theirs), commit);
    let mut builder = repository
        .treebuilder(Some(&found.tree().unwrap()))
        .unwrap();
    builder.insert("q", to_git(one), 0o100_644).unwrap();
    builder.remove("q").unwrap();
    assert_eq!(from_git(builder.write().unwrap()), tree);
}

#[test]
fn many_objects_of_which_most_are_there_are_not_written_again() {
    let (_folder, store) = bare();
    let write = |from: u32| {
        for number in from..from + 1_000 {
            store.blob(&number.to_be_bytes()).unwrap();
        }
        store.flush().unwrap()
    };
    assert_eq!(write(0), 1_000);
    assert_eq!(write(100), 100, "what was there is not new");
    assert_eq!(write(5_000), 1_000);
}

#[test]
fn a_flush_leaves_one_pack_and_no_loose_object_and_writes_nothing_twice() {
    let (folder, store) = bare();
    for number in 0..50 {
        let blob = store.blob(format!("{number}\n").as_bytes()).unwrap();
        store.folder(&files(&[("x.yaml", blob)])).unwrap();
    }
    assert_eq!(store.flush().unwrap(), 100);
    store.blob(b"7\n").unwrap();
    assert_eq!(store.flush().unwrap(), 0, "it is there already");
    let packs = std::fs::read_dir(folder.path().join("objects/pack")).unwrap();
    assert_eq!(
        packs
            .filter(|entry| entry
                .as_ref()
                .unwrap()
                .path()
                .extension()
                .is_some_and(|extension| extension == "pack"))
            .count(),
        1
    );
    let loose = std::fs::read_dir(folder.path().join("objects"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().len() == 2)
        .count();
    assert_eq!(loose, 0);
    assert_eq!(store.read_blob(blob_id(b"7\n")).unwrap(), b"7\n");
}

#[test]
fn splicing_replaces_and_removes_folders_and_keeps_the_rest() {
    let store = ObjectStore::in_memory();
    let one = store
        .folder(&files(&[("x", store.blob(b"1").unwrap())]))
        .unwrap();
    let two = store
        .folder(&files(&[("x", store.blob(b"2").unwrap())]))
        .unwrap();
    let base = store
        .splice(
            EMPTY_TREE,
            &[
                ("a".to_owned(), Some(one)),
                ("b".to_owned(), Some(one)),
                ("kept".to_owned(), Some(two)),
            ],
        )
        .unwrap();
    let next = store
        .splice(
            base,
            &[
                ("a".to_owned(), Some(two)),
                ("b".to_owned(), None),
                ("c".to_owned(), Some(one)),
                ("never".to_owned(), None),
            ],
        )
        .unwrap();
    let folders = store.folders(next).unwrap();
    assert_eq!(
        folders.into_iter().collect::<Vec<_>>(),
        [
            ("a".to_owned(), two),
            ("c".to_owned(), one),
            ("kept".to_owned(), two)
        ]
    );
    assert_eq!(store.entry(next, "a/x").unwrap().unwrap().id, blob_id(b"2"));
    assert_eq!(store.entry(next, "a/x/y").unwrap(), None);
    assert_eq!(store.entry(next, "d").unwrap(), None);
}

#[test]
fn names_that_leave_the_tree_are_refused() {
    let store = ObjectStore::in_memory();
    for name in ["", ".", "..", ".git", ".GIT", "a\0b"] {
        let entry = TreeEntry {
            name: name.as_bytes().to_vec(),
            mode: MODE_FILE,
            id: EMPTY_TREE,
        };
        assert!(
            matches!(store.tree(vec![entry]), Err(StoreError::BadName(_))),
            "{name:?}"
        );
    }
}

#[test]
fn a_damaged_or_absent_object_is_an_error_that_names_it() {
    let store = ObjectStore::in_memory();
    let blob = store.blob(b"x").unwrap();
    assert_eq!(
        store.read_tree(blob).unwrap_err().to_string(),
        format!("tree {blob} cannot be read: it is a blob")
    );
    assert_eq!(
        store.read_blob(Oid::ZERO).unwrap_err().to_string(),
        format!("blob {} cannot be read: it is not there", Oid::ZERO)
    );
    for bytes in [b"100644 a".as_slice(), b"x a\0", b"100644 a\x00123"] {
        assert_eq!(parse_tree(bytes), None);
    }
}
