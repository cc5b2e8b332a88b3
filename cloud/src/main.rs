//! `cloud`: wiring only.

use std::process::ExitCode;

fn main() -> ExitCode {
    cloud::commands::main(std::env::args_os())
}
