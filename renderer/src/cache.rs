//! What has been rendered before: answers keyed by everything they depend on.
//!
//! A key covers the renderer's version, the template, all partials it can see and the region's whole
//! context; so an answer found is the answer that would be computed, and a cache that is lost costs
//! time alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::render::WholeRegion;

/// The version of everything that decides what templates and manifests become. It changes whenever
/// the same input may give other bytes.
pub const RENDERER_VERSION: &str = "2";

/// How many answers are kept in memory; with more, all are forgotten.
const MOST_ENTRIES: usize = 200_000;

/// The hash of everything that an answer depends on.
pub type CacheKey = [u8; 32];

/// Where answers outlive the process. Losing any of them at any time is harmless; giving back other
/// bytes than were put is not.
pub trait CacheStorage: Send + Sync {
    /// What was put under a key, if it is still there.
    fn get(&self, key: &CacheKey) -> Option<Vec<u8>>;
    /// Keeps an answer.
    fn put(&self, key: &CacheKey, answer: &[u8]);
}

/// The whole regions of the last two renders.
#[derive(Default)]
struct Regions {
    now: HashMap<CacheKey, Arc<WholeRegion>>,
    before: HashMap<CacheKey, Arc<WholeRegion>>,
}

/// Answers in memory, and in a storage behind it if there is one.
#[derive(Default)]
pub struct RenderCache {
    memory: Mutex<HashMap<CacheKey, Arc<[u8]>>>,
    regions: Mutex<Regions>,
    storage: Option<Box<dyn CacheStorage>>,
}

impl std::fmt::Debug for RenderCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenderCache")
            .field("entries", &self.len())
            .finish_non_exhaustive()
    }
}

impl RenderCache {
    /// A cache that lives as long as the process.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A cache with a storage behind it.
    #[must_use]
    pub fn with_storage(storage: Box<dyn CacheStorage>) -> Self {
        Self {
            storage: Some(storage),
            ..Self::default()
        }
    }

    /// A render begins: regions that neither this one nor the one before uses are forgotten when the next one begins.
    pub(crate) fn begin(&self) {
        let mut regions = self.regions();
        regions.before = std::mem::take(&mut regions.now);
    }

    /// A region that was put together before.
    pub(crate) fn region(&self, key: &CacheKey) -> Option<Arc<WholeRegion>> {
        let mut regions = self.regions();
        if let Some(found) = regions.now.get(key) {
            return Some(Arc::clone(found));
        }
        let found = regions.before.remove(key)?;
        regions.now.insert(*key, Arc::clone(&found));
        Some(found)
    }

    /// Keeps a region that was put together, in memory alone.
    pub(crate) fn put_region(&self, key: CacheKey, region: Arc<WholeRegion>) {
        self.regions().now.insert(key, region);
    }

    fn regions(&self) -> MutexGuard<'_, Regions> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<CacheKey, Arc<[u8]>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many answers are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory().len()
    }

    /// Whether no answer is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer under a key, if there is one.
    #[must_use]
    pub fn get(&self, key: &CacheKey) -> Option<Arc<[u8]>> {
        if let Some(found) = self.memory().get(key) {
            return Some(Arc::clone(found));
        }
        let found: Arc<[u8]> = self.storage.as_ref()?.get(key)?.into();
        self.memory().insert(*key, Arc::clone(&found));
        Some(found)
    }

    /// Keeps an answer.
    pub fn put(&self, key: &CacheKey, answer: &[u8]) {
        {
            let mut memory = self.memory();
            if memory.len() >= MOST_ENTRIES {
                memory.clear();
            }
            memory.insert(*key, answer.into());
        }
        if let Some(storage) = &self.storage {
            storage.put(key, answer);
        }
    }
}

/// A key from parts; each part's length counts, so that no two lists of parts run together.
#[must_use]
pub fn key_of(parts: &[&[u8]]) -> CacheKey {
    let mut hash = Sha256::new();
    hash.update(RENDERER_VERSION.as_bytes());
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_parts_apart() {
        assert_ne!(key_of(&[b"ab", b"c"]), key_of(&[b"a", b"bc"]));
        assert_ne!(key_of(&[b"a"]), key_of(&[b"a", b""]));
        assert_eq!(key_of(&[b"a", b"b"]), key_of(&[b"a", b"b"]));
    }

    #[test]
    fn a_storage_answers_after_the_memory_is_gone() {
        #[derive(Default)]
        struct Shelf(Arc<Mutex<HashMap<CacheKey, Vec<u8>>>>);
        impl CacheStorage for Shelf {
            fn get(&self, key: &CacheKey) -> Option<Vec<u8>> {
                self.0.lock().unwrap().get(key).cloned()
            }
            fn put(&self, key: &CacheKey, answer: &[u8]) {
                self.0.lock().unwrap().insert(*key, answer.to_vec());
            }
        }
        let shelf = Arc::new(Mutex::default());
        let key = key_of(&[b"x"]);
        RenderCache::with_storage(Box::new(Shelf(Arc::clone(&shelf)))).put(&key, b"y");
        let again = RenderCache::with_storage(Box::new(Shelf(shelf)));
        assert!(again.is_empty());
        assert_eq!(again.get(&key).as_deref(), Some(b"y".as_slice()));
        assert_eq!(RenderCache::new().get(&key), None);
    }
}
