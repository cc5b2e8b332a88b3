//! The same step taken by linfa-ftrl (`--learner linfa`): dense, and with the system's `exp`, so that
//! its last bits may differ between CPUs. The tests hold our own against it.

use ::linfa::prelude::*;
use linfa_ftrl::Ftrl as Dense;
use ndarray::{Array1, Array2};
use serde_json::{Value, json};

use super::chains::Chains;
use super::ftrl::{BATCH, Ftrl, Rates};

/// What [`Chains::learn`] does.
///
/// # Errors
/// What linfa says.
pub(super) fn learn(state: &Chains, bins: &[u8], fraud: &[bool]) -> Result<Chains, String> {
    let (mut chains, mut at) = (Vec::new(), 0);
    for chain in state.chains() {
        let own = at..at + chain.features().len();
        at = own.end;
        let rows: Vec<&[u8]> = bins.chunks_exact(state.set().width()).map(|row| &row[own.clone()]).collect();
        chains.push(learn_chain(chain, &rows, fraud)?);
    }
    Ok(Chains::with_chains(state.rates(), state.set(), chains))
}

/// One step for each [`BATCH`] of rows.
fn learn_chain(state: &Ftrl, rows: &[&[u8]], fraud: &[bool]) -> Result<Ftrl, String> {
    let Rates { alpha, beta, l1, l2 } = state.rates();
    let params = Dense::params().alpha(alpha).beta(beta).l1_ratio(l1).l2_ratio(l2);
    let params = params.check().map_err(|error| error.to_string())?;
    let mut model = from_state(state).map_err(|error| error.to_string())?;
    for (rows, fraud) in rows.chunks(BATCH).zip(fraud.chunks(BATCH)) {
        let mut dense = Array2::zeros((fraud.len(), state.columns()));
        for (at, row) in rows.iter().enumerate() {
            dense[(at, state.columns() - 1)] = 1.0;
            state.columns_of(row).for_each(|(column, value)| dense[(at, column)] = value);
        }
        let batch = Dataset::new(dense, Array1::from(fraud.to_vec()));
        model = params.fit_with(Some(model), &batch).map_err(|error| error.to_string())?;
    }
    Ok(Ftrl::with_state(state.rates(), state.features(), &model.z().to_vec(), &model.n().to_vec()))
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
