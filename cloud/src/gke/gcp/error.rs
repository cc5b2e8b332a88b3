//! From Google's errors to what a person can do about them.

use std::collections::BTreeMap;

use google_cloud_auth::errors::CredentialsError;
use google_cloud_gax::error::rpc::{Code, Status, StatusDetails};

use crate::error::{Cause, Error, innermost, unconnected};
use crate::gke::reason::{BILLING_API, Reason, STORAGE_API};

/// The project of gcloud's own client: calls with a person's log-in count against it where no other is named.
const GCLOUDS_OWN: &str = "projects/764086051850";

/// What of a refusal decides its reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// The HTTP status, if there was an answer.
    pub http: Option<u16>,
    /// The canonical code, `PERMISSION_DENIED`; empty if the answer was not Google's JSON.
    pub code: String,
    pub message: String,
    /// `ErrorInfo.reason`.
    pub reason: String,
    /// `ErrorInfo.metadata`.
    pub metadata: BTreeMap<String, String>,
    /// Carries a `QuotaFailure`.
    pub quota: bool,
}

impl Answer {
    pub(super) fn new(http: Option<u16>, status: &Status) -> Self {
        let mut answer = Self {
            http,
            // Some APIs, as Cloud Storage's, say none.
            code: if status.code == Code::Unknown { String::new() } else { status.code.name().to_owned() },
            message: status.message.clone(),
            ..Self::default()
        };
        for detail in &status.details {
            match detail {
                StatusDetails::ErrorInfo(info) => {
                    answer.reason = info.reason.clone();
                    answer.metadata = info.metadata.clone().into_iter().collect();
                }
                StatusDetails::QuotaFailure(_) => answer.quota = true,
                _ => {}
            }
        }
        answer
    }

