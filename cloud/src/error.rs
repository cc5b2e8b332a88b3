//! Errors for the person who reads them: what was tried, why it failed, what to do next.

/// What went wrong, in the terms that decide what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rate limits, server errors, time limits, cut connections: another try may succeed.
    Transient,
    /// No usable credentials, or a token that ran out.
    Credentials,
    /// A log-in of a person's whose calls count against no project.
    QuotaProject,
    /// The proxy in between wants a log-in.
    Proxy,
    /// There is no such network in the project.
    Network,
    /// The API is not enabled in the project.
    ApiDisabled { service: String },
    /// The project has no billing account.
    Billing,
    /// The caller may not do this; `service` is the API's host name.
    Permission { service: String },
    /// The project may not have that much.
    Quota,
    /// No such region or zone, or one does not lie in the other.
    Location,
    /// The Filestore tier does not exist there: some are zonal, some regional.
    TierPlace,
    /// A size outside of what the tier takes.
    Capacity,
    /// The name belongs to something that is not this deployment's.
    NameTaken,
    /// What exists differs in a way that cannot be changed in place.
    Differs,
    /// The resource is there twice, or at another place than asked for.
    Elsewhere,
    /// An operation ended in an error.
    Failed,
    /// Google has no machine of that kind left in that place.
    StockOut,
    /// Something did not become ready in the time it may take.
    Stuck { command: String },
    /// Something else is at work on the same resource.
    Busy,
    /// Not there.
    NotFound,
    /// Already there; whoever creates must read and compare.
    Exists,
    /// More expensive than the user allowed.
    MaxCost,
    /// Still there, or unknown, after everything was deleted.
    Left,
    /// An instance in an unknown or broken state that may hold the only copy of results.
    MayHoldData,
    /// The user did not agree.
    Declined,
    /// Anything else; the hint says what to do, if anything is known.
    Other { hint: Option<String> },
}

/// A failure, told as the rest of "failed to …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Error {
    /// What was tried, on what: "create cluster batch-aiml in us-central1".
    pub doing: String,
    /// Why it failed.
    pub why: String,
    pub kind: Kind,
}

/// A result with this module's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The innermost reason; what is around it repeats "error sending request", "client error" and the like.
#[cfg(feature = "cluster")]
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// What kind of failure a connection that was not made is: nothing answered, or a proxy that wants a log-in.
#[cfg(feature = "cluster")]
pub(crate) fn unconnected(why: &str) -> Kind {
    let why = why.to_ascii_lowercase();
    let by_proxy = why.contains("proxy") && (why.contains("auth") || why.contains("407"));
    if by_proxy { Kind::Proxy } else { Kind::Transient }
}

impl Error {
    pub fn new(doing: impl Into<String>, why: impl Into<String>, kind: Kind) -> Self {
        Self { doing: doing.into(), why: why.into(), kind }
    }

    /// A failure that none of the kinds covers.
    pub fn other(doing: impl Into<String>, why: impl ToString) -> Self {
        Self::new(doing, why.to_string(), Kind::Other { hint: None })
    }

    /// The same, with the next step.
    pub fn with_hint(doing: impl Into<String>, why: impl ToString, hint: impl Into<String>) -> Self {
        Self::new(doing, why.to_string(), Kind::Other { hint: Some(hint.into()) })
    }

