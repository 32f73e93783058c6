//! `tidegate render`: the manifests that regions get, and who set a value.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;
use tidegate_renderer::config::{self, LoadedFleet};
use tidegate_renderer::render::Rendered;
use tidegate_renderer::suggest;
use tidegate_renderer::tree::ObjectStore;
use tidegate_renderer::values::{Layered, Origin};

use super::config_repo::{ConfigRepo, RepoArgs};
use super::error::CommandError;
use super::rendered;
use super::report::{Report, counted};
use super::terminal::{Stream, Style, Terminal};

/// Render the manifests of regions to stdout or a folder
///
/// Prints exactly what a region's folder on its wave branch would hold. With --explain it says instead which
/// file and line set a value in a region, and what that overrode.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate render --region westus3                              one region, to stdout
  tidegate render --output-dir out                              all regions, as out/<region>/<path>
  tidegate render .@HEAD~1 --region westus3                     as of another revision
  tidegate render --region westus3 --explain values.logLevel    who set this value?
  tidegate render -o name                                       the files alone")]
pub struct RenderArgs {
    #[command(flatten)]
    repo: RepoArgs,

    /// Render this region only (can be repeated)
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,

    /// Write to `OUT/<region>/<path>` instead of stdout; OUT must be absent or empty
    #[arg(long, value_name = "OUT", conflicts_with_all = ["explain", "output"])]
    output_dir: Option<PathBuf>,

    /// Replace the regions' folders in OUT
    #[arg(long, requires = "output_dir")]
    force: bool,

    /// Say which file and line set the value at PATH, such as values.replicas, in each region
    #[arg(long, value_name = "PATH")]
    explain: Option<String>,

    /// Print in this form
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// Manifests, each with the file it comes from above it
    #[default]
    Yaml,
    /// An array of {region, path, object}
    Json,
    /// `<region>/<path>`, one a line
    Name,
}

/// Runs the command.
pub fn run(arguments: RenderArgs, terminal: &Terminal) -> Result<(), CommandError> {
    let RenderArgs {
        repo,
        regions,
        output_dir,
        force,
        explain,
        output,
    } = arguments;
    let repo = ConfigRepo::of(&repo)?;
    if let Some(path) = explain {
        return explain_value(&repo, &regions, &path, output, terminal);
    }
    let store = ObjectStore::in_memory();
    let fleet = rendered::render(&repo, &store, terminal)?;
    Report::new(fleet.warnings()).show(terminal);
    check_regions(&fleet.loaded, &regions)?;
    for name in &regions {
        if let Some(excluded) = fleet.rendered.wanted.excluded.get(name) {
            terminal.say(&format!(
                "{name} is excluded and gets nothing: {}.",
                excluded.exclusion.reason
            ));
        }
    }
    let files = files(&fleet.rendered, &regions, &store)?;
    if let Some(out) = output_dir {
        write_folders(&files, &out, force)?;
        let count = files.values().map(BTreeMap::len).sum();
        terminal.say(&format!(
            "Wrote {} of {} to {}.",
            counted(count, "file"),
            counted(files.len(), "region"),
            out.display()
        ));
        return Ok(());
    }
    match output {
        Format::Yaml => terminal.data(&as_stream(&files)),
        Format::Json => terminal.json(&as_objects(&files)?),
        Format::Name => {
            let mut names = String::new();
            for (region, files) in &files {
                for path in files.keys() {
                    let _ = writeln!(names, "{region}/{path}");
                }
            }
            terminal.data(&names)
        }
    }
}

/// By region, by path: the content.
type Files = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

fn check_regions(loaded: &LoadedFleet, wanted: &[String]) -> Result<(), CommandError> {
    for name in wanted {
        if loaded.regions.contains_key(name) {
            continue;
        }
        let error = CommandError::usage(format!(
            "the fleet {} has no region {name}",
            loaded.fleet.name
        ));
        let names = loaded.regions.keys().map(String::as_str);
        return Err(match suggest::nearest(name, names) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error,
        });
    }
    Ok(())
}

