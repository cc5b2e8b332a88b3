//! Bytes that nobody should have written, wherever the worker reads some: no panic, and what is
//! answered is an error that says so, or something well-formed.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use tests::queue::block_on;
use tests::queue::items::{FOLD, join, prepare};
use tests::queue::wire::Liar;
use worker::contract::FORMAT_VERSION;
use worker::events;
use worker::hash::Hash;
use worker::item::Name;
use worker::manifest::{Dataset, Manifest, Page, Refusal, Role, Spec, normalise};
use worker::queue::redis::Redis;
use worker::queue::sqlite::{Clock, Sqlite};
use worker::queue::{Claim, Queue, QueueError, Release};
use worker::workload::fraud::PIPELINE;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Bytes near to well-formed ones: some changed, some taken out, some put in.
fn near(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0..3u8);
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut bytes = bytes.clone();
        for (at, byte, how) in edits {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        bytes
    })
}

fn dataset(index: u32, path: &str) -> Dataset {
    let (path, role) = (path.to_owned(), Role::of(path));
    Dataset { index, path, role, bytes: 3, blocks: vec![Hash::of(b"abc")] }
}

fn first() -> Page {
    let params = BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    let spec = Spec { workload: "fraud".to_owned(), results_version: 1, params };
    let datasets = vec![dataset(0, "datasets/training/2018-04-01.pkl"), dataset(1, "datasets/testing/t.pkl")];
    Page::First {
        inherited: Vec::new(),
        spec,
        created: "2018-04-01 00:00:00".to_owned(),
        last: false,
        datasets,
        refused: refusals(),
    }
}

fn refusals() -> Vec<Refusal> {
    vec![Refusal { path: "../a\r".to_owned(), reason: "it leaves the volume".to_owned() }]
}

/// Pages that read as pages, in any order and with any numbers.
fn pages() -> impl Strategy<Value = Page> {
    let datasets = prop::collection::vec((0..4u32, "[a-z/.]{0,12}"), 0..3);
    let datasets = datasets.prop_map(|all| all.iter().map(|(index, path)| dataset(*index, path)).collect());
    let spec = Spec { workload: String::new(), results_version: 0, params: BTreeMap::new() };
    prop_oneof![
        (datasets.clone(), any::<bool>()).prop_map(move |(datasets, last)| Page::First {
            inherited: Vec::new(),
            spec: spec.clone(),
            created: String::new(),
            last,
            datasets,
            refused: Vec::new(),
        }),
        datasets.prop_map(|datasets| Page::Chapter { datasets, refused: refusals() }),
        (0..4u32).prop_map(|datasets| Page::Seal { datasets }),
    ]
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn a_page_is_read_or_refused(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), near(first().encode())]) {
        if let Ok(page) = Page::decode(&bytes) {
            prop_assert_eq!(Page::decode(&page.encode()), Ok(page));
        }
    }

    /// Whatever pages follow each other, what was taken in is numbered on, and ends with its seal.
    #[test]
    fn a_manifest_takes_in_or_refuses_any_page(all in prop::collection::vec(pages(), 1..6)) {
        let mut all = all.into_iter();
        let Some(Ok(mut manifest)) = all.next().map(Manifest::begin) else { return Ok(()) };
        for page in all {
            let (before, was_sealed) = (manifest.len(), manifest.sealed);
            let turned = manifest.turn(page);
            prop_assert!(!(was_sealed && turned.is_ok()), "a page after the end");
            prop_assert!(manifest.len() >= before);
        }
        for (place, dataset) in manifest.datasets.iter().enumerate() {
            prop_assert_eq!(dataset.index as usize, place);
            let _ = (manifest.lineage(dataset.index), manifest.train_before(dataset.index));
        }
    }

    #[test]
    fn a_path_never_leaves_the_volume(path in prop_oneof!["[a./\\\\]{0,12}", ".{0,20}"]) {
        if let Ok(inside) = normalise(&path) {
            prop_assert!(!inside.is_empty() && !inside.starts_with('/'));
            prop_assert!(inside.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
            prop_assert_eq!(normalise(&inside), Ok(inside));
        }
    }

    /// Events are read in their order, each once; all else is counted.
    #[test]
    fn an_event_file_is_read_as_far_as_it_is_one(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..300), near(event_lines())]) {
        let (events, unreadable) = events::parse(&bytes);
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        prop_assert!(events.len() + unreadable <= lines);
        prop_assert!(events.is_sorted_by(|one, next| one.seq < next.seq));
    }

    #[test]
    fn an_item_is_read_or_refused(text in prop_oneof!["(prepare|customers|join|evaluate)/[0-9]{0,12}", ".{0,20}"]) {
        if let Ok(name) = Name::try_from(text.clone())
            && let Some(step) = PIPELINE.step(name)
        {
            prop_assert_eq!(PIPELINE.item(step).to_string(), text);
        }
    }
}

