//! The remote as an engine reaches it: a bare repository of its own, and the server in memory behind a network.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use git2::Repository;
use tidegate_controller::engine::PUSH_DEADLINE;
use tidegate_controller::engine::ports::{RefView, Remote};
use tidegate_controller::git::failure::RemoteError;
use tidegate_controller::git::history::History;
use tidegate_waves::oid::Oid;
use tidegate_waves::rollout::{PushOrder, PushOutcome, PushReport};

use super::objects;
use super::people::{LOG, MAIN};
use super::server::Update;
use super::world::Shared;

/// The longest way of a message to the server, or back, in milliseconds.
const WAY: u64 = 150;

/// By then a push that arrived has its answer.
const ANSWERED_AFTER: Duration = Duration::from_millis(WAY + 200);

/// After so many packs they are taken apart, as `git repack` would gather them.
const MOST_PACKS: usize = 40;

/// One controller's remote.
pub(super) struct SimulatedRemote {
    world: Shared,
    mirror: PathBuf,
    generation: u64,
}

/// Makes an empty mirror where there is none.
pub(super) fn make_mirror(mirror: &Path) -> Result<(), git2::Error> {
    if !mirror.join("HEAD").exists() {
        Repository::init_bare(mirror)?;
    }
    Ok(())
}

/// Whether nothing can be written into a mirror.
pub(super) fn is_full(mirror: &Path) -> bool {
    mirror.join("objects/pack").is_file()
}

/// Lets nothing be written into a mirror any more, as on a disk that is full, or lets it again.
pub(super) fn fill(mirror: &Path, full: bool) -> io::Result<()> {
    let packs = mirror.join("objects/pack");
    if full == is_full(mirror) || !mirror.exists() {
        return Ok(());
    }
    if full {
        take_apart(mirror).map_err(io::Error::other)?;
        fs::remove_dir_all(&packs)?;
        fs::write(&packs, "")
    } else {
        fs::remove_file(&packs)?;
        fs::create_dir(&packs)
    }
}

/// Writes the objects of all packs by themselves, and removes the packs.
fn take_apart(mirror: &Path) -> Result<(), git2::Error> {
    let packs = mirror.join("objects/pack");
    let mut packed = Vec::new();
    {
        let repository = Repository::open_bare(mirror)?;
        let odb = repository.odb()?;
        let mut ids = Vec::new();
        odb.foreach(|id| {
            ids.push(*id);
            true
        })?;
        for id in ids {
            let hex = id.to_string();
            let (folder, file) = hex.split_at(2);
            if !mirror.join("objects").join(folder).join(file).exists() {
                let object = odb.read(id)?;
                packed.push((object.kind(), object.data().to_vec()));
            }
        }
    }
    // Nothing is left of them for the database that the objects are written to, which would take them for there.
    for entry in fs::read_dir(&packs).into_iter().flatten().flatten() {
        let _ = fs::remove_file(entry.path());
    }
    let repository = Repository::open_bare(mirror)?;
    let odb = repository.odb()?;
    for (kind, bytes) in packed {
        odb.write(kind, &bytes)?;
    }
    Ok(())
}

impl SimulatedRemote {
    pub(super) fn new(world: Shared, mirror: PathBuf) -> Self {
        Self {
            world,
            mirror,
            generation: 0,
        }
    }

    async fn way(&self) {
        let way = self.world.get().latency(WAY);
        tokio::time::sleep(way).await;
    }

    fn damaged(error: &git2::Error) -> RemoteError {
        RemoteError::MirrorDamaged {
            remote: "simulated".to_owned(),
            message: error.message().to_owned(),
        }
    }

    /// Brings what the view names into the mirror.
    fn fetch(&self, view: &RefView) -> Result<(), RemoteError> {
        let repository =
            Repository::open_bare(&self.mirror).map_err(|error| Self::damaged(&error))?;
        let wanted: Vec<Oid> = view.refs.values().copied().collect();
        let missing = objects::closure(
            &wanted,
            |id| objects::has(&repository, id),
            |id| {
                let world = self.world.get();
                let found = world
                    .server
                    .read(id)
                    .map(|(kind, bytes)| (kind, bytes.to_vec()));
                found.ok_or_else(|| RemoteError::MirrorDamaged {
                    remote: "simulated".to_owned(),
                    message: format!("the server itself lacks {id}"),
                })
            },
        )?;
        if !missing.is_empty() && is_full(&self.mirror) {
            return Err(RemoteError::DiskFull {
                remote: "simulated".to_owned(),
                message: "no space left on device".to_owned(),
            });
        }
        objects::write(&repository, &missing).map_err(|error| Self::damaged(&error))
    }

