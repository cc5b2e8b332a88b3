//! From what Google answers to what a person can do about it.

use std::collections::BTreeMap;

use google_cloud_auth::errors::CredentialsError;
use google_cloud_gax::error::rpc::{Status, StatusDetails};

use crate::error::{Error, Kind, innermost};

/// What of a refusal decides its kind.
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
            code: status.code.name().to_owned(),
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
    fn kind(&self, service: &str) -> Kind {
        let says = |words: &str| self.message.to_ascii_lowercase().contains(words);
        let service = self.metadata.get("service").map_or(service, String::as_str).to_owned();
        match (self.http, self.reason.as_str()) {
            (_, "SERVICE_DISABLED") => return Kind::ApiDisabled { service },
            (_, "BILLING_DISABLED" | "UREQ_PROJECT_BILLING_NOT_FOUND" | "UREQ_PROJECT_BILLING_NOT_OPEN") => {
                return Kind::Billing;
            }
            (_, "RATE_LIMIT_EXCEEDED") => return Kind::Transient,
            _ => {}
        }
        if says("billing") && self.http != Some(200) {
            return Kind::Billing;
        }
        if self.quota || says("insufficient regional quota") || says("quota exceeded for") || says("quota '")
        {
            return Kind::Quota;
        }
        if says("has not been used in project") || says("it is disabled") {
            return Kind::ApiDisabled { service };
        }
        if says("stockout") || says("does not have enough resources") {
            return Kind::StockOut;
        }
        // Machines run as a service account, which whoever makes them must be allowed to use.
        if says("iam.serviceaccounts.actas") || says("does not have access to service account") {
            return Kind::Permission { service: "iam.googleapis.com".into() };
        }
        match (self.code.as_str(), self.http) {
            ("UNAUTHENTICATED", _) | (_, Some(401)) => Kind::Credentials,
            ("ALREADY_EXISTS", _) => Kind::Exists,
            ("FAILED_PRECONDITION" | "ABORTED", _) | (_, Some(409)) => Kind::Busy,
            ("PERMISSION_DENIED", _) | (_, Some(403)) => Kind::Permission { service },
            ("NOT_FOUND", _) | (_, Some(404)) => Kind::NotFound,
            ("INVALID_ARGUMENT", _) if says("location") || says("zone") || says("region") => Kind::Location,
            (_, Some(429 | 500..=599)) => Kind::Transient,
            ("RESOURCE_EXHAUSTED" | "UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED", _) => Kind::Transient,
            _ => Kind::Other { hint: None },
        }
    }

    pub(super) fn into_error(self, doing: &str, service: &str) -> Error {
        let kind = self.kind(service);
        let said = match self.message.is_empty() {
            true => "no reason was given",
            false => self.message.trim_end_matches('.'),
        };
        let why = match (&self.http, self.code.as_str()) {
            (Some(http), "") => format!("{said} (HTTP {http})"),
            (_, code) => format!("{said} ({code})"),
        };
        Error::new(doing, why, kind)
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
        let kind = if transient { Kind::Transient } else { Kind::Credentials };
        return Error::new(doing, innermost(error), kind);
    }
    if let Some(http) = error.http_status_code().filter(|http| *http >= 400) {
        // Not Google's JSON: a proxy or a load balancer in between.
        let answer = Answer {
            http: Some(http),
            message: "an answer that is not the API's".into(),
            ..Answer::default()
        };
        return answer.into_error(doing, service);
    }
    let cut = error.is_io() || error.is_timeout() || error.is_connect() || error.is_transport();
    let kind = if cut { Kind::Transient } else { Kind::Other { hint: None } };
    Error::new(doing, innermost(error), kind)
}

/// Translates an operation's error; the API accepted the request and could not carry it out.
pub(crate) fn from_operation(doing: &str, why: &str) -> Error {
    let answer = Answer { http: Some(200), message: why.to_owned(), ..Answer::default() };
    let kind = match answer.kind("") {
        kind @ (Kind::Quota | Kind::StockOut) => kind,
        _ => Kind::Failed,
    };
    Error::new(doing, why.trim_end_matches('.'), kind)
}
