//! The engine's suite for stores, on every arm.

use tests::queue::block_on;
use tests::volume::{NfsStore, OnServer, OwnDisk};

worker::store_conformance!(directory, OwnDisk, block_on);
worker::store_conformance!(directory_on_server, OnServer, block_on);
worker::store_conformance!(model_of_nfs, NfsStore, block_on);
