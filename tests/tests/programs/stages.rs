//! Four commands as stages: prepare, train, evaluate; what each is given, and what the report shows of it.

use std::fs;

use tests::command::{run, transcript};

use super::{DAYS, SIM, simulate, text, work, write_days, write_volume};

/// `prepare` numbers a dataset's lines, `train` collects them, `evaluate` counts the state's and the tests' lines.
const PREPARE: &str = "sh -c 'cat -n \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/lines\"'";
const TRAIN: &str =
    "cat ${BATCH_PREVIOUS+\"$BATCH_PREVIOUS/all\"} \"$BATCH_INPUT/lines\" > \"$BATCH_OUTPUT/all\"";
/// Reads every evaluation and the last state, and leaves a folder and a file of blocks.
const REPORT: &str = "sh -c 'mkdir \"$BATCH_OUTPUT/sub\"; cd \"$BATCH_INPUT\"; \
    { ls; cat */metrics.json; wc -l < \"$BATCH_PREVIOUS/all\"; } > \"$BATCH_OUTPUT/sub/seen\"; \
    head -c 300000 /dev/zero > \"$BATCH_OUTPUT/plot\"'";
const EVALUATE: &str = "sh -c 'printf \"{\\\"seen\\\": %d, \\\"tests\\\": %d}\" \
    $(wc -l < \"$BATCH_INPUT/all\") $(cat \"$BATCH_TESTS\"/*/lines | wc -l) > \"$BATCH_OUTPUT/metrics.json\"'";

#[test]
fn a_chain_is_prepared_before_it_and_evaluated_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    fs::write(days.join("test.txt"), "one\ntwo\n").unwrap();
    let commands = ["--prepare", PREPARE, "--evaluate", EVALUATE, "--report", REPORT];
    let stages = [&commands[..], &["--deterministic", "--", "sh", "-c", TRAIN]].concat();
    let summary = simulate(&days, &out, &stages);
    assert!(
        !summary["preemptions"]["interrupted"].as_object().unwrap().is_empty(),
        "nothing was interrupted"
    );
    let all = fs::read_to_string(out.join("output/latest/all")).unwrap();
    let expected: String = (1..=DAYS).map(|day| format!("     1\tday {day}\n")).collect();
    assert_eq!(all, expected);
    let report = fs::read_to_string(out.join("output/report.txt")).unwrap();
    assert!(report.contains("seen: 5\ntests: 2\n"), "{report}");
    let shown = fs::read_to_string(out.join("output/evaluated/2018-04-02/metrics.json")).unwrap();
    assert_eq!(shown, r#"{"seen": 2, "tests": 2}"#);
    let names: String = (1..=DAYS).map(|day| format!("2018-04-0{day}\n")).collect();
    let numbers: String = (1..=DAYS).map(|day| format!("{{\"seen\": {day}, \"tests\": 2}}")).collect();
    let seen = fs::read_to_string(out.join("output/reported/sub/seen")).unwrap();
    assert_eq!(seen, format!("{names}{numbers}{DAYS}\n"));
    assert_eq!(fs::metadata(out.join("output/reported/plot")).unwrap().len(), 300_000);
    assert!(report.contains("Report of the program:\nOutput: 2 files, "), "{report}");
}

/// A rejected or failed report fails the run, and is recomputed until it succeeds.
#[test]
fn a_report_that_fails_is_recomputed() {
    let folder = tempfile::tempdir().unwrap();
    let once = folder.path().join("once");
    let report = format!(
        "sh -c 'ls \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/x\"; mkdir {} || exit 0; exit 65'",
        text(&once)
    );
    write_volume(folder.path(), 2);
    let output = work(folder.path(), &["--map", "--report", &report], "exit 0");
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    assert!(transcript(&output).contains("the program rejected it (exit 65)"), "{}", transcript(&output));
    let shown = fs::read_to_string(folder.path().join("output/reported/x")).unwrap();
    assert_eq!(shown, "2018-04-01\n2018-04-02\n");
}

#[test]
fn without_a_prepare_the_tests_are_the_files_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    fs::write(days.join("test-a.txt"), "a\n").unwrap();
    fs::write(days.join("test-b.txt"), "b\n").unwrap();
    let evaluate = "sh -c 'ls \"$0\" > \"$1/names\"' {tests} {output}";
    simulate(
        &days,
        &out,
        &["--evaluate", evaluate, "--", "sh", "-c", "cp \"$BATCH_INPUT\" \"$BATCH_OUTPUT\""],
    );
    let names = fs::read_to_string(out.join("output/evaluated/2018-04-05/names")).unwrap();
    assert_eq!(names, "test-a.txt\ntest-b.txt\n");
}

