//! One turn: the order in which the rules are asked, and what they share.

use std::time::Duration;

use super::decision::{Append, Place, Probe, PushOrder, Step};
use super::judged::Judged;
use super::observation::{Now, Observations, Phase};
use super::state::{FleetState, Hold, HoldReason, RegionState, Rollout, RolloutState, Sealing};
use super::watch::Watch;
use super::{branches, failure, holds, opening, progress, requests};
use crate::gate::Reading;
use crate::log::{Closing, DraftIntent, Entry, EntryKind, MoveKind};

/// The interval of `Progress` entries for a fleet without gates.
const PROGRESS_WITHOUT_GATES: Duration = Duration::from_secs(10);

/// Regions that wait for their wave are sampled this many times more slowly than promoted ones.
const SLOWER_WHILE_WAITING: u32 = 6;

/// How soon to look again where nothing is awaited.
const SELDOM: Duration = Duration::from_secs(10);

/// How long to wait after a refused push, the first time; doubled up to 64 times.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// What the rules of one turn share: the state as the log has it, and the state as it would be after the
/// entry that this turn may write.
pub(super) struct Turn<'a> {
    pub(super) before: &'a FleetState,
    pub(super) next: FleetState,
    pub(super) watch: Watch,
    pub(super) seen: &'a Observations,
    pub(super) now: Now,
    /// Intents that facts have closed; they ride on the next entry.
    pub(super) closed: Vec<Closing>,
    /// What changed, one line each; rides on the next entry.
    pub(super) lines: Vec<String>,
    /// Whether a closing may not wait for the next entry.
    pub(super) urgent: bool,
}

/// What a rule wants written.
pub(super) struct Writing {
    pub(super) entry: Entry,
    pub(super) drafts: Vec<DraftIntent>,
}

impl Writing {
    pub(super) fn new(kind: EntryKind, subject: impl Into<String>) -> Self {
        Self {
            entry: Entry::new(kind, subject),
            drafts: Vec::new(),
        }
    }

    pub(super) fn wave(mut self, wave: &str) -> Self {
        self.entry.wave = Some(wave.to_owned());
        self
    }

    pub(super) fn drafts(mut self, drafts: Vec<DraftIntent>) -> Self {
        self.drafts = drafts;
        self
    }
}

/// Decides what to do next.
///
/// Pure: the same arguments give the same step. See [`Step`] for what it means and for what must be done
/// first.
#[must_use]
pub fn decide(state: &FleetState, watch: &Watch, seen: &Observations, now: Now) -> Step {
    let mut turn = Turn {
        before: state,
        next: state.clone(),
        watch: watch.clone(),
        seen,
        now,
        closed: Vec::new(),
        lines: Vec::new(),
        urgent: false,
    };
    turn.watch.update(state, seen, now);
    branches::close_intents(&mut turn);
    let writing = branches::find_drift(&mut turn)
        .or_else(|| branches::find_damage(&mut turn))
        .or_else(|| failure::pay_owed(&mut turn))
        .or_else(|| holds::end_requested(&mut turn))
        .or_else(|| holds::end_left_behind(&mut turn))
        .or_else(|| failure::go_on(&mut turn))
        .or_else(|| requests::answer(&mut turn))
        .or_else(|| opening::taken_off(&mut turn))
        .or_else(|| progress::go_on(&mut turn))
        .or_else(|| opening::look(&mut turn))
        .or_else(|| {
            turn.urgent
                .then(|| Writing::new(EntryKind::Applied, "intents were closed"))
        })
        .or_else(|| progress::report(&mut turn));
    turn.finish(writing)
}

