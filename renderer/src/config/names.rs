//! Names of files: what may stand in a path, and which paths collide somewhere.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use crate::problem::Problem;
use crate::source::shown;

/// The longest name of a file or folder, in bytes: what file systems take.
const LONGEST_NAME: usize = 255;

/// Checks every component of a path from byte `from` on; the path's text if all are good.
pub(super) fn check_path(path: &[u8], from: usize) -> Result<&str, Problem> {
    let file = || shown(path);
    let components = path
        .get(from..)
        .unwrap_or_default()
        .split(|byte| *byte == b'/');
    for component in components {
        if let Some((message, hint)) = bad_component(component) {
            return Err(Problem::error(file(), message).hint(hint));
        }
    }
    std::str::from_utf8(path).map_err(|_| Problem::error(file(), NOT_UTF8.0).hint(NOT_UTF8.1))
}

const NOT_UTF8: (&str, &str) = ("the file's name is not UTF-8", "rename the file");

fn bad_component(component: &[u8]) -> Option<(&'static str, &'static str)> {
    let Ok(name) = std::str::from_utf8(component) else {
        return Some(NOT_UTF8);
    };
    if matches!(name, "" | "." | "..") {
        return Some((
            "the path has a component that is empty, `.` or `..`",
            "commit the file under a plain path",
        ));
    }
    if is_git_folder(name) {
        return Some((
            "the path has a component that some file systems take for `.git`",
            "rename the file or folder",
        ));
    }
    if name.len() > LONGEST_NAME {
        return Some((
            "the path has a component of more than 255 bytes",
            "give it a shorter name",
        ));
    }
    if name
        .chars()
        .any(|character| character.is_control() || is_invisible(character))
    {
        return Some((
            "the file's name contains a control character or an invisible one",
            "rename the file",
        ));
    }
    if name.contains('\\') {
        return Some((
            "the file's name contains a backslash",
            "folders are separated by a slash; rename the file",
        ));
    }
    None
}

/// Characters that show nothing, or turn the direction of what stands beside them.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Whether NTFS or HFS+ would take a name for `.git`.
fn is_git_folder(name: &str) -> bool {
    let visible: String = name
        .chars()
        .filter(|character| !is_invisible(*character))
        .flat_map(char::to_lowercase)
        .collect();
    let stem = visible.split(':').next().unwrap_or_default();
    let stem = stem.trim_end_matches(['.', ' ']);
    let short_name = stem.strip_prefix("git~").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    stem == ".git" || short_name
}

/// Why two paths cannot stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Collision {
    /// Both are the same path.
    Same(String),
    /// They differ in case or in how an accent is encoded; some file systems see one path.
    Twin(String),
    /// One is a file where the other needs a folder.
    FileAndFolder(String),
}

/// Paths that stand side by side, with the files that they come from.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// By the folded path, of files and of all folders above them.
    places: HashMap<String, Place>,
}

#[derive(Debug, Clone)]
struct Place {
    written: String,
    is_file: bool,
    /// The file that brought it.
    source: String,
}

impl Paths {
    /// Adds a path that the file `source` brings; `below` are paths that stand beside it already.
    /// The collision names the other file.
    pub(super) fn add(
        &mut self,
        path: &str,
        source: &str,
        beside: Option<&Self>,
    ) -> Result<(), Collision> {
        let ends: Vec<usize> = path
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([path.len()])
            .collect();
        let mut places = Vec::with_capacity(ends.len());
        for end in ends {
            let written = path.get(..end).unwrap_or(path);
            let is_file = end == path.len();
            let folded = fold(written);
            let other = self
                .places
                .get(&folded)
                .or_else(|| beside.and_then(|beside| beside.places.get(&folded)));
            if let Some(other) = other {
                let file = other.source.clone();
                if other.written != written {
                    return Err(Collision::Twin(file));
                }
                match (other.is_file, is_file) {
                    (true, true) => return Err(Collision::Same(file)),
                    (true, false) | (false, true) => return Err(Collision::FileAndFolder(file)),
                    (false, false) => {}
                }
            }
            places.push((folded, written.to_owned(), is_file));
        }
        for (folded, written, is_file) in places {
            self.places.entry(folded).or_insert_with(|| Place {
                written,
                is_file,
                source: source.to_owned(),
            });
        }
        Ok(())
    }
}

