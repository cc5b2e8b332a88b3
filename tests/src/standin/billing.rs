//! Cloud Billing's catalogue: invented SKUs in the form of Google's.

use serde_json::{Value, json};

use super::project::Project;
use super::reply::Reply;

/// Fewer than anybody asks for, so that every list has several pages.
const PAGE: usize = 5;

/// What Google sells.
pub fn skus() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../cloud/src/gke/catalog/skus.json")).unwrap_or_default()
}

impl Project {
    /// One page of a service's SKUs.
    pub fn catalog(&self, service: &str, query: &[(String, String)]) -> Reply {
        let of =
            |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        if of("currencyCode") != "USD" {
            return Reply::error(400, "INVALID_ARGUMENT", "these prices are in USD");
        }
        let begin = format!("services/{service}/");
        let is_of = |sku: &&Value| sku["name"].as_str().is_some_and(|name| name.starts_with(&begin));
        let all: Vec<&Value> = self.skus.iter().filter(is_of).collect();
        if all.is_empty() {
            return Reply::not_found(service);
        }
        let from: usize = of("pageToken").parse().unwrap_or(0);
        let page: Vec<_> = all.iter().skip(from).take(PAGE).collect();
        let next = if from + PAGE < all.len() { (from + PAGE).to_string() } else { String::new() };
        Reply::ok(json!({"skus": page, "nextPageToken": next}))
    }
}
