//! Wiring only: see `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::cli::main(std::env::args_os())
}
