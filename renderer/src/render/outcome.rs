//! What one output file becomes; each distinct text is read and written once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidegate_waves::oid::Oid;

use super::RenderedObject;
use crate::manifest::{self, Finding, Format};
use crate::tree::ObjectStore;

/// What one output file becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Its blob; nothing if there is no object in it.
    pub(super) blob: Option<Oid>,
    /// Its objects; their path and blob are filled in where they are used.
    pub(super) objects: Vec<RenderedObject>,
    pub(super) warnings: Vec<Finding>,
    pub(super) errors: Vec<Finding>,
    /// The text that errors and warnings are about, if there are any.
    pub(super) text: String,
}

impl Outcome {
    /// Bytes for the cache. What is wrong is read anew each time.
    pub(super) fn to_cache(&self) -> Option<Vec<u8>> {
        if self.errors.is_empty() {
            serde_json::to_vec(self).ok()
        } else {
            None
        }
    }
}

type Hash = [u8; 32];

/// All outcomes of a render.
pub(super) struct Outcomes<'a> {
    store: &'a ObjectStore,
    known: Mutex<HashMap<Hash, Arc<Outcome>>>,
}

impl<'a> Outcomes<'a> {
    pub(super) fn new(store: &'a ObjectStore) -> Self {
        Self {
            store,
            known: Mutex::default(),
        }
    }

    /// What a text becomes.
    pub(super) fn of(&self, text: &str, format: Format, rendered: bool) -> Arc<Outcome> {
        let mut hash = Sha256::new();
        hash.update([u8::from(format == Format::Json), u8::from(rendered)]);
        hash.update(text.as_bytes());
        let hash: Hash = hash.finalize().into();
        if let Some(known) = self.known().get(&hash) {
            return Arc::clone(known);
        }
        let outcome = Arc::new(self.compute(text, format, rendered));
        self.known().insert(hash, Arc::clone(&outcome));
        outcome
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Hash, Arc<Outcome>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compute(&self, text: &str, format: Format, rendered: bool) -> Outcome {
        let failed = |errors: Vec<Finding>| Outcome {
            blob: None,
            objects: Vec::new(),
            warnings: Vec::new(),
            errors,
            text: text.to_owned(),
        };
        let manifest = match manifest::read(text, format, rendered) {
            Ok(manifest) => manifest,
            Err(errors) => return failed(errors),
        };
        let blob = match manifest
            .output
            .as_deref()
            .map(|bytes| self.store.blob(bytes))
        {
            None => None,
            Some(Ok(blob)) => Some(blob),
            Some(Err(error)) => {
                return failed(vec![Finding {
                    line: 0,
                    column: 0,
                    message: error.to_string(),
                    hint: None,
                }]);
            }
        };
        Outcome {
            blob,
            objects: manifest
                .objects
                .into_iter()
                .map(|object| RenderedObject {
                    api_version: object.api_version,
                    kind: object.id.kind,
                    namespace: object.id.namespace,
                    name: object.id.name,
                    generated: object.generated,
                    path: String::new(),
                    blob: Oid::ZERO,
                })
                .collect(),
            text: if manifest.warnings.is_empty() {
                String::new()
            } else {
                text.to_owned()
            },
            warnings: manifest.warnings,
            errors: Vec::new(),
        }
    }

    /// Whether the store has an object.
    pub(super) fn has(&self, id: Oid) -> bool {
        self.store.exists(id)
    }

    /// An outcome from the cache, if the store has its blob.
    pub(super) fn cached(&self, bytes: &[u8]) -> Option<Arc<Outcome>> {
        let outcome: Outcome = serde_json::from_slice(bytes).ok()?;
        outcome
            .blob
            .is_none_or(|blob| self.store.exists(blob))
            .then(|| Arc::new(outcome))
    }
}
