//! One body a behaviour, on every arm of the volume.

use tests::queue::block_on;
use tests::volume::conformance as bodies;
use tests::volume::nfs::NfsArm;
use tests::volume::{Arm, DirArm, ServerArm};

macro_rules! on {
    ($module:ident, $arm:ty, [$($body:ident),* $(,)?]) => {
        mod $module {
            use super::*;
            $(
                #[test]
                fn $body() {
                    let arm = <$arm>::open();
                    block_on(bodies::$body(&arm));
                }
            )*
        }
    };
}

macro_rules! on_every_arm {
    ($($body:ident),* $(,)?) => {
        on!(directory, DirArm, [$($body),*]);
        on!(directory_on_server, ServerArm, [$($body),*]);
        on!(model_of_nfs, NfsArm, [$($body),*]);
    };
}

on_every_arm! {
    what_is_closed_is_read_by_others,
    writes_append,
    a_file_is_created_once,
    ranges_are_read_short_at_the_end_only,
    what_is_not_there_is_not_found,
    a_link_is_another_name_of_one_file,
    a_link_never_replaces,
    one_of_many_links_wins,
    a_rename_replaces,
    folders_are_listed_sorted,
    only_empty_folders_are_removed,
    a_folder_is_no_file,
    errors_name_what_was_tried,
}
