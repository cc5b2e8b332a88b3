//! The simulator's program: wiring only.

use std::process::ExitCode;

/// A simulated schedule is mostly small strings that come and go, on every core.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sim::main(std::env::args_os())
}
