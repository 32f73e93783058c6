//! Intent, branch, outcome: in this order, by the moves of the server's refs as they happened.
//!
//! The log and the branches at rest cannot tell it: there an intent that was written behind its branch, or an outcome
//! that was written before it, looks like any other.

use std::collections::{BTreeMap, BTreeSet};

use git2::ObjectType;
use tidegate_waves::oid::Oid;

use super::people::LOG;
use super::server::{Move, Server};

/// A move that an entry allows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Intent {
    reference: String,
    old: Oid,
    new: Oid,
}

/// Whatever came out of order.
pub(super) fn check(server: &Server) -> Vec<String> {
    let mut replay = Replay {
        server,
        intents: Vec::new(),
        stood: BTreeMap::new(),
        damaged: BTreeSet::new(),
        done: BTreeSet::new(),
        wrong: Vec::new(),
    };
    for moved in &server.moves {
        replay.go_on(moved);
    }
    replay.wrong
}

/// The refs as they were at one moment after the other.
struct Replay<'a> {
    server: &'a Server,
    /// What the log has allowed so far.
    intents: Vec<Intent>,
    /// What each ref has been so far; zeros while it was gone.
    stood: BTreeMap<&'a str, Vec<Oid>>,
    /// The refs that people have moved other than forward.
    damaged: BTreeSet<&'a str>,
    /// What controllers have moved so far.
    done: BTreeSet<(&'a str, Oid)>,
    wrong: Vec<String>,
}

impl<'a> Replay<'a> {
    fn go_on(&mut self, moved: &'a Move) {
        let reference = moved.reference.as_str();
        let is_forward = moved.old.is_zero()
            || !moved.new.is_zero() && self.server.is_ancestor(moved.old, moved.new);
        if !is_forward {
            self.damaged.insert(reference);
        }
        self.stood.entry(reference).or_default().push(moved.new);
        if reference == LOG {
            self.entry(moved);
        } else if moved.ours {
            self.ours(moved);
        }
    }

    /// A branch moved: an intent in the log says so already, and it happens once where people left the branch alone.
    fn ours(&mut self, moved: &'a Move) {
        let allows = |intent: &Intent| {
            intent.reference == moved.reference
                && (intent.old, intent.new) == (moved.old, moved.new)
        };
        if !self.intents.iter().any(allows) {
            self.say(moved, "moved before an intent of that was in the log");
        }
        let reference = moved.reference.as_str();
        let is_first = self.done.insert((reference, moved.new));
        if !is_first && !self.damaged.contains(reference) {
            self.say(moved, "moved there a second time");
        }
    }

    /// The log moved: by one entry, whose outcomes are true by then.
    fn entry(&mut self, moved: &Move) {
        let parent = self.server.commit(moved.new).and_then(|(_, parent)| parent);
        if parent.unwrap_or(Oid::ZERO) != moved.old {
            self.say(moved, "moved by more than one entry");
        }
        for [reference, new, outcome] in trailers(self.server, moved.new, "Tidegate-Closed") {
            let Ok(new) = new.parse() else {
                self.say(moved, "closes what is no id");
                continue;
            };
            if !self.is_true(&reference, new, &outcome) {
                self.say(
                    moved,
                    &format!("closes {new} as {outcome}, which {reference} did not show by then"),
                );
            }
        }
        for [reference, old, new] in trailers(self.server, moved.new, "Tidegate-Intent") {
            match (old.parse(), new.parse()) {
                (Ok(old), Ok(new)) => self.intents.push(Intent {
                    reference,
                    old,
                    new,
                }),
                _ => self.say(moved, "allows what is no id"),
            }
        }
    }

