//! What an error of object_store means to the engine, and to a person.

use std::error::Error;

use engine::store::{Kind, StoreError};

use super::http::{Refusal, Unanswered};
use crate::location::Provider;

/// Where machines in a cloud ask who they are: without an answer there are no credentials.
const METADATA: [&str; 4] =
    ["169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "metadata.google.internal"];

const NO_BUCKET: &str = "create the bucket, or correct its name in --volume";
const REGION: &str = "set AWS_REGION to the bucket's region";
const CLOCK: &str = "set this machine's clock: stores refuse requests from other times";
const FEATURE: &str =
    "use a store that speaks all of the API, such as S3, R2, MinIO, versitygw or Google Cloud Storage";

fn credentials(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to those of the store, or run where the machine has a role"
        }
        Provider::Gcs => {
            "run `gcloud auth application-default login`, set GOOGLE_APPLICATION_CREDENTIALS, or run where the \
             machine has a service account"
        }
    }
}

/// The hint for a store that does not answer at the start.
pub(super) fn unreachable(provider: Provider) -> &'static str {
    match provider {
        Provider::S3 => "check the network, and AWS_ENDPOINT_URL where the store is not Amazon's",
        Provider::Gcs => "check the network",
    }
}

/// Names the kind of an error, by what the server said.
pub(super) fn translate(
    provider: Provider,
    operation: &'static str,
    path: &str,
    error: &object_store::Error,
) -> StoreError {
    let (kind, detail) = if let Some(refusal) = cause::<Refusal>(error) {
        match METADATA.contains(&refusal.host.as_str()) {
            true => (Kind::Unusable(credentials(provider)), nobody(&refusal.host, refusal)),
            false => (kind_of(provider, refusal), refusal.to_string()),
        }
    } else if let Some(unanswered) = cause::<Unanswered>(error) {
        match METADATA.contains(&unanswered.host.as_str()) {
            true => (Kind::Unusable(credentials(provider)), nobody(&unanswered.host, &unanswered.why)),
            false => (Kind::Io, unanswered.to_string()),
        }
    } else {
        use object_store::Error as E;
        match error {
            E::NotFound { .. } => (Kind::NotFound, "no such object".to_owned()),
            // 409 too, after which nothing may be there (rule 8).
            E::AlreadyExists { .. } => (Kind::Exists, "the name is taken, or others write to it".to_owned()),
            E::Precondition { .. } => (Kind::Exists, "it has changed since it was read".to_owned()),
            E::InvalidPath { .. } => (Kind::NoFile, root_of(error)),
            other => {
                let detail = root_of(other);
                // An answer without a version, or without its time: no later read could tell what it has read.
                let lacks = detail.ends_with("Header missing from response");
                (if lacks { Kind::Unusable(FEATURE) } else { Kind::Io }, detail)
            }
        }
    };
    StoreError { kind, operation, path: path.to_owned(), detail }
}

/// There are no credentials, and none can be had.
fn nobody(host: &str, why: &dyn std::fmt::Display) -> String {
    format!("there are no credentials, and this machine has none of its own ({host}: {why})")
}

fn kind_of(provider: Provider, refusal: &Refusal) -> Kind {
    let hint = match (refusal.status, refusal.code.as_str()) {
        (_, "NoSuchBucket" | "InvalidBucketName") => NO_BUCKET,
        (_, "RequestTimeTooSkewed" | "RequestExpired") => CLOCK,
        (301 | 307, _) | (_, "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => REGION,
        (401, _)
        | (_, "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidSecurity" | "XAdminUserNotFound")
        | (_, "InvalidToken" | "ExpiredToken") => credentials(provider),
        (403, _) => return Kind::Permission,
        (405 | 501, _) | (_, "NotImplemented") => FEATURE,
        _ => return Kind::Io,
    };
    Kind::Unusable(hint)
}

/// Whether a range began behind the object's end.
pub(super) fn is_behind_end(error: &object_store::Error) -> bool {
    cause::<Refusal>(error).is_some_and(|refusal| refusal.status == 416)
}

fn cause<E: Error + 'static>(error: &object_store::Error) -> Option<&E> {
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = at {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        at = error.source();
    }
    None
}

/// The innermost cause, whose words are shortest.
fn root_of(error: &object_store::Error) -> String {
    let mut error: &dyn Error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Error + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: Box::new(source) }
    }

    fn refusal(host: &str, status: u16, code: &str) -> object_store::Error {
        let (host, code) = (host.to_owned(), code.to_owned());
        generic(Refusal { host, status, code, message: String::new(), region: String::new() })
    }

    #[test]
    fn without_credentials_it_is_said_that_there_are_none() {
        let silent = Unanswered { host: METADATA[0].to_owned(), why: "no answer".to_owned() };
        for error in [refusal(METADATA[0], 403, ""), generic(silent)] {
            let error = translate(Provider::S3, "list", "s3://bucket", &error);
            assert_eq!(error.kind, Kind::Unusable(credentials(Provider::S3)), "{error}");
        }
        let refused = translate(Provider::S3, "list", "s3://bucket", &refusal("store", 403, "AccessDenied"));
        assert_eq!(refused.kind, Kind::Permission);
    }

    #[test]
    fn what_time_may_heal_has_no_hint() {
        let lost = Unanswered { host: "store".to_owned(), why: "reset".to_owned() };
        for error in [generic(lost), refusal("store", 400, "RequestTimeout"), refusal("store", 400, "")] {
            assert_eq!(translate(Provider::Gcs, "create", "a", &error).hint(), None, "{error}");
        }
    }
}
