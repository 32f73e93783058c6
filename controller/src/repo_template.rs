//! The config repo that `tidegate init` writes and the demo rolls out, as it lies in `repo-template/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::schema::{Document, text_of};

/// A file or folder of the new config repo could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// What could not be written.
    pub path: PathBuf,
    /// What the file system said.
    pub source: io::Error,
}

macro_rules! embedded {
    ($($path:literal)*) => {
        &[$(($path, include_str!(concat!("../../repo-template/", $path)))),*]
    };
}

/// Every file of the template that lies in `repo-template/`: its path, `/` between components, and its content.
pub const FILES: &[(&str, &str)] = embedded! {
    "README.md"
    "argocd/applicationset.yaml"
    "regions/australiaeast.yaml"
    "regions/brazilsouth.yaml"
    "regions/brazilsouth/payment-provider.yaml"
    "regions/eastus2.yaml"
    "regions/japaneast.yaml"
    "regions/northeurope.yaml"
    "regions/southeastasia.yaml"
    "regions/westeurope.yaml"
    "regions/westus3.yaml"
    "templates/README.md"
    "templates/_labels.hbs"
    "templates/namespace.yaml"
    "templates/orders/_config.hbs"
    "templates/orders/configmap.yaml.hbs"
    "templates/orders/deployment.yaml.hbs"
    "templates/storefront/_config.hbs"
    "templates/storefront/configmap.yaml.hbs"
    "templates/storefront/deployment.yaml.hbs"
    "templates/storefront/service.yaml.hbs"
    "tidegate.yaml"
    "values/fleet.yaml"
    "values/region/brazilsouth.yaml"
    "values/ring/broad.yaml"
    "values/ring/canary.yaml"
    "values/ring/pilot.yaml"
};

/// The schemas that the first lines of the template's documents name, as this version of the program knows them.
pub const SCHEMAS: &[(&str, Document)] = &[
    ("schemas/fleet.schema.json", Document::Fleet),
    ("schemas/region.schema.json", Document::Region),
];

/// Writes all of the template's files, its schemas too, into a folder, which must exist; gives their number.
pub fn write_into(folder: &Path) -> Result<usize, WriteError> {
    let schemas: Vec<(&str, String)> = SCHEMAS
        .iter()
        .map(|(path, document)| (*path, text_of(*document)))
        .collect();
    let schemas = schemas
        .iter()
        .map(|(path, content)| (*path, content.as_str()));
    let mut count = 0;
    for (path, content) in FILES.iter().copied().chain(schemas) {
        let path = folder.join(path);
        let written = path
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content));
        written.map_err(|source| WriteError { path, source })?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files_below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                files_below(&entry.path(), &format!("{path}/"), found);
            } else {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../repo-template");
        let mut found = Vec::new();
        files_below(&folder, "", &mut found);
        found.sort();
        let embedded: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(embedded, found);
    }

    #[test]
    fn what_is_written_is_what_is_embedded() {
        let folder = tempfile::tempdir().unwrap();
        let count = write_into(folder.path()).unwrap();
        for (path, content) in FILES {
            let written = fs::read_to_string(folder.path().join(path)).unwrap();
            assert_eq!(written, *content, "{path}");
        }
        let mut found = Vec::new();
        files_below(folder.path(), "", &mut found);
        assert_eq!(found.len(), count);
    }

    #[test]
    fn every_document_names_a_schema_that_is_written_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        write_into(folder.path()).unwrap();
        let mut seen = 0;
        for (path, content) in FILES {
            let wanted = match path.split('/').collect::<Vec<_>>().as_slice() {
                ["tidegate.yaml"] => Document::Fleet,
                ["regions", _] => Document::Region,
                _ => continue,
            };
            let named = content
                .lines()
                .next()
                .and_then(|line| line.strip_prefix("# yaml-language-server: $schema="))
                .unwrap_or_else(|| panic!("{path} names no schema"));
            let schema = folder.path().join(path).parent().unwrap().join(named);
            let schema = fs::read_to_string(schema).unwrap();
            assert_eq!(schema, text_of(wanted), "{path}");
            seen += 1;
        }
        assert_eq!(seen, 9);
    }

    #[test]
    fn the_template_loads_without_a_problem() {
        let mut tree = tidegate_renderer::source::MemoryTree::new();
        for (path, content) in FILES {
            tree = tree.with(path, content);
        }
        let loaded = tidegate_renderer::config::load(&tree, "").unwrap();
        assert_eq!(loaded.warnings, []);
        let waves: Vec<_> = loaded
            .membership
            .iter()
            .map(|(wave, regions)| (wave.as_str(), regions.len()))
            .collect();
        assert_eq!(waves, [("canary", 1), ("pilot", 2), ("broad", 5)]);
    }

    #[test]
    fn the_application_set_can_delete_nothing_by_itself() {
        let (_, text) = FILES
            .iter()
            .find(|(path, _)| *path == "argocd/applicationset.yaml")
            .unwrap();
        let set: serde_json::Value = serde_yaml::from_str(text).unwrap();
        let spec = &set["spec"];
        assert_eq!(spec["goTemplate"], true);
        assert_eq!(spec["syncPolicy"]["applicationsSync"], "create-update");
        assert_eq!(spec["syncPolicy"]["preserveResourcesOnDeletion"], true);
        let git = &spec["generators"][0]["git"];
        assert_eq!(git["revision"], "tidegate/log");
        assert_eq!(git["files"][0]["path"], "regions.json");
        let source = &spec["template"]["spec"]["source"];
        assert_eq!(source["targetRevision"], "{{.branch}}");
        assert_eq!(source["path"], "{{.folder}}");
        assert_eq!(source["directory"]["recurse"], true);
        assert_eq!(git["repoURL"], source["repoURL"]);
        let automated = &spec["template"]["spec"]["syncPolicy"]["automated"];
        assert!(automated.get("allowEmpty").is_none());
    }
}
