//! Kubeconfigs: files, contexts, and the text of one.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kube::config::{Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext};

use super::ClusterError;
use super::client::{Credentials, Version};
use super::named_files::{FileVersion, NamedFiles};

/// Kubeconfigs in files, each read when it has changed: one with a context for each of a thousand clusters is asked for a
/// thousand times a sweep.
#[derive(Default)]
pub(super) struct KubeconfigFiles {
    known: Mutex<BTreeMap<PathBuf, (FileVersion, Arc<Kubeconfig>)>>,
}

impl KubeconfigFiles {
    /// The kubeconfig of a cluster in a folder with one for each; its current context counts. The name leads to no other
    /// folder: see [`super::is_plain_name`].
    pub(super) fn in_folder(
        &self,
        folder: &Path,
        cluster: &str,
    ) -> Result<Option<Credentials>, ClusterError> {
        for ending in ["", ".yaml", ".yml", ".kubeconfig"] {
            let file = folder.join(format!("{cluster}{ending}"));
            if let Some((version, kubeconfig)) = self.read(&file)? {
                return Ok(Some(of_file(&file, version, kubeconfig, None)));
            }
        }
        Ok(None)
    }

    /// The context of that name in a kubeconfig.
    pub(super) fn context(
        &self,
        file: &Path,
        cluster: &str,
    ) -> Result<Option<Credentials>, ClusterError> {
        let Some((version, kubeconfig)) = self.read(file)? else {
            return Err(ClusterError::Unusable {
                place: file.display().to_string(),
                message: "there is no such file".to_owned(),
            });
        };
        let mut contexts = kubeconfig.contexts.iter();
        let is_known = contexts.any(|context| context.name == cluster);
        Ok(is_known.then(|| of_file(file, version, kubeconfig, Some(cluster))))
    }

    /// What a file says; `None` if there is no such file. Files that it names are relative to its folder.
    fn read(&self, file: &Path) -> Result<Option<(FileVersion, Arc<Kubeconfig>)>, ClusterError> {
        let found = match std::fs::metadata(file) {
            Ok(found) if found.is_file() => found,
            Ok(_) => return Ok(None),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => {
                return Err(ClusterError::Unusable {
                    place: file.display().to_string(),
                    message: error.to_string(),
                });
            }
        };
        let version = FileVersion::of(&found);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kubeconfig)) = known.get(file).filter(|(of, _)| *of == version) {
            return Ok(Some((version, Arc::clone(kubeconfig))));
        }
        let kubeconfig = Kubeconfig::read_from(file)
            .map(Arc::new)
            .map_err(|_| no_kubeconfig(&file.display().to_string()))?;
        known.insert(file.to_owned(), (version.clone(), Arc::clone(&kubeconfig)));
        Ok(Some((version, kubeconfig)))
    }
}

fn of_file(
    file: &Path,
    version: FileVersion,
    kubeconfig: Arc<Kubeconfig>,
    context: Option<&str>,
) -> Credentials {
    let meant = context.or(kubeconfig.current_context.as_deref());
    let named = meant.map_or_else(NamedFiles::default, |context| {
        Meant::by(&kubeconfig, context).files()
    });
    Credentials::Kubeconfig {
        place: file.display().to_string(),
        version: Version::File {
            kubeconfig: version,
            named,
        },
        context: context.map(str::to_owned),
        kubeconfig,
    }
}

/// What of a kubeconfig one of its contexts means.
struct Meant<'a> {
    contexts: Vec<&'a NamedContext>,
    clusters: Vec<&'a NamedCluster>,
    users: Vec<&'a NamedAuthInfo>,
}

impl<'a> Meant<'a> {
    fn by(whole: &'a Kubeconfig, context: &str) -> Self {
        let all = whole.contexts.iter();
        let contexts: Vec<_> = all.filter(|named| named.name == context).collect();
        let meant = || contexts.iter().filter_map(|named| named.context.as_ref());
        let is_meant = |name: &str| meant().any(|context| context.cluster == name);
        let is_user = |name: &str| meant().any(|context| context.user.as_deref() == Some(name));
        let clusters = whole.clusters.iter();
        let users = whole.auth_infos.iter();
        Self {
            clusters: clusters.filter(|named| is_meant(&named.name)).collect(),
            users: users.filter(|named| is_user(&named.name)).collect(),
            contexts,
        }
    }

    /// The files that it names and of which a client is made once, as they are now.
    fn files(&self) -> NamedFiles {
        let clusters = self
            .clusters
            .iter()
            .filter_map(|named| named.cluster.as_ref());
        let authorities = clusters.filter_map(|cluster| cluster.certificate_authority.as_ref());
        let users = self
            .users
            .iter()
            .filter_map(|named| named.auth_info.as_ref());
        let of_users = users.flat_map(|user| [&user.client_certificate, &user.client_key]);
        let files = authorities.chain(of_users.flatten());
        NamedFiles::now(files.map(Path::new))
    }
}

/// What a kubeconfig says of one context. The library takes a copy for itself, and a thousand copies of a thousand clusters
/// are too many.
pub(super) fn narrowed(whole: &Kubeconfig, context: &str) -> Kubeconfig {
    let meant = Meant::by(whole, context);
    Kubeconfig {
        clusters: meant.clusters.into_iter().cloned().collect(),
        auth_infos: meant.users.into_iter().cloned().collect(),
        contexts: meant.contexts.into_iter().cloned().collect(),
        current_context: None,
        preferences: None,
        extensions: None,
        kind: whole.kind.clone(),
        api_version: whole.api_version.clone(),
        other: BTreeMap::new(),
    }
}

/// What the text of a kubeconfig says that stands in a Secret; its current context counts.
///
/// Whoever may write Secrets in another cluster is not the operator: nothing of this machine is run or read for it.
pub(super) fn of_secret(text: &str, place: &str) -> Result<Credentials, ClusterError> {
    let kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| no_kubeconfig(place))?;
    let names_files = kubeconfig
        .clusters
        .iter()
        .filter_map(|named| named.cluster.as_ref())
        .any(|cluster| cluster.certificate_authority.is_some());
    let reaches_out = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|named| named.auth_info.as_ref())
        .any(|user| {
            user.exec.is_some()
                || user.auth_provider.is_some()
                || user.token_file.is_some()
                || user.client_certificate.is_some()
                || user.client_key.is_some()
        });
    if names_files || reaches_out {
        return Err(ClusterError::Unusable {
            place: place.to_owned(),
            message: "its kubeconfig names files or a command of this machine, which a Secret may not; give the cluster a kubeconfig file in the operator's settings".to_owned(),
        });
    }
    Ok(Credentials::Kubeconfig {
        place: place.to_owned(),
        version: Version::Text(text.to_owned()),
        context: None,
        kubeconfig: Arc::new(kubeconfig),
    })
}

/// The reader's own words may quote the text, which holds credentials.
fn no_kubeconfig(place: &str) -> ClusterError {
    ClusterError::Unusable {
        place: place.to_owned(),
        message: "this is no kubeconfig".to_owned(),
    }
}
