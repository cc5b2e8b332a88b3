//! Why Google refuses, or the plan does, and what a person can do about it.

use worker::explained::{self, Code};

use crate::error::{Cause, Error, Kind, PROXY_HINT};

const SERVICE_USAGE: &str = "serviceusage.googleapis.com";
/// Cloud Storage's.
pub const STORAGE_API: &str = "storage.googleapis.com";
/// Cloud Billing's.
pub const BILLING_API: &str = "cloudbilling.googleapis.com";

/// What an error of Google's means, or of a plan for Google.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Transient,
    Busy,
    Exists,
    NotFound,
    Credentials,
    Differs,
    /// A log-in of a person's whose calls count against no project.
    QuotaProject,
    /// The proxy in between wants a log-in.
    Proxy,
    /// There is no such network in the project.
    Network,
    /// The API is not enabled in the project.
    ApiDisabled {
        service: String,
    },
    /// The project has no billing account.
    Billing,
    /// The caller may not do this; `service` is the API's host name.
    Permission {
        service: String,
    },
    /// The organization that the project belongs to forbids it.
    Policy,
    /// The project is not there, suspended, or another's.
    Project,
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
    /// The name belongs to another project's bucket.
    BucketTaken,
    /// Somebody gave the bucket, or an object in it, a policy under which it must be kept.
    Retained,
    /// The organization allows no bucket as it is to be made.
    BucketPolicy,
    /// The resource is there twice, or at another place than asked for.
    Elsewhere,
    /// An operation ended in an error.
    Failed,
    /// Google has no machine of that kind left in that place.
    StockOut,
    /// Something did not become ready in the time it may take.
    Stuck {
        command: String,
    },
    /// The machines cannot leave their pods what is asked for.
    Grace,
    /// More expensive than the user allowed.
    MaxCost,
    /// So little money is allowed that no run comes to its end.
    MaxRunCost,
    /// The table has no price; what it has.
    Unpriced {
        known: String,
    },
    /// The billing catalogue does not have a price in the form in which it is looked for.
    Unlisted,
    /// Still there, or unknown, after everything was deleted.
    Left,
    /// An instance in an unknown or broken state that may hold the only copy of results.
    MayHoldData,
    /// The user did not agree.
    Declined,
    /// None of these.
    Other,
}

impl From<Reason> for Cause {
    fn from(reason: Reason) -> Self {
        Self { kind: reason.kind(), hint: reason.hint(), page: reason.page() }
    }
}

/// Fills in what to do next with a deployment at Google, where the error does not say it: those from inside the
/// cluster know nothing of Google.
pub fn explain(error: Error) -> Error {
    error.or_hint(usual)
}

fn usual(kind: Kind) -> Option<&'static str> {
    let hint = match kind {
        Kind::Transient => {
            "Google Cloud, the cluster or the network is in trouble; run the same command again in a while, it \
             goes on from what is there"
        }
        Kind::Busy => "another operation is at work on it; run the same command again when it is done",
        Kind::Exists => "`cloud plan` shows what is there and how it differs",
        Kind::NotFound => "`cloud status` shows what is there, `cloud deploy` makes what is missing",
        Kind::Credentials => {
            "log in with `gcloud auth application-default login` (or give a fresh token in \
             CLOUDSDK_AUTH_ACCESS_TOKEN), then run the same command again: it goes on from what is there"
        }
        Kind::Differs => {
            "ask for what is there, or choose another deployment name with --name, or remove this one with \
             `cloud destroy` first"
        }
        // A right in the cluster, which comes with a role in the project.
        Kind::Permission => {
            "ask an owner of the project for the role roles/container.admin: `gcloud projects \
             add-iam-policy-binding PROJECT --member=user:YOU --role=roles/container.admin`"
        }
        Kind::Disabled | Kind::Late | Kind::Interrupted | Kind::Other => return None,
    };
    Some(hint)
}

