//! A promise that was broken, and the property that says so.

use serde::Serialize;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// `effect`, `liveness`, `waste` or `replay`.
    pub property: &'static str,
    pub detail: String,
}

impl Broken {
    pub fn new(property: &'static str, detail: impl Into<String>) -> Self {
        Self { property, detail: detail.into() }
    }

    pub fn effect(detail: impl Into<String>) -> Self {
        Self::new("effect", detail)
    }

    pub fn waste(detail: impl Into<String>) -> Self {
        Self::new("waste", detail)
    }

    pub fn at_first_exit(self) -> Self {
        Self { detail: format!("when the first worker exited 0: {}", self.detail), ..self }
    }
}
