//! Chains and maps under preemptions: exit codes, checkpoints, what is left running, what `output/` shows.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::command::{run, transcript};
use tests::queue::server::Server;
use worker::contract::Exit;

use super::{
    DAYS, SIM, is_left, simulate, start, text, wait_for_line, wait_until, work, write_days, write_volume,
};

/// Goes on from the count of the state before, and notes which dataset it saw.
const TRAIN: &str = r#"
set -eu
input=$1 output=$2 previous=${3:-}
if [ -n "$previous" ]; then cp "$previous/count" "$previous/seen" "$output"; else echo 0 > "$output/count"; fi
echo $(($(cat "$output/count") + 1)) > "$output/count"
cat "$input" >> "$output/seen"
sleep 0.05
"#;

#[test]
fn a_preempted_chain_counts_every_dataset_once() {
    let folder = tempfile::tempdir().unwrap();
    let (days, script) = (folder.path().join("days"), folder.path().join("train.sh"));
    write_days(&days);
    fs::write(&script, TRAIN).unwrap();
    let queues = ["sqlite"].into_iter().chain(Server::shared().map(|_| "redis"));
    for queue in queues {
        for seed in ["1", "2", "3"] {
            let out = folder.path().join(format!("{queue}-{seed}"));
            let command = ["--", "sh", text(&script), "{input}", "{output}", "{previous}"];
            let summary =
                simulate(&days, &out, &[&["--queue", queue, "--seed", seed], &command[..]].concat());
            let interrupted = summary["preemptions"]["interrupted"].as_object().unwrap();
            assert!(!interrupted.is_empty(), "nothing was interrupted");
            let latest = out.join("output/latest");
            assert_eq!(fs::read_to_string(latest.join("count")).unwrap(), format!("{DAYS}\n"));
            let seen: String = (1..=DAYS).map(|day| format!("day {day}\n")).collect();
            assert_eq!(fs::read_to_string(latest.join("seen")).unwrap(), seen);
        }
    }
}

#[test]
fn a_map_does_each_dataset_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    let script = "wc -c < \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/bytes\"; mkdir \"$BATCH_OUTPUT/empty\"";
    simulate(&days, &out, &["--map", "--", "sh", "-c", script]);
    for day in 1..=DAYS {
        assert_eq!(fs::read_to_string(out.join(format!("output/2018-04-0{day}/bytes"))).unwrap().trim(), "6");
    }
    assert!(!out.join("output/latest").exists(), "a map has no last state");
}

#[test]
fn exit_codes_mean_what_the_documentation_says() {
    let cases = [
        ("exit 0", 0, "is complete"),
        ("echo no labels in it >&2; exit 65", 9, "trained on nothing"),
        ("echo boom >&2; exit 3", 1, "the program ended with exit code 3; its last lines:\n  boom"),
        ("kill -9 $$", 1, "the program was ended by signal 9"),
        ("exit 85", 1, "asked to be run again (exit 85) 3 times without a new checkpoint"),
        ("sleep 600", 1, "the program ran for longer than --item-timeout 300ms"),
        ("mkfifo \"$BATCH_OUTPUT/pipe\"", 1, "pipe is no file, folder or symbolic link"),
        ("ln -s /etc/passwd \"$BATCH_OUTPUT/link\"", 1, "the link link leads out of the folder"),
        ("exec >&- 2>&-; exit 4", 1, "the program ended with exit code 4"),
        ("printf '\\377\\000binary'; exit 5", 1, "the program ended with exit code 5"),
    ];
    for (script, code, words) in cases {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let volume = folder.path().join("volume");
        let options = ["--item-timeout", "300ms", "--scratch", text(&scratch)];
        let output = work(&volume, &options, script);
        assert_eq!(output.status.code(), Some(code), "{script}: {}", transcript(&output));
        assert!(transcript(&output).contains(words), "{script}: {}", transcript(&output));
        let left = fs::read_dir(&scratch).unwrap().count();
        assert_eq!(left, 0, "{script}: attempts leave nothing in the scratch folder");
    }
    let report = tempfile::tempdir().unwrap();
    work(report.path(), &[], "echo no labels in it >&2; exit 65");
    let text = fs::read_to_string(report.path().join("output/report.txt")).unwrap();
    assert!(
        text.contains("Rejected: the program rejected it (exit 65); its last lines:\n  no labels in it"),
        "{text}"
    );
}