impl Reason {
    fn kind(&self) -> Kind {
        match self {
            Self::Transient => Kind::Transient,
            Self::Busy => Kind::Busy,
            Self::Exists => Kind::Exists,
            Self::NotFound => Kind::NotFound,
            Self::Credentials => Kind::Credentials,
            Self::Differs => Kind::Differs,
            // By Service Usage the others are enabled, itself only by hand; and no deployment needs Cloud Billing.
            Self::ApiDisabled { service } if [SERVICE_USAGE, BILLING_API].contains(&service.as_str()) => {
                Kind::Other
            }
            Self::ApiDisabled { .. } => Kind::Disabled,
            Self::Permission { .. } | Self::Retained => Kind::Permission,
            _ => Kind::Other,
        }
    }

    /// What `explain` has about it. None: what it has about the kind, or about exit code 1.
    fn page(&self) -> Option<Code> {
        Some(match self {
            Self::Transient
            | Self::Busy
            | Self::Exists
            | Self::NotFound
            | Self::Credentials
            | Self::Differs
            | Self::Permission { .. }
            | Self::Declined
            | Self::Other => return None,
            Self::Elsewhere => explained::DIFFERS,
            Self::ApiDisabled { .. } => explained::API_DISABLED,
            Self::Billing => explained::BILLING_OFF,
            Self::Policy | Self::BucketPolicy => explained::POLICY,
            Self::Project => explained::PROJECT,
            Self::QuotaProject => explained::QUOTA_PROJECT,
            Self::Quota => explained::QUOTA,
            Self::StockOut => explained::STOCK_OUT,
            Self::Proxy => explained::PROXY,
            Self::Location | Self::TierPlace | Self::Capacity | Self::Grace => explained::PLACE,
            Self::Network => explained::NETWORK,
            Self::NameTaken | Self::BucketTaken => explained::NAME_TAKEN,
            Self::Retained => explained::KEPT,
            Self::Unpriced { .. } | Self::Unlisted => explained::NO_PRICE,
            Self::MaxCost | Self::MaxRunCost => explained::TOO_DEAR,
            Self::Failed => explained::GOOGLE_FAILED,
            Self::Stuck { .. } => explained::STUCK,
            Self::Left => explained::NOT_DELETED,
            Self::MayHoldData => explained::MAY_HOLD_DATA,
        })
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::QuotaProject => {
                "`gcloud auth application-default set-quota-project PROJECT` says which project such calls count \
                 against; you need the right serviceusage.services.use on it; then run the same command again"
            }
            Self::Proxy => PROXY_HINT,
            Self::Network => {
                "`gcloud compute networks list` shows the project's networks: choose one with --network, or make \
                 the usual one with `gcloud compute networks create default`"
            }
            Self::ApiDisabled { service } => return Some(api_disabled_hint(service)),
            Self::Billing => {
                "link a billing account to the project at https://console.cloud.google.com/billing/projects; \
                 new accounts come with a trial credit"
            }
            Self::Permission { service } => return Some(permission_hint(service)),
            Self::Policy => {
                "a policy of the project's organization forbids this: its administrators see the policies at \
                 https://console.cloud.google.com/iam-admin/orgpolicies; or take another --project"
            }
            Self::Project => {
                "`gcloud projects list` shows the projects that you may use: choose one with --project"
            }
            Self::Quota => {
                "ask for more at https://console.cloud.google.com/iam-admin/quotas (minutes to two days), or \
                 take another --region, or fewer --workers"
            }
            Self::Location => {
                "https://cloud.google.com/compute/docs/regions-zones shows regions and their zones; the zone must \
                 lie in the region, as us-central1-b does in us-central1"
            }
            Self::TierPlace => {
                "BASIC_HDD, BASIC_SSD and ZONAL live in a zone (--zone us-central1-b), REGIONAL and ENTERPRISE in \
                 a region (leave --zone out)"
            }
            Self::Capacity => {
                "--capacity takes GiB; the tutorial's BASIC_HDD takes 1024 to 65433 and can only grow"
            }
            Self::NameTaken => {
                "choose another deployment name with --name; nothing that lacks this deployment's labels is ever \
                 touched"
            }
            Self::BucketTaken => {
                "no two buckets of all projects have the same name: choose another with --bucket"
            }
            Self::Retained => {
                "a retention policy or a hold keeps it: `gcloud storage buckets describe gs://BUCKET` shows until when; \
                 one that is not locked goes with `gcloud storage buckets update gs://BUCKET --clear-retention-period`; \
                 then run the same command again"
            }
            Self::BucketPolicy => {
                "the organisation's policy asks for something else than a bucket in --region whose deleted objects are \
                 gone at once (constraints storage.softDeletePolicySeconds and gcp.resourceLocations): ask its \
                 administrator for an exception, or take --storage filestore"
            }
            Self::Elsewhere => {
                "deploy with the location it already has, or choose another deployment name with --name, or \
                 remove it with `cloud destroy` first"
            }
            Self::Failed => {
                "the reason above is Google's; once it is dealt with, `cloud deploy` replaces what failed, and \
                 `cloud destroy` removes everything"
            }
            Self::StockOut => {
                "Google has no such machines free there now: try again later, or `cloud destroy` and deploy with \
                 another --region and --zone"
            }
            Self::Stuck { command } => return Some(stuck_hint(command)),
            Self::MaxCost => "raise --max-cost, or ask for less: fewer --workers, a smaller --capacity",
            Self::MaxRunCost => {
                "raise --max-run-cost, or ask for less: fewer --workers, a smaller --capacity"
            }
            Self::Unpriced { known } => return Some(known.clone()),
            Self::Unlisted => {
                "Google may have renamed or divided it: https://cloud.google.com/skus shows the catalogue; write the price \
                 by hand into a table like cloud/prices.toml"
            }
            Self::Grace => "leave --grace out, or choose a --zone with a newer Kubernetes",
            Self::Left => {
                "run `cloud destroy` again; what it keeps naming may still be billed: look at \
                 https://console.cloud.google.com/billing and remove it by hand"
            }
            Self::MayHoldData => {
                "it may hold results, so it is not replaced: read its status at \
                 https://console.cloud.google.com/filestore, rescue what you need, then `cloud destroy`"
            }
            Self::Declined => "nothing was changed; --yes agrees beforehand",
            plain => return usual(plain.kind()).map(str::to_owned),
        };
        Some(hint.to_owned())
    }
}

