//! Where workers run. All backends start the same worker; they differ in what a machine is.

pub mod process;
