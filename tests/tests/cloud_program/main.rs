//! `cloud` as a person runs it, against the stand-in of Google's APIs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cli;
mod interrupted;
mod on_kind;
mod program;
