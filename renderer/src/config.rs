//! A fleet as a commit holds it: documents, files and value layers, with everything that is wrong at once.
//!
//! [`load`] is the only entry. It never stops at the first mistake: a file that cannot be read ends
//! itself alone, and only what would follow from such a gap (a region that no file names any more)
//! is not reported on top of it.

mod files;
mod fleet;
mod gates;
mod layers;
mod names;
mod reader;
mod regions;
mod until;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_waves::fleet::{
    Fleet, Guards, OnFailure, OnUnreachable, Region, RevertPolicy, RevertSource,
};
use tidegate_waves::plan::{Membership, MembershipProblem, membership};

pub use files::{FileUse, FleetFile, FleetFiles};
pub use gates::GatePlaces;
pub(crate) use gates::check_resolved;
pub use until::{InvalidUntil, end_of};

use crate::problem::{Problem, Severity};
use crate::source::{Entry, EntryKind, SourceTree, shown};
use crate::suggest::nearest;
use crate::values::Layered;
use crate::yaml::{self, Node, Rules, Span, Spanned};
use fleet::ReadFleet;
use reader::{MOST_PROBLEMS, Reader, SourceFile};
use regions::ReadRegion;

/// A fleet that was found valid.
#[derive(Debug)]
pub struct LoadedFleet {
    /// The fleet's document; strings of its gates are still templates.
    pub fleet: Fleet,
    /// All regions by name, excluded ones too.
    pub regions: BTreeMap<String, LoadedRegion>,
    /// Who is in which wave.
    pub membership: Membership,
    /// Templates, manifests and partials.
    pub files: FleetFiles,
    /// Where its gates are written, for what is found when their strings are resolved.
    pub gate_places: GatePlaces,
    /// What its author should know.
    pub warnings: Vec<Problem>,
    /// The fleet's folder in the repo, empty for the root.
    pub folder: String,
}

/// One region of a fleet.
#[derive(Debug)]
pub struct LoadedRegion {
    /// Its document.
    pub region: Region,
    /// Its values.
    pub values: Layered,
    /// The file of its document, relative to the repo's root.
    pub file: String,
    /// The line of its name in that file, counted from 1.
    pub line: u32,
    /// The line and column of its `exclude`, if it has one, both counted from 1.
    pub exclude_at: Option<(u32, u32)>,
}

impl LoadedFleet {
    /// A warning for each exclusion that ended before `now` (seconds since 1970-01-01 UTC). The
    /// region stays excluded all the same.
    #[must_use]
    pub fn expired_exclusions(&self, now: i64) -> Vec<Problem> {
        self.regions
            .values()
            .filter_map(|loaded| {
                let until = loaded.region.exclude.as_ref()?.until.as_deref()?;
                let ended = end_of(until).is_ok_and(|end| end <= now);
                let (line, column) = loaded.exclude_at.unwrap_or((loaded.line, 1));
                ended.then(|| {
                    Problem::warning(
                        &loaded.file,
                        format!(
                            "region {:?} is still excluded, but only until {until}, which is past",
                            loaded.region.name
                        ),
                    )
                    .at(line, column)
                    .for_region(&loaded.region.name)
                    .hint("remove `exclude` to let the region catch up, or set a new date")
                })
            })
            .collect()
    }
}

/// The largest document or values file, in bytes.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// How every Git LFS pointer begins.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A source tree with its entries at hand.
struct Sources<'source> {
    tree: &'source dyn SourceTree,
    entries: BTreeMap<Vec<u8>, Entry>,
}

impl Sources<'_> {
    /// Reads a document or values file; whatever keeps it from being text is the problem.
    fn text(&self, entry: &Entry) -> Result<SourceFile, Problem> {
        let file = entry.shown_path();
        let bytes = self.bytes(entry, LARGEST_DOCUMENT)?;
        match crate::text::decode(&bytes) {
            Ok(text) => Ok(SourceFile {
                file: Arc::from(file),
                text: Arc::from(text),
            }),
            Err(error) => Err(not_text(file, &error)),
        }
    }

    /// Reads a regular file of at most `largest` bytes that is no LFS pointer.
    fn bytes(&self, entry: &Entry, largest: u64) -> Result<Vec<u8>, Problem> {
        let file = entry.shown_path();
        if let Some(problem) = not_a_file(entry) {
            return Err(problem);
        }
        let unreadable = |error: crate::source::ReadError| Problem::error(&file, error.to_string());
        let size = self.tree.size(entry).map_err(unreadable)?;
        if size > largest {
            return Err(Problem::error(
                file,
                format!("the file has {size} bytes; at most {largest} are read"),
            )
            .hint("split it, or move what is no configuration elsewhere"));
        }
        let bytes = self.tree.read(entry).map_err(unreadable)?;
        if bytes.starts_with(LFS_POINTER) {
            return Err(
                Problem::error(file, "this is a Git LFS pointer, not the file itself").hint(
                    "commit the file to git itself: take it out of .gitattributes and add it again",
                ),
            );
        }
        Ok(bytes)
    }
}