    /// What is checked before anything is sent, and what is to be sent. What cannot be right is not sent, as by the real
    /// remote; that an engine asked for it is wrong all the same.
    fn prepare(&self, order: &PushOrder) -> Option<Update> {
        let prepared = self.update(order);
        let mut world = self.world.get();
        let what = match prepared {
            Ok(Some(objects)) => {
                return Some(Update {
                    reference: order.reference.clone(),
                    old: order.old,
                    new: order.new,
                    objects: Arc::new(objects),
                });
            }
            Ok(None) => "which is no fast-forward".to_owned(),
            Err(error) => format!("of which its mirror lacks something: {error}"),
        };
        world.server.wrong.push(format!(
            "{} was to go from {} to {}, {what}",
            order.reference, order.old, order.new
        ));
        None
    }

    /// The objects that the server lacks; `None` if the ref would not go forward.
    fn update(&self, order: &PushOrder) -> Result<Option<Vec<objects::Object>>, Box<dyn Error>> {
        if order.new.is_zero() {
            return Ok(None);
        }
        let history = History::open(&self.mirror)?;
        history.commit(order.new)?;
        if !order.old.is_zero() && !history.is_ancestor(order.old, order.new)? {
            return Ok(None);
        }
        let world = self.world.get();
        let found = objects::gather(&self.mirror, &[order.new], |id| world.server.has(id))?;
        Ok(Some(found))
    }

    fn all(orders: &[PushOrder], outcome: &PushOutcome) -> Vec<PushReport> {
        let report = |order: &PushOrder| PushReport {
            reference: order.reference.clone(),
            new: order.new,
            outcome: outcome.clone(),
        };
        orders.iter().map(report).collect()
    }
}

impl Remote for SimulatedRemote {
    /// The log first, the other branches later: the least that the contract allows.
    async fn refresh(&mut self) -> Result<RefView, RemoteError> {
        self.way().await;
        if self.world.get().server.is_down {
            return Err(RemoteError::Unreachable {
                remote: "simulated".to_owned(),
                message: "connection refused".to_owned(),
            });
        }
        let log = self.world.get().server.refs.get(LOG).copied();
        self.way().await;
        let mut refs = self.world.get().server.refs.clone();
        match log {
            Some(log) => refs.insert(LOG.to_owned(), log),
            None => refs.remove(LOG),
        };
        let view = RefView {
            head: Some(MAIN.to_owned()),
            refs,
        };
        self.fetch(&view)?;
        self.way().await;
        Ok(view)
    }

    async fn push(&mut self, orders: &[PushOrder]) -> Vec<PushReport> {
        let mut updates = Vec::new();
        for order in orders {
            match self.prepare(order) {
                Some(update) => updates.push(update),
                // Nothing is sent of a push that cannot be right.
                None => return Self::all(orders, &PushOutcome::Ambiguous),
            }
        }
        if self.world.get().server.is_down {
            self.way().await;
            return Self::all(orders, &PushOutcome::Ambiguous);
        }
        let tickets = self.world.get().send(updates);
        let Some(tickets) = tickets else {
            self.way().await;
            let message = "atomic push failed: a ref is protected".to_owned();
            return Self::all(orders, &PushOutcome::Refused { message });
        };
        tokio::time::sleep(ANSWERED_AFTER).await;
        let mut reports = Vec::new();
        let mut waited = false;
        for (order, ticket) in orders.iter().zip(tickets) {
            let outcome = self.world.get().server.answer(ticket);
            if outcome == PushOutcome::Ambiguous && !waited {
                // Some connections break, others are silent until the deadline.
                waited = true;
                let silent = self.world.get().random.u8(..4) == 0;
                if silent {
                    tokio::time::sleep(PUSH_DEADLINE.saturating_sub(ANSWERED_AFTER)).await;
                }
            }
            reports.push(PushReport {
                reference: order.reference.clone(),
                new: order.new,
                outcome,
            });
        }
        reports
    }

    async fn tidy(&mut self) -> Result<(), RemoteError> {
        let packs = fs::read_dir(self.mirror.join("objects/pack"))
            .map(|entries| entries.flatten().count() / 2)
            .unwrap_or_default();
        if packs < MOST_PACKS {
            return Ok(());
        }
        take_apart(&self.mirror).map_err(|error| Self::damaged(&error))
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn discard(&mut self) -> Result<(), RemoteError> {
        self.generation += 1;
        let _ = fs::remove_dir_all(&self.mirror);
        make_mirror(&self.mirror).map_err(|error| Self::damaged(&error))
    }

    fn leave_out(&mut self, _needed: Oid) -> bool {
        // Nobody here pushes commits that cannot be read.
        false
    }
}

impl super::world::World {
    /// Sends updates in one push; `None` where the server refuses it whole.
    fn send(&mut self, updates: Vec<Update>) -> Option<Vec<u64>> {
        use tidegate_waves::rollout::simulation::network::Fault;
        let server = &self.server;
        let refused =
            |update: &Update| server.faults.get(&update.reference) == Some(&Fault::Refused);
        if server.refuses_whole && updates.len() > 1 && updates.iter().any(refused) {
            return None;
        }
        let tickets = updates
            .into_iter()
            .map(|update| {
                let arrives = self.now + self.latency(WAY);
                self.server.send(update, arrives)
            })
            .collect();
        Some(tickets)
    }
}

#[cfg(test)]
mod tests;
