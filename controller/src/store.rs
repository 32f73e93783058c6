//! The cache of what this process has counted: bakes, deadlines, and where the log last stood.
//!
//! It may be lost at any moment. Then bakes and deadlines start at zero, and nothing else changes; so
//! nothing here ever fails, it only says in the log what could not be done.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{RecoveredSums, Watch};

/// The version of the file's form. A file of another version is not read.
const VERSION: u32 = 1;

/// The largest file that is read: thousands of regions fit many times.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    version: u32,
    #[serde(default)]
    log_tip: Option<Oid>,
    /// The log's epoch in which the sums were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(default)]
    sums: Vec<Sum>,
}

/// One sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    rollout: String,
    region: String,
    what: What,
    milliseconds: u64,
}

impl Sum {
    /// What is counted, and how much of it.
    fn entry(&self) -> ((&str, &str, What), u64) {
        ((&self.rollout, &self.region, self.what), self.milliseconds)
    }
}

/// What a sum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum What {
    /// The bake.
    Bake,
    /// The watched time without having been healthy.
    Deadline,
}

/// The file with the sums of one fleet.
#[derive(Debug)]
pub struct SumsFile {
    path: PathBuf,
    /// What is to be in the file.
    contents: Contents,
    /// What is in it, as far as is known.
    written: Option<Contents>,
    /// Whether the last write failed: said once, and once more when it works again.
    failing: bool,
}

impl SumsFile {
    /// Reads the file, if there is one that can be read; its folder is made when it is written.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        let contents = match read(&path) {
            Ok(contents) => contents,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    path = %path.display(), %error,
                    "the cache cannot be read, bakes and deadlines under way start at zero"
                );
                None
            }
        };
        Self {
            path,
            contents: contents.clone().unwrap_or_default(),
            written: contents,
            failing: false,
        }
    }

    /// The log's tip when this process last saw it.
    #[must_use]
    pub fn log_tip(&self) -> Option<Oid> {
        self.contents.log_tip
    }

    /// Keeps the log's tip.
    pub fn remember_log_tip(&mut self, tip: Oid) {
        self.contents.log_tip = Some(tip);
        self.write();
    }

    /// Drops the sums of regions that begin anew; they are gone from the file with what is written next.
    pub fn forget(&mut self, regions: &BTreeSet<String>) {
        self.contents
            .sums
            .retain(|sum| !regions.contains(&sum.region));
    }

    /// What was counted for each region of a rollout before this process began; only sums that are not
    /// zero.
    #[must_use]
    pub fn recovered(&self, rollout: &str) -> BTreeMap<String, RecoveredSums> {
        let mut recovered = BTreeMap::<String, RecoveredSums>::new();
        for sum in self
            .contents
            .sums
            .iter()
            .filter(|sum| sum.rollout == rollout)
        {
            let region = recovered.entry(sum.region.clone()).or_default();
            region.epoch = self.contents.epoch;
            let duration = Duration::from_millis(sum.milliseconds);
            match sum.what {
                What::Bake => region.baked = duration,
                What::Deadline => region.deadline_used = duration,
            }
        }
        recovered
    }

    /// Keeps what has been counted; sums of other rollouts are forgotten. Before anything is counted for
    /// a rollout, the sums of an earlier run stay.
    ///
    /// It blocks for as long as the disk takes.
    pub fn save(&mut self, watch: &Watch) {
        if let Some(rollout) = watch.rollout() {
            self.contents.epoch = watch.epoch();
            self.set(rollout, watch.sums());
        } else if self.written.is_some() && watch == &Watch::default() {
            // Nothing has been looked at yet.
            return;
        } else {
            self.contents.sums.clear();
        }
        self.write();
    }

    /// Whether the file holds more of a sum than has been counted: harm took it back since, and a restart must not
    /// find it again.
    #[must_use]
    pub fn exceeds(&self, watch: &Watch) -> bool {
        let Some(rollout) = watch.rollout() else {
            return false;
        };
        self.has_more(rollout, watch.sums())
    }

    fn has_more(&self, rollout: &str, counted: Vec<(String, RecoveredSums)>) -> bool {
        let sums = self.contents.sums.iter();
        more_than(
            sums.filter(|sum| sum.rollout == rollout),
            &sums_of(rollout, counted),
        )
    }

    fn set(&mut self, rollout: &str, counted: Vec<(String, RecoveredSums)>) {
        self.contents.sums = sums_of(rollout, counted);
    }

    fn write(&mut self) {
        self.contents.version = VERSION;
        if self.written.as_ref() == Some(&self.contents) {
            return;
        }
        match write_atomically(&self.path, &self.contents) {
            Ok(()) => {
                self.written = Some(self.contents.clone());
                if std::mem::take(&mut self.failing) {
                    tracing::info!(path = %self.path.display(), "the cache can be written again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        path = %self.path.display(), %error,
                        "the cache cannot be written; a restart would start bakes and deadlines at an older count"
                    );
                }
                if self.written_exceeds() {
                    self.remove();
                }
            }
        }
    }

    /// Whether a restart would find more of a sum than has been counted.
    fn written_exceeds(&self) -> bool {
        let written = self.written.iter().flat_map(|written| &written.sums);
        more_than(written, &self.contents.sums)
    }

    /// A disk without room for a new file still lets an old one go: better nothing than what harm has taken back.
    fn remove(&mut self) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => self.written = None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.written = None,
            Err(error) => tracing::warn!(
                path = %self.path.display(), %error,
                "the cache cannot be removed either; remove it before a restart, for it holds bakes that harm has taken back"
            ),
        }
    }
}

