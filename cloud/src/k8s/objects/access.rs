//! The service account that workers run under where the volume is a bucket: who gives access to the bucket names it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Config, WORKLOAD};
use crate::k8s::cluster::Volume;

/// The annotation on the service account that says which bucket it is for, by its URL.
pub const BUCKET: &str = "batch/volume";

/// Its name; None: the volume is mounted, and workers need no account.
pub(super) fn account_name(config: &Config) -> Option<String> {
    url(config).map(|_| config.workload())
}

/// The account. It has no rights in the cluster, and pods get no token of it.
pub fn account(config: &Config) -> Option<ServiceAccount> {
    let note: BTreeMap<_, _> = [(BUCKET.to_owned(), url(config)?.to_owned())].into();
    Some(ServiceAccount {
        metadata: ObjectMeta { annotations: Some(note), ..config.meta(WORKLOAD, WORKLOAD) },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}

fn url(config: &Config) -> Option<&str> {
    match &config.volume {
        Volume::Nfs(_) => None,
        Volume::Bucket(url) => Some(url),
    }
}