/// The problem with an entry that is no regular file.
fn not_a_file(entry: &Entry) -> Option<Problem> {
    let (message, hint) = match entry.kind {
        EntryKind::File => return None,
        EntryKind::Symlink => (
            "this is a symbolic link, and links are not followed",
            "commit the file itself",
        ),
        EntryKind::Submodule => (
            "this is a submodule, and submodules are not read",
            "commit the files themselves",
        ),
    };
    Some(Problem::error(entry.shown_path(), message).hint(hint))
}

fn not_text(file: String, error: &crate::text::NotText) -> Problem {
    let (line, column) = error.position();
    Problem::error(file, error.to_string())
        .at(line, column)
        .hint(error.hint())
}

/// A fleet that was found invalid.
#[derive(Debug)]
pub struct InvalidFleet {
    /// Everything that is wrong, warnings among it, sorted by file, line and column.
    pub problems: Vec<Problem>,
    /// As much of it as can be judged further: templates and manifests, and those regions whose
    /// values are known for certain. Nothing if even that would only repeat what is wrong already.
    pub readable: Option<LoadedFleet>,
}

/// Loads the fleet whose folder is `folder` (relative to the repo's root, empty for the root).
///
/// The error is everything that is wrong, warnings among it, sorted by file, line and column.
pub fn load(source: &dyn SourceTree, folder: &str) -> Result<LoadedFleet, Vec<Problem>> {
    load_readable(source, folder).map_err(|invalid| invalid.problems)
}

/// Like [`load`], but of an invalid fleet it gives what can still be read, so that what is wrong
/// with templates and manifests is found in the same go
/// ([`problems_of_readable`](crate::render::problems_of_readable)).
pub fn load_readable(
    source: &dyn SourceTree,
    folder: &str,
) -> Result<LoadedFleet, Box<InvalidFleet>> {
    let folder = folder.trim_matches('/');
    let entries = source.entries().map_err(|error| InvalidFleet {
        problems: vec![Problem::error(error.path.clone(), error.to_string())],
        readable: None,
    })?;
    let sources = Sources {
        tree: source,
        entries: entries
            .into_iter()
            .map(|entry| (entry.path.clone(), entry))
            .collect(),
    };
    let mut problems = Vec::new();
    let fleet = load_fleet(&sources, folder, &mut problems);
    let regions = load_regions(&sources, folder, &mut problems);
    let files = files::load(&sources, folder, &regions, &mut problems);
    let membership = fleet
        .as_ref()
        .and_then(|fleet| check_membership(fleet, &regions, &mut problems));
    let layered = fleet
        .as_ref()
        .map(|fleet| layers::load(&sources, folder, fleet, &regions, &mut problems));
    problems.sort_by(|left, right| {
        (
            &left.file,
            left.line,
            left.column,
            left.severity,
            &left.message,
            &left.region,
        )
            .cmp(&(
                &right.file,
                right.line,
                right.column,
                right.severity,
                &right.message,
                &right.region,
            ))
    });
    problems.dedup();
    let failed = problems
        .iter()
        .any(|problem| problem.severity == Severity::Error);
    if failed {
        let readable = readable(fleet, regions, layered, files, &problems, folder);
        return Err(Box::new(InvalidFleet { problems, readable }));
    }
    let (Some(fleet), Some(membership), Some(layered)) = (fleet, membership, layered) else {
        return Err(Box::new(InvalidFleet {
            problems,
            readable: None,
        }));
    };
    Ok(LoadedFleet {
        regions: loaded_regions(regions, layered),
        gate_places: GatePlaces::new(fleet.source, fleet.read.gates_node),
        fleet: fleet.read.fleet,
        membership,
        files,
        warnings: problems,
        folder: folder.to_owned(),
    })
}

