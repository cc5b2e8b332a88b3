//! The example of a workload of one's own runs, and what it reports is right.

#[path = "../examples/words.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod words;

use worker::contract::Exit;

#[tokio::test]
async fn each_text_counts_once() {
    let volume = tempfile::tempdir().unwrap();
    let texts = volume.path().join("datasets/training");
    std::fs::create_dir_all(&texts).unwrap();
    for (name, text) in [("a.txt", "one two"), ("b.txt", "three"), ("c.txt", "four five six")] {
        std::fs::write(texts.join(name), text).unwrap();
    }
    std::fs::write(texts.join("d.txt"), b"\xff").unwrap();
    let ended = words::count(volume.path()).await.unwrap();
    assert_eq!(ended.exit, Exit::Finished, "{}", ended.reason);
    let report = std::fs::read_to_string(volume.path().join("output/report.txt")).unwrap();
    assert_eq!(report, "6 words in 3 texts\n");
    // A second worker finds the run finished.
    assert_eq!(words::count(volume.path()).await.unwrap().exit, Exit::Finished);
}