    /// `service` is the API that was asked.
    fn reason(&self, service: &str) -> Reason {
        let says = |words: &str| self.message.to_ascii_lowercase().contains(words);
        let service = self.metadata.get("service").map_or(service, String::as_str).to_owned();
        let consumer = self.metadata.get("consumer").map_or("", String::as_str);
        if says("requires a quota project")
            || says("quota project, which is not set")
            || consumer == GCLOUDS_OWN
        {
            return Reason::QuotaProject;
        }
        match (self.http, self.reason.as_str()) {
            (Some(407), _) => return Reason::Proxy,
            (_, "SERVICE_DISABLED") => return Reason::ApiDisabled { service },
            (_, "BILLING_DISABLED" | "UREQ_PROJECT_BILLING_NOT_FOUND" | "UREQ_PROJECT_BILLING_NOT_OPEN") => {
                return Reason::Billing;
            }
            (_, "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => return Reason::Credentials,
            (_, "SECURITY_POLICY_VIOLATED" | "ORG_RESTRICTION_VIOLATION") => return Reason::Policy,
            (_, "CONSUMER_INVALID" | "CONSUMER_SUSPENDED") => return Reason::Project,
            _ => {}
        }
        if let Some(reason) = (service == STORAGE_API).then(|| self.reason_of_storage()).flatten() {
            return reason;
        }
        // Before billing, which is in the name of one of the APIs.
        if says("has not been used in project") || says("it is disabled") {
            return Reason::ApiDisabled { service };
        }
        if says("billing") && service != BILLING_API && self.http != Some(200) {
            return Reason::Billing;
        }
        if says("constraint constraints/")
            || says("constraint 'constraints/")
            || says("prohibited by organization")
        {
            return Reason::Policy;
        }
        if says("insufficient authentication scopes") {
            return Reason::Credentials;
        }
        if self.names_a_quota() {
            return if self.is_a_rate() { Reason::Transient } else { Reason::Quota };
        }
        if says("no network named") || says("network") && (says("does not exist") || says("not found")) {
            return Reason::Network;
        }
        if says("stockout") || says("does not have enough resources") {
            return Reason::StockOut;
        }
        // Machines run as a service account, and making them needs the right to use it.
        if says("iam.serviceaccounts.actas") || says("does not have access to service account") {
            return Reason::Permission { service: "iam.googleapis.com".into() };
        }
        match (self.code.as_str(), self.http) {
            ("UNAUTHENTICATED", _) | (_, Some(401)) => Reason::Credentials,
            ("ALREADY_EXISTS", _) => Reason::Exists,
            ("FAILED_PRECONDITION" | "ABORTED", _) | (_, Some(409)) => Reason::Busy,
            ("PERMISSION_DENIED", _) | (_, Some(403)) => Reason::Permission { service },
            ("NOT_FOUND", _) | (_, Some(404)) => Reason::NotFound,
            ("INVALID_ARGUMENT", _) if says("location") || says("zone") || says("region") => Reason::Location,
            (_, Some(429 | 500..=599)) => Reason::Transient,
            ("RESOURCE_EXHAUSTED" | "UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED", _) => Reason::Transient,
            _ => Reason::Other,
        }
    }

    /// Cloud Storage says in words what other APIs say by codes.
    fn reason_of_storage(&self) -> Option<Reason> {
        let message = self.message.to_ascii_lowercase();
        let says = |words: &str| message.contains(words);
        let reason = match self.http {
            Some(409) if says("is not available") || says("already exists") => Reason::BucketTaken,
            Some(409) if says("already own") => Reason::Exists,
            Some(403)
                if says("retention policy")
                    || says("object retention")
                    || says("temporary hold")
                    || says("event-based hold") =>
            {
                Reason::Retained
            }
            _ if says("violates constraint") || says("soft_delete") || says("softdelete") => {
                Reason::BucketPolicy
            }
            _ if says("location constraint") => Reason::Location,
            // Made with the first cluster whose pods have identities, and not known everywhere at once.
            Some(400) if says("identity pool does not exist") => Reason::Transient,
            // Something else is there than was seen.
            Some(412) => Reason::Exists,
            _ => return None,
        };
        Some(reason)
    }

    /// Whether a quota is named, of whichever kind: Filestore refuses what is too large with 429 and
    /// RATE_LIMIT_EXCEEDED, as others refuse what is too fast.
    fn names_a_quota(&self) -> bool {
        let message = self.message.to_ascii_lowercase();
        let words = [
            "insufficient regional quota",
            "quota exceeded for",
            "quota '",
            "quota limit '",
            "quota_exceeded",
        ];
        self.quota
            || self.metadata.contains_key("quota_limit")
            || words.iter().any(|words| message.contains(words))
    }

    /// Whether that quota is one of calls in a time, which waiting restores.
    fn is_a_rate(&self) -> bool {
        let of = |field: &str| self.metadata.get(field).map_or("", String::as_str);
        let text =
            [self.message.as_str(), of("quota_limit"), of("quota_metric")].concat().to_ascii_lowercase();
        let text: String = text.chars().filter(|letter| letter.is_alphanumeric()).collect();
        ["perminute", "persecond", "perday", "per100seconds", "requests", "queries"]
            .iter()
            .any(|words| text.contains(words))
    }

    pub(super) fn into_error(self, doing: &str, service: &str) -> Error {
        let reason = self.reason(service);
        let said = match self.message.is_empty() {
            true => "no reason was given",
            false => self.message.trim_end_matches('.'),
        };
        let why = match (&self.http, self.code.as_str()) {
            (Some(http), "") => format!("{said} (HTTP {http})"),
            (_, code) => format!("{said} ({code})"),
        };
        Error::new(doing, why, reason)
    }
}

/// Translates an error of Google's crates.
pub(super) fn from_google(doing: &str, service: &str, error: &google_cloud_gax::error::Error) -> Error {
    if let Some(status) = error.status() {
        return Answer::new(error.http_status_code(), status).into_error(doing, service);
    }
    if error.is_authentication() {
        let source =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<CredentialsError>());
        let transient = source.is_some_and(CredentialsError::is_transient);
        // What Google's crate appends is said by the hint.
        let why = innermost(error);
        let why = why.trim_end_matches(" and future attempts will not succeed");
        let cause: Cause = if transient { unconnected(why) } else { Reason::Credentials.into() };
        return Error::new(doing, why, cause);
    }
    if let Some(http) = error.http_status_code().filter(|http| *http >= 400) {
        return not_the_apis(http).into_error(doing, service);
    }
    let cut = error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport();
    let why = innermost(error);
    let cause = if cut { unconnected(&why) } else { Reason::Other.into() };
    Error::new(doing, why, cause)
}

/// A response that is not Google's JSON: from a proxy or a load balancer in between.
pub(super) fn not_the_apis(http: u16) -> Answer {
    let message = match http {
        407 => "the proxy in between wants a log-in",
        _ => "an answer that is not the API's",
    };
    Answer { http: Some(http), message: message.into(), ..Answer::default() }
}

/// Translates an operation's error; the API accepted the request and could not carry it out.
pub(crate) fn from_operation(doing: &str, why: &str) -> Error {
    Error::new(doing, why.trim_end_matches('.'), reason_of_operation(why))
}