/// A chain is one item to the queue, and each of its datasets may fail `--retries` times.
#[test]
fn each_dataset_of_a_chain_has_its_own_retries() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 3);
    let failed = folder.path().join("failed");
    let script = format!("mkdir {}-$BATCH_INDEX 2> /dev/null && exit 1; exit 0", text(&failed));
    let output = work(folder.path(), &["--retries", "2"], &script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    let count = transcript(&output).matches("exit code 1").count();
    assert_eq!(count, 3, "each has failed once: {}", transcript(&output));
}

#[test]
fn a_command_that_the_run_was_not_begun_with_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let begun = work(folder.path(), &["--retries", "1"], "exit 3");
    assert_eq!(begun.status.code(), Some(1), "{}", transcript(&begun));
    assert!(transcript(&begun).contains("hint: correct the program and"), "{}", transcript(&begun));
    let other = work(folder.path(), &[], "exit 0");
    assert_eq!(other.status.code(), Some(7), "{}", transcript(&other));
    let words = [
        "run 1 was begun with another command or other options",
        r#"train is ["sh","-c","exit 3"] there, and ["sh","-c","exit 0"] here"#,
        "hint: give what it was begun with, or none, to finish it; worker abandon 1 leaves it",
    ];
    for words in words {
        assert!(transcript(&other).contains(words), "{words}: {}", transcript(&other));
    }
    // Another run of the same list is the new command's own.
    let own = work(folder.path(), &["--run", "mine"], "exit 0");
    assert_eq!(own.status.code(), Some(0), "{}", transcript(&own));
}

#[test]
fn other_platforms_variables_are_there_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 2);
    let script =
        "echo $CLOUD_RUN_TASK_INDEX of $CLOUD_RUN_TASK_COUNT, $CLOUD_RUN_TASK_ATTEMPT > \"$BATCH_OUTPUT/x\"";
    let output = work(folder.path(), &["--map", "--aliases"], script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    let shown = fs::read_to_string(folder.path().join("output/2018-04-02/x")).unwrap();
    assert_eq!(shown, "1 of 2, 0\n");
}

#[test]
fn a_program_counts_its_starts_and_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo started $BATCH_ATTEMPT; echo \"{\\\"progress\\\": 0.5}\" >&\"$BATCH_METRICS_FD\"
        echo \"{\\\"metrics\\\": {\\\"loss\\\": 0.25}}\" >&\"$BATCH_METRICS_FD\"
        echo x >> \"$BATCH_CHECKPOINT/steps\"; [ $BATCH_ATTEMPT -ge 2 ] || exit 85";
    let output = work(folder.path(), &[], script);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    for line in ["train/0 | started 0", "train/0 | started 2", "train/0 | 50 %", "train/0 | loss 0.25"] {
        assert!(transcript(&output).contains(line), "{line}: {}", transcript(&output));
    }
}

#[test]
fn what_programs_print_is_kept_and_shown_by_item() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 2);
    let output =
        work(folder.path(), &["--run", "r"], "echo out of $BATCH_INDEX; echo err of $BATCH_INDEX >&2");
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    let logs = |more: &[&str]| {
        run(SIM, &[&["worker", "logs", "--volume", text(folder.path()), "--run", "r"], more].concat())
    };
    let one = transcript(&logs(&["train/1"]));
    assert!(one.contains("out of 1\n") && one.contains("err of 1\n") && !one.contains("of 0"), "{one}");
    let all = transcript(&logs(&[]));
    assert!(all.contains("== train-0.") && all.contains("out of 0\n") && all.contains("out of 1\n"), "{all}");
    let none = logs(&["train/7"]);
    assert_eq!(none.status.code(), Some(3), "{}", transcript(&none));
}

#[test]
fn commands_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_volume(folder.path(), 1);
    let wrong: [&[&str]; 5] = [
        &["--map", "--prepare", "true", "--", "true"],
        &["--map", "--evaluate", "true", "--", "true"],
        &["--prepare", "sh -c 'true", "--", "true"],
        &["--evaluate", "true"],
        &["--deterministic"],
    ];
    for more in wrong {
        let fixed = ["worker", "run", "--volume", text(folder.path()), "--list", "list"];
        let output = run(SIM, &[&fixed, more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}: {}", transcript(&output));
    }
}
