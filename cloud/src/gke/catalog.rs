//! Prices from Google's billing catalogue: which of its SKUs is which price of the table. Pure.
//!
//! A SKU does not say in a field what it bills. So each price is looked for by service, region, kind of use, unit and the
//! beginning of the description. A price is refused by name if no SKU has it, or several, or if its unit, currency or
//! size is none that it can have. Nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::gke::money::{Money, Range};
use crate::gke::plan::desired::Tier;
use crate::gke::reason::Reason;

/// A part of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Among the table's sources.
    name: &'static str,
    /// Google's, which stays.
    id: &'static str,
    /// For a person.
    pub title: &'static str,
}

const GKE: Service = Service { name: "gke", id: "CCD8-9BF1-090E", title: "Kubernetes Engine" };
const COMPUTE: Service = Service { name: "compute", id: "6F81-5844-456A", title: "Compute Engine" };
const FILESTORE: Service = Service { name: "filestore", id: "D97E-AB26-5D95", title: "Filestore" };
const STORAGE: Service = Service { name: "storage", id: "95FF-2EF5-5EA1", title: "Cloud Storage" };

/// The parts that have a price of ours.
pub const SERVICES: [Service; 4] = [GKE, COMPUTE, FILESTORE, STORAGE];

impl Service {
    /// Of the API: the list of its SKUs.
    pub fn path(self) -> String {
        format!("/v1/services/{}/skus", self.id)
    }
}

/// One entry of the catalogue, as far as it is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sku {
    /// `services/CCD8-9BF1-090E/skus/0000-0000-0000`.
    name: String,
    sku_id: String,
    description: String,
    category: Category,
    service_regions: Vec<String>,
    pricing_info: Vec<PricingInfo>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Category {
    resource_group: String,
    usage_type: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PricingInfo {
    pricing_expression: PricingExpression,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PricingExpression {
    usage_unit: String,
    tiered_rates: Vec<TieredRate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TieredRate {
    unit_price: UnitPrice,
}

/// Google's form of an amount: whole units as text, and billionths.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UnitPrice {
    currency_code: String,
    units: String,
    nanos: u32,
}

impl UnitPrice {
    fn dollars(&self) -> Option<Money> {
        let whole = if self.units.is_empty() { "0" } else { &self.units };
        let amount = format!("{whole}.{:09}", self.nanos).parse().ok();
        amount.filter(|_| self.currency_code == "USD")
    }
}

/// What a price of the table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    ClusterHour,
    VcpuHour,
    /// The catalogue's for Autopilot: a thousandth of a vCPU.
    MilliCpuHour,
    GibHour,
    GibMonth,
    MillionOperations,
}

impl Unit {
    /// As the catalogue writes it.
    fn usage_unit(self) -> &'static str {
        match self {
            Self::ClusterHour | Self::VcpuHour | Self::MilliCpuHour => "h",
            Self::GibHour => "GiBy.h",
            Self::GibMonth => "GiBy.mo",
            Self::MillionOperations => "count",
        }
    }

    /// How many of the catalogue's are one of the table's.
    fn times(self) -> u128 {
        match self {
            Self::MilliCpuHour => 1000,
            Self::MillionOperations => 1_000_000,
            _ => 1,
        }
    }

    /// The least and the most that one of the table's can cost, in billionths of a dollar: a factor of 1,000 beside the
    /// price is outside.
    fn bounds(self) -> Range {
        let (low, high) = match self {
            Self::ClusterHour => (5_000_000, 5_000_000_000),
            Self::VcpuHour | Self::MilliCpuHour => (500_000, 1_000_000_000),
            Self::GibHour => (50_000, 100_000_000),
            Self::GibMonth => (2_000_000, 2_000_000_000),
            Self::MillionOperations => (50_000_000, 100_000_000_000),
        };
        Range { low: Money::of_nanos(low), high: Money::of_nanos(high) }
    }
}

/// One price of the table, and the SKU that has it.
#[derive(Clone, Debug)]
struct Wanted {
    /// Where it stands below the region.
    key: String,
    service: Service,
    /// Descriptions, of which a SKU has one. A `*` at the end stands for a place.
    descriptions: Vec<String>,
    /// `OnDemand` or `Preemptible`. None: the description says it.
    usage: Option<&'static str>,
    /// None: any.
    group: Option<&'static str>,
    unit: Unit,
}

/// What is sold as a whole or not at all.
struct Part {
    /// None: every region has it.
    optional: Option<&'static str>,
    wanted: Vec<Wanted>,
}

/// A family of machines, as its SKUs name it, and what its machines' names mean.
struct Family {
    name: &'static str,
    description: &'static str,
    gib_a_vcpu: &'static [(&'static str, u32)],
    least: u32,
    most: u32,
}

