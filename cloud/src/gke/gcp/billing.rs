//! Cloud Billing: the catalogue of what Google sells, and for how much.

use serde::Deserialize as _;
use serde_json::Value;

use super::Google;
use super::call::PAGES_MAX;
use super::rest::array;
use crate::error::Result;
use crate::gke::catalog::{SERVICES, Sieve, Sku};

/// As many entries an answer as there may be: Compute Engine has tens of thousands.
const PAGE: &str = "5000";

impl Google {
    /// What of the catalogue has a price of the table's, in all regions.
    pub async fn skus(&self) -> Result<Vec<Sku>> {
        let (sieve, mut found) = (Sieve::new(), Vec::new());
        let query = [("currencyCode", "USD"), ("pageSize", PAGE)];
        for service in SERVICES {
            let doing = format!("read the prices of {} in Google's billing catalogue", service.title);
            let take = |answer: &Value| {
                let skus = array(answer, "skus").filter_map(|sku| Sku::deserialize(sku).ok());
                found.extend(skus.filter(|sku| sieve.keeps(sku)));
            };
            self.pages(&self.billing, &doing, &service.path(), &query, PAGES_MAX, take).await?;
        }
        Ok(found)
    }
}
