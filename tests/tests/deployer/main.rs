//! The deployer against a stand-in of Google Cloud.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bucket;
mod errors;
mod harness;
mod property;
mod requests;
mod scenarios;
