//! The files in `templates/` and `regions/<name>/`: what each is, and whether it can stand there.

use std::collections::{BTreeMap, HashSet};

use super::names::{Collision, Paths, check_path};
use super::{Regions, Sources, below, not_text};
use crate::problem::Problem;
use crate::source::Entry;
use crate::suggest::nearest;

/// The largest template or manifest, in bytes.
const LARGEST_FILE: u64 = 16 << 20;

/// The most bytes of all templates and manifests together.
const LARGEST_FLEET: u64 = 512 << 20;

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileUse {
    /// A manifest that is taken as it stands.
    Plain,
    /// A template of a manifest.
    Template,
    /// A part that templates take in by name.
    Partial,
}

/// One file of `templates/` or `regions/<name>/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetFile {
    /// Where to read it.
    pub entry: Entry,
    /// Its path, relative to the repo's root.
    pub path: String,
    /// The one region that it is for; `None` for every region.
    pub region: Option<String>,
    /// What it is for.
    pub usage: FileUse,
    /// The path of what it becomes, relative to the region's folder; for a partial its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// All files of `templates/` and `regions/<name>/` that become manifests or help to, sorted by path.
/// Each is a regular file of UTF-8 text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FleetFiles {
    /// The files.
    pub files: Vec<FleetFile>,
}

/// Finds and checks the files.
pub(super) fn load(
    sources: &Sources<'_>,
    folder: &str,
    regions: &Regions,
    problems: &mut Vec<Problem>,
) -> FleetFiles {
    let mut files = FleetFiles::default();
    let mut total = 0_u64;
    let mut checked = HashSet::new();
    for (entry, prefix, region) in placed(sources, folder, regions, problems) {
        let file = match classify(entry, prefix, region) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        // The same content is judged once; a fleet's regions share much of it.
        let size = match sources.tree.size(entry) {
            Ok(size) => size,
            Err(error) => {
                problems.push(Problem::error(&file.path, error.to_string()));
                continue;
            }
        };
        let known_good =
            entry.kind == crate::source::EntryKind::File && checked.contains(&entry.blob);
        if !known_good {
            if let Err(problem) = check_content(sources, entry) {
                problems.push(problem);
                continue;
            }
            checked.insert(entry.blob);
        }
        let before = total;
        total = total.saturating_add(size);
        if before <= LARGEST_FLEET && total > LARGEST_FLEET {
            problems.push(Problem::error(
                &file.path,
                format!("with this file the fleet's files have more than {LARGEST_FLEET} bytes"),
            ));
        }
        files.files.push(FleetFile { size, ..file });
    }
    files
        .files
        .sort_by(|left, right| left.path.cmp(&right.path));
    check_collisions(&files, problems);
    files
}

/// The entries below `templates/` and `regions/<name>/`, with the length of what stands before their
/// own path, and the region.
fn placed<'sources>(
    sources: &'sources Sources<'_>,
    folder: &str,
    regions: &Regions,
    problems: &mut Vec<Problem>,
) -> Vec<(&'sources Entry, usize, Option<String>)> {
    let templates = below(folder, "templates/");
    let region_folders = below(folder, "regions/");
    let mut placed = Vec::new();
    let mut strangers = HashSet::new();
    for entry in sources.entries.values() {
        if entry.path.starts_with(templates.as_bytes()) {
            placed.push((entry, templates.len(), None));
            continue;
        }
        let Some(rest) = entry.path.strip_prefix(region_folders.as_bytes()) else {
            continue;
        };
        let Some(end) = rest.iter().position(|byte| *byte == b'/') else {
            continue;
        };
        let name = rest.get(..end).unwrap_or_default();
        let prefix = region_folders.len() + end + 1;
        let known = std::str::from_utf8(name)
            .ok()
            .filter(|name| regions.found.contains_key(*name));
        if let Some(region) = known {
            placed.push((entry, prefix, Some(region.to_owned())));
        } else if let Err(problem) = check_path(&entry.path, region_folders.len()) {
            problems.push(problem);
        } else if !name.starts_with(b".") && regions.complete && strangers.insert(name.to_vec()) {
            problems.push(stranger(entry, name, regions));
        }
    }
    placed
}

/// The folder of a region that does not exist.
fn stranger(entry: &Entry, name: &[u8], regions: &Regions) -> Problem {
    let name = crate::source::shown(name);
    let problem = Problem::error(
        entry.shown_path(),
        format!("this folder is for region {name:?}, which does not exist"),
    );
    match nearest(&name, regions.found.keys().map(String::as_str)) {
        Some(near) => problem.hint(format!("did you mean regions/{near}/?")),
        None => problem.hint(format!("add regions/{name}.yaml, or remove the folder")),
    }
}