const LARGE_MEMORY: &[(&str, u32)] = &[("highcpu", 2), ("highmem", 8), ("standard", 4)];
const SMALL_MEMORY: &[(&str, u32)] = &[("highcpu", 1), ("highmem", 8), ("standard", 4)];

/// The first is the default, which every region has.
const FAMILIES: [Family; 6] = [
    Family { name: "e2", description: "E2", gib_a_vcpu: SMALL_MEMORY, least: 2, most: 32 },
    Family { name: "c3", description: "C3", gib_a_vcpu: LARGE_MEMORY, least: 4, most: 176 },
    Family { name: "n2", description: "N2", gib_a_vcpu: SMALL_MEMORY, least: 2, most: 96 },
    Family { name: "n2d", description: "N2D AMD", gib_a_vcpu: SMALL_MEMORY, least: 2, most: 96 },
    Family { name: "n4", description: "N4", gib_a_vcpu: LARGE_MEMORY, least: 2, most: 80 },
    Family { name: "t2d", description: "T2D AMD", gib_a_vcpu: &[("standard", 4)], least: 1, most: 60 },
];

/// The descriptions of Filestore's capacity. Google sells the last two tiers under one.
const TIERS: [(Tier, &str); 5] = [
    (Tier::BasicHdd, "Filestore Capacity Basic HDD *"),
    (Tier::BasicSsd, "Filestore Capacity Basic SSD *"),
    (Tier::Zonal, "Filestore Capacity Zonal *"),
    (Tier::Regional, "Filestore Capacity Regional *"),
    (Tier::Enterprise, "Filestore Capacity Regional and Enterprise *"),
];

const ON_DEMAND: Option<&str> = Some("OnDemand");
const SPOT: Option<&str> = Some("Preemptible");

fn wanted(key: impl Into<String>, service: Service, description: impl Into<String>, unit: Unit) -> Wanted {
    let descriptions = vec![description.into()];
    Wanted { key: key.into(), service, descriptions, usage: ON_DEMAND, group: None, unit }
}

/// All prices of a region's table.
fn parts() -> Vec<Part> {
    let families = FAMILIES.iter().enumerate().map(|(number, family)| Part {
        optional: (number > 0).then_some(family.name),
        wanted: of_family(family),
    });
    let tiers = TIERS.iter().enumerate().map(|(number, (tier, description))| {
        let key = format!("filestore_gib_month.{}", tier.name());
        let wanted = vec![wanted(key, FILESTORE, *description, Unit::GibMonth)];
        Part { optional: (number > 0).then_some(tier.name()), wanted }
    });
    let always = Part { optional: None, wanted: [of_clusters(), of_buckets()].concat() };
    std::iter::once(always).chain(families).chain(tiers).collect()
}

fn of_clusters() -> Vec<Wanted> {
    let autopilot = |key: &str, what: &str, unit| {
        let name = format!("Autopilot {what} Requests");
        let descriptions = vec![format!("{name} (*"), name];
        Wanted { descriptions, usage: None, ..wanted(key, GKE, "", unit) }
    };
    let disk = Wanted {
        // Some regions share a SKU, whose description names no place.
        descriptions: vec!["Balanced PD Capacity".into(), "Balanced PD Capacity in *".into()],
        ..wanted("boot_disk_gib_month", COMPUTE, "", Unit::GibMonth)
    };
    vec![
        // By the cluster's mode; the table has one price for both.
        wanted("cluster_fee", GKE, "Autopilot Kubernetes Clusters", Unit::ClusterHour),
        wanted("cluster_fee", GKE, "Zonal Kubernetes Clusters", Unit::ClusterHour),
        autopilot("autopilot_vcpu", "Pod mCPU", Unit::MilliCpuHour),
        autopilot("autopilot_gib", "Pod Memory", Unit::GibHour),
        autopilot("autopilot_spot_vcpu", "Spot Pod mCPU", Unit::MilliCpuHour),
        autopilot("autopilot_spot_gib", "Spot Pod Memory", Unit::GibHour),
        disk,
    ]
}

fn of_buckets() -> Vec<Wanted> {
    let regional = Wanted {
        // Buckets over several regions have another.
        group: Some("RegionalStorage"),
        ..wanted("bucket.gib_month", STORAGE, "Standard Storage *", Unit::GibMonth)
    };
    let operations = |key, class: &str| {
        let description = format!("Regional Standard Class {class} Operations");
        wanted(key, STORAGE, description, Unit::MillionOperations)
    };
    vec![regional, operations("bucket.writes_million", "A"), operations("bucket.reads_million", "B")]
}