/// What was counted, as it is written; only sums that are not zero.
fn sums_of(rollout: &str, counted: Vec<(String, RecoveredSums)>) -> Vec<Sum> {
    let mut sums = Vec::new();
    for (region, counted) in counted {
        for (what, duration) in [
            (What::Bake, counted.baked),
            (What::Deadline, counted.deadline_used),
        ] {
            // Rounded down: a restart must never shorten a bake.
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            if milliseconds > 0 {
                sums.push(Sum {
                    rollout: rollout.to_owned(),
                    region: region.clone(),
                    what,
                    milliseconds,
                });
            }
        }
    }
    sums
}

/// Whether any of these sums is more than has been counted.
fn more_than<'a>(sums: impl IntoIterator<Item = &'a Sum>, counted: &[Sum]) -> bool {
    let counted: BTreeMap<_, _> = counted.iter().map(Sum::entry).collect();
    sums.into_iter()
        .map(Sum::entry)
        .any(|(what, milliseconds)| counted.get(&what).copied().unwrap_or_default() < milliseconds)
}

fn read(path: &Path) -> io::Result<Option<Contents>> {
    if std::fs::metadata(path)?.len() > LARGEST_FILE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is too large",
        ));
    }
    parse(&std::fs::read(path)?).map(Some)
}

fn parse(bytes: &[u8]) -> io::Result<Contents> {
    let contents: Contents = serde_json::from_slice(bytes)?;
    if contents.version != VERSION {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("its version is {}, not {VERSION}", contents.version),
        ));
    }
    Ok(contents)
}

/// Reads a file's bytes and writes them again.
#[cfg(feature = "fuzzing")]
pub(crate) fn rewritten(bytes: &[u8]) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(&parse(bytes)?)?)
}