/// What a file is by its name; `None` if it is none of ours.
fn classify(
    entry: &Entry,
    prefix: usize,
    region: Option<String>,
) -> Result<Option<FleetFile>, Problem> {
    let path = check_path(&entry.path, prefix)?;
    let own = path.get(prefix..).unwrap_or_default();
    let last = own.rsplit('/').next().unwrap_or_default();
    if own.split('/').any(|name| name.starts_with('.'))
        || last.to_ascii_lowercase().ends_with(".md")
    {
        return Ok(None);
    }
    let stem = own.strip_suffix(".hbs");
    let name = stem.unwrap_or(own);
    let is_manifest = [".yaml", ".yml", ".json"]
        .iter()
        .any(|ending| name.ends_with(ending));
    let usage = if own.split('/').any(|name| name.starts_with('_')) {
        FileUse::Partial
    } else if !is_manifest {
        return Err(Problem::error(
            path,
            "this file is neither a manifest nor a template nor a partial",
        )
        .hint(other_name(last)));
    } else if stem.is_some() {
        FileUse::Template
    } else {
        FileUse::Plain
    };
    Ok(Some(FleetFile {
        entry: entry.clone(),
        path: path.to_owned(),
        region,
        usage,
        name: name.to_owned(),
        size: 0,
    }))
}

fn other_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    if let Some(stem) = lower.strip_suffix(".hbs") {
        if [".yaml", ".yml", ".json"]
            .iter()
            .any(|ending| stem.ends_with(ending))
        {
            return format!("rename it to {lower}: endings are lower-case");
        }
        let stem = name.get(..stem.len()).unwrap_or_default();
        return format!("rename it to {stem}.yaml.hbs, or to _{stem}.hbs if it is a partial");
    }
    if [".yaml", ".yml", ".json"]
        .iter()
        .any(|ending| lower.ends_with(ending))
    {
        return format!("rename it to {lower}: endings are lower-case");
    }
    "manifests end in .yaml, .yml or .json, templates in .hbs behind that, partials start with `_`; move anything else out of this folder".to_owned()
}

fn check_content(sources: &Sources<'_>, entry: &Entry) -> Result<(), Problem> {
    let bytes = sources.bytes(entry, LARGEST_FILE)?;
    crate::text::decode(&bytes)
        .map(|_| ())
        .map_err(|error| not_text(entry.shown_path(), &error))
}

/// Everything that would stand at one place of a region's folder, or be one partial.
fn check_collisions(files: &FleetFiles, problems: &mut Vec<Problem>) {
    // Manifests and partials are two worlds; both know everybody's and each region's own.
    for partials in [false, true] {
        let of_this_world = |file: &&FleetFile| (file.usage == FileUse::Partial) == partials;
        let mut every = Paths::default();
        let mut own: BTreeMap<&str, Paths> = BTreeMap::new();
        for file in files.files.iter().filter(of_this_world) {
            if file.region.is_none()
                && let Err(collision) = every.add(&file.name, &file.path, None)
            {
                problems.push(collided(file, &collision, partials));
            }
        }
        for file in files.files.iter().filter(of_this_world) {
            if let Some(region) = &file.region
                && let Err(collision) =
                    own.entry(region)
                        .or_default()
                        .add(&file.name, &file.path, Some(&every))
            {
                problems.push(collided(file, &collision, partials));
            }
        }
    }
}

fn collided(file: &FleetFile, collision: &Collision, partials: bool) -> Problem {
    let what = if partials { "partial" } else { "output path" };
    let name = &file.name;
    let problem = match collision {
        Collision::Same(other) => Problem::error(
            &file.path,
            format!("{other} has the same {what} {name:?}"),
        )
        .hint("rename or remove one of the two"),
        Collision::Twin(other) => Problem::error(
            &file.path,
            format!(
                "the {what} {name:?} differs from that of {other} only in case or in how accents are encoded"
            ),
        )
        .hint("rename one of the two: some file systems take them for one"),
        Collision::FileAndFolder(other) => Problem::error(
            &file.path,
            format!("the {what} {name:?} needs a folder where {other} has a file, or the reverse"),
        )
        .hint("rename one of the two"),
    };
    match &file.region {
        Some(region) => problem.for_region(region),
        None => problem,
    }
}