fn files(rendered: &Rendered, only: &[String], store: &ObjectStore) -> Result<Files, CommandError> {
    let mut all = Files::new();
    for (region, planned) in &rendered.wanted.regions {
        if !only.is_empty() && !only.contains(region) {
            continue;
        }
        let files = store.files(planned.tree).map_err(CommandError::failed)?;
        let contents = files
            .into_iter()
            .map(|(path, blob)| {
                let content = store.read_blob(blob).map_err(CommandError::failed)?;
                Ok((path, content))
            })
            .collect::<Result<_, CommandError>>()?;
        all.insert(region.clone(), contents);
    }
    Ok(all)
}

/// The documents of a file. What the renderer emits has `---` alone on a line only between documents.
fn documents(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let mut documents = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    documents
}

fn as_stream(files: &Files) -> String {
    let mut stream = String::new();
    for (region, files) in files {
        for (path, content) in files {
            for document in documents(content) {
                if !stream.is_empty() {
                    stream.push_str("---\n");
                }
                let _ = writeln!(stream, "# Source: {region}/{path}");
                stream.push_str(&document);
                if !document.ends_with('\n') {
                    stream.push('\n');
                }
            }
        }
    }
    stream
}

#[derive(Serialize)]
struct RenderedDocument<'files> {
    region: &'files str,
    path: &'files str,
    object: serde_json::Value,
}

fn as_objects(files: &Files) -> Result<Vec<RenderedDocument<'_>>, CommandError> {
    let mut objects = Vec::new();
    for (region, files) in files {
        for (path, content) in files {
            for document in documents(content) {
                let object = serde_yaml::from_str(&document).map_err(|error| {
                    CommandError::failed(format!("cannot read {region}/{path}: {error}"))
                })?;
                objects.push(RenderedDocument {
                    region,
                    path,
                    object,
                });
            }
        }
    }
    Ok(objects)
}

/// Writes beside what is there and renames at the end, region by region.
fn write_folders(files: &Files, out: &Path, force: bool) -> Result<(), CommandError> {
    let cannot = |error: io::Error| {
        CommandError::failed(format!("cannot write to {}: {error}", out.display()))
    };
    fs::create_dir_all(out).map_err(cannot)?;
    if !force && fs::read_dir(out).map_err(cannot)?.next().is_some() {
        return Err(
            CommandError::failed(format!("{} is not empty", out.display())).hint(
                "--force replaces the folders of the regions in it and leaves everything else",
            ),
        );
    }
    let stage = tempfile::Builder::new()
        .prefix(".tidegate-render-")
        .tempdir_in(out)
        .map_err(cannot)?;
    for (region, files) in files {
        for (path, content) in files {
            let path = stage.path().join(region).join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(cannot)?;
            }
            fs::write(path, content).map_err(cannot)?;
        }
    }
    for region in files.keys() {
        let target = out.join(region);
        let there = match fs::symlink_metadata(&target) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&target),
            Ok(_) => fs::remove_file(&target),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        there
            .and_then(|()| fs::rename(stage.path().join(region), &target))
            .map_err(cannot)?;
    }
    Ok(())
}

