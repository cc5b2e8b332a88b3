//! The workloads that a program knows, keyed by the name that manifests carry.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::manifest::Spec;
use crate::workload::Workload;

/// Makes a workload from its parameters; what they leave out has its default. Refuses with a reason that names
/// the parameter.
pub type Maker = Box<dyn Fn(&BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String>>;

/// The workloads that a program knows, by the name that manifests carry.
#[derive(Default)]
pub struct Registry {
    makers: BTreeMap<&'static str, Maker>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.makers.keys()).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a workload under a name.
    #[must_use]
    pub fn with(mut self, name: &'static str, maker: Maker) -> Self {
        self.makers.insert(name, maker);
        self
    }

    /// Makes a workload by its name.
    ///
    /// # Errors
    /// Names the workloads there are where there is none of this name, or the parameter that is unknown or has no
    /// such value.
    pub fn make(&self, name: &str, params: &BTreeMap<String, String>) -> Result<Arc<dyn Workload>, String> {
        let Some(maker) = self.makers.get(name) else {
            let known: Vec<&str> = self.makers.keys().copied().collect();
            return Err(format!("there is no workload `{name}`: this worker has {}", known.join(", ")));
        };
        maker(params)
    }

    /// The workload that a manifest names.
    ///
    /// # Errors
    /// As [`Registry::make`].
    pub fn of(&self, spec: &Spec) -> Result<Arc<dyn Workload>, String> {
        self.make(&spec.workload, &spec.params)
    }
}
