//! The targets under libFuzzer, which brings `main` and chooses the bytes. `TIDEGATE_FUZZ_TARGET` names the target.
//!
//! One binary for all of them: it is linked once, and what the targets share is instrumented once.

#![no_main]

use std::process::exit;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tidegate_fuzz::engine::TARGET_VARIABLE;
use tidegate_fuzz::targets::{Target, by_name};

static TARGET: OnceLock<&Target> = OnceLock::new();

fn chosen() -> &'static Target {
    let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
    by_name(&name).unwrap_or_else(|| {
        eprintln!("{TARGET_VARIABLE}={name:?} names no target");
        exit(2)
    })
}

fuzz_target!(
    init: {
        let _ = TARGET.set(chosen());
    },
    |input: &[u8]| if let Some(target) = TARGET.get() {
        (target.run)(input);
    }
);