/// At every moment the path holds the old contents or the new ones, whole.
fn write_atomically(path: &Path, contents: &Contents) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(contents)?)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tip() -> Oid {
        "1111111111111111111111111111111111111111".parse().unwrap()
    }

    fn counted(baked: u64, deadline: u64) -> RecoveredSums {
        RecoveredSums {
            baked: Duration::from_millis(baked),
            deadline_used: Duration::from_millis(deadline),
            epoch: Some(3),
        }
    }

    #[test]
    fn what_is_written_is_read_back_for_its_rollout_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet/sums.json");
        let mut file = SumsFile::new(path.clone());
        file.remember_log_tip(tip());
        file.contents.epoch = Some(3);
        file.set(
            "r-1",
            vec![
                ("a".to_owned(), counted(1500, 0)),
                ("b".to_owned(), counted(0, 20)),
            ],
        );
        file.write();
        let again = SumsFile::new(path);
        assert_eq!(again.log_tip(), Some(tip()));
        let expected = [
            ("a".to_owned(), counted(1500, 0)),
            ("b".to_owned(), counted(0, 20)),
        ];
        assert_eq!(again.recovered("r-1"), expected.into());
        assert!(again.recovered("r-2").is_empty());
    }

    #[test]
    fn sums_of_a_file_without_an_epoch_say_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sums.json");
        let older = r#"{"version":1,"sums":[{"rollout":"r-1","region":"a","what":"bake","milliseconds":9}]}"#;
        std::fs::write(&path, older).unwrap();
        let recovered = SumsFile::new(path).recovered("r-1");
        assert_eq!(recovered["a"].baked, Duration::from_millis(9));
        assert_eq!(recovered["a"].epoch, None);
    }

    #[test]
    fn a_broken_file_is_an_empty_one_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sums.json");
        for broken in ["", "{", "[]", r#"{"version":99}"#, "\u{0}"] {
            std::fs::write(&path, broken).unwrap();
            let mut file = SumsFile::new(path.clone());
            assert_eq!(file.log_tip(), None);
            file.remember_log_tip(tip());
            assert_eq!(SumsFile::new(path.clone()).log_tip(), Some(tip()));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_disk_that_cannot_be_written_stops_nothing_and_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocker = folder.path().join("fleet");
        std::fs::write(&blocker, "a file where a folder should be").unwrap();
        let path = blocker.join("sums.json");
        let mut file = SumsFile::new(path.clone());
        file.remember_log_tip(tip());
        assert!(file.failing);
        assert_eq!(file.log_tip(), Some(tip()));
        std::fs::remove_file(&blocker).unwrap();
        file.remember_log_tip(tip());
        assert!(!file.failing);
        assert_eq!(SumsFile::new(path).log_tip(), Some(tip()));
    }

    /// The longest path that Linux takes, without the NUL behind it.
    const LONGEST_PATH: usize = 4095;

    /// A path so long that there is room for a file of one letter and none for a longer name beside it.
    fn beside_which_nothing_fits(folder: &Path) -> PathBuf {
        let mut folder = folder.to_owned();
        while folder.as_os_str().len() < LONGEST_PATH - 2 {
            let left = LONGEST_PATH - 2 - folder.as_os_str().len() - 1;
            // Never one letter too few for another folder.
            let name = if left > 202 { 200 } else { left };
            folder.push("f".repeat(name));
        }
        std::fs::create_dir_all(&folder).unwrap();
        folder.join("s")
    }

    #[test]
    fn what_harm_took_back_is_gone_even_where_nothing_new_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let ordinary = folder.path().join("sums.json");
        let mut file = SumsFile::new(ordinary.clone());
        file.set("r-1", vec![("a".to_owned(), counted(1500, 20))]);
        file.write();
        let path = beside_which_nothing_fits(folder.path());
        std::fs::copy(&ordinary, &path).unwrap();
        let mut file = SumsFile::new(path.clone());
        file.set("r-1", vec![("a".to_owned(), counted(2000, 20))]);
        file.write();
        assert!(file.failing);
        assert!(path.exists(), "an older count only makes a bake longer");
        file.set("r-1", vec![("a".to_owned(), counted(0, 20))]);
        file.write();
        assert!(!path.exists());
        assert!(SumsFile::new(path).recovered("r-1").is_empty());
    }

    #[test]
    fn what_begins_anew_is_forgotten_with_the_next_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sums.json");
        let mut file = SumsFile::new(path.clone());
        file.set(
            "r-1",
            vec![
                ("a".to_owned(), counted(5, 6)),
                ("b".to_owned(), counted(7, 0)),
            ],
        );
        file.forget(&BTreeSet::from(["a".to_owned()]));
        file.remember_log_tip(tip());
        let recovered = SumsFile::new(path).recovered("r-1");
        assert_eq!(recovered.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_sum_that_harm_took_back_is_more_than_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = SumsFile::new(folder.path().join("sums.json"));
        file.set("r-1", vec![("a".to_owned(), counted(1500, 0))]);
        let more_than = |baked| file.has_more("r-1", vec![("a".to_owned(), counted(baked, 0))]);
        assert!(!more_than(1500) && !more_than(1501));
        assert!(more_than(1499) && more_than(0));
        assert!(file.has_more("r-1", Vec::new()));
        assert!(!file.has_more("r-2", Vec::new()));
    }

    #[test]
    fn a_run_that_has_seen_nothing_yet_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sums.json");
        let mut file = SumsFile::new(path.clone());
        file.set("r-1", vec![("a".to_owned(), counted(5, 0))]);
        file.write();
        let mut again = SumsFile::new(path);
        again.save(&Watch::default());
        assert!(!again.recovered("r-1").is_empty());
    }
}
