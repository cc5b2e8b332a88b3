//! What a deployment costs: before (from what is asked for), while it is up, and after a run (from
//! the seconds its pods ran). Prices come from `prices.toml`, with its date.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::gke::SUPPORT_RAISED;
use crate::gke::money::{Money, Range};
use crate::gke::plan::desired::{Desired, Mode};
use crate::gke::plan::observed::Resource;
use crate::gke::reason::Reason;
use crate::k8s::cluster::{PodSize, PodUse, SUPPORT};

const TABLE: &str = include_str!("../../prices.toml");

/// The price table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// When the prices were looked up, `2026-11`.
    pub as_of: String,
    hours_a_month: u32,
    cluster_credit_a_month: Dollars,
    spot_percent_low: u32,
    spot_percent_high: u32,
    regions: BTreeMap<String, RegionPrices>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionPrices {
    cluster_fee: Between,
    autopilot_vcpu: Between,
    autopilot_gib: Between,
    autopilot_spot_vcpu: Between,
    autopilot_spot_gib: Between,
    e2_vcpu: Between,
    e2_gib: Between,
    boot_disk_gib_month: Between,
    filestore_gib_month: BTreeMap<String, Between>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Dollars(Money);

impl TryFrom<String> for Dollars {
    type Error = crate::gke::money::NotMoney;
    fn try_from(text: String) -> std::result::Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Between {
    low: Dollars,
    high: Dollars,
}

impl Between {
    fn range(self) -> Range {
        Range { low: self.low.0, high: self.high.0 }
    }
}

/// One thing that is billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub what: String,
    /// None: the table has no price for it.
    pub hour: Option<Range>,
    /// What it is billed with: the cluster, Filestore, or the Job, which is only while workers run.
    pub with: Resource,
}

/// What a deployment costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub as_of: String,
    pub lines: Vec<Line>,
    /// Up, with no workers.
    pub idle_hour: Range,
    pub idle_month: Range,
    /// Up, with all workers running.
    pub busy_hour: Range,
    /// GKE's monthly free tier, which may cover the cluster fee.
    pub credit_a_month: Money,
}

/// A sum in words, and what it lacks because the table has no price for it.
pub fn sum_text(sum: impl fmt::Display, unpriced: &[&str]) -> String {
    match unpriced {
        [] => sum.to_string(),
        _ => format!("{sum} or more, as no price is known for {}", unpriced.join(", ")),
    }
}

impl Estimate {
    /// What an hour costs with no workers, in words.
    pub fn idle_text(&self) -> String {
        let unpriced = self.unpriced_of(|line| line.with != Resource::Job);
        sum_text(format_args!("{} an hour", self.idle_hour), &unpriced)
    }

    /// What has no price in the table; the totals lack it.
    pub fn unpriced(&self) -> Vec<&str> {
        self.unpriced_of(|_| true)
    }

    fn unpriced_of(&self, counts: impl Fn(&Line) -> bool) -> Vec<&str> {
        let unpriced = self.lines.iter().filter(|line| line.hour.is_none() && counts(line));
        unpriced.map(|line| line.what.as_str()).collect()
    }

    /// Refuses what may cost more than `most` dollars an hour, or an unknown amount.
    pub fn check(&self, most: Money) -> Result<()> {
        let refuse = |why: String| Err(Error::new("stay below --max-cost", why, Reason::MaxCost));
        if let [first, ..] = self.unpriced()[..] {
            return refuse(format!("no price is known for {first}, so nothing can be promised"));
        }
        if self.busy_hour.high > most {
            return refuse(format!(
                "it may cost {} an hour while running, {most} are allowed",
                self.busy_hour.high
            ));
        }
        Ok(())
    }
}

/// What a run cost, and what the same seconds would have cost without Spot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCost {
    pub paid: Range,
    pub on_demand: Range,
}

impl Prices {
    /// The table that this build carries.
    pub fn built_in() -> Result<Self> {
        toml::from_str(TABLE).map_err(|error| Error::other("read the built-in price table", error))
    }

    /// What `desired` costs once it is up.
    pub fn estimate(&self, desired: &Desired) -> Estimate {
        let lines = self.lines(desired);
        let sum = |running: bool| {
            let counted = lines.iter().filter(|line| running || line.with != Resource::Job);
            counted.filter_map(|line| line.hour).fold(Range::default(), |sum, hour| sum + hour)
        };
        let idle_hour = sum(false);
        Estimate {
            as_of: self.as_of.clone(),
            idle_month: idle_hour.scaled(u128::from(self.hours_a_month), 1),
            idle_hour,
            busy_hour: sum(true),
            credit_a_month: self.cluster_credit_a_month.0,
            lines,
        }
    }

