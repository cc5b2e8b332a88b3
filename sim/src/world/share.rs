//! The volume that all machines share, and what is out of order with it.

use std::cell::{Cell, RefCell};

use super::clock::Micros;
use super::nfs::Server;
use super::window::Window;

#[derive(Debug)]
pub struct Share {
    pub server: RefCell<Server>,
    /// The server is away until then.
    pub away_until: Cell<Micros>,
    pub no_space: Window,
    /// Each name of a bucket takes one write a second.
    pub throttled: Window,
    /// Calls made so far, by all machines.
    pub calls: Cell<u64>,
}

impl Share {
    pub fn new(on_one_machine: bool) -> Self {
        Self {
            server: RefCell::new(Server::new(on_one_machine)),
            away_until: Cell::new(0),
            no_space: Window::default(),
            throttled: Window::default(),
            calls: Cell::new(0),
        }
    }
}