/// Says who set a value. Needs the values alone, so it works while templates are broken.
fn explain_value(
    repo: &ConfigRepo,
    regions: &[String],
    path: &str,
    output: Format,
    terminal: &Terminal,
) -> Result<(), CommandError> {
    let loaded = config::load(&repo.source()?, repo.folder()).map_err(|problems| {
        let report = Report::new(problems);
        report.show(terminal);
        report.into_error()
    })?;
    check_regions(&loaded, regions)?;
    let asked: Vec<(&String, &Layered)> = loaded
        .regions
        .iter()
        .filter(|(name, _)| regions.is_empty() || regions.contains(name))
        .map(|(name, region)| (name, &region.values))
        .collect();
    let explained: Vec<RegionOrigins> = asked
        .iter()
        .filter_map(|(region, values)| {
            Some(RegionOrigins {
                region: (*region).clone(),
                origins: values.explain(path)?,
            })
        })
        .collect();
    if explained.is_empty() {
        let place = match asked.as_slice() {
            [(region, _)] => (*region).clone(),
            _ => "any region".to_owned(),
        };
        let error = CommandError::failed(format!("nothing sets {path} in {place}"));
        let mut paths = Vec::new();
        for (_, values) in asked {
            paths_below(&values.to_json(), "values", &mut paths);
        }
        return Err(
            match suggest::nearest(path, paths.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean {near}?")),
                None => error.hint("a PATH looks like values.storefront.replicas"),
            },
        );
    }
    // One region was asked for: its name says nothing new.
    let single = match (regions, explained.as_slice()) {
        ([_], [only]) => Some(only),
        _ => None,
    };
    match output {
        Format::Yaml => {
            let mut text = String::new();
            for RegionOrigins { region, origins } in &explained {
                if single.is_none() {
                    let head = terminal.paint(Stream::Stdout, Style::Strong, region);
                    let _ = writeln!(text, "# {head}");
                }
                text.push_str(&explanation(origins, terminal));
            }
            terminal.data(&text)
        }
        Format::Json => match single {
            Some(only) => terminal.json(&only.origins),
            None => terminal.json(&explained),
        },
        Format::Name => {
            let mut places = String::new();
            for origin in explained.iter().flat_map(|region| &region.origins) {
                let _ = writeln!(places, "{}:{}:{}", origin.file, origin.line, origin.column);
            }
            terminal.data(&places)
        }
    }
}

/// Where a region's value comes from.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RegionOrigins {
    region: String,
    origins: Vec<Origin>,
}

fn paths_below(value: &serde_json::Value, path: &str, paths: &mut Vec<String>) {
    if let serde_json::Value::Object(fields) = value {
        for (key, value) in fields {
            let path = format!("{path}.{key}");
            paths_below(value, &path, paths);
            paths.push(path);
        }
    }
}

/// One paragraph a path: what it is, then who says so, then what was overridden.
fn explanation(origins: &[Origin], terminal: &Terminal) -> String {
    let place = |origin: &Origin| format!("{}:{}:{}", origin.file, origin.line, origin.column);
    let width = origins
        .iter()
        .map(|origin| place(origin).chars().count())
        .max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    let mut path = None;
    for origin in origins {
        if path != Some(&origin.path) {
            path = Some(&origin.path);
            let head = terminal.paint(Stream::Stdout, Style::Strong, &origin.path);
            let _ = writeln!(text, "{head}");
        }
        let place = place(origin);
        let line = if origin.overridden {
            let line = format!("{place:width$}  {} (overridden)", origin.value);
            terminal.paint(Stream::Stdout, Style::Faint, &line)
        } else {
            format!("{place:width$}  {}", origin.value)
        };
        let _ = writeln!(text, "  {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_of(files: &[(&str, &str, &str)]) -> Files {
        let mut all = Files::new();
        for (region, path, content) in files {
            all.entry((*region).to_owned())
                .or_default()
                .insert((*path).to_owned(), content.as_bytes().to_vec());
        }
        all
    }

    #[test]
    fn every_document_names_its_file() {
        let files = files_of(&[
            ("eastus2", "a.yaml", "kind: A\n---\nkind: B\n"),
            ("westus3", "b/c.yaml", "kind: C"),
        ]);
        assert_eq!(
            as_stream(&files),
            "# Source: eastus2/a.yaml\nkind: A\n---\n# Source: eastus2/a.yaml\nkind: B\n\
             ---\n# Source: westus3/b/c.yaml\nkind: C\n"
        );
    }

    #[test]
    fn force_replaces_region_folders_and_nothing_else() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join("westus3")).unwrap();
        fs::write(out.path().join("westus3/old.yaml"), "old").unwrap();
        fs::write(out.path().join("notes.txt"), "mine").unwrap();
        let files = files_of(&[("westus3", "app/new.yaml", "new")]);
        assert!(write_folders(&files, out.path(), false).is_err());
        assert!(out.path().join("westus3/old.yaml").exists());
        write_folders(&files, out.path(), true).unwrap();
        assert!(!out.path().join("westus3/old.yaml").exists());
        assert!(out.path().join("westus3/app/new.yaml").exists());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 2);
    }
}
