//! `sim check`: a program is run twice, and what differs is named.

use std::fs;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::command::{run, transcript};

use super::{SIM, text, wait_for_line, write_days, write_volume};

/// Checks a script on three days and a test day.
fn check(options: &[&str], script: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    write_days(folder.path());
    fs::write(folder.path().join("test.txt"), "test\n").unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let fixed =
        ["check", "--datasets", text(folder.path()), "--scratch", text(scratch.path()), "--apart", "0ms"];
    let output = run(SIM, &[&fixed, options, &["--", "sh", "-c", script]].concat());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "the check leaves nothing behind");
    output
}

fn says(output: &Output, code: i32, words: &[&str]) {
    let text = transcript(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for words in words {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn equal_results_are_equal_whatever_the_folder_the_attempt_and_the_threads() {
    let output =
        check(&[], "cat ${BATCH_PREVIOUS+\"$BATCH_PREVIOUS/x\"} \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/x\"");
    says(
        &output,
        0,
        &[
            "train/0 of 2018-04-01.txt: 1 file, 6 bytes, equal twice",
            "train/1 of 2018-04-02.txt",
            "equal: two runs",
        ],
    );
    assert!(!transcript(&output).contains("train/2"), "of a chain two datasets are enough");
    let stages = [
        "--prepare",
        "sh -c 'cp $BATCH_INPUT $BATCH_OUTPUT/p'",
        "--evaluate",
        "sh -c 'cat $BATCH_TESTS/*/p > $BATCH_OUTPUT/e'",
    ];
    let output = check(&stages, "cp \"$BATCH_INPUT/p\" \"$BATCH_OUTPUT\"");
    says(
        &output,
        0,
        &[
            "prepare/5 of test.txt",
            "prepare/0 of",
            "train/1 of",
            "evaluate/1 of 2018-04-02.txt: 1 file, 5 bytes, equal twice",
        ],
    );
    says(&check(&["--map"], "cp \"$BATCH_INPUT\" \"$BATCH_OUTPUT\""), 0, &["prepare/0 of 2018-04-01.txt"]);
}

#[test]
fn what_differs_is_named_with_the_first_file_and_byte() {
    let random =
        "echo same > \"$BATCH_OUTPUT/a\"; echo of $(cat /proc/sys/kernel/random/uuid) > \"$BATCH_OUTPUT/b\"";
    says(
        &check(&[], random),
        87,
        &["train/0 of 2018-04-01.txt: two runs gave different results\nb differs at byte ", "hint: "],
    );
    // The second dataset alone, since only it has a state before it.
    let later = "[ -z \"${BATCH_PREVIOUS-}\" ] || cat /proc/sys/kernel/random/uuid > \"$BATCH_OUTPUT/b\"";
    says(
        &check(&[], later),
        87,
        &["train/0 of 2018-04-01.txt: 0 files", "train/1 of 2018-04-02.txt: two runs gave"],
    );
    let folder = "echo \"$BATCH_OUTPUT\" > \"$BATCH_OUTPUT/log\"";
    says(&check(&[], folder), 87, &["log differs", "a path of the attempt is in the file"]);
    let name = "touch \"$BATCH_OUTPUT/$(cat /proc/sys/kernel/random/uuid)\"";
    says(&check(&[], name), 87, &[" result has ", "hint: give files names without"]);
    says(&check(&[], "[ $BATCH_ATTEMPT -gt 0 ] || exit 65"), 87, &["one of two runs rejected the dataset"]);
}

#[test]
fn threads_alone_are_no_difference_in_a_run() {
    let script = "echo \"threads: $OMP_NUM_THREADS\" > \"$BATCH_OUTPUT/x\"";
    says(
        &check(&[], script),
        0,
        &["equal with the same number of threads, and not with 2", "every run sets one thread"],
    );
    says(&check(&["--env", "OMP_NUM_THREADS=3"], script), 0, &["equal: two runs"]);
}

#[test]
fn a_digest_compares_what_counts() {
    let script = "cat /proc/sys/kernel/random/uuid > \"$BATCH_OUTPUT/id\"; echo 7 > \"$BATCH_OUTPUT/value\"";
    says(
        &check(&["--digest", "cat {output}/value"], script),
        0,
        &["other bytes, the same digest: `7`", "equal by --digest"],
    );
    says(
        &check(&["--digest", "sh -c 'cat $BATCH_OUTPUT/id'"], script),
        87,
        &["--digest printed `", "id differs at byte"],
    );
    says(&check(&["--digest", "false"], script), 1, &["--digest false failed"]);
}

#[test]
fn what_cannot_be_checked_is_said() {
    says(
        &check(&[], "echo boom >&2; exit 3"),
        1,
        &["train/0 of 2018-04-01.txt: the program ended with exit code 3", "  boom"],
    );
    says(&check(&["--item-timeout", "100ms"], "sleep 60"), 1, &["ran for longer than --item-timeout 100ms"]);
    let output = run(SIM, &["check", "--datasets", "/nowhere", "--", "true"]);
    assert_eq!(output.status.code(), Some(4), "{}", transcript(&output));
    let output = run(SIM, &["check", "--datasets", "/nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
}

/// One worker of a run that was declared deterministic stands still past its lease while its program works on; another
/// does the same dataset to another result.
#[test]
fn a_violation_names_the_file_and_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 1);
    let (begun, finish) = (folder.path().join("begun"), folder.path().join("finish"));
    let script = format!(
        "cat /proc/sys/kernel/random/uuid > \"$BATCH_OUTPUT/id\"; [ ! -e {0} ] || exit 0; touch {0}; echo at work
        while [ ! -e {1} ]; do sleep 0.01; done",
        begun.display(),
        finish.display()
    );
    let common =
        ["worker", "run", "--volume", text(folder.path()), "--list", "list", "--idle", "5ms", "--run", "r"];
    let program = ["--deterministic", "--", "sh", "-c", &script];
    let mut first = Command::new(SIM);
    first.args(common).args(["--name", "a", "--lease", "300ms"]).args(program).stderr(Stdio::piped());
    let mut first = first.spawn().unwrap();
    wait_for_line(&mut first, "at work");
    let pid = Pid::from_raw(first.id().cast_signed());
    kill(pid, Signal::SIGSTOP).unwrap();
    let second = run(SIM, &[&common[..], &["--name", "b"], &program].concat());
    assert_eq!(second.status.code(), Some(0), "{}", transcript(&second));
    fs::write(finish, "").unwrap();
    kill(pid, Signal::SIGCONT).unwrap();
    assert_eq!(first.wait().unwrap().code(), Some(86));
    let violation = fs::read(folder.path().join("runs/r/violation")).unwrap();
    let violation = String::from_utf8_lossy(&violation);
    assert!(violation.contains("id differs at byte") && violation.contains("hint: "), "{violation}");
}
