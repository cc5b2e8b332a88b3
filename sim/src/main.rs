//! The simulator's program: wiring only.

use std::process::ExitCode;

fn main() -> ExitCode {
    sim::main(std::env::args_os())
}
