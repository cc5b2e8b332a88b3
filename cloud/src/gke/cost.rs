//! What a deployment costs: before (from what is asked for), while it is up, and after a run (from
//! the seconds its pods ran). Prices come from `prices.toml`, each with its source and date.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Add;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::gke::money::{Money, Range};
use crate::gke::plan::desired::{Desired, Mode, Storage, Work};
use crate::gke::plan::observed::Resource;
use crate::gke::reason::Reason;
use crate::k8s::cluster::{PodSize, PodUse};

const TABLE: &str = include_str!("../../prices.toml");

/// A Job that may run for a shorter time than this reaches no end: it is not started.
const LEAST_RUN_S: u64 = 5 * 60;

/// The price table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    hours_a_month: u32,
    cluster_credit_a_month: Dollars,
    /// Pages by the name that prices give them.
    sources: BTreeMap<String, String>,
    /// In percent of a machine on demand, for families that have no Spot price of their own.
    spot_percent: Option<Price>,
    regions: BTreeMap<String, RegionPrices>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionPrices {
    cluster_fee: Price,
    autopilot_vcpu: Price,
    autopilot_gib: Price,
    autopilot_spot_vcpu: Price,
    autopilot_spot_gib: Price,
    boot_disk_gib_month: Price,
    machines: BTreeMap<String, Family>,
    filestore_gib_month: BTreeMap<String, Price>,
    bucket: Option<BucketPrices>,
}

/// Of a bucket: what is in it, and operations on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BucketPrices {
    gib_month: Price,
    writes_million: Price,
    reads_million: Price,
}

/// A family of machines, of which `e2-standard-4` names one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Family {
    vcpu: Price,
    gib: Price,
    spot: Option<SpotPrices>,
    /// By the middle of a machine's name.
    gib_a_vcpu: BTreeMap<String, u32>,
    vcpus: Bounds,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpotPrices {
    vcpu: Price,
    gib: Price,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    least: u32,
    most: u32,
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

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    low: Dollars,
    high: Dollars,
    source: String,
    as_of: String,
    /// In Google's billing catalogue.
    sku: Option<String>,
    /// As the catalogue has it, `GiBy.mo`.
    unit: Option<String>,
}

impl Price {
    fn range(&self) -> Range {
        Range { low: self.low.0, high: self.high.0 }
    }
}

/// Where a price can be read, and when it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// `2026-11`.
    pub as_of: String,
    pub url: String,
    /// In Google's billing catalogue, with the unit that it is billed by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// An amount, and where its prices come from.
#[derive(Clone, Debug, Default)]
struct Priced {
    range: Range,
    sources: BTreeSet<Source>,
}

impl Priced {
    fn scaled(self, times: u128, parts: u128) -> Self {
        Self { range: self.range.scaled(times, parts), ..self }
    }
}

impl Add for Priced {
    type Output = Self;
    fn add(mut self, other: Self) -> Self {
        self.sources.extend(other.sources);
        Self { range: self.range + other.range, ..self }
    }
}

/// One thing that is billed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub what: String,
    /// None: the table has no price for it.
    pub hour: Option<Range>,
    /// Where its prices come from.
    pub sources: BTreeSet<Source>,
    /// What it is billed with: the cluster, Filestore, the bucket, or the Job, which is only while workers run.
    pub with: Resource,
}

/// What a million operations on a bucket cost. How many a batch takes depends on its datasets, so no hour has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operations {
    /// Class A: writes and lists.
    pub writes_million: Range,
    /// Class B.
    pub reads_million: Range,
}