    /// Whether the branch shows an outcome. One that people damaged need only have shown it once: it may have been seen
    /// before that.
    fn is_true(&self, reference: &str, new: Oid, outcome: &str) -> bool {
        let allows = |intent: &&Intent| intent.reference == reference && intent.new == new;
        let Some(intent) = self.intents.iter().rfind(allows) else {
            return false;
        };
        let stood = self.stood.get(reference).map(Vec::as_slice);
        let stood = stood.unwrap_or_default();
        let since = if self.damaged.contains(reference) {
            0
        } else {
            stood.len().saturating_sub(1)
        };
        let is_shown_by = |tip: Oid| {
            let holds = |commit: Oid| self.server.is_ancestor(commit, tip);
            let has_passed =
                tip != intent.old && (intent.old.is_zero() || holds(intent.old)) && !holds(new);
            match outcome {
                "applied" => holds(new),
                "overtaken" => has_passed,
                "sealed" => has_passed && self.seals(intent).any(holds),
                _ => false,
            }
        };
        stood
            .iter()
            .skip(since)
            .any(|tip| !tip.is_zero() && is_shown_by(*tip))
    }

    /// The seals that the log has allowed on the same commit.
    fn seals<'b>(&'b self, intent: &'b Intent) -> impl Iterator<Item = Oid> + 'b {
        self.intents
            .iter()
            .filter(|other| {
                other.reference == intent.reference
                    && other.old == intent.old
                    && other.new != intent.new
            })
            .map(|other| other.new)
            .filter(|seal| {
                let kinds = trailers::<1>(self.server, *seal, "Tidegate-Kind");
                kinds.iter().any(|[kind]| kind == "seal")
            })
    }

    fn say(&mut self, moved: &Move, what: &str) {
        self.wrong.push(format!(
            "journal: {} to {} at {:.1} s: {what}",
            moved.reference,
            moved.new,
            moved.at.as_secs_f64()
        ));
    }
}

