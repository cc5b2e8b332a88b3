//! `--audit`: a share of a run's items is done twice, and the run is void where the results differ.

use std::fs;

use tests::command::transcript;
use worker::contract::Exit;

use super::{DAYS, simulate, text, work, write_days, write_volume};

/// Notes each start, with the folder that it was given.
const COUNTED: &str =
    "echo $BATCH_ITEM $BATCH_OUTPUT >> \"$MARKS\"; cat \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/x\"";

#[test]
fn equal_results_pass_and_every_audited_item_is_done_twice_in_another_folder() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path().join("volume");
    write_volume(&volume, 3);
    let marks = format!("MARKS={}", folder.path().join("marks").display());
    let options = ["--deterministic", "--audit", "100%", "--env", &marks];
    let output = work(&volume, &options, COUNTED);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output));
    let said = transcript(&output);
    assert_eq!(said.matches("audited: two results are equal").count(), 3, "{said}");
    let marks = fs::read_to_string(folder.path().join("marks")).unwrap();
    let mut lines: Vec<&str> = marks.lines().collect();
    assert_eq!(lines.len(), 6, "{marks}");
    lines.dedup();
    assert_eq!(lines.len(), 6, "each in a folder of its own: {marks}");
}

#[test]
fn a_program_that_stamps_the_time_voids_the_run_and_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let volume = folder.path();
    write_volume(volume, 2);
    let script = "cp \"$BATCH_INPUT\" \"$BATCH_OUTPUT/data\"; date +%s%N > \"$BATCH_OUTPUT/stamp\"";
    let output = work(volume, &["--deterministic", "--audit", "100%"], script);
    let said = transcript(&output);
    assert_eq!(output.status.code(), Some(i32::from(Exit::Violation.code())), "{said}");
    assert!(said.contains("stamp differs at byte") && said.contains("-audit made"), "{said}");
    assert!(volume.join("runs/1/violation").exists());
    assert!(!volume.join("runs/1/trained/0").exists(), "what differs is not committed");
    // Another worker of the run stops as well.
    let other = work(volume, &["--deterministic"], script);
    assert_eq!(other.status.code(), output.status.code(), "{}", transcript(&other));
}

/// Other bytes each time, a value that counts, and a file that is stored as blocks.
const STAMPED: &str = "cat /proc/sys/kernel/random/uuid > \"$BATCH_OUTPUT/id\"; echo 7 > \"$BATCH_OUTPUT/value\"; \
                       head -c 300000 /dev/zero > \"$BATCH_OUTPUT/large\"";

#[test]
fn where_bytes_differ_by_nature_their_digest_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (volume, scratch) = (folder.path().join("volume"), folder.path().join("scratch"));
    write_volume(&volume, 2);
    let marks = folder.path().join("marks");
    let digest = "sh -c 'cat $BATCH_OUTPUT/value; wc -c < $1/large; echo $1 | tee -a $MARKS' - {output}";
    let marked = format!("MARKS={}", text(&marks));
    let options = ["--scratch", text(&scratch), "--env", &marked, "--audit", "100%", "--digest", digest];
    let output = work(&volume, &options, STAMPED);
    let said = transcript(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("audited: two results have the same digest").count(), 2, "{said}");
    let marks = fs::read_to_string(marks).unwrap();
    assert_eq!(marks.lines().count(), 4, "each result once, in the folder that the other had: {marks}");
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0, "nothing is left in scratch");
}

#[test]
fn another_digest_voids_the_run_and_one_that_fails_is_the_items_failure() {
    let folder = tempfile::tempdir().unwrap();
    for (name, digest, exit, words) in [
        ("differs", "cat {output}/id", Exit::Violation, &["--digest printed `", "id differs at byte"][..]),
        ("fails", "cat {output}/none", Exit::Failed, &["--digest cat {output}/none ended with exit code 1"]),
        ("talks", "sh -c 'yes | head -c 2000000; sleep 600'", Exit::Failed, &["printed more than 1 MiB"]),
    ] {
        let volume = folder.path().join(name);
        write_volume(&volume, 1);
        let output = work(&volume, &["--audit", "100%", "--digest", digest, "--retries", "1"], STAMPED);
        let said = transcript(&output);
        assert_eq!(output.status.code(), Some(i32::from(exit.code())), "{said}");
        assert!(words.iter().all(|words| said.contains(words)), "{said}");
        assert!(!volume.join("runs/1/trained/0").exists(), "nothing is committed");
    }
}

#[test]
fn nothing_is_audited_that_is_not_declared_and_a_share_needs_its_sign() {
    let folder = tempfile::tempdir().unwrap();
    for (options, words) in [
        (&["--audit", "5%"][..], "hint: declare --deterministic"),
        (&["--deterministic", "--audit", "5%", "--digest", "cat"][..], "leave one of them out"),
        (&["--deterministic", "--audit", "5"][..], "such as 5%"),
    ] {
        let output = work(folder.path(), options, "true");
        assert_eq!(output.status.code(), Some(2), "{}", transcript(&output));
        assert!(transcript(&output).contains(words), "{}", transcript(&output));
    }
}

#[test]
fn a_preempted_run_is_audited_and_a_scenario_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (days, out) = (folder.path().join("days"), folder.path().join("out"));
    write_days(&days);
    let scenario = folder.path().join("batch.toml");
    fs::write(&scenario, "[program]\ndeterministic = true\naudit = \"100%\"\n").unwrap();
    let script = "cat ${BATCH_PREVIOUS+\"$BATCH_PREVIOUS/x\"} \"$BATCH_INPUT\" > \"$BATCH_OUTPUT/x\"";
    let summary = simulate(&days, &out, &["--scenario", text(&scenario), "--", "sh", "-c", script]);
    let audited = summary["attempts"]["audited"].as_u64().unwrap();
    assert!(audited >= DAYS as u64, "{audited} audits of {DAYS} items");
}
