//! Kubeconfigs: files, contexts, and the text of one.

use std::io::ErrorKind;
use std::path::Path;

use kube::config::Kubeconfig;

use super::client::Credentials;
use super::{ClusterError, candidates};

/// The kubeconfig of a cluster in a folder with one for each; its current context counts.
pub(super) fn in_folder(folder: &Path, cluster: &str) -> Result<Option<Credentials>, ClusterError> {
    // The name comes from the config repo: it must not lead out of the folder.
    if cluster.is_empty() || cluster.starts_with('.') || cluster.contains(['/', '\\', '\0']) {
        return Ok(None);
    }
    for file in candidates(folder, cluster) {
        if let Some(text) = read(&file)? {
            return of_file(&file, text, None).map(Some);
        }
    }
    Ok(None)
}

/// The context of that name in a kubeconfig.
pub(super) fn context(file: &Path, cluster: &str) -> Result<Option<Credentials>, ClusterError> {
    let place = file.display().to_string();
    let Some(text) = read(file)? else {
        return Err(ClusterError::Unusable {
            place,
            message: "there is no such file".to_owned(),
        });
    };
    let credentials = of_file(file, text, Some(cluster))?;
    let is_known = match &credentials {
        Credentials::Kubeconfig { kubeconfig, .. } => kubeconfig
            .contexts
            .iter()
            .any(|context| context.name == cluster),
        Credentials::InCluster => false,
    };
    Ok(is_known.then_some(credentials))
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
        text: text.to_owned(),
        context: None,
        kubeconfig: Box::new(kubeconfig),
    })
}

/// What a file says; `context` is `None` for its current one. Files that it names are relative to its folder.
fn of_file(file: &Path, text: String, context: Option<&str>) -> Result<Credentials, ClusterError> {
    let place = file.display().to_string();
    let kubeconfig = Kubeconfig::read_from(file).map_err(|_| no_kubeconfig(&place))?;
    Ok(Credentials::Kubeconfig {
        place,
        text,
        context: context.map(str::to_owned),
        kubeconfig: Box::new(kubeconfig),
    })
}

/// The reader's own words may quote the text, which holds credentials.
fn no_kubeconfig(place: &str) -> ClusterError {
    ClusterError::Unusable {
        place: place.to_owned(),
        message: "this is no kubeconfig".to_owned(),
    }
}

/// A file's text; `None` if there is no such file.
fn read(file: &Path) -> Result<Option<String>, ClusterError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ClusterError::Unusable {
            place: file.display().to_string(),
            message: error.to_string(),
        }),
    }
}