/// What a deployment costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub lines: Vec<Line>,
    /// What the table has prices for, where something has none.
    pub known: Option<String>,
    /// Of a bucket; in none of the sums. None: there is no bucket, or no price is known.
    pub operations: Option<Operations>,
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

    /// Where the prices come from.
    pub fn sources(&self) -> BTreeSet<&Source> {
        self.lines.iter().flat_map(|line| &line.sources).collect()
    }

    fn unpriced_of(&self, counts: impl Fn(&Line) -> bool) -> Vec<&str> {
        let unpriced = self.lines.iter().filter(|line| line.hour.is_none() && counts(line));
        unpriced.map(|line| line.what.as_str()).collect()
    }

    /// Refuses what may cost more than `most` dollars an hour, or an unknown amount.
    pub fn check(&self, most: Money) -> Result<()> {
        let doing = "stay below --max-cost";
        self.is_priced(doing)?;
        if self.busy_hour.high > most {
            let why =
                format!("it may cost {} an hour while running, {most} are allowed", self.busy_hour.high);
            return Err(Error::new(doing, why, Reason::MaxCost));
        }
        Ok(())
    }

    fn is_priced(&self, doing: &str) -> Result<()> {
        let [first, ..] = self.unpriced()[..] else { return Ok(()) };
        let why = format!("no price is known for {first}, so nothing can be promised");
        let known = self.known.clone().unwrap_or_default();
        Err(Error::new(doing, why, Reason::Unpriced { known }))
    }

    /// The seconds in which a run costs at most `most`, whatever the prices are within their bounds.
    ///
    /// # Errors
    /// Where something has no price, and where the time is too short for a run.
    fn seconds_for(&self, most: Money) -> Result<u64> {
        let doing = "stay below --max-run-cost";
        self.is_priced(doing)?;
        let seconds = self.busy_hour.high.seconds_for(most);
        if seconds < LEAST_RUN_S {
            let why = format!(
                "{most} are spent in {seconds} s at {} an hour, and a run needs {} minutes",
                self.busy_hour.high,
                LEAST_RUN_S / 60
            );
            return Err(Error::new(doing, why, Reason::MaxRunCost));
        }
        Ok(seconds)
    }
}

/// When Kubernetes stops the Job, even if nobody watches: the sooner of what time and money allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    pub after_s: u64,
    /// Where it is the money: how much.
    pub cost: Option<Money>,
}

impl Stop {
    /// None: the Job may take as long as it takes.
    ///
    /// # Errors
    /// Where so little money is allowed that no run comes to its end, and where something has no price.
    pub fn of(work: &Work, cost: &Estimate) -> Result<Option<Self>> {
        let by_time = work.deadline_s.map(|after_s| Self { after_s, cost: None });
        let by_cost = work
            .max_run_cost
            .map(|most| cost.seconds_for(most).map(|after_s| Self { after_s, cost: Some(most) }));
        let stops = by_time.into_iter().chain(by_cost.transpose()?);
        Ok(stops.min_by_key(|stop| stop.after_s))
    }
}

