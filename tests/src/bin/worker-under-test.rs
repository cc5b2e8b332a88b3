//! The worker's program, for images that tests run: only a package's own programs are built for its
//! integration tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::cli::main(std::env::args_os())
}
