//! Harm, and what it leads to: sealing, giving back, reverting the config branch.

mod ending;
mod give_back;
mod isolation;
mod judge;
mod source_revert;

pub(super) use ending::end_with;
pub(super) use give_back::{cannot_move, is_stuck, pay_owed};
pub(super) use isolation::{is_isolated, isolate_by_request, isolated_give_backs};
pub(super) use judge::{
    deadline_passed, is_strict, is_unreachable, last_evidence, said_by_others, slowest_gate,
};

use super::state::RolloutState;
use super::turn::{Turn, Writing};

/// Goes on with a give-back or a sealing that is under way, or begins one if there is harm.
pub(super) fn go_on(turn: &mut Turn<'_>) -> Option<Writing> {
    let rollout = turn.rollout()?;
    if rollout.state == RolloutState::RollingBack {
        return give_back::roll_back(turn);
    }
    if let Some(sealing) = rollout.sealing.clone() {
        return end_with(turn, sealing);
    }
    judge::judge(turn)
}