impl fmt::Display for Stop {
    /// `6h 40m, as --deadline says`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(Duration::from_secs(self.after_s)))?;
        match self.cost {
            None => f.write_str(", as --deadline says"),
            Some(most) => write!(f, ", when it may have cost the {most} of --max-run-cost"),
        }
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
        Self::parse("the built-in price table", TABLE)
    }

    /// The table in a file, or else the one that this build carries.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Self::built_in() };
        let name = format!("--prices {}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| unread(&name, error))?;
        Self::parse(&name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self> {
        let prices: Self = toml::from_str(text).map_err(|error| unread(name, error))?;
        let nowhere = prices.all().find(|price| !prices.sources.contains_key(&price.source));
        match nowhere {
            Some(price) => Err(unread(name, format!("`{}` is not among its [sources]", price.source))),
            None => Ok(prices),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Price> {
        let regions = self.regions.values().flat_map(RegionPrices::all);
        self.spot_percent.iter().chain(regions)
    }

    /// When the oldest of the prices was looked up, `2026-11`.
    pub fn as_of(&self) -> &str {
        self.all().map(|price| price.as_of.as_str()).min().unwrap_or_default()
    }

    fn priced(&self, price: &Price) -> Priced {
        let url = self.sources.get(&price.source).cloned().unwrap_or_default();
        let Price { as_of, sku, unit, .. } = price.clone();
        let source = Source { as_of, url, sku, unit };
        Priced { range: price.range(), sources: [source].into() }
    }

    /// What there are prices for, in a region or at all.
    fn known(&self, region: &str) -> String {
        let names = |names: Vec<String>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let how =
            format!("`cloud prices --region {region} > prices.toml` gets Google's, for --prices prices.toml");
        let Some(prices) = self.regions.get(region) else {
            return format!(
                "the price table knows the regions {}; {how}",
                names(self.regions.keys().cloned().collect())
            );
        };
        let kind = |(family, of): (&String, &Family)| {
            let kinds = of.gib_a_vcpu.keys().map(move |kind| format!("{family}-{kind}"));
            let (least, most) = (of.vcpus.least, of.vcpus.most);
            format!("{} of {least} to {most} vCPUs", kinds.collect::<Vec<_>>().join(", "))
        };
        format!(
            "in {region} the price table knows the machines {}, and the tiers {}; {how}",
            names(prices.machines.iter().map(kind).collect()),
            names(prices.filestore_gib_month.keys().cloned().collect())
        )
    }

    /// What `desired` costs once it is up.
    pub fn estimate(&self, desired: &Desired) -> Estimate {
        let lines = self.lines(desired);
        let sum = |running: bool| {
            let counted = lines.iter().filter(|line| running || line.with != Resource::Job);
            counted.filter_map(|line| line.hour).fold(Range::default(), |sum, hour| sum + hour)
        };
        let idle_hour = sum(false);
        let lacks = lines.iter().any(|line| line.hour.is_none());
        Estimate {
            known: lacks.then(|| self.known(&desired.region)),
            idle_month: idle_hour.scaled(u128::from(self.hours_a_month), 1),
            idle_hour,
            busy_hour: sum(true),
            credit_a_month: self.cluster_credit_a_month.0,
            operations: self.operations(desired),
            lines,
        }
    }

    fn lines(&self, desired: &Desired) -> Vec<Line> {
        let region = self.regions.get(&desired.region);
        let line = |what: String, hour: Option<Priced>, with: Resource| {
            let sources = hour.as_ref().map(|hour| hour.sources.clone()).unwrap_or_default();
            Line { what, hour: hour.map(|hour| hour.range), sources, with }
        };
        let fee = region.map(|region| self.priced(&region.cluster_fee));
        let (storage, with) = match desired.storage {
            Storage::Filestore => {
                let what = format!("Filestore {} {} GiB", desired.tier.name(), desired.capacity_gib);
                (what, Resource::Filestore)
            }
            Storage::Gcs => (format!("bucket, for {} GiB in it", desired.bucket_gib()), Resource::Bucket),
        };
        let mut lines = vec![
            line("cluster fee".into(), fee, Resource::Cluster),
            line(storage, self.storage_hour(desired), with),
        ];
        let workers = u128::from(desired.workers);
        match &desired.mode {
            Mode::Autopilot => {
                let [least, most] = desired.storage.support();
                let support = region.map(|region| {
                    let least = self.pod_hour(region, least, false);
                    let most = self.pod_hour(region, most, false).range.high;
                    Priced { range: Range { high: most, ..least.range }, ..least }
                });
                let pods = match desired.storage {
                    Storage::Filestore => "Redis and staging pods",
                    Storage::Gcs => "Redis pod",
                };
                lines.push(line(pods.into(), support, Resource::Cluster));
                let size = desired.worker_size();
                let spot = region.map(|region| self.pod_hour(region, size, true).scaled(workers, 1));
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

    fn storage_hour(&self, desired: &Desired) -> Option<Priced> {
        let region = self.regions.get(&desired.region)?;
        let (month, gib) = match desired.storage {
            Storage::Filestore => {
                (region.filestore_gib_month.get(desired.tier.name())?, desired.capacity_gib)
            }
            Storage::Gcs => (&region.bucket.as_ref()?.gib_month, desired.bucket_gib()),
        };
        Some(self.priced(month).scaled(u128::from(gib), u128::from(self.hours_a_month)))
    }

    fn operations(&self, desired: &Desired) -> Option<Operations> {
        let region = self.regions.get(&desired.region).filter(|_| desired.storage == Storage::Gcs)?;
        let BucketPrices { writes_million, reads_million, .. } = region.bucket.as_ref()?;
        Some(Operations { writes_million: writes_million.range(), reads_million: reads_million.range() })
    }

    /// A machine of a family in the table with GKE's default boot disk of 100 GiB. Spot makes the machine cheaper
    /// and not its disk.
    fn node_hour(&self, region: &RegionPrices, machine_type: &str, spot: bool) -> Option<Priced> {
        let (family, vcpus, gib) = region.machine(machine_type)?;
        let hour =
            |vcpu, gib_price| self.priced(vcpu).scaled(vcpus, 1) + self.priced(gib_price).scaled(gib, 1);
        let on_demand = hour(&family.vcpu, &family.gib);
        let machine = match (&family.spot, &self.spot_percent) {
            _ if !spot => on_demand,
            (Some(of_spot), _) => hour(&of_spot.vcpu, &of_spot.gib),
            (None, Some(percent)) => self.percent(on_demand, percent),
            (None, None) => return None,
        };
        let disk = self.priced(&region.boot_disk_gib_month).scaled(100, u128::from(self.hours_a_month));
        Some(machine + disk)
    }

    fn percent(&self, on_demand: Priced, percent: &Price) -> Priced {
        let percent = self.priced(percent);
        let range = on_demand.range.percent(percent.range);
        Priced { range, ..on_demand + percent }
    }

    fn pod_hour(&self, region: &RegionPrices, size: PodSize, spot: bool) -> Priced {
        let (vcpu, gib) = match spot {
            true => (&region.autopilot_spot_vcpu, &region.autopilot_spot_gib),
            false => (&region.autopilot_vcpu, &region.autopilot_gib),
        };
        self.priced(vcpu).scaled(u128::from(size.milli_cpu), 1000)
            + self.priced(gib).scaled(u128::from(size.mib), 1024)
    }

    /// What the pods of a run cost on Autopilot. None: no prices for the region.
    pub fn run_cost(&self, region: &str, uses: &[PodUse]) -> Option<RunCost> {
        let region = self.regions.get(region)?;
        let cost = |used: &PodUse, spot| {
            self.pod_hour(region, used.size, spot).range.scaled(u128::from(used.seconds), 3600)
        };
        Some(uses.iter().fold(RunCost::default(), |sum, used| RunCost {
            paid: sum.paid + cost(used, used.spot),
            on_demand: sum.on_demand + cost(used, false),
        }))
    }
}

impl RegionPrices {
    fn all(&self) -> impl Iterator<Item = &Price> {
        let of_spot =
            self.machines.values().flat_map(|family| &family.spot).flat_map(|of| [&of.vcpu, &of.gib]);
        let of_machines = self.machines.values().flat_map(|family| [&family.vcpu, &family.gib]);
        let of_machines = of_machines.chain(of_spot);
        let fixed = [
            &self.cluster_fee,
            &self.autopilot_vcpu,
            &self.autopilot_gib,
            &self.autopilot_spot_vcpu,
            &self.autopilot_spot_gib,
            &self.boot_disk_gib_month,
        ];
        let of_bucket =
            self.bucket.iter().flat_map(|of| [&of.gib_month, &of.writes_million, &of.reads_million]);
        fixed.into_iter().chain(of_machines).chain(of_bucket).chain(self.filestore_gib_month.values())
    }

    /// The family, the vCPUs and the GiB of `e2-standard-4`.
    fn machine(&self, machine_type: &str) -> Option<(&Family, u128, u128)> {
        let (rest, vcpus) = machine_type.rsplit_once('-')?;
        let (family, kind) = rest.split_once('-')?;
        let family = self.machines.get(family)?;
        let vcpus: u32 = vcpus.parse().ok()?;
        let gib_a_vcpu = *family.gib_a_vcpu.get(kind)?;
        let known = (family.vcpus.least..=family.vcpus.most).contains(&vcpus);
        known.then(|| (family, u128::from(vcpus), u128::from(vcpus) * u128::from(gib_a_vcpu)))
    }
}

fn unread(name: &str, why: impl fmt::Display) -> Error {
    let hint = "cloud/prices.toml is such a table, and explains each field";
    Error::with_hint(format!("read {name}"), why, hint)
}
