//! `cloud prices`

use std::time::{Duration, UNIX_EPOCH};

use clap::Args;

use super::site::{Site, Target};
use super::terminal::print;
use crate::error::Result;
use crate::gke::catalog;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The region whose prices are read; may be given more than once.
    #[arg(long, value_name = "REGION", default_value = "us-central1")]
    region: Vec<String>,
}

/// Asks for the prices at Google, and writes them as a table for `--prices`.
pub(super) async fn run(arguments: Arguments, target: Target) -> Result<()> {
    // The file that `--prices` names may be the one that is being written.
    let site = Target { prices: None, ..target }.open().await?;
    let table = catalog::table(&site.google.skus().await?, &arguments.region, &today(&site))?;
    table.notes.iter().for_each(|note| eprintln!("{note}"));
    print(table.text.trim_end())
}

/// `2026-11-30`.
fn today(site: &Site) -> String {
    let now = UNIX_EPOCH + Duration::from_secs(site.google.clock().now_s());
    humantime::format_rfc3339_seconds(now).to_string().chars().take(10).collect()
}