fn reason_of_operation(why: &str) -> Reason {
    let answer = Answer { http: Some(200), message: why.to_owned(), ..Answer::default() };
    match answer.reason("") {
        reason @ (Reason::Quota | Reason::StockOut | Reason::Network | Reason::Policy) => reason,
        _ => Reason::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, PROXY_HINT};

    fn answer(http: u16, code: &str, reason: &str, limit: &str, quota: bool, message: &str) -> Answer {
        let metadata = match limit {
            "" => BTreeMap::new(),
            limit => [("quota_limit".to_owned(), limit.to_owned())].into(),
        };
        let (code, message, reason) = (code.to_owned(), message.to_owned(), reason.to_owned());
        Answer { http: Some(http), code, message, reason, metadata, quota }
    }

    #[test]
    fn too_much_is_distinguished_from_too_fast() {
        let exhausted = |reason: &str, limit: &str, quota: bool, message: &str| {
            answer(429, "RESOURCE_EXHAUSTED", reason, limit, quota, message).reason("file.googleapis.com")
        };
        let standard =
            "Quota limit 'StandardStorageGbPerRegion' has been exceeded. Limit: 0 in region us-central1.";
        let minute = "Quota exceeded for quota metric 'Read requests' and limit 'Read requests per minute' of service \
                      'container.googleapis.com' for consumer 'project_number:1'.";
        assert_eq!(
            exhausted("RATE_LIMIT_EXCEEDED", "StandardStorageGbPerRegion", true, standard),
            Reason::Quota
        );
        assert_eq!(exhausted("RATE_LIMIT_EXCEEDED", "", true, "Too much."), Reason::Quota);
        assert_eq!(exhausted("", "", false, standard), Reason::Quota);
        assert_eq!(
            exhausted("RATE_LIMIT_EXCEEDED", "ReadRequestsPerMinutePerProject", false, minute),
            Reason::Transient
        );
        assert_eq!(exhausted("RATE_LIMIT_EXCEEDED", "", false, minute), Reason::Transient);
        assert_eq!(exhausted("RATE_LIMIT_EXCEEDED", "", false, "Too many requests."), Reason::Transient);
        assert_eq!(exhausted("", "", false, "Too many requests."), Reason::Transient);
        assert_eq!(reason_of_operation(standard), Reason::Quota);
        let addresses =
            "Instance 'gke-1' creation failed: Quota 'IN_USE_ADDRESSES' exceeded. Limit: 8.0 in region r.";
        assert_eq!(reason_of_operation(addresses), Reason::Quota);
    }

    #[test]
    fn a_network_that_is_not_there_is_said_in_each_form() {
        let request =
            answer(400, "INVALID_ARGUMENT", "", "", false, "Project \"p\" has no network named \"default\".");
        assert_eq!(request.reason("container.googleapis.com"), Reason::Network);
        let forms = [
            "Network \"default\" does not exist.",
            "The resource 'projects/p/global/networks/default' was not found",
        ];
        for form in forms {
            assert_eq!(reason_of_operation(form), Reason::Network, "{form}");
        }
    }

    #[test]
    fn a_log_in_without_a_quota_project_is_no_api_to_enable() {
        let message = "Your application is authenticating by using local Application Default Credentials. The \
                       file.googleapis.com API requires a quota project, which is not set by default.";
        let mut refused = answer(403, "PERMISSION_DENIED", "SERVICE_DISABLED", "", false, message);
        assert_eq!(refused.reason("file.googleapis.com"), Reason::QuotaProject);
        refused.message =
            "Cloud Filestore API has not been used in project 764086051850 before or it is disabled.".into();
        refused.metadata.insert("consumer".into(), GCLOUDS_OWN.into());
        assert_eq!(refused.reason("file.googleapis.com"), Reason::QuotaProject);
        refused.metadata.insert("consumer".into(), "projects/mine".into());
        assert_eq!(refused.reason("f").clone(), Reason::ApiDisabled { service: "f".into() });
    }

    /// None of these is a right that lacks, or an operation that ends.
    #[test]
    fn what_no_role_and_no_waiting_gives_is_distinguished() {
        let refused = |http: u16, code: &str, reason: &str, message: &str| {
            answer(http, code, reason, "", false, message).reason("container.googleapis.com")
        };
        let external = "Constraint constraints/compute.vmExternalIpAccess violated for project 1.";
        assert_eq!(refused(412, "FAILED_PRECONDITION", "", external), Reason::Policy);
        let place = "Request violates constraint 'constraints/gcp.resourceLocations' on the resource.";
        assert_eq!(refused(400, "FAILED_PRECONDITION", "", place), Reason::Policy);
        assert_eq!(reason_of_operation(external), Reason::Policy);
        let perimeter =
            "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x";
        assert_eq!(refused(403, "PERMISSION_DENIED", "", perimeter), Reason::Policy);
        assert_eq!(refused(403, "PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED", "No."), Reason::Policy);
        let scopes = "Request had insufficient authentication scopes.";
        for reason in ["", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"] {
            assert_eq!(refused(403, "PERMISSION_DENIED", reason, scopes), Reason::Credentials);
        }
        let project = "Permission denied on resource project nosuch.";
        assert_eq!(refused(403, "PERMISSION_DENIED", "CONSUMER_INVALID", project), Reason::Project);
        let suspended = "Permission denied: Consumer 'project:p' has been suspended.";
        assert_eq!(refused(403, "PERMISSION_DENIED", "CONSUMER_SUSPENDED", suspended), Reason::Project);
        let busy = "Operation operation-1 is currently creating cluster c. Please wait and try again.";
        assert_eq!(refused(400, "FAILED_PRECONDITION", "", busy), Reason::Busy);
    }

    #[test]
    fn a_proxy_that_wants_a_log_in_is_named() {
        let error = not_the_apis(407).into_error("list clusters", "container.googleapis.com");
        assert_eq!(error.why, "the proxy in between wants a log-in (HTTP 407)");
        assert_eq!(error.hint.as_deref(), Some(PROXY_HINT));
        assert_eq!(unconnected("proxy authorization required").hint.as_deref(), Some(PROXY_HINT));
        assert_eq!(unconnected("connection refused"), Kind::Transient.into());
    }
}