impl Turn<'_> {
    pub(super) fn rollout(&self) -> Option<&Rollout> {
        self.next.active()
    }

    pub(super) fn rollout_mut(&mut self) -> Option<&mut Rollout> {
        self.next
            .rollout
            .as_mut()
            .filter(|rollout| !rollout.state.is_terminal())
    }

    /// Changes a region's state and says so in a line.
    pub(super) fn move_region(&mut self, region: &str, state: RegionState, reason: Option<String>) {
        let wall = self.now.wall;
        let Some(rollout) = self.next.rollout.as_mut() else {
            return;
        };
        let Some(run) = rollout.region_mut(region) else {
            return;
        };
        if run.state == state {
            return;
        }
        let line = match &reason {
            Some(reason) => format!("{region}: {:?} -> {state:?}: {reason}", run.state),
            None => format!("{region}: {:?} -> {state:?}", run.state),
        };
        run.state = state;
        run.since = wall;
        if reason.is_some() {
            run.reason = reason;
        }
        self.lines.push(line);
    }

    /// A region's tree is on its branch: from now on it is judged, unless nobody waits for it.
    pub(super) fn arrive(&mut self, region: &str) {
        let left_out = self
            .rollout()
            .and_then(|rollout| rollout.region(region))
            .is_some_and(|(_, run)| run.left_out.is_some());
        let state = if left_out {
            RegionState::Skipped
        } else {
            RegionState::Applying
        };
        self.move_region(region, state, None);
    }

    /// Adds a hold unless one with the same reason, wave and regions stands; tells whether it is new.
    pub(super) fn add_hold(&mut self, hold: Hold) -> bool {
        let known = self.next.holds.iter().any(|known| {
            known.reason == hold.reason
                && known.wave == hold.wave
                && known.regions == hold.regions
                && known.source == hold.source
                && known.rollout == hold.rollout
        });
        if !known {
            self.next.holds.push(hold);
        }
        !known
    }

    /// A hold with what is known here.
    pub(super) fn hold(&self, reason: HoldReason, message: impl Into<String>) -> Hold {
        Hold {
            reason,
            since: self.now.wall,
            message: message.into(),
            source: None,
            rollout: self.rollout().map(|rollout| rollout.id.clone()),
            wave: None,
            regions: Vec::new(),
            until: None,
        }
    }

    /// Whether an intent on this ref is open (seals aside), as of the state after this turn's closings.
    pub(super) fn is_busy(&self, reference: &str) -> bool {
        self.next.open_intent(reference).is_some()
    }

    /// How often regions of the active rollout change state at most, in the log.
    fn progress_interval(&self) -> Duration {
        self.rollout()
            .and_then(|rollout| {
                rollout
                    .plan
                    .policy
                    .gates
                    .iter()
                    .map(|gate| gate.sampling.every)
                    .min()
            })
            .unwrap_or(PROGRESS_WITHOUT_GATES)
    }

    /// Whether a gate interval has passed since the log's newest entry.
    pub(super) fn progress_is_due(&self) -> bool {
        let since = self.watch.entry.map_or(Duration::ZERO, |(_, at)| {
            self.now.monotonic.saturating_sub(at)
        });
        since >= self.progress_interval()
    }

    /// Whether slots that came free have been gathered for a gate interval.
    pub(super) fn slots_are_gathered(&mut self) -> bool {
        let since = *self
            .watch
            .slots_free_since
            .get_or_insert(self.now.monotonic);
        self.now.monotonic.saturating_sub(since) >= self.progress_interval()
    }

    fn finish(mut self, writing: Option<Writing>) -> Step {
        let probes = self.probes();
        let append = writing.map(|writing| self.append(writing));
        let pushes = if append.is_some() {
            Vec::new()
        } else {
            self.pushes()
        };
        let busy = append.is_some()
            || !pushes.is_empty()
            || self
                .before
                .intents
                .iter()
                .any(|intent| failure::cannot_move(&self, intent).is_none())
            || (!self.is_ending() && self.watch.any_suspect())
            || self.is_waiting_for_time();
        let mut step = Step {
            watch: std::mem::take(&mut self.watch),
            append,
            pushes,
            probes,
            wake_after: None,
            busy,
        };
        step.wake_after = if busy {
            Some(Duration::from_secs(1))
        } else if !self.before.intents.is_empty()
            || self.before.holds.iter().any(|hold| hold.until.is_some())
        {
            // A refused push is tried again, and a hold may have an end, though nobody needs to wait for it.
            Some(SELDOM)
        } else {
            None
        };
        self.yield_to_the_holder(&mut step);
        step
    }

    fn append(&mut self, writing: Writing) -> Box<Append> {
        let Writing { mut entry, drafts } = writing;
        let mut next = self.next.clone();
        next.seq = self.before.seq.saturating_add(1);
        next.moved = next.seq;
        next.holder.clone_from(&self.seen.me);
        progress::show(&mut next, self.now.wall);
        entry.closed = std::mem::take(&mut self.closed);
        entry.lines.append(&mut self.lines);
        if entry.rollout.is_none() {
            entry.rollout = next
                .rollout
                .as_ref()
                .filter(|rollout| self.before.active().is_some() || !rollout.state.is_terminal())
                .map(|rollout| rollout.id.clone());
        }
        if entry.source.is_none() && entry.rollout.is_some() {
            entry.source = next.rollout.as_ref().map(|rollout| rollout.source);
        }
        Box::new(Append {
            entry,
            drafts,
            next,
        })
    }

    /// Carries out the open intents that are still wanted and whose ref stands where they begin.
    fn pushes(&self) -> Vec<PushOrder> {
        let state = self.before;
        let sealed = |reference: &str, old| {
            state.intents.iter().any(|intent| {
                intent.draft.kind == MoveKind::Seal
                    && intent.draft.reference == reference
                    && intent.draft.old == old
            })
        };
        let sealing = state
            .active()
            .is_some_and(|rollout| rollout.sealing.is_some());
        state
            .intents
            .iter()
            .filter(|intent| {
                let draft = &intent.draft;
                let stands_at_old = match self.seen.branches.get(&draft.reference) {
                    Some(view) => view.tip == draft.old,
                    None => draft.old.is_zero(),
                };
                let unwanted = draft.kind == MoveKind::Promote
                    && (sealing || sealed(&draft.reference, draft.old));
                stands_at_old && !unwanted && !self.is_paused(&draft.reference, intent.new)
            })
            .map(|intent| PushOrder {
                reference: intent.draft.reference.clone(),
                old: intent.draft.old,
                new: intent.new,
            })
            .collect()
    }

    fn is_paused(&self, reference: &str, new: crate::oid::Oid) -> bool {
        self.watch
            .refused
            .get(&(reference.to_owned(), new))
            .is_some_and(|refusal| {
                let pause =
                    REFUSED_PAUSE.saturating_mul(1 << refusal.count.saturating_sub(1).min(6));
                self.now.monotonic.saturating_sub(refusal.last) < pause
            })
    }

    /// Whether samples or time alone may change something.
    fn is_waiting_for_time(&self) -> bool {
        let Some(rollout) = self.before.active() else {
            return false;
        };
        if self.is_ending() {
            return !self.ending_waits_for_a_person(rollout);
        }
        let current = rollout.waves.iter().find(|wave| !wave.state.is_passed());
        // Everything that could still go on in the wave waits for a person who holds it region by region.
        let held_for_good = |region: &str| {
            self.before.holds.iter().any(|hold| {
                hold.until.is_none()
                    && matches!(holds::reach(hold, self.before), holds::Reach::Regions(held)
                        if held.iter().any(|held| held == region))
            })
        };
        let all_held = current.is_some_and(|wave| {
            let mut waiting = wave
                .regions
                .iter()
                .filter(|(_, run)| !run.state.is_settled())
                .peekable();
            waiting.peek().is_some()
                && waiting
                    .all(|(region, run)| run.state == RegionState::Pending && held_for_good(region))
        });
        let current = current.map(|wave| wave.name.as_str());
        let stopped_for_good = self.before.holds.iter().any(|hold| {
            let reaches = match holds::reach(hold, self.before) {
                holds::Reach::Everything => true,
                holds::Reach::Wave(wave) => Some(wave) == current,
                holds::Reach::Regions(_) | holds::Reach::Nothing => false,
            };
            reaches && !hold.reason.may_end_by_itself() && hold.until.is_none()
        });
        !(stopped_for_good || all_held)
    }

    /// Whether the rollout is being ended: nothing is judged any more.
    fn is_ending(&self) -> bool {
        self.before.active().is_some_and(|rollout| {
            rollout.sealing.is_some() || rollout.state == RolloutState::RollingBack
        })
    }

    /// Whether an ending that waits for every move of a wave branch, however long it takes, waits for one that cannot be
    /// made: its branch was deleted or rewritten, or the server refuses it. (A failure waits for moves for a while only.)
    fn ending_waits_for_a_person(&self, rollout: &Rollout) -> bool {
        matches!(
            rollout.sealing,
            Some(Sealing::Aborted { .. } | Sealing::Superseded { .. })
        ) && self
            .before
            .intents
            .iter()
            .filter(|intent| intent.draft.kind != MoveKind::SourceRevert)
            .any(|intent| failure::cannot_move(self, intent).is_some())
    }

    /// What is to be sampled: promoted regions with the plan's gates, waiting ones, more slowly, with those of
    /// their last good.
    fn probes(&mut self) -> Vec<Probe> {
        let Some(rollout) = self
            .before
            .active()
            .filter(|rollout| rollout.state != RolloutState::RollingBack)
        else {
            return self.probes_of_what_was_given_back();
        };
        let suspect = self.watch.any_suspect();
        let current = rollout
            .waves
            .iter()
            .position(|wave| !wave.state.is_passed())
            .unwrap_or(usize::MAX);
        let mut probes = Vec::new();
        for (index, wave) in rollout.waves.iter().enumerate() {
            for (region, run) in &wave.regions {
                let judged = (run.state.is_watched() || run.state == RegionState::Pending)
                    .then(|| Judged::of(self.before, rollout, region, run))
                    .flatten();
                if let Some(judged) = judged {
                    let watch = self.watch.regions.get(region);
                    let applied = watch
                        .and_then(|watch| watch.applied)
                        .unwrap_or(self.now.monotonic);
                    for gate in &judged.gates {
                        probes.push(Probe {
                            rollout: rollout.id.clone(),
                            region: region.clone(),
                            phase: Phase::After,
                            gate: (*gate).clone(),
                            older: judged.older(gate),
                            place: judged.place(self.before, &wave.name, region),
                            anew: watch.map_or(0, |watch| watch.anew),
                            every: gate.sampling.every,
                            not_before: judged.counts_from(gate, applied),
                            is_awaited: false,
                        });
                    }
                } else if run.state == RegionState::Pending
                    && let Some(good) = self.before.last_good.get(region)
                {
                    let waiting = self.watch.regions.entry(region.clone()).or_default();
                    let placed = self.before.placements.get(region);
                    let stands_on = placed.map_or(&wave.name, |placed| &placed.wave);
                    let place = Place::of(self.before, stands_on, region, good.tree, &[]);
                    for gate in &good.gates {
                        let known = waiting
                            .before
                            .get(&gate.name)
                            .and_then(crate::gate::GateFold::last)
                            .is_some_and(|(_, sample)| {
                                waiting.asked_since.is_none()
                                    || matches!(sample.reading, Reading::Healthy { .. })
                            });
                        let is_awaited = index == current && !known;
                        let every = if is_awaited {
                            gate.sampling.timeout
                        } else if suspect {
                            gate.sampling.every
                        } else {
                            gate.sampling.every.saturating_mul(SLOWER_WHILE_WAITING)
                        };
                        probes.push(Probe {
                            rollout: rollout.id.clone(),
                            region: region.clone(),
                            phase: Phase::Before,
                            gate: gate.clone(),
                            older: Vec::new(),
                            place: place.clone(),
                            anew: 0,
                            every,
                            not_before: Duration::ZERO,
                            is_awaited,
                        });
                    }
                }
            }
        }
        probes
    }

    /// Regions that have what they had before the newest rollout failed, for gates that can hurry them there.
    fn probes_of_what_was_given_back(&self) -> Vec<Probe> {
        let Some(rollout) = self.before.rollout.as_ref().filter(|rollout| {
            matches!(
                rollout.state,
                RolloutState::RollingBack
                    | RolloutState::RolledBack
                    | RolloutState::RollbackIncomplete
            )
        }) else {
            return Vec::new();
        };
        let mut probes = Vec::new();
        for (region, run) in rollout.waves.iter().flat_map(|wave| &wave.regions) {
            let (RegionState::Reverted, Some(good), Some(placed)) = (
                run.state,
                self.before.last_good.get(region),
                self.before.placements.get(region),
            ) else {
                continue;
            };
            let Some(tree) = self.before.folder(&placed.wave, region) else {
                continue;
            };
            let older: Vec<_> = rollout
                .plan
                .regions
                .get(region)
                .map(|planned| planned.tree)
                .into_iter()
                .collect();
            for gate in good.gates.iter().filter(|gate| gate.check.hurries()) {
                probes.push(Probe {
                    rollout: rollout.id.clone(),
                    region: region.clone(),
                    phase: Phase::GivenBack,
                    gate: gate.clone(),
                    older: Vec::new(),
                    place: Place::of(self.before, &placed.wave, region, tree, &older),
                    anew: 0,
                    every: gate.sampling.every,
                    not_before: Duration::ZERO,
                    is_awaited: true,
                });
            }
        }
        probes
    }

    /// Another controller's work is left to it until its log has stood still, with work due, for long enough.
    fn yield_to_the_holder(&mut self, step: &mut Step) {
        let mine = self.before.holder == self.seen.me;
        let nothing_open = self.before.active().is_none() && self.before.intents.is_empty();
        let due = step.append.is_some() || !step.pushes.is_empty();
        if mine || nothing_open || !due {
            step.watch.stalled = None;
            return;
        }
        let since = match step.watch.stalled {
            Some((moved, since)) if moved == self.before.moved => since,
            _ => self.now.monotonic,
        };
        step.watch.stalled = Some((self.before.moved, since));
        step.append = None;
        step.pushes.clear();
        if self.now.monotonic.saturating_sub(since) < self.seen.takeover_after {
            return;
        }
        let mut next = self.before.clone();
        next.seq = next.seq.saturating_add(1);
        next.epoch = next.epoch.saturating_add(1);
        next.holder.clone_from(&self.seen.me);
        let mut entry = Entry::new(
            EntryKind::TakeOver,
            format!("controller {} goes on", self.seen.me),
        );
        entry.lines.push(format!(
            "the log had stood still with work due, last written by {}",
            self.before.holder
        ));
        entry.rollout = self.before.active().map(|rollout| rollout.id.clone());
        step.watch.stalled = None;
        step.append = Some(Box::new(Append {
            entry,
            drafts: Vec::new(),
            next,
        }));
    }
}
