use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::gke::cost::Prices;
use crate::gke::plan::Desired;
use crate::gke::plan::desired::Mode;

/// Invented prices, in the form of Google's.
const SKUS: &str = include_str!("skus.json");

fn skus_with(change: impl Fn(&mut Value)) -> Vec<Sku> {
    let mut all: Vec<Value> = serde_json::from_str(SKUS).unwrap();
    all.iter_mut().for_each(change);
    all.into_iter().map(|sku| serde_json::from_value(sku).unwrap()).collect()
}

fn skus() -> Vec<Sku> {
    skus_with(|_| {})
}

/// The SKUs with one changed, or none changed.
fn changed(description: &'static str, change: impl Fn(&mut Value)) -> Vec<Sku> {
    skus_with(move |sku| {
        if sku["description"] == description {
            change(sku);
        }
    })
}

fn table_of(skus: &[Sku], regions: &[&str]) -> Result<Table> {
    let regions: Vec<_> = regions.iter().map(|region| (*region).to_owned()).collect();
    table(skus, &regions, "2026-11-30")
}

fn refused(skus: &[Sku]) -> String {
    table_of(skus, &["europe-west4"]).map(|table| table.text).unwrap_err().why
}

#[test]
fn a_regions_prices_become_a_table() {
    let table = table_of(&skus(), &["europe-west4"]).unwrap();
    insta::assert_snapshot!(table.text);
    assert_eq!(
        table.notes,
        ["not in the catalogue for europe-west4, so without a price: c3, n2d, n4, t2d, BASIC_SSD, ZONAL"]
    );
}

/// The file is what `--prices` reads, and nothing that a deployment of ours takes lacks a price.
#[test]
fn the_table_prices_what_the_defaults_take() {
    let table = table_of(&skus(), &["us-central1", "europe-west4", "us-central1"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    std::fs::write(&path, table.text).unwrap();
    let prices = Prices::read(Some(&path)).unwrap();
    assert_eq!(prices.as_of(), "2026-11-30");
    let standard = Mode::Standard { machine_type: "e2-standard-2".into(), nodes: 3, grace_s: 15 };
    for region in ["us-central1", "europe-west4"] {
        for mode in [Mode::Autopilot, standard.clone()] {
            let desired = Desired { region: region.into(), mode, ..Desired::tutorial("p") };
            let estimate = prices.estimate(&desired);
            assert_eq!(estimate.unpriced(), Vec::<&str>::new(), "{region}");
            assert!(estimate.sources().iter().all(|source| source.sku.is_some() && source.unit.is_some()));
        }
    }
    // 2 vCPUs of 0.0077 and 8 GiB of 0.00105 on Spot, three times, with three disks of 100 GiB.
    let desired = Desired { mode: standard, ..Desired::tutorial("p") };
    let spot = prices.estimate(&desired).lines.pop().unwrap().hour.unwrap();
    let disks = Money::of_nanos(100_000_000).scaled(100, 730);
    let machine = Money::of_nanos(2 * 7_700_000 + 8 * 1_050_000);
    assert_eq!(spot.low, (machine + disks).scaled(3, 1));
}

/// Each price of the default's that is not there, or not as it is looked for, is named with why.
#[test]
fn what_cannot_be_found_is_refused_by_name() {
    let core = "E2 Instance Core running in Netherlands";
    let expression = "/pricingInfo/0/pricingExpression";
    let set = |pointer: &'static str, value: Value| {
        changed(core, move |sku| *sku.pointer_mut(&format!("{expression}{pointer}")).unwrap() = value.clone())
    };
    let mut twice = skus();
    let mut other = twice.iter().find(|sku| sku.description == core).unwrap().clone();
    other.sku_id = "9999-9999-9999".into();
    twice.push(other);
    let cases = [
        changed(core, |sku| sku["description"] = "E2 Core".into()),
        changed(core, |sku| sku["serviceRegions"] = serde_json::json!(["europe-west1"])),
        changed(core, |sku| sku["category"]["usageType"] = "Commit1Yr".into()),
        changed(core, |sku| sku["pricingInfo"] = serde_json::json!([])),
        set("/usageUnit", "s".into()),
        set("/tieredRates/0/unitPrice/currencyCode", "EUR".into()),
        set("/tieredRates/0/unitPrice/nanos", 0.into()),
        set("/tieredRates/0/unitPrice/units", "22".into()),
        twice,
    ];
    insta::assert_snapshot!(cases.map(|skus| refused(&skus)).join("\n"));
    // Half of a family is no family.
    let half = changed("Spot Preemptible N2 Instance Ram running in Netherlands", |sku| {
        sku["description"] = "".into()
    });
    insta::assert_snapshot!(refused(&half));
    assert!(table_of(&half, &["us-central1"]).is_ok());
}

/// A price of a vCPU where one of its thousandth is looked for.
#[test]
fn a_price_of_another_unit_is_noticed_by_its_size() {
    let of = "Autopilot Pod mCPU Requests (europe-west4)";
    let rate = "/pricingInfo/0/pricingExpression/tieredRates/0/unitPrice/nanos";
    let skus = changed(of, |sku| *sku.pointer_mut(rate).unwrap() = 44_500_000.into());
    insta::assert_snapshot!(refused(&skus));
}

#[test]
fn a_region_that_is_none_is_refused_with_those_that_are() {
    let error = table_of(&skus(), &["mars-north1"]).map(|table| table.text).unwrap_err();
    insta::assert_snapshot!(format!("{error}\nhint: {}", error.hint.as_deref().unwrap()));
}

#[test]
fn only_what_has_a_price_of_ours_is_kept() {
    let sieve = Sieve::new();
    let kept =
        |description: &str| skus().iter().any(|sku| sku.description == description && sieve.keeps(sku));
    assert!(kept("Standard Storage Iowa") && kept("Balanced PD Capacity"));
    let others = [
        "Autoclass Standard Storage Iowa",
        "Standard Storage Iowa Dual-region",
        "Regional Balanced PD Capacity in Iowa",
        "Autopilot Balanced Pod mCPU Requests (us-central1)",
        "E2 Custom Instance Core running in Iowa",
        "Filestore Instance Capacity Zonal Iowa",
        "Multi-Region Standard Class A Operations",
    ];
    assert_eq!(others.map(kept), [false; 7]);
}

proptest! {
    /// Whatever SKUs are left, renamed or priced at random: a table that `--prices` reads, or a refusal.
    #[test]
    fn any_catalogue_gives_a_table_or_a_refusal(
        keep in proptest::collection::vec(proptest::bool::weighted(0.97), 80),
        nanos in proptest::option::of(any::<u32>()),
        text in "\\PC{0,12}|[ -~\n]{0,12}",
    ) {
        let mut skus = skus();
        let mut keep = keep.into_iter();
        skus.retain(|_| keep.next().unwrap_or(true));
        if let (Some(nanos), Some(sku)) = (nanos, skus.get_mut(3)) {
            sku.pricing_info[0].pricing_expression.tiered_rates[0].unit_price.nanos = nanos;
            sku.sku_id = text;
        }
        match table_of(&skus, &["us-central1"]) {
            Ok(table) => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("prices.toml");
                std::fs::write(&path, &table.text).unwrap();
                prop_assert!(Prices::read(Some(&path)).is_ok(), "{}", table.text);
            }
            Err(error) => prop_assert!(error.hint.is_some()),
        }
    }
}
