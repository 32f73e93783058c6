//! The program `tidegate`.

use std::process::ExitCode;

/// A controller works in bursts, on whichever thread is free; glibc's allocator keeps what each thread once needed,
/// which comes to several times of what is in use (see docs: performance).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tidegate_controller::cli::run(std::env::args_os())
}