#[test]
fn a_missing_program_and_a_wrong_command_line_are_said() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 1);
    let fixed = [
        "worker",
        "run",
        "--volume",
        text(folder.path()),
        "--list",
        "list",
        "--idle",
        "5ms",
        "--retries",
        "1",
    ];
    let output = run(SIM, &[&fixed[..], &["--", "./no-such-program"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", transcript(&output));
    assert!(transcript(&output).contains("the program was not found"), "{}", transcript(&output));
    for wrong in [&["--map"][..], &["--env", "A", "--", "true"], &["--param", "alpha=1", "--", "true"]] {
        let output = run(SIM, &[&fixed[..], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", transcript(&output));
    }
}

#[test]
fn a_released_or_saved_item_is_run_again_and_counts_as_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let marks = folder.path().join("marks");
    // More often than --retries would let pass.
    let script = format!(
        "echo x >> {0}; [ $(wc -l < {0}) -ge 6 ] || exit 75; cp {0} \"$BATCH_OUTPUT/marks\"",
        marks.display()
    );
    let output = work(folder.path(), &[], &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));

    let folder = tempfile::tempdir().unwrap();
    let script = "echo x >> \"$BATCH_CHECKPOINT/steps\"; [ ! -e \"$BATCH_OUTPUT/half\" ] || exit 9
        touch \"$BATCH_OUTPUT/half\"; [ $(wc -l < \"$BATCH_CHECKPOINT/steps\") -ge 5 ] || exit 85
        cp \"$BATCH_CHECKPOINT/steps\" \"$BATCH_OUTPUT/steps\"";
    let output = work(folder.path(), &[], script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    let steps = fs::read_to_string(folder.path().join("output/2018-04-01/steps")).unwrap();
    assert_eq!(steps.lines().count(), 5);
}

#[test]
fn a_notice_lets_the_program_save_and_the_next_attempt_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, scratch) = (folder.path().join("volume"), folder.path().join("scratch"));
    write_volume(&volume, 1);
    let script = r#"
        if [ -e "$BATCH_CHECKPOINT/at" ]; then cp "$BATCH_CHECKPOINT/at" "$BATCH_OUTPUT/at"; exit 0; fi
        trap 'echo saved > "$BATCH_CHECKPOINT/at.tmp_x"; echo 7 > "$BATCH_CHECKPOINT/at"; exit 1' TERM
        echo under way
        while :; do sleep 0.01; done"#;
    let mut worker = start(&volume, &scratch, &[], script);
    wait_for_line(&mut worker, "under way");
    kill(Pid::from_raw(worker.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(worker.wait().unwrap().code(), Some(75), "a preemption, whatever the program's own code");
    assert_eq!(start(&volume, &scratch, &[], script).wait().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(volume.join("output/2018-04-01/at")).unwrap(), "7\n");
}

#[test]
fn nothing_survives_a_killed_worker() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, scratch) = (folder.path().join("volume"), folder.path().join("scratch"));
    // The second starts from a state that the worker keeps in scratch.
    write_volume(&volume, 2);
    let mark = format!("86{:04}", std::process::id() % 10_000);
    // Deaf to SIGTERM, with a child in a session of its own.
    let script = format!(
        "[ $BATCH_INDEX = 1 ] || {{ touch \"$BATCH_OUTPUT/state\"; exit 0; }}
        trap '' TERM; setsid sleep {mark}.5 & echo under way; sleep {mark}.25"
    );
    let mut worker = start(&volume, &scratch, &[], &script);
    wait_for_line(&mut worker, "under way");
    wait_until("both have started", || is_left(&format!("{mark}.5")) && is_left(&format!("{mark}.25")));
    worker.kill().unwrap();
    worker.wait().unwrap();
    wait_until("the program and its child are gone", || !is_left(&mark));
    wait_until("the worker's folder is gone", || fs::read_dir(&scratch).unwrap().count() == 0);
}

#[test]
fn what_a_program_leaves_running_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let mark = format!("85{:04}", std::process::id() % 10_000);
    let script = format!("setsid sleep {mark} & echo done > \"$BATCH_OUTPUT/x\"");
    let output = work(folder.path(), &[], &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert!(!is_left(&mark), "the program's child is still there");
}

#[test]
fn the_latest_state_is_that_of_the_last_dataset_that_was_not_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume, 3);
    let output =
        work(volume, &[], "[ \"$BATCH_INDEX\" != 2 ] || exit 65; echo $BATCH_INDEX > \"$BATCH_OUTPUT/at\"");
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert_eq!(fs::read_to_string(volume.join("output/latest/at")).unwrap(), "1\n");
}

