//! The program `tidegate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate_controller::cli::run(std::env::args_os())
}