fn of_family(family: &Family) -> Vec<Wanted> {
    let of = |key: &str, spot: &str, what: &str, usage, unit| {
        let description = format!("{spot}{} Instance {what} running in *", family.description);
        Wanted { usage, ..wanted(format!("machines.{}.{key}", family.name), COMPUTE, description, unit) }
    };
    vec![
        of("vcpu", "", "Core", ON_DEMAND, Unit::VcpuHour),
        of("gib", "", "Ram", ON_DEMAND, Unit::GibHour),
        of("spot.vcpu", "Spot Preemptible ", "Core", SPOT, Unit::VcpuHour),
        of("spot.gib", "Spot Preemptible ", "Ram", SPOT, Unit::GibHour),
    ]
}

/// Keeps of a long list the SKUs that have a price of ours, in any region.
#[derive(Debug)]
pub struct Sieve(Vec<Wanted>);

impl Sieve {
    pub fn new() -> Self {
        Self(parts().into_iter().flat_map(|part| part.wanted).collect())
    }

    pub fn keeps(&self, sku: &Sku) -> bool {
        self.0.iter().any(|wanted| wanted.is(sku))
    }
}

impl Default for Sieve {
    fn default() -> Self {
        Self::new()
    }
}

/// A price that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Quote {
    range: Range,
    skus: BTreeSet<String>,
    descriptions: BTreeSet<String>,
    unit: &'static str,
    service: &'static str,
}

impl Wanted {
    fn is(&self, sku: &Sku) -> bool {
        let is_described = self.descriptions.iter().any(|description| match description.strip_suffix('*') {
            Some(begin) => sku.description.starts_with(begin),
            None => sku.description == *description,
        });
        is_described
            && sku.name.split('/').nth(1) == Some(self.service.id)
            && self.usage.is_none_or(|usage| sku.category.usage_type == usage)
            && self.group.is_none_or(|group| sku.category.resource_group == group)
    }

    /// None: no SKU has it.
    fn quote(&self, skus: &[Sku], region: &str) -> Result<Option<Quote>, String> {
        let is_sold =
            |sku: &&Sku| sku.service_regions.iter().any(|place| place == region || place == "global");
        let found: Vec<&Sku> = skus.iter().filter(|sku| self.is(sku)).filter(is_sold).collect();
        match found[..] {
            [] => Ok(None),
            [sku] => {
                self.quote_of(sku).map(Some).map_err(|why| format!("{}: SKU {} {why}", self.key, sku.sku_id))
            }
            _ => {
                let ids: Vec<&str> = found.iter().map(|sku| sku.sku_id.as_str()).collect();
                Err(format!("{}: several SKUs may have it ({})", self.key, ids.join(", ")))
            }
        }
    }

    fn quote_of(&self, sku: &Sku) -> Result<Quote, String> {
        // The last is in force.
        let Some(PricingInfo { pricing_expression }) = sku.pricing_info.last() else {
            return Err("has no price".into());
        };
        let (unit, asked) = (&pricing_expression.usage_unit, self.unit.usage_unit());
        if unit != asked {
            return Err(format!("is billed by `{}` in place of {asked}", unit.escape_debug()));
        }
        let rates = pricing_expression.tiered_rates.iter().map(|rate| rate.unit_price.dollars());
        let rates: Option<Vec<Money>> = rates.collect();
        // What is free up to an amount is free once an account, not once a deployment.
        let rates = rates.ok_or("is not in dollars")?.into_iter().filter(|rate| *rate > Money::ZERO);
        let rates = rates.map(|rate| rate.scaled(self.unit.times(), 1)).collect::<BTreeSet<_>>();
        let (Some(low), Some(high)) = (rates.first(), rates.last()) else {
            return Err("is free".into());
        };
        let (range, bounds) = (Range { low: *low, high: *high }, self.unit.bounds());
        if range.low < bounds.low || range.high > bounds.high {
            return Err(format!("says {range}, and such a price is {bounds}"));
        }
        Ok(Quote {
            range,
            skus: [sku.sku_id.clone()].into(),
            descriptions: [sku.description.clone()].into(),
            unit: asked,
            service: self.service.name,
        })
    }

    fn missing(&self) -> String {
        let described = self.descriptions.join("` or `");
        format!("{}: {} has no SKU `{described}` there", self.key, self.service.title)
    }
}

/// A region's prices by their keys, and what Google does not sell there.
struct Found {
    quotes: BTreeMap<String, Quote>,
    absent: Vec<&'static str>,
}

/// What of `skus` has the prices of a region.
fn find(skus: &[Sku], region: &str) -> Result<Found, Vec<String>> {
    let mut found = Found { quotes: BTreeMap::new(), absent: Vec::new() };
    let mut lacks = Vec::new();
    for part in parts() {
        let quotes: Vec<_> = part.wanted.iter().map(|wanted| wanted.quote(skus, region)).collect();
        if let (Some(name), true) = (part.optional, quotes.iter().all(|quote| *quote == Ok(None))) {
            found.absent.push(name);
            continue;
        }
        for (wanted, quote) in part.wanted.iter().zip(quotes) {
            match quote {
                Ok(Some(quote)) => found.add(wanted.key.clone(), quote),
                Ok(None) => lacks.push(wanted.missing()),
                Err(why) => lacks.push(why),
            }
        }
    }
    if lacks.is_empty() { Ok(found) } else { Err(lacks) }
}