    /// Whether another try may succeed without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Transient | Kind::Busy)
    }

    /// Whether what was read is behind: somebody has made it meanwhile, or an API's being enabled is not known
    /// everywhere yet. Who looks again may go on.
    pub fn is_behind(&self) -> bool {
        matches!(self.kind, Kind::Exists | Kind::ApiDisabled { .. })
    }

    /// What the reader should do next.
    pub fn hint(&self) -> Option<String> {
        let hint = match &self.kind {
            Kind::Transient => {
                "Google Cloud, the cluster or the network is in trouble; run the same command again in a while, it \
                 goes on from what is there"
            }
            Kind::Credentials => {
                "log in with `gcloud auth application-default login` (or give a fresh token in \
                 CLOUDSDK_AUTH_ACCESS_TOKEN), then run the same command again: it goes on from what is there"
            }
            Kind::QuotaProject => {
                "`gcloud auth application-default set-quota-project PROJECT` says which project such calls count \
                 against; you need the right serviceusage.services.use on it; then run the same command again"
            }
            Kind::Proxy => {
                "HTTPS_PROXY names it: give it a log-in, http://USER:PASSWORD@HOST:PORT, or name what needs no \
                 proxy in NO_PROXY"
            }
            Kind::Network => {
                "`gcloud compute networks list` shows the project's networks: choose one with --network, or make \
                 the usual one with `gcloud compute networks create default`"
            }
            Kind::ApiDisabled { service } => return Some(api_disabled_hint(service)),
            Kind::Billing => {
                "link a billing account to the project at https://console.cloud.google.com/billing/projects; \
                 new accounts come with a trial credit"
            }
            Kind::Permission { service } => return Some(permission_hint(service)),
            Kind::Quota => {
                "ask for more at https://console.cloud.google.com/iam-admin/quotas (minutes to two days), or \
                 take another --region, or fewer --workers"
            }
            Kind::Location => {
                "https://cloud.google.com/compute/docs/regions-zones shows regions and their zones; the zone must \
                 lie in the region, as us-central1-b does in us-central1"
            }
            Kind::TierPlace => {
                "BASIC_HDD, BASIC_SSD and ZONAL live in a zone (--zone us-central1-b), REGIONAL and ENTERPRISE in \
                 a region (leave --zone out)"
            }
            Kind::Capacity => {
                "--capacity takes GiB; the tutorial's BASIC_HDD takes 1024 to 65433 and can only grow"
            }
            Kind::NameTaken => {
                "choose another deployment name with --name; nothing that lacks this deployment's labels is ever \
                 touched"
            }
            Kind::Differs => {
                "ask for what is there, or choose another deployment name with --name, or remove this one with \
                 `cloud destroy` first"
            }
            Kind::Elsewhere => {
                "deploy with the location it already has, or choose another deployment name with --name, or \
                 remove it with `cloud destroy` first"
            }
            Kind::Failed => {
                "the reason above is Google's; once it is dealt with, `cloud deploy` again removes what failed \
                 and makes it anew, and `cloud destroy` removes everything"
            }
            Kind::StockOut => {
                "Google has no such machines free there now: try again later, or `cloud destroy` and deploy with \
                 another --region and --zone"
            }
            Kind::Stuck { command } => return Some(stuck_hint(command)),
            Kind::Busy => "another operation is at work on it; run the same command again when it is done",
            Kind::NotFound => "`cloud status` shows what is there, `cloud deploy` makes what is missing",
            Kind::Exists => "`cloud plan` shows what is there and how it differs",
            Kind::MaxCost => "raise --max-cost, or ask for less: fewer --workers, a smaller --capacity",
            Kind::Left => {
                "run `cloud destroy` again; what it keeps naming may still be billed: look at \
                 https://console.cloud.google.com/billing and remove it by hand"
            }
            Kind::MayHoldData => {
                "it may hold results, so it is not replaced: read its status at \
                 https://console.cloud.google.com/filestore, rescue what you need, then `cloud destroy`"
            }
            Kind::Declined => "nothing was changed; --yes agrees beforehand",
            Kind::Other { hint } => return hint.clone(),
        };
        Some(hint.to_owned())
    }
}

fn api_disabled_hint(service: &str) -> String {
    if service == "serviceusage.googleapis.com" {
        // By which all others are enabled.
        return format!(
            "enable it once by hand, at https://console.cloud.google.com/apis/library/{service}; it takes effect \
             within some minutes"
        );
    }
    format!(
        "`cloud deploy` enables it, or do so yourself: `gcloud services enable {service}`; it takes effect within \
         some minutes"
    )
}

fn permission_hint(service: &str) -> String {
    format!(
        "ask an owner of the project for the role {}: `gcloud projects add-iam-policy-binding PROJECT \
         --member=user:YOU --role={}`",
        role_for(service),
        role_for(service)
    )
}

fn stuck_hint(command: &str) -> String {
    format!(
        "nothing is lost: `{command}` again waits on; if it stays so, look at \
         https://console.cloud.google.com/kubernetes, and `cloud destroy` removes it"
    )
}

/// The predefined role that covers what the deployer does with an API.
fn role_for(service: &str) -> &'static str {
    match service {
        "container.googleapis.com" => "roles/container.admin",
        "file.googleapis.com" => "roles/file.editor",
        "serviceusage.googleapis.com" => "roles/serviceusage.serviceUsageAdmin",
        "iam.googleapis.com" => "roles/iam.serviceAccountUser",
        "artifactregistry.googleapis.com" => "roles/artifactregistry.admin",
        "compute.googleapis.com" => "roles/compute.instanceAdmin.v1",
        _ => "roles/editor",
    }
}
