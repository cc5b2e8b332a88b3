//! The engine's suite for stores, on every arm.

use tests::bucket::gcs::GcsArm;
use tests::bucket::model::BucketModel;
use tests::bucket::{DurableArm, S3Arm};
use tests::queue::block_on;
use tests::volume::{NfsStore, OnServer, OwnDisk};

worker::store_conformance!(directory, OwnDisk, block_on);
worker::store_conformance!(directory_on_server, OnServer, block_on);
worker::store_conformance!(model_of_nfs, NfsStore, block_on);
worker::store_conformance!(model_of_bucket, BucketModel, block_on);
worker::store_conformance!(s3, S3Arm, block_on);
worker::store_conformance!(s3_versitygw, DurableArm, block_on);
worker::store_conformance!(stand_in_of_gcs, GcsArm, block_on);