fn loaded_regions(regions: Regions, layers: layers::Layers) -> BTreeMap<String, LoadedRegion> {
    let mut layered = layers.layered;
    regions
        .found
        .into_iter()
        .map(|(name, found)| {
            let loaded = LoadedRegion {
                values: layered.remove(&name).unwrap_or_default(),
                region: found.read.region,
                file: found.source.file.to_string(),
                line: found.read.name_span.line,
                exclude_at: found.read.exclude_span.map(|span| (span.line, span.column)),
            };
            (name, loaded)
        })
        .collect()
}

/// What can still be judged of an invalid fleet: a region is left out where its labels or values may
/// lack something, so that no template is blamed for what is wrong elsewhere.
fn readable(
    fleet: Option<FoundFleet>,
    regions: Regions,
    layers: Option<layers::Layers>,
    mut files: FleetFiles,
    problems: &[Problem],
    folder: &str,
) -> Option<LoadedFleet> {
    let wrong: HashSet<&str> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.file.as_str())
        .collect();
    // Without a partial every template that takes it in would be blamed.
    if wrong.iter().any(|file| file.contains("/_")) {
        return None;
    }
    files
        .files
        .retain(|file| !wrong.contains(file.path.as_str()));
    let mut loaded = LoadedFleet {
        fleet: Fleet {
            name: String::new(),
            values: Vec::new(),
            waves: Vec::new(),
            gates: Vec::new(),
            on_failure: OnFailure::Revert,
            on_unreachable: OnUnreachable::Hold,
            revert: RevertPolicy {
                source: RevertSource::Commit,
            },
            guards: Guards::default(),
        },
        regions: BTreeMap::new(),
        membership: Vec::new(),
        files,
        gate_places: GatePlaces::none(),
        warnings: Vec::new(),
        folder: folder.to_owned(),
    };
    if let (Some(fleet), Some(layers)) = (fleet, layers) {
        let doubtful: HashSet<String> = regions
            .found
            .iter()
            .filter(|(name, found)| {
                !fleet.read.layers_known
                    || !found.read.values_known
                    || layers.doubtful.contains(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let certain: Vec<String> = regions
            .found
            .iter()
            .filter(|(name, found)| {
                found.read.region.exclude.is_none() && !doubtful.contains(*name)
            })
            .map(|(name, _)| name.clone())
            .collect();
        loaded.regions = loaded_regions(regions, layers);
        loaded.gate_places = GatePlaces::new(fleet.source, fleet.read.gates_node);
        loaded.fleet = fleet.read.fleet;
        loaded.membership = vec![(String::new(), certain)];
    }
    Some(loaded)
}

/// A path below the fleet's folder, relative to the repo's root.
fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    }
}

struct FoundFleet {
    read: ReadFleet,
    source: SourceFile,
}