fn api_disabled_hint(service: &str) -> String {
    if service == SERVICE_USAGE {
        return format!(
            "enable it once by hand, at https://console.cloud.google.com/apis/library/{service}; it takes effect \
             within some minutes"
        );
    }
    if service == BILLING_API {
        return format!(
            "`gcloud services enable {service}` enables it within some minutes; it costs nothing"
        );
    }
    format!(
        "`cloud deploy` enables it, or do so yourself: `gcloud services enable {service}`; it takes effect within \
         some minutes"
    )
}

fn permission_hint(service: &str) -> String {
    let role = role_for(service);
    format!(
        "ask an owner of the project for the role {role}: `gcloud projects add-iam-policy-binding PROJECT \
         --member=user:YOU --role={role}`"
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
        SERVICE_USAGE => "roles/serviceusage.serviceUsageAdmin",
        "iam.googleapis.com" => "roles/iam.serviceAccountUser",
        STORAGE_API => "roles/storage.admin",
        BILLING_API => "roles/serviceusage.serviceUsageConsumer",
        "artifactregistry.googleapis.com" => "roles/artifactregistry.admin",
        "compute.googleapis.com" => "roles/compute.instanceAdmin.v1",
        _ => "roles/editor",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error from inside the cluster has the hint that one of Google's has for the same role.
    #[test]
    fn the_usual_hint_for_a_missing_right_names_the_role_of_the_clusters_api() {
        let by_api = Reason::Permission { service: "container.googleapis.com".to_owned() };
        assert_eq!(by_api.hint().as_deref(), usual(Kind::Permission));
    }

    #[test]
    fn a_hint_that_is_there_stays() {
        let error =
            Error::new("try", "no", Cause { hint: Some("wait".to_owned()), ..Kind::Transient.into() });
        assert_eq!(explain(error.clone()), error);
        assert!(explain(Error::new("try", "no", Kind::Transient)).hint.is_some());
    }
}