/// `output/` shows the last run alone.
#[test]
fn a_later_run_takes_an_earlier_ones_files_out_of_output() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume, 2);
    let first = work(
        volume,
        &[],
        "echo 1 > \"$BATCH_OUTPUT/a\"; mkdir \"$BATCH_OUTPUT/b\"; echo 2 > \"$BATCH_OUTPUT/b/c\"",
    );
    assert_eq!(first.status.code(), Some(0), "{}", transcript(&first));
    fs::write(volume.join("output/notes"), "a person's own").unwrap();
    fs::write(volume.join("list"), "datasets/training/2018-04-02.txt").unwrap();
    let second = work(volume, &[], "echo 3 > \"$BATCH_OUTPUT/a\"");
    assert_eq!(second.status.code(), Some(0), "{}", transcript(&second));
    let mut files = Vec::new();
    let mut folders = vec![volume.join("output")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            files.push(path.strip_prefix(volume).unwrap().display().to_string());
        }
    }
    files.sort();
    let expected = ["2018-04-02", "2018-04-02/a", "latest", "latest/a", "notes", "report.json", "report.txt"];
    assert_eq!(files, expected.map(|name| format!("output/{name}")));
}

/// As those do that run out of memory.
#[test]
fn workers_that_die_at_one_item_again_and_again_stop_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume, 3);
    // The shell's parent is the guard, whose parent is the worker.
    let script = format!(
        "[ \"$BATCH_INDEX\" != 1 ] || [ -e {}/fixed ] || kill -9 $(ps -o ppid= -p $PPID); echo > \"$BATCH_OUTPUT/x\"",
        text(volume)
    );
    let limits = ["--max-deliveries", "3", "--lease", "200ms"];
    let codes: Vec<_> = (0..3).map(|_| work(volume, &limits, &script).status.code()).collect();
    assert_eq!(codes, [None; 3], "killed");
    let stopped = work(volume, &limits, &script);
    let said = transcript(&stopped);
    assert_eq!(stopped.status.code(), Some(i32::from(Exit::Deliveries.code())), "{said}");
    assert!(said.contains("datasets/training/2018-04-02.txt: 3 workers in a row died"), "{said}");
    assert_eq!(said.matches("workers in a row died or stood still").count(), 1, "said once: {said}");
    assert!(said.contains("hint: exit code 137 or OOMKilled means memory"), "{said}");
    // A second worker stops too, and one with a higher limit goes on once the cause is gone.
    assert_eq!(work(volume, &limits, &script).status.code(), Some(i32::from(Exit::Deliveries.code())));
    let raised = ["--max-deliveries", "9", "--lease", "200ms"];
    fs::write(volume.join("fixed"), "").unwrap();
    let output = work(volume, &raised, &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
}