fn load_fleet(
    sources: &Sources<'_>,
    folder: &str,
    problems: &mut Vec<Problem>,
) -> Option<FoundFleet> {
    let path = below(folder, "tidegate.yaml");
    let Some(entry) = sources.entries.get(path.as_bytes()) else {
        problems.push(no_fleet(sources, folder, path));
        return None;
    };
    let source = match sources.text(entry) {
        Ok(source) => source,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let (documents, reader) = documents(source);
    let read = match documents.documents.as_slice() {
        [] if documents.complete => {
            reader.error_with_hint(
                Span::START,
                "the file is empty",
                "`tidegate init` writes one to start from",
            );
            None
        }
        [] => None,
        [only] => fleet::read(&reader, only),
        [only, second, ..] => {
            reader.error_with_hint(
                second.span,
                "there is more than one document in this file",
                "a fleet is one document; regions belong into regions/*.yaml",
            );
            fleet::read(&reader, only)
        }
    };
    let source = reader.source().clone();
    problems.extend(reader.into_problems());
    Some(FoundFleet {
        read: read?,
        source,
    })
}

fn no_fleet(sources: &Sources<'_>, folder: &str, path: String) -> Problem {
    let problem = Problem::error(path, "there is no tidegate.yaml at this commit");
    let name = b"/tidegate.yaml".as_slice();
    let elsewhere = sources
        .entries
        .keys()
        .find(|path| path.as_slice() == b"tidegate.yaml" || path.ends_with(name))
        .map(|path| shown(path));
    if sources.entries.is_empty() {
        problem.hint("the repo is empty; `tidegate init` writes a config repo to start from")
    } else if sources
        .entries
        .contains_key(below(folder, "tidegate.yml").as_bytes())
    {
        problem.hint("rename tidegate.yml to tidegate.yaml")
    } else if let Some(elsewhere) = elsewhere {
        let folder = elsewhere.strip_suffix("tidegate.yaml").unwrap_or_default();
        problem.hint(format!(
            "there is one at {elsewhere}; is the fleet's folder {:?}?",
            folder.trim_end_matches('/')
        ))
    } else {
        problem.hint("`tidegate init` writes a config repo to start from")
    }
}

/// The documents of a file that are not empty, and a reader with what is wrong with their YAML.
fn documents(source: SourceFile) -> (yaml::Parsed, Reader) {
    let mut parsed = yaml::parse(&source.text, &Rules::OWN);
    parsed.documents.retain(|document| !is_empty(document));
    let reader = Reader::new(source);
    reader.findings(std::mem::take(&mut parsed.findings));
    (parsed, reader)
}

/// A document of comments alone is null.
fn is_empty(document: &Spanned<Node>) -> bool {
    document.value.is_null()
}

/// All regions that could be read.
struct Regions {
    found: BTreeMap<String, FoundRegion>,
    /// Whether every document was read, so that a missing name is really missing.
    complete: bool,
}

struct FoundRegion {
    read: ReadRegion,
    source: SourceFile,
}

/// The region documents' files: those directly in `regions/`.
fn load_regions(sources: &Sources<'_>, folder: &str, problems: &mut Vec<Problem>) -> Regions {
    let prefix = below(folder, "regions/");
    let mut regions = Regions {
        found: BTreeMap::new(),
        complete: true,
    };
    // A link in the place of a folder would hide everything that it stands for.
    for linked in ["regions", "templates"] {
        let entry = sources.entries.get(below(folder, linked).as_bytes());
        if let Some(problem) = entry.and_then(not_a_file) {
            regions.complete = false;
            problems.push(problem);
        }
    }
    for entry in sources.entries.values() {
        let Some(name) = entry.path.strip_prefix(prefix.as_bytes()) else {
            continue;
        };
        if name.contains(&b'/') || name.starts_with(b".") {
            continue;
        }
        if let Err(problem) = names::check_path(&entry.path, prefix.len()) {
            problems.push(problem);
            continue;
        }
        if !name.ends_with(b".yaml") {
            if let Some(problem) = misnamed_region(entry, name) {
                regions.complete &= problem.severity == Severity::Warning;
                problems.push(problem);
            }
            continue;
        }
        match sources.text(entry) {
            Ok(source) => read_regions(source, &mut regions, problems),
            Err(problem) => {
                regions.complete = false;
                problems.push(problem);
            }
        }
    }
    let has_fleet = sources
        .entries
        .contains_key(below(folder, "tidegate.yaml").as_bytes());
    if regions.found.is_empty() && regions.complete && has_fleet {
        problems.push(
            Problem::error(prefix, "the fleet has no regions")
                .hint("add one as regions/NAME.yaml with apiVersion, kind: Region and name"),
        );
    }
    regions
}

fn misnamed_region(entry: &Entry, name: &[u8]) -> Option<Problem> {
    let hint = if name.ends_with(b".hbs") {
        "the documents in regions/ are not templates; templates belong into templates/ or regions/NAME/"
    } else if name.ends_with(b".yml") || name.ends_with(b".json") {
        "rename it to end in .yaml"
    } else {
        // A linked folder is as bad as a linked file; anything else is the users' own.
        return not_a_file(entry);
    };
    // What is not ours is ignored; this one looks as if it was meant to be ours.
    Some(
        Problem::warning(
            entry.shown_path(),
            "this file is ignored: only *.yaml files in regions/ are read as regions",
        )
        .hint(hint),
    )
}

fn read_regions(source: SourceFile, regions: &mut Regions, problems: &mut Vec<Problem>) {
    let (parsed, reader) = documents(source);
    regions.complete &= parsed.complete;
    for document in &parsed.documents {
        let Some(read) = regions::read(&reader, document) else {
            regions.complete = false;
            continue;
        };
        if let Some(first) = regions.found.get(&read.region.name) {
            reader.error_with_hint(
                read.name_span,
                format!("two regions are called {:?}", read.region.name),
                format!(
                    "the first one is at {}:{}; rename one of them",
                    first.source.file, first.read.name_span.line
                ),
            );
            continue;
        }
        let source = reader.source().clone();
        regions
            .found
            .insert(read.region.name.clone(), FoundRegion { read, source });
    }
    problems.extend(reader.into_problems());
}

fn check_membership(
    fleet: &FoundFleet,
    regions: &Regions,
    problems: &mut Vec<Problem>,
) -> Option<Membership> {
    let documents: BTreeMap<String, Region> = regions
        .found
        .iter()
        .map(|(name, found)| (name.clone(), found.read.region.clone()))
        .collect();
    match membership(&fleet.read.fleet, &documents) {
        Ok(membership) => Some(membership),
        Err(found) => {
            let mut seen = HashMap::new();
            let (listed, unlisted) = found.split_at(found.len().min(MOST_PROBLEMS));
            let meant = meant_regions(listed, regions);
            if !unlisted.is_empty() {
                problems.push(Problem::error(
                    &*fleet.source.file,
                    format!(
                        "{} more problems of who is in which wave are not listed",
                        unlisted.len()
                    ),
                ));
            }
            problems.extend(
                listed
                    .iter()
                    .filter(|problem| match problem {
                        MembershipProblem::InNoWave { region } => !meant.contains(region.as_str()),
                        _ => true,
                    })
                    .filter_map(|problem| placed(problem, fleet, regions, &mut seen)),
            );
            None
        }
    }
}

/// The regions that a wave names wrongly, as far as can be guessed: that they are in no wave only
/// follows from it.
fn meant_regions<'regions>(
    found: &[MembershipProblem],
    regions: &'regions Regions,
) -> HashSet<&'regions str> {
    found
        .iter()
        .filter_map(|problem| match problem {
            MembershipProblem::UnknownRegion { region, .. } => {
                nearest(region, regions.found.keys().map(String::as_str))
            }
            _ => None,
        })
        .collect()
}

