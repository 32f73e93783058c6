//! Git objects on their way between a server and the repositories that talk to it.

use std::collections::BTreeSet;
use std::path::Path;

use git2::{ObjectType, Repository};
use tidegate_renderer::tree::{EMPTY_TREE, from_git, to_git};
use tidegate_waves::oid::Oid;

/// One object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) id: Oid,
    pub(super) kind: ObjectType,
    pub(super) bytes: Vec<u8>,
}

/// What an object names: a commit its tree and its parents, a tree its entries.
pub(super) fn named_by(kind: ObjectType, bytes: &[u8]) -> Vec<Oid> {
    match kind {
        ObjectType::Commit => bytes
            .split(|byte| *byte == b'\n')
            .take_while(|line| !line.is_empty())
            .filter_map(|line| {
                let line = str::from_utf8(line).ok()?;
                let id = line
                    .strip_prefix("tree ")
                    .or_else(|| line.strip_prefix("parent "))?;
                id.parse().ok()
            })
            .collect(),
        ObjectType::Tree => entries(bytes).into_iter().map(|(_, id)| id).collect(),
        _ => Vec::new(),
    }
}

/// A tree's entries: names and ids.
pub(super) fn entries(tree: &[u8]) -> Vec<(String, Oid)> {
    let mut found = Vec::new();
    let mut rest = tree;
    while let Some((head, tail)) = split_at_zero(rest) {
        let name = head
            .iter()
            .position(|byte| *byte == b' ')
            .and_then(|space| head.get(space + 1..))
            .map(|name| String::from_utf8_lossy(name).into_owned());
        let id = tail
            .get(..20)
            .and_then(|id| <[u8; 20]>::try_from(id).ok())
            .map(Oid::from_bytes);
        let (Some(name), Some(id)) = (name, id) else {
            break;
        };
        found.push((name, id));
        rest = tail.get(20..).unwrap_or_default();
    }
    found
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let zero = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..zero)?, bytes.get(zero + 1..)?))
}

/// All objects that these commits reach in a repository and that the other side lacks, those that are named by others
/// first. Where the other side has an object, it has all that the object reaches.
pub(super) fn gather(
    repository: &Path,
    wanted: &[Oid],
    is_there: impl Fn(Oid) -> bool,
) -> Result<Vec<Object>, git2::Error> {
    let repository = Repository::open_bare(repository)?;
    let odb = repository.odb()?;
    closure(wanted, is_there, |id| {
        let object = odb.read(to_git(id))?;
        Ok((object.kind(), object.data().to_vec()))
    })
}

/// See [`gather`], from anywhere.
pub(super) fn closure<E>(
    wanted: &[Oid],
    is_there: impl Fn(Oid) -> bool,
    read: impl Fn(Oid) -> Result<(ObjectType, Vec<u8>), E>,
) -> Result<Vec<Object>, E> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<Oid> = wanted.to_vec();
    let mut found = Vec::new();
    while let Some(id) = next.pop() {
        // The empty tree is known to every git without being there.
        if id.is_zero() || id == EMPTY_TREE || !seen.insert(id) || is_there(id) {
            continue;
        }
        let (kind, bytes) = read(id)?;
        next.extend(named_by(kind, &bytes));
        found.push(Object { id, kind, bytes });
    }
    found.reverse();
    Ok(found)
}

/// Whether a repository has an object.
pub(super) fn has(repository: &Repository, id: Oid) -> bool {
    repository.odb().is_ok_and(|odb| odb.exists(to_git(id)))
}

/// Writes objects into a repository.
pub(super) fn write(repository: &Repository, objects: &[Object]) -> Result<(), git2::Error> {
    let odb = repository.odb()?;
    for object in objects {
        let id = odb.write(object.kind, &object.bytes)?;
        debug_assert_eq!(from_git(id), object.id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_name_what_git_says_they_name() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::init_bare(folder.path()).unwrap();
        let blob = repository.blob(b"text").unwrap();
        let mut builder = repository.treebuilder(None).unwrap();
        builder.insert("a file", blob, 0o100_644).unwrap();
        let tree = builder.write().unwrap();
        let person = git2::Signature::new("A", "a@example.com", &git2::Time::new(0, 0)).unwrap();
        let tree = repository.find_tree(tree).unwrap();
        let mut parents = Vec::new();
        for text in [
            "first",
            "second\n\nparent 1111111111111111111111111111111111111111",
        ] {
            let known: Vec<git2::Commit<'_>> = parents
                .last()
                .map(|id| repository.find_commit(*id).unwrap())
                .into_iter()
                .collect();
            let known: Vec<&git2::Commit<'_>> = known.iter().collect();
            let commit = repository
                .commit(None, &person, &person, text, &tree, &known)
                .unwrap();
            parents.push(commit);
        }
        let objects = gather(folder.path(), &[from_git(parents[1])], |_| false).unwrap();
        let ids: BTreeSet<Oid> = objects.iter().map(|object| object.id).collect();
        let expected = [blob, tree.id(), parents[0], parents[1]].map(from_git);
        assert_eq!(ids, expected.into());
        let listed = objects
            .iter()
            .find(|object| object.kind == ObjectType::Tree)
            .map(|object| entries(&object.bytes));
        assert_eq!(listed, Some(vec![("a file".to_owned(), from_git(blob))]));
        let newest = gather(folder.path(), &[from_git(parents[1])], |id| {
            id == from_git(parents[0]) || id == from_git(tree.id())
        });
        assert_eq!(newest.unwrap().len(), 1);
    }
}
