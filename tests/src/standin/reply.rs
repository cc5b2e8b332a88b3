//! Answers in Google's form.

use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// In place of the body.
    pub text: Option<Vec<u8>>,
    pub header: Option<(&'static str, String)>,
}

impl Reply {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body, text: None, header: None }
    }

    /// What is no JSON.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self { text: Some(text.into()), ..Self::ok(Value::Null) }
    }

    pub fn with_header(self, name: &'static str, value: String) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// An error with its canonical code.
    pub fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let body = json!({"error": {"code": status, "message": message, "status": code}});
        Self { status, ..Self::ok(body) }
    }

    /// The same with an `ErrorInfo`.
    pub fn error_info(
        status: u16,
        code: &str,
        message: impl Into<String>,
        reason: &str,
        metadata: Value,
    ) -> Self {
        let mut reply = Self::error(status, code, message);
        reply.body["error"]["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "googleapis.com",
            "metadata": metadata,
        }]);
        reply
    }

    pub fn not_found(what: &str) -> Self {
        Self::error(404, "NOT_FOUND", format!("Not found: {what}."))
    }

    pub fn exists(what: &str) -> Self {
        Self::error(409, "ALREADY_EXISTS", format!("Already exists: {what}."))
    }

    pub fn busy(what: &str) -> Self {
        Self::error(400, "FAILED_PRECONDITION", format!("{what} is running incompatible operation."))
    }

    pub fn api_disabled(service: &str, project: &str) -> Self {
        let message = format!(
            "{service} has not been used in project {project} before or it is disabled. Enable it, then retry."
        );
        let metadata = json!({"service": service, "consumer": format!("projects/{project}")});
        Self::error_info(403, "PERMISSION_DENIED", message, "SERVICE_DISABLED", metadata)
    }
}
