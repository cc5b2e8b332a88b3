//! The deployer's program, for the tests to run: only a package's own programs are built for its
//! integration tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloud::commands::main(std::env::args_os())
}
