//! How plans and losses are shown.

use std::collections::BTreeSet;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::gke::cost::{Estimate, Operations, Stop};
use crate::gke::destroy::Loss;
use crate::gke::money::Range;
use crate::gke::plan::{Action, Plan, Resource, Step};

/// What is done, and the detail.
fn words(action: &Action) -> (&'static str, String) {
    match action {
        Action::Keep(why) => ("keep", why.clone().unwrap_or_default()),
        Action::Make(None) => ("make", String::new()),
        Action::Make(Some(why)) => ("make", format!("again: {why}")),
        Action::Change(how) => ("change", how.clone()),
        Action::Replace(why) => ("replace", why.clone()),
        Action::Wait(why) => ("wait", why.clone()),
        Action::Refuse(error) => ("refuse", error.why.clone()),
    }
}

/// The plan as a person reads it.
pub fn plan_text(plan: &Plan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for item in &plan.items {
        let (verb, detail) = words(&item.action);
        table.add_row([verb, item.resource.noun(), &item.name, &detail]);
    }
    let refusal = plan.refusal().map(|error| {
        let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        format!("\n\nrefused: {}{hint}", error.why)
    });
    let rows: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let cost = cost_text(&plan.cost);
    format!("{}\n\n{cost}{}{}", rows.join("\n"), stop_text(plan.stop), refusal.unwrap_or_default())
}

/// When the Job is stopped, on a line of its own.
pub(super) fn stop_text(stop: Option<Stop>) -> String {
    stop.map(|stop| format!("\nthe Job is stopped after {stop}")).unwrap_or_default()
}

/// The estimate as a person reads it.
pub(super) fn cost_text(cost: &Estimate) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for line in &cost.lines {
        let hour = line.hour.map_or("no price known".to_owned(), |hour| format!("{hour} an hour"));
        let when = if line.with == Resource::Job { "while running" } else { "" };
        table.add_row([line.what.as_str(), &hour, when]);
    }
    let unpriced = match cost.unpriced().is_empty() {
        true => String::new(),
        false => " or more".to_owned(),
    };
    let operations = cost.operations.map(|operations| {
        let Operations { writes_million, reads_million } = operations;
        format!(
            "\n and by use, in none of the sums: {writes_million} for a million of the bucket's writes and lists, \
             {reads_million} for a million reads"
        )
    });
    let rows: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    let sources: BTreeSet<_> = cost.sources().iter().map(|source| (&source.as_of, &source.url)).collect();
    let sources: String = sources.iter().map(|(as_of, url)| format!("\nprices of {as_of}: {url}")).collect();
    format!(
        "{}{}\n\nwhile it is up: {} an hour, {} a month{unpriced}; while workers run: {} an hour{unpriced}\n\
         (US dollars before tax; GKE's free tier gives {} a month back for one cluster){}{}",
        rows.join("\n"),
        operations.unwrap_or_default(),
        cost.idle_hour,
        cost.idle_month,
        cost.busy_hour,
        cost.credit_a_month,
        sources,
        cost.known.as_ref().map(|known| format!("\n{known}")).unwrap_or_default()
    )
}

/// The plan for programs.
pub fn plan_json(plan: &Plan) -> Value {
    let item = |item: &crate::gke::plan::Item| {
        let (verb, detail) = words(&item.action);
        json!({"resource": item.resource, "name": item.name, "action": verb, "detail": detail})
    };
    json!({
        "done": plan.next() == Step::Done,
        "items": plan.items.iter().map(item).collect::<Vec<_>>(),
        "cost": cost_json(&plan.cost),
        "stops_after_s": plan.stop.map(|stop| stop.after_s),
        "refused": plan.refusal().map(|error| json!({"why": error.why, "hint": error.hint})),
    })
}

/// An amount for programs, in dollars.
pub(super) fn range_json(range: Range) -> Value {
    json!({"low": range.low.exact(), "high": range.high.exact()})
}

/// The estimate for programs.
pub(super) fn cost_json(cost: &Estimate) -> Value {
    let line = |line: &crate::gke::cost::Line| json!({"what": line.what, "hour": line.hour.map(range_json), "billed_with": line.with, "sources": line.sources});
    let operations = cost.operations.map(|operations| {
        let Operations { writes_million, reads_million } = operations;
        json!({"writes_million": range_json(writes_million), "reads_million": range_json(reads_million)})
    });
    let mut shown = json!({
        "as_of": cost.sources().first().map(|source| &source.as_of),
        "lines": cost.lines.iter().map(line).collect::<Vec<_>>(),
        "idle_hour": range_json(cost.idle_hour),
        "idle_month": range_json(cost.idle_month),
        "busy_hour": range_json(cost.busy_hour),
        "unpriced": cost.unpriced(),
    });
    // Only a bucket has any.
    if let Some(operations) = operations {
        shown["operations"] = operations;
    }
    shown
}

/// What `destroy` would delete, and what would be lost with it.
pub fn loss_text(loss: &Loss) -> String {
    let mut lines = vec!["this will be deleted:".to_owned()];
    for doomed in loss.teardown.left() {
        lines.push(format!("  {} {} in {}", doomed.resource.noun(), doomed.name, doomed.location));
    }
    for foreign in &loss.teardown.foreign {
        let (noun, name, location) = (foreign.resource.noun(), &foreign.name, &foreign.location);
        lines.push(format!(
            "  not touched, for it lacks this deployment's labels: {noun} {name} in {location}"
        ));
    }
    match &loss.unfetched {
        Ok(files) if files.is_empty() => lines.push("no results are lost: none are left unfetched".into()),
        Ok(files) => {
            lines.push("these results were not fetched and will be lost (`cloud fetch` gets them):".into());
            lines.extend(files.iter().map(|file| format!("  {} ({} bytes)", file.path, file.bytes)));
        }
        Err(why) => lines.push(format!("results may be lost; they could not be looked at: failed to {why}")),
    }
    lines.join("\n")
}