/// The values of a trailer that have so many words.
fn trailers<const WORDS: usize>(server: &Server, commit: Oid, key: &str) -> Vec<[String; WORDS]> {
    let Some((ObjectType::Commit, bytes)) = server.read(commit) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(bytes);
    let (_, message) = text.split_once("\n\n").unwrap_or_default();
    message
        .lines()
        .filter_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
        .filter_map(|value| {
            let words: Vec<String> = value.split(' ').map(str::to_owned).collect();
            words.try_into().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_renderer::tree::{EMPTY_TREE, from_git};

    use super::super::objects::Object;
    use super::*;

    const WAVE: &str = "refs/heads/tidegate/canary";

    fn commit(server: &mut Server, parent: Option<Oid>, message: &str) -> Oid {
        let parent = parent.map_or_else(String::new, |parent| format!("parent {parent}\n"));
        let bytes = format!("tree {EMPTY_TREE}\n{parent}author a\n\n{message}\n").into_bytes();
        let id = git2::Oid::hash_object(ObjectType::Commit, &bytes).unwrap();
        let id = from_git(id);
        server.add(&[Object {
            id,
            kind: ObjectType::Commit,
            bytes,
        }]);
        id
    }

    fn entry(server: &mut Server, trailers: &[String]) {
        let parent = server.refs.get(LOG).copied();
        let count = server.moves.len();
        let message = format!("entry {count}\n\n{}", trailers.join("\n"));
        let entry = commit(server, parent, &message);
        moves(server, LOG, entry);
    }

    fn moves(server: &mut Server, reference: &str, to: Oid) {
        server.set(reference, to, Duration::ZERO, true);
    }

    fn allows(old: Oid, new: Oid) -> String {
        format!("Tidegate-Intent: {WAVE} {old} {new}")
    }

    fn closes(new: Oid, outcome: &str) -> String {
        format!("Tidegate-Closed: {WAVE} {new} {outcome}")
    }

    /// A branch that was made, and what is on top of it: a promotion, a seal and a person's commit.
    fn begun() -> (Server, Oid, [Oid; 3]) {
        let mut server = Server::new(false);
        let first = commit(&mut server, None, "Make it\n\nTidegate-Kind: create");
        let next = ["Tidegate-Kind: promote", "Tidegate-Kind: seal", "By hand"]
            .map(|kind| commit(&mut server, Some(first), &format!("Next\n\n{kind}")));
        entry(&mut server, &[allows(Oid::ZERO, first)]);
        moves(&mut server, WAVE, first);
        entry(&mut server, &[closes(first, "applied")]);
        (server, first, next)
    }

    fn wrong(server: &Server) -> String {
        check(server).join("\n")
    }

    #[test]
    fn intent_branch_and_outcome_in_this_order_are_right() {
        let (mut server, first, [promotion, ..]) = begun();
        entry(&mut server, &[allows(first, promotion)]);
        moves(&mut server, WAVE, promotion);
        entry(&mut server, &[closes(promotion, "applied")]);
        assert_eq!(wrong(&server), "");
    }

    #[test]
    fn a_branch_that_moves_before_its_intent_is_wrong() {
        let (mut server, first, [promotion, ..]) = begun();
        moves(&mut server, WAVE, promotion);
        entry(&mut server, &[allows(first, promotion)]);
        assert!(wrong(&server).contains("before an intent"));
    }

    #[test]
    fn an_outcome_that_is_written_before_its_branch_moves_is_wrong() {
        let (mut server, first, [promotion, ..]) = begun();
        entry(&mut server, &[allows(first, promotion)]);
        entry(&mut server, &[closes(promotion, "applied")]);
        moves(&mut server, WAVE, promotion);
        assert!(wrong(&server).contains("as applied, which"));
    }

    #[test]
    fn an_outcome_that_the_branch_contradicts_is_wrong() {
        for (lands, outcome, is_right) in [
            (None, "overtaken", false),
            (None, "sealed", false),
            (Some(0), "overtaken", false),
            (Some(0), "sealed", false),
            (Some(1), "sealed", true),
            (Some(1), "applied", false),
            (Some(2), "overtaken", true),
            (Some(2), "sealed", false),
            (Some(2), "lost", false),
        ] {
            let (mut server, first, next) = begun();
            let [promotion, seal, _] = next;
            let allowed = [allows(first, promotion), allows(first, seal)];
            entry(&mut server, &allowed);
            if let Some(lands) = lands {
                server.set(WAVE, next[lands], Duration::ZERO, lands < 2);
            }
            entry(&mut server, &[closes(promotion, outcome)]);
            let wrong = wrong(&server);
            assert_eq!(wrong.is_empty(), is_right, "{lands:?} {outcome}: {wrong}");
        }
    }

    #[test]
    fn two_entries_in_one_push_and_a_second_move_are_wrong() {
        let (mut server, ..) = begun();
        let tip = server.refs.get(LOG).copied();
        let unseen = commit(&mut server, tip, "unseen");
        let last = commit(&mut server, Some(unseen), "last");
        moves(&mut server, LOG, last);
        assert!(wrong(&server).contains("more than one entry"));
        let (mut server, first, _) = begun();
        entry(&mut server, &[allows(first, first)]);
        moves(&mut server, WAVE, first);
        assert!(wrong(&server).contains("a second time"));
    }

    #[test]
    fn what_people_damage_may_have_shown_it_before() {
        let (mut server, first, [promotion, ..]) = begun();
        entry(&mut server, &[allows(first, promotion)]);
        moves(&mut server, WAVE, promotion);
        server.set(WAVE, first, Duration::ZERO, false);
        entry(&mut server, &[closes(promotion, "applied")]);
        assert_eq!(wrong(&server), "");
        let (mut server, first, [promotion, ..]) = begun();
        server.set(WAVE, Oid::ZERO, Duration::ZERO, false);
        entry(&mut server, &[allows(first, promotion)]);
        entry(&mut server, &[closes(promotion, "applied")]);
        assert!(wrong(&server).contains("as applied, which"));
    }
}
