//! Results, inputs and checkpoints of many blocks: kept by content, streamed, and recomputed where they are damaged.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::command::transcript;

use super::{simulate, start, wait_until, work, write_days, write_volume};

/// Bytes of a block.
const BLOCK: u64 = 8 << 20;
/// What a worker may hold in memory, however large the results are.
const MEMORY_MAX_KIB: u64 = 64 << 10;

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| vec![]);
    let inside = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.into_iter().flat_map(|entry| inside(entry.path())).collect()
}

/// Two blocks of a line over and over, after those of the state before.
const GROW: &str = r#"
set -eu
[ -z "${BATCH_PREVIOUS:-}" ] || cp "$BATCH_PREVIOUS/model" "$BATCH_OUTPUT/model"
yes "$(cat "$BATCH_INPUT")" | head -c 16777216 >> "$BATCH_OUTPUT/model"
"#;

#[test]
fn a_preempted_chain_of_large_states_stores_equal_blocks_once() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    fs::remove_file(days.join("2018-04-05.txt")).unwrap();
    fs::remove_file(days.join("2018-04-04.txt")).unwrap();
    simulate(&days, &out, &["--deterministic", "--seed", "4", "--", "sh", "-c", GROW]);
    for day in 1..=3u64 {
        let model = out.join(format!("output/2018-04-0{day}/model"));
        assert_eq!(fs::metadata(model).unwrap().len(), day * 2 * BLOCK);
    }
    assert_eq!(fs::metadata(out.join("output/latest/model")).unwrap().len(), 6 * BLOCK);
    let blocks = files(&out.join("runs/1/blocks"));
    assert_eq!(blocks.len(), 6, "each state has two blocks of its own: {blocks:?}");
}

#[test]
fn a_block_that_is_damaged_is_made_again() {
    let volume = tempfile::tempdir().unwrap();
    write_volume(volume.path(), 2);
    let runs = |list: &str, more: &[&str]| {
        fs::write(volume.path().join("list"), list).unwrap();
        let output = work(volume.path(), more, GROW);
        assert!(output.status.success(), "{}", transcript(&output));
    };
    for harm in ["damaged", "lost"] {
        let name = format!("first-{harm}");
        runs("datasets/training/2018-04-01.txt", &["--run", &name]);
        for block in files(&volume.path().join(format!("runs/{name}/blocks"))) {
            match harm {
                "damaged" => fs::write(block, "other bytes").unwrap(),
                _ => fs::remove_file(block).unwrap(),
            }
        }
        let second = format!("second-{harm}");
        let more = ["--run", &second, "--after", &name, "--lease", "1s"];
        runs("datasets/training/2018-04-02.txt", &more);
        assert_eq!(fs::metadata(volume.path().join("output/latest/model")).unwrap().len(), 4 * BLOCK);
    }
}

#[test]
fn memory_is_bounded_whatever_a_program_leaves() {
    let volume = tempfile::tempdir().unwrap();
    write_volume(volume.path(), 3);
    // The worker's own high-water mark, as it is at the next dataset.
    let script = r#"
        set -eu
        worker=$(sed -n 's/^PPid:\t//p' "/proc/$PPID/status")
        [ -n "${BATCH_PREVIOUS:-}" ] || sed -n 's/^VmRSS.*/&/p' "/proc/$worker/status" >&2
        sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$worker/status" > "$BATCH_OUTPUT/most"
        [ -z "${BATCH_PREVIOUS:-}" ] || cmp "$BATCH_PREVIOUS/zeros" "$BATCH_OUTPUT/../previous/zeros"
        head -c 60000000 /dev/zero > "$BATCH_OUTPUT/zeros"
        yes "$BATCH_INDEX" | head -c 40000000 > "$BATCH_OUTPUT/lines"
    "#;
    let output = work(volume.path(), &[], script);
    assert!(output.status.success(), "{}", transcript(&output));
    let most = fs::read_to_string(volume.path().join("output/latest/most")).unwrap();
    let most: u64 = most.trim().parse().unwrap();
    assert!(most < MEMORY_MAX_KIB, "the worker held {most} KiB");
}

#[test]
fn a_large_checkpoint_is_restored_on_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    write_volume(&volume, 1);
    let script = r#"
        if [ -f "$BATCH_CHECKPOINT/state" ]; then
            yes saved | head -c 20000000 | cmp - "$BATCH_CHECKPOINT/state"
            echo restored > "$BATCH_OUTPUT/found"
            exit 0
        fi
        yes saved | head -c 20000000 > "$BATCH_CHECKPOINT/state.tmp"
        mv "$BATCH_CHECKPOINT/state.tmp" "$BATCH_CHECKPOINT/state"
        sleep 600
    "#;
    let options = ["--lease", "1s", "--progress-every", "50ms"];
    let mut first = start(&volume, &folder.path().join("scratch"), &options, script);
    // A state that refers to blocks is a file beside them.
    let is_state =
        |path: &PathBuf| path.file_name().is_some_and(|name| !name.to_string_lossy().contains('-'));
    wait_until("the checkpoint is saved", || files(&volume.join("runs/1/attempts")).iter().any(is_state));
    kill(Pid::from_raw(i32::try_from(first.id()).unwrap()), Signal::SIGKILL).unwrap();
    first.wait().unwrap();
    let second = work(&volume, &["--lease", "1s"], script);
    assert!(second.status.success(), "{}", transcript(&second));
    assert_eq!(fs::read_to_string(volume.join("output/latest/found")).unwrap(), "restored\n");
}