fn event_lines() -> Vec<u8> {
    let event = |seq: u64, what: &str| {
        format!("{{\"v\":{FORMAT_VERSION},\"at_ms\":5,\"worker\":\"w\",\"seq\":{seq},{what}}}\n")
    };
    let lines = [
        event(0, r#""event":"stopping""#),
        event(1, r#""event":"sealed","datasets":3"#),
        event(2, r#""event":"exited","code":0,"reason":"complete""#),
    ];
    lines.concat().into_bytes()
}

/// Every operation of a queue: whatever it answers, it answers.
async fn every_operation(queue: &impl Queue) -> Vec<QueueError> {
    let claim = Claim { item: prepare(1), token: 1, nonce: 1, taken_over_from: None, failures: 0, lost: 0 };
    let second = Duration::from_secs(1);
    let paths = ["path".to_owned()];
    let answers = [
        queue.add(&[FOLD, prepare(1)]).await.map(|_| ()),
        queue.claim("worker", 1, second, &[]).await.map(|_| ()),
        queue.heartbeat(&claim, second, 1).await.map(|_| ()),
        queue.release(&claim, second, Release::Failed).await.map(|_| ()),
        queue.ack(&claim, &[join(1)]).await.map(|_| ()),
        queue.push(&paths).await,
        queue.pushed().await.map(|_| ()),
        queue.remove_pushed(&paths).await,
        queue.counts().await.map(|_| ()),
    ];
    answers.into_iter().filter_map(Result::err).collect()
}

/// Replies that are well-formed, of any shape, and bytes that are none.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
        Just(b"$-1\r\n".to_vec()),
        Just(b"*-1\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| [
            format!("${}\r\n", bytes.len()).into_bytes(),
            bytes,
            b"\r\n".to_vec()
        ]
        .concat()),
        "[a-zA-Z ]{0,12}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
        "(ERR|MOVED|WRONGTYPE|NOSCRIPT|MISCONF|[A-Z]{0,6})( [a-z ]{0,12})?"
            .prop_map(|text| format!("-{text}\r\n").into_bytes()),
    ];
    let tree = leaf.prop_recursive(3, 24, 6, |inner| {
        prop::collection::vec(inner, 0..6)
            .prop_map(|all| [format!("*{}\r\n", all.len()).into_bytes(), all.concat()].concat())
    });
    // Lengths of which the rest never comes.
    let absurd =
        prop::sample::select(vec!["*2147483647\r\n", "$536870912\r\n", "*999999999999999\r\n", "$-7\r\n"]);
    prop_oneof![
        4 => tree,
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => absurd.prop_map(|text| text.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn any_reply_of_redis_is_answered(reply in replies()) {
        let server = Liar::start(reply);
        let queue = Redis::open_with(&server.url(), None, "volume", "1").expect("a good URL");
        block_on(every_operation(&queue.with_patience(Duration::from_millis(200))));
    }

    /// A queue's file with other bytes in it: refused or away, or as good as new.
    #[test]
    fn a_damaged_file_of_sqlite_is_answered(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("queue.sqlite");
        let open = || Sqlite::open_with(&path, "1", Clock::new("boot", || 1_000_000));
        let queue = open().expect("a new file");
        let errors = block_on(every_operation(&queue));
        prop_assert!(errors.is_empty(), "{:?}", errors);
        drop(queue);
        let mut bytes = std::fs::read(&path).expect("its bytes");
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&path, bytes).expect("written");
        if let Ok(queue) = open() {
            block_on(every_operation(&queue));
        }
    }
}
