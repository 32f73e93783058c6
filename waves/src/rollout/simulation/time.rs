//! How time goes on, and who acts in it.

use std::time::Duration;

use super::auditor::expect_clean;
use super::world::{Controller, TICK, World};
use crate::log::EntryKind;

impl World {
    /// One controller looks and acts until it has nothing more to do at this moment.
    pub fn turn(&mut self, controller: usize) {
        assert!(
            self.comes_to_rest(controller),
            "it never comes to rest:\n{}",
            self.story()
        );
    }

    /// The same; tells whether it came to that.
    pub fn comes_to_rest(&mut self, controller: usize) -> bool {
        (0..100).any(|_| {
            self.think(controller);
            !self.act(controller)
        })
    }

    /// One round: everybody does what there is to do, then time goes on and regions answer.
    pub fn round(&mut self) {
        for index in 0..self.controllers.len() {
            if self.controllers[index].alive {
                self.turn(index);
            }
        }
        self.pass(TICK);
        self.sample();
    }

    /// So much time passes, with nobody looking.
    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        for controller in &mut self.controllers {
            if controller.suspended {
                controller.behind += time;
            }
        }
    }

    /// Rounds until nobody is busy, at most a virtual day.
    pub fn run(&mut self) {
        for _ in 0..2_000 {
            self.round();
            let quiet = self
                .controllers
                .iter()
                .filter(|controller| controller.alive)
                .all(|controller| !controller.busy);
            if quiet {
                expect_clean(self);
                return;
            }
        }
        panic!("it never comes to rest:\n{}", self.story());
    }

    /// Rounds for so many virtual seconds.
    pub fn run_for(&mut self, seconds: u64) {
        for _ in 0..seconds.div_ceil(TICK.as_secs()) {
            self.round();
        }
        expect_clean(self);
    }

    /// Rounds until this is so.
    pub fn run_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                expect_clean(self);
                return;
            }
            self.round();
        }
        panic!("never {what}:\n{}", self.story());
    }

    pub fn run_until_last(&mut self, kind: EntryKind) {
        let known = self.count(kind);
        self.run_until(&format!("{kind}"), |world| world.count(kind) > known);
    }

    /// The process dies and comes back without its cache.
    pub fn crash(&mut self, controller: usize) {
        let Controller { name, behind, .. } = &self.controllers[controller];
        self.controllers[controller] = Controller {
            behind: *behind,
            ..Controller::new(name)
        };
    }

    pub fn add_controller(&mut self, name: &str) -> usize {
        self.controllers.push(Controller::new(name));
        self.controllers.len() - 1
    }
}