/// What file systems that ignore case and normalise accents see.
fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    path.nfc().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_mislead_somebody_are_refused() {
        let long = format!("templates/{}.yaml", "x".repeat(260));
        for (path, message) in [
            (
                b"templates/\xff\xfe.yaml".as_slice(),
                "the file's name is not UTF-8",
            ),
            (
                b"templates/../x.yaml",
                "the path has a component that is empty, `.` or `..`",
            ),
            (
                b"templates/./x.yaml",
                "the path has a component that is empty, `.` or `..`",
            ),
            (
                b"templates//x.yaml",
                "the path has a component that is empty, `.` or `..`",
            ),
            (
                b"templates/.git/x.yaml",
                "the path has a component that some file systems take for `.git`",
            ),
            (
                b"templates/.GIT/x",
                "the path has a component that some file systems take for `.git`",
            ),
            (
                "templates/.g\u{200c}it/x".as_bytes(),
                "the path has a component that some file systems take for `.git`",
            ),
            (
                b"templates/GIT~1/x.yaml",
                "the path has a component that some file systems take for `.git`",
            ),
            (
                b"templates/.git. /x.yaml",
                "the path has a component that some file systems take for `.git`",
            ),
            (
                b"templates/.git::$INDEX_ALLOCATION/x",
                "the path has a component that some file systems take for `.git`",
            ),
            (
                long.as_bytes(),
                "the path has a component of more than 255 bytes",
            ),
            (
                b"templates/a\x1bb.yaml",
                "the file's name contains a control character or an invisible one",
            ),
            (
                "templates/a\u{202e}b.yaml".as_bytes(),
                "the file's name contains a control character or an invisible one",
            ),
            (
                "templates/a\u{2028}b.yaml".as_bytes(),
                "the file's name contains a control character or an invisible one",
            ),
            (
                b"templates/a\\b.yaml",
                "the file's name contains a backslash",
            ),
        ] {
            assert_eq!(
                check_path(path, 10).unwrap_err().message,
                message,
                "{}",
                shown(path)
            );
        }
        for path in [
            "templates/-rf.yaml",
            "templates/\u{e9}.yaml",
            "templates/a b.yaml",
            "templates/.gitkeep",
            "templates/git~x",
        ] {
            assert_eq!(check_path(path.as_bytes(), 10).ok(), Some(path));
        }
    }

    #[test]
    fn twins_and_doubles_collide() {
        let add = |first: &str, second: &str| {
            let mut paths = Paths::default();
            paths.add(first, "first", None).unwrap();
            paths.add(second, "second", None)
        };
        let first = || "first".to_owned();
        assert_eq!(add("a.yaml", "b.yaml"), Ok(()));
        assert_eq!(add("app/a.yaml", "app/b.yaml"), Ok(()));
        assert_eq!(add("a.yaml", "a.yaml"), Err(Collision::Same(first())));
        assert_eq!(
            add("README.yaml", "readme.yaml"),
            Err(Collision::Twin(first()))
        );
        assert_eq!(
            add("App/a.yaml", "app/b.yaml"),
            Err(Collision::Twin(first()))
        );
        assert_eq!(
            add("\u{e9}.yaml", "e\u{301}.yaml"),
            Err(Collision::Twin(first()))
        );
        assert_eq!(
            add("a.yaml", "a.yaml/b.yaml"),
            Err(Collision::FileAndFolder(first()))
        );
        assert_eq!(
            add("a.yaml/b.yaml", "a.yaml"),
            Err(Collision::FileAndFolder(first()))
        );
    }

    #[test]
    fn a_regions_paths_stand_beside_everybodys() {
        let mut every = Paths::default();
        every.add("a.yaml", "templates/a.yaml", None).unwrap();
        let mut own = Paths::default();
        assert_eq!(
            own.add("A.yaml", "regions/x/A.yaml", Some(&every)),
            Err(Collision::Twin("templates/a.yaml".to_owned()))
        );
        assert_eq!(own.add("b.yaml", "regions/x/b.yaml", Some(&every)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_name_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(path) = check_path(&bytes, 0) {
                prop_assert!(path.split('/').all(|name| name != ".." && !name.is_empty()));
                let _ = Paths::default().add(path, "x", None);
            }
        }
    }
}
