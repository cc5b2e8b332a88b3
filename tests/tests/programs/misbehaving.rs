//! Programs that do what no program should; each is handled as docs/own-code.md says.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::command::{run, transcript};
use tests::small_disk::SmallDisk;

use super::{SIM, is_left, start, text, wait_for_line, work, write_volume};

/// Codes with a meaning of their own; [`super::under_preemption`] has those, and what a shell makes of signals.
const WITH_A_MEANING: [u8; 5] = [0, 65, 75, 85, 127];

#[test]
fn every_other_exit_code_is_a_failure_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 1);
    let codes: Vec<u8> = (0..=u8::MAX).filter(|code| !WITH_A_MEANING.contains(code)).collect();
    std::thread::scope(|scope| {
        for share in codes.chunks(codes.len() / 4 + 1) {
            scope.spawn(|| share.iter().for_each(|code| fail_with(folder.path(), *code)));
        }
    });
}

fn fail_with(volume: &Path, code: u8) {
    // A queue of its own for each, so that they do not wait for each other.
    let queue = format!("sqlite:{}/queue-{code}", volume.display());
    let run_name = format!("code-{code}");
    let fixed = ["worker", "run", "--volume", text(volume), "--list", "list", "--idle", "5ms", "--name", "w"];
    let more =
        ["--queue", &queue, "--run", &run_name, "--retries", "1", "--", "sh", "-c", &format!("exit {code}")];
    let output = run(SIM, &[&fixed[..], &more].concat());
    let transcript = transcript(&output);
    assert_eq!(output.status.code(), Some(1), "{code}: {transcript}");
    let words = match code {
        // As shells tell a signal.
        129.. => format!("the program was ended by signal {}", code - 128),
        _ => format!("the program ended with exit code {code}"),
    };
    assert!(transcript.contains(&words), "{code}: {transcript}");
}

#[test]
fn one_that_ignores_sigterm_is_killed_within_the_grace_and_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, scratch) = (folder.path().join("volume"), folder.path().join("scratch"));
    write_volume(&volume, 1);
    let mark = format!("84{:04}", std::process::id() % 10_000);
    let script = format!(
        "[ $BATCH_ATTEMPT = 0 ] && [ ! -e {0} ] || {{ echo done > \"$BATCH_OUTPUT/x\"; exit 0; }}
        touch {0}; trap '' TERM; echo under way; while :; do sleep {mark} & wait; done",
        folder.path().join("once").display()
    );
    let mut worker = start(&volume, &scratch, &["--grace", "500ms"], &script);
    wait_for_line(&mut worker, "under way");
    kill(Pid::from_raw(worker.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(worker.wait().unwrap().code(), Some(75));
    assert!(!is_left(&mark), "the program is still there");
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert_eq!(start(&volume, &scratch, &[], &script).wait().unwrap().code(), Some(0));
}

#[test]
fn one_that_closes_its_output_and_works_on_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let script = "exec >&- 2>&-; sleep 0.2; echo late > \"$BATCH_OUTPUT/x\"";
    let output = work(folder.path(), &[], script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert_eq!(fs::read_to_string(folder.path().join("output/2018-04-01/x")).unwrap(), "late\n");
}

#[test]
fn one_that_prints_without_end_is_shown_and_kept_with_bounds() {
    let folder = tempfile::tempdir().unwrap();
    // One line of 20 MB, and as much in short ones.
    let script =
        "head -c 20000000 /dev/zero | tr '\\0' x; echo; yes line | head -c 20000000; echo the end; exit 3";
    let output = work(folder.path(), &["--log", "events", "--run", "r"], script);
    assert_eq!(output.status.code(), Some(1));
    let shown = output.stderr.len();
    assert!(shown < 8 << 20, "{shown} bytes were shown of two attempts");
    let logs = run(SIM, &["worker", "logs", "--volume", text(folder.path()), "--run", "r", "train/0"]);
    let (logs, kept) = (transcript(&logs), logs.stdout.len());
    assert!(kept < 3 << 20, "{kept} bytes were kept of two attempts");
    assert!(logs.contains("the end\n"), "its end is kept");
}

#[test]
fn a_result_that_is_too_big_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // They take no space.
    let output = work(folder.path(), &[], "truncate -s 2T \"$BATCH_OUTPUT/big\"");
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    assert!(transcript(&output).contains("big: more than 1 TiB in all"), "{}", transcript(&output));
}

#[test]
fn one_that_fills_the_disk_fails_and_the_next_attempt_finds_it_empty() {
    let Some(disk) = SmallDisk::mount() else { return };
    let folder = tempfile::tempdir().unwrap();
    let once = folder.path().join("once");
    let script = format!(
        "[ ! -e {0} ] || {{ head -c 1000000 /dev/zero > \"$BATCH_OUTPUT/x\"; exit 0; }}
        touch {0}; cat /dev/zero > \"$BATCH_OUTPUT/x\"",
        once.display()
    );
    let volume = folder.path().join("volume");
    let output = work(&volume, &["--scratch", text(disk.path())], &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert!(transcript(&output).contains("No space left on device"), "{}", transcript(&output));
    assert_eq!(fs::metadata(volume.join("output/2018-04-01/x")).unwrap().len(), 1_000_000);
    // The dataset itself does not fit.
    fs::write(disk.path().join("ballast"), vec![1; 5 << 20]).unwrap_err();
    let volume = folder.path().join("other");
    let output = work(&volume, &["--scratch", text(disk.path())], "true");
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    assert!(transcript(&output).contains("hint: --scratch names another folder"), "{}", transcript(&output));
}

#[test]
fn one_that_changes_what_it_is_given_changes_its_own_copy() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume, 2);
    let marks = volume.join("marks");
    // At its first start for a dataset it destroys everything and fails.
    let script = format!(
        "mkdir -p {0}; [ ! -e {0}/$BATCH_INDEX ] || {{ cat ${{BATCH_PREVIOUS+\"$BATCH_PREVIOUS/all\"}} \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/all\"; exit 0; }}
        touch {0}/$BATCH_INDEX; echo changed >> \"$BATCH_INPUT\"; rm -rf \"${{BATCH_PREVIOUS:-/nowhere}}\"; rm -rf \"$BATCH_OUTPUT\"; exit 3",
        marks.display()
    );
    let output = work(volume, &["--retries", "3"], &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert_eq!(fs::read_to_string(volume.join("output/latest/all")).unwrap(), "x\nx\n");
    assert_eq!(fs::read_to_string(volume.join("datasets/training/2018-04-01.txt")).unwrap(), "x\n");
    assert_eq!(fs::read_to_string(volume.join("output/2018-04-01/all")).unwrap(), "x\n");
}

#[test]
fn one_that_removes_its_output_folder_has_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let output = work(folder.path(), &[], "rm -rf \"$BATCH_OUTPUT\"");
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    assert!(
        transcript(&output).contains("the program's output cannot be committed"),
        "{}",
        transcript(&output)
    );
}

#[test]
fn one_that_the_kernel_kills_is_a_failure_that_names_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    // A second of processor time is over: as short of memory, the kernel sends SIGKILL.
    let output = work(folder.path(), &["--retries", "1"], "ulimit -t 1; while :; do :; done");
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    assert!(transcript(&output).contains("the program was ended by signal 9"), "{}", transcript(&output));
}