/// A membership problem at the place that its author has to change; `None` if it may only follow
/// from something else that could not be read.
fn placed(
    problem: &MembershipProblem,
    fleet: &FoundFleet,
    regions: &Regions,
    seen: &mut HashMap<(String, String), usize>,
) -> Option<Problem> {
    let wave = |name: &str| {
        let index = fleet
            .read
            .fleet
            .waves
            .iter()
            .position(|wave| wave.name == name)?;
        fleet.read.waves.get(index)
    };
    let named = |wave: &fleet::WavePlace, region: &str, nth: usize| {
        wave.regions
            .iter()
            .filter(|(name, _)| name == region)
            .nth(nth)
            .map_or(wave.members, |(_, span)| *span)
    };
    let in_fleet = |span, message: String| fleet.source.problem(Severity::Error, span, message);
    match problem {
        MembershipProblem::UnknownRegion { wave: name, region } => {
            let known = regions.found.keys().map(String::as_str);
            let near = nearest(region, known);
            // A region whose document is broken is not unknown.
            if !regions.complete {
                return None;
            }
            let nth = seen.entry((name.clone(), region.clone())).or_default();
            let span = named(wave(name)?, region, *nth);
            *nth += 1;
            let problem = in_fleet(span, problem.to_string());
            Some(match near {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint(format!(
                    "add it as regions/{region}.yaml, or remove it here"
                )),
            })
        }
        MembershipProblem::InTwoWaves {
            region,
            first,
            second,
        } => {
            let in_one = first == second;
            let nth = usize::from(in_one);
            let span = named(wave(second)?, region, nth);
            let message = if in_one {
                format!("region {region:?} stands twice in wave {second:?}")
            } else {
                problem.to_string()
            };
            Some(in_fleet(span, message).hint("remove it from one of them"))
        }
        MembershipProblem::InNoWave { region } => {
            if !fleet.read.members_known {
                return None;
            }
            let found = regions.found.get(region)?;
            Some(
                found
                    .source
                    .problem(
                        Severity::Error,
                        found.read.name_span,
                        format!("region {region:?} is in no wave"),
                    )
                    .for_region(region)
                    .hint("add it to a wave of tidegate.yaml, or give it an `exclude`"),
            )
        }
        MembershipProblem::EmptyCanary { wave: name } => {
            if !regions.complete || !fleet.read.members_known {
                return None;
            }
            let place = wave(name)?;
            // Names that do not exist are reported already.
            if place
                .regions
                .iter()
                .any(|(name, _)| !regions.found.contains_key(name))
            {
                return None;
            }
            Some(
                in_fleet(place.members, problem.to_string())
                    .hint("the canary needs a region that is not excluded"),
            )
        }
    }
}

#[cfg(test)]
mod tests;