impl Found {
    /// Two SKUs of one price bound it.
    fn add(&mut self, key: String, quote: Quote) {
        let Some(known) = self.quotes.get_mut(&key) else {
            self.quotes.insert(key, quote);
            return;
        };
        known.range.low = known.range.low.min(quote.range.low);
        known.range.high = known.range.high.max(quote.range.high);
        known.skus.extend(quote.skus);
        known.descriptions.extend(quote.descriptions);
    }
}

/// The regions in which something of ours is sold.
fn regions(skus: &[Sku]) -> BTreeSet<&str> {
    let places = skus.iter().flat_map(|sku| &sku.service_regions).map(String::as_str);
    places.filter(|place| place.contains('-')).collect()
}

/// A file for `--prices`, and what it lacks.
#[derive(Debug)]
pub struct Table {
    pub text: String,
    /// A line a region.
    pub notes: Vec<String>,
}

/// The prices of the regions `asked`, read on the day `today`.
///
/// # Errors
/// Where a region is none, and where a price could not be found: each of them is named.
pub fn table(skus: &[Sku], asked: &[String], today: &str) -> Result<Table> {
    let known = regions(skus);
    let mut table = Table { text: heading(today), notes: Vec::new() };
    for region in asked.iter().collect::<BTreeSet<_>>() {
        let doing = format!("find the prices of {region} in Google's billing catalogue");
        if !known.contains(region.as_str()) {
            let known = known.iter().copied().collect::<Vec<_>>().join(", ");
            let why = format!("nothing is sold in such a region; the catalogue has {known}");
            return Err(Error::new(doing, why, Reason::Location));
        }
        let found =
            find(skus, region).map_err(|lacks| Error::new(doing, lacks.join("; "), Reason::Unlisted))?;
        let _ = write!(table.text, "\n{}", found.table(region, today));
        if !found.absent.is_empty() {
            let absent = found.absent.join(", ");
            table.notes.push(format!("not in the catalogue for {region}, so without a price: {absent}"));
        }
    }
    Ok(table)
}

fn heading(today: &str) -> String {
    let sources = SERVICES.map(|service| {
        format!("{} = \"https://cloudbilling.googleapis.com{}\"\n", service.name, service.path())
    });
    format!(
        "# Google's list prices, read from its billing catalogue on {today} by `cloud prices`, for `--prices FILE`. Dollars,\n\
         # before taxes and discounts. `sku` and `unit` are the catalogue's. Where it has several rates, or Autopilot and zonal\n\
         # clusters differ, `low` and `high` are the least and the most; what is free up to an amount is not subtracted.\n\
         \n\
         hours_a_month = 730\n\
         # GKE's free tier, which is not in the catalogue.\n\
         cluster_credit_a_month = \"74.40\"\n\
         \n\
         [sources]\n{}",
        sources.concat()
    )
}

impl Found {
    fn table(&self, region: &str, today: &str) -> String {
        let mut text = format!("[regions.{region}]\n");
        // Writing to a String can't fail.
        if !self.absent.is_empty() {
            let _ = writeln!(
                text,
                "# Not in the catalogue for this region, so without a price: {}.",
                self.absent.join(", ")
            );
        }
        for (key, Quote { range, skus, descriptions, unit, service }) in &self.quotes {
            let (low, high) = (range.low.exact(), range.high.exact());
            let (skus, descriptions) = (joined(skus), joined(descriptions));
            let skus = toml::Value::String(skus);
            let _ = writeln!(
                text,
                "# {descriptions}\n{key} = {{ low = \"{low}\", high = \"{high}\", sku = {skus}, unit = \"{unit}\", \
                 source = \"{service}\", as_of = \"{today}\" }}"
            );
        }
        let sold = |family: &&Family| self.quotes.contains_key(&format!("machines.{}.vcpu", family.name));
        for Family { name, gib_a_vcpu, least, most, .. } in FAMILIES.iter().filter(sold) {
            let kinds: Vec<String> = gib_a_vcpu.iter().map(|(kind, gib)| format!("{kind} = {gib}")).collect();
            let _ = writeln!(text, "machines.{name}.gib_a_vcpu = {{ {} }}", kinds.join(", "));
            let _ = writeln!(text, "machines.{name}.vcpus = {{ least = {least}, most = {most} }}");
        }
        text
    }
}

/// In one line.
fn joined(texts: &BTreeSet<String>) -> String {
    let all = texts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    all.chars().filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests;
