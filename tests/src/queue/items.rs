//! Items for the queue's tests, of the shape that the fraud model's pipeline gives them.

use sim::world::toy::{EVALUATE, JOIN, PIPELINE, PREPARE};
use worker::item::Item;
use worker::pipeline::{self, Step};

pub const BEGIN: Item = Item::BEGIN;
pub const INTAKE: Item = pipeline::INTAKE;
pub const REPORT: Item = pipeline::REPORT;
pub const FOLD: Item = Item { rank: 2, name: worker::item::Name::constant("fold") };

pub fn prepare(index: u32) -> Item {
    PIPELINE.item(Step::Each(PREPARE, index))
}

pub fn join(index: u32) -> Item {
    PIPELINE.item(Step::Each(JOIN, index))
}

pub fn evaluate(index: u32) -> Item {
    PIPELINE.item(Step::Each(EVALUATE, index))
}