    fn lines(&self, desired: &Desired) -> Vec<Line> {
        let region = self.regions.get(&desired.region);
        let line = |what: String, hour: Option<Range>, with: Resource| Line { what, hour, with };
        let mut lines = vec![
            line("cluster fee".into(), region.map(|region| region.cluster_fee.range()), Resource::Cluster),
            line(
                format!("Filestore {} {} GiB", desired.tier.name(), desired.capacity_gib),
                self.filestore_hour(desired),
                Resource::Filestore,
            ),
        ];
        let workers = u128::from(desired.workers);
        match &desired.mode {
            Mode::Autopilot => {
                let support = region.map(|region| Range {
                    low: pod_hour(region, SUPPORT, false).low,
                    high: pod_hour(region, SUPPORT_RAISED, false).high,
                });
                lines.push(line("Redis and staging pods".into(), support, Resource::Cluster));
                let size = desired.worker_size();
                let spot = region.map(|region| pod_hour(region, size, true).scaled(workers, 1));
                lines.push(line(format!("worker pods on Spot: {workers}"), spot, Resource::Job));
                let gpus = desired.gpus();
                lines.extend((gpus > 0).then(|| line(format!("GPUs on Spot: {gpus}"), None, Resource::Job)));
            }
            Mode::Standard { machine_type, nodes, .. } => {
                let nodes = u128::from(*nodes);
                let node = |spot| region.and_then(|region| self.node_hour(region, machine_type, spot));
                lines.push(line(format!("1 {machine_type} node for Redis"), node(false), Resource::Cluster));
                let spot = node(true).map(|node| node.scaled(nodes, 1));
                lines.push(line(format!("{nodes} Spot {machine_type} nodes"), spot, Resource::Cluster));
            }
        }
        lines
    }

    fn filestore_hour(&self, desired: &Desired) -> Option<Range> {
        let month = self.regions.get(&desired.region)?.filestore_gib_month.get(desired.tier.name())?.range();
        Some(month.scaled(u128::from(desired.capacity_gib), u128::from(self.hours_a_month)))
    }

    /// A machine of the E2 family with GKE's default boot disk of 100 GiB; no other is in the table. Spot makes
    /// the machine cheaper and not its disk.
    fn node_hour(&self, region: &RegionPrices, machine_type: &str, spot: bool) -> Option<Range> {
        let (vcpus, gib) = e2_shape(machine_type)?;
        let machine = region.e2_vcpu.range().scaled(vcpus, 1) + region.e2_gib.range().scaled(gib, 1);
        let disk = region.boot_disk_gib_month.range().scaled(100, u128::from(self.hours_a_month));
        Some(if spot { self.spot(machine) } else { machine } + disk)
    }

    fn spot(&self, on_demand: Range) -> Range {
        Range {
            low: on_demand.low.scaled(u128::from(self.spot_percent_low), 100),
            high: on_demand.high.scaled(u128::from(self.spot_percent_high), 100),
        }
    }

    /// What the pods of a run cost on Autopilot. None: no prices for the region.
    pub fn run_cost(&self, region: &str, uses: &[PodUse]) -> Option<RunCost> {
        let region = self.regions.get(region)?;
        let cost =
            |used: &PodUse, spot| pod_hour(region, used.size, spot).scaled(u128::from(used.seconds), 3600);
        Some(uses.iter().fold(RunCost::default(), |sum, used| RunCost {
            paid: sum.paid + cost(used, used.spot),
            on_demand: sum.on_demand + cost(used, false),
        }))
    }
}

fn pod_hour(region: &RegionPrices, size: PodSize, spot: bool) -> Range {
    let (vcpu, gib) = match spot {
        true => (region.autopilot_spot_vcpu, region.autopilot_spot_gib),
        false => (region.autopilot_vcpu, region.autopilot_gib),
    };
    vcpu.range().scaled(u128::from(size.milli_cpu), 1000) + gib.range().scaled(u128::from(size.mib), 1024)
}

/// vCPUs and GiB of `e2-standard-N`, `e2-highmem-N` and `e2-highcpu-N`.
fn e2_shape(machine_type: &str) -> Option<(u128, u128)> {
    let (family, vcpus) = machine_type.rsplit_once('-')?;
    let vcpus: u128 = vcpus.parse().ok().filter(|vcpus| (2..=32).contains(vcpus))?;
    let gib_a_vcpu = match family {
        "e2-standard" => 4,
        "e2-highmem" => 8,
        "e2-highcpu" => 1,
        _ => return None,
    };
    Some((vcpus, vcpus * gib_a_vcpu))
}
