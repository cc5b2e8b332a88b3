
pub mod world;
