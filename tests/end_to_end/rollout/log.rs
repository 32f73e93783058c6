//! The control log, as anybody reads it with git alone: first parents, trailers.

use super::fleet::{Fleet, LOG, REPO};

/// An intent, or the closing of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) reference: String,
    /// Of an intent: the id that the ref moves from.
    pub(super) old: String,
    pub(super) new: String,
}

/// An entry of the log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) seq: usize,
    pub(super) message: String,
    /// All trailers in order, as git reads them.
    pub(super) trailers: Vec<(String, String)>,
}

impl Entry {
    /// The value of a trailer that stands there once; `None` if it does not stand there.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands twice in {}", self.message);
        all.first().copied()
    }

    /// All values of a trailer.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.trailers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(super) fn rollout(&self) -> Option<&str> {
        self.one("Tidegate-Rollout")
    }

    pub(super) fn wave(&self) -> Option<&str> {
        self.one("Tidegate-Wave")
    }

    /// The moves that it allows.
    pub(super) fn intents(&self) -> Vec<Move> {
        self.all("Tidegate-Intent")
            .into_iter()
            .map(|value| {
                let fields: Vec<&str> = value.split(' ').collect();
                let [reference, old, new] = fields.as_slice() else {
                    panic!("Tidegate-Intent: {value}");
                };
                Move {
                    reference: (*reference).to_owned(),
                    old: (*old).to_owned(),
                    new: (*new).to_owned(),
                }
            })
            .collect()
    }

    /// The moves that it closes, and how.
    pub(super) fn closed(&self) -> Vec<(String, String, String)> {
        self.all("Tidegate-Closed")
            .into_iter()
            .map(|value| {
                let fields: Vec<&str> = value.split(' ').collect();
                let [reference, new, outcome] = fields.as_slice() else {
                    panic!("Tidegate-Closed: {value}");
                };
                (
                    (*reference).to_owned(),
                    (*new).to_owned(),
                    (*outcome).to_owned(),
                )
            })
            .collect()
    }
}

/// The whole log, oldest first.
pub(super) fn read(fleet: &Fleet) -> Vec<Entry> {
    if fleet.server.tip(REPO, LOG).is_none() {
        return Vec::new();
    }
    let text = fleet.git(&[
        "log",
        "--first-parent",
        "--reverse",
        "--format=%H%x01%B%x01%(trailers:only,unfold)%x02",
        LOG,
    ]);
    text.split('\u{2}')
        .map(str::trim_start)
        .filter(|record| !record.is_empty())
        .map(|record| {
            let fields: Vec<&str> = record.split('\u{1}').collect();
            let trailers: Vec<(String, String)> = fields[2]
                .lines()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            let one = |name: &str| {
                let all: Vec<_> = trailers.iter().filter(|(key, _)| key == name).collect();
                assert_eq!(all.len(), 1, "{name} in {}", fields[1]);
                all[0].1.clone()
            };
            Entry {
                id: fields[0].to_owned(),
                kind: one("Tidegate-Entry"),
                seq: one("Tidegate-Seq").parse().unwrap(),
                message: fields[1].to_owned(),
                trailers,
            }
        })
        .collect()
}
