//! The same step taken by linfa-ftrl (`--learner linfa`): dense, and with the system's `exp`, so that
//! its last bits may differ between CPUs. The tests hold our own against it.

use ::linfa::prelude::*;
use linfa_ftrl::Ftrl as Dense;
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

use super::ftrl::{BATCH, Ftrl, Rates};

/// One step for each [`BATCH`] of rows.
///
/// # Errors
/// What linfa says.
pub(super) fn learn(state: &Ftrl, bins: &[u8], fraud: &[bool]) -> Result<Ftrl, String> {
    let Rates { alpha, beta, l1, l2 } = state.rates();
    let params = Dense::params().alpha(alpha).beta(beta).l1_ratio(l1).l2_ratio(l2);
    let params = params.check().map_err(|error| error.to_string())?;
    let mut model = from_state(state).map_err(|error| error.to_string())?;
    for (bins, fraud) in bins.chunks(BATCH * state.features()).zip(fraud.chunks(BATCH)) {
        let mut rows = Array2::zeros((fraud.len(), state.columns()));
        for (at, row) in bins.chunks_exact(state.features()).enumerate() {
            rows[(at, state.columns() - 1)] = 1.0;
            state.columns_of(row).for_each(|(column, value)| rows[(at, column)] = value);
        }
        let batch = Dataset::new(rows, Array1::from(fraud.to_vec()));
        model = params.fit_with(Some(model), &batch).map_err(|error| error.to_string())?;
    }
    Ok(Ftrl::with_state(state.rates(), state.set(), &model.z().to_vec(), &model.n().to_vec()))
}

/// linfa starts `z` from random numbers and lets nobody set it, but reads a model back.
fn from_state(state: &Ftrl) -> serde_json::Result<Dense<f64>> {
    let array = |values: &[f64]| -> Value { json!({ "v": 1, "dim": [values.len()], "data": values }) };
    let Rates { alpha, beta, l1, l2 } = state.rates();
    serde_json::from_value(json!({
        "alpha": alpha, "beta": beta, "l1_ratio": l1, "l2_ratio": l2,
        "z": array(state.z()), "n": array(state.n()),
    }))
}
