//! Ctrl-C where the program waits for a person, or for a disk.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tests::standin::{Project, Standin};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::Child;

use crate::program::Cloud;

/// Much longer than it takes; who is not at an end by then never is.
const LIMIT: Duration = Duration::from_secs(60);

/// What a command does, run in a folder against an empty project, within the limit.
fn in_time(story: impl AsyncFn(Cloud)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let standin = Standin::start().await.unwrap();
        standin.add(Project::new("my-project"));
        let folder = tempfile::tempdir().unwrap();
        let story = story(Cloud::new(&standin, "token", folder.path().to_owned()));
        tokio::time::timeout(LIMIT, story).await.expect("Ctrl-C ends the program");
    });
}

async fn press_ctrl_c(child: &mut Child) -> Option<i32> {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    child.wait().await.unwrap().code()
}

#[test]
fn ctrl_c_at_the_question_is_heard() {
    in_time(async |cloud| {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let mut command = cloud.command(&["deploy"]);
        let mut child = command.stdin(Stdio::from(terminal.slave)).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut said = String::new();
        while !said.ends_with("[y/N] ") {
            said.push(char::from(stderr.read_u8().await.unwrap()));
        }
        assert_eq!(press_ctrl_c(&mut child).await, Some(130));
    });
}

/// The dataset is a pipe that somebody holds open: it never comes to an end.
#[test]
fn ctrl_c_while_datasets_are_read_is_heard() {
    let told = ["--datasets", "datasets", "--image", "worker:1"];
    // A command that cleans up after itself has nothing to clean up yet: one press ends it too.
    for command in [&["plan"][..], &["deploy", "--yes", "--then-destroy"]] {
        in_time(async |cloud| {
            let training = cloud.folder.join("datasets/training");
            std::fs::create_dir_all(&training).unwrap();
            mkfifo(&training.join("day"), Mode::S_IRWXU).unwrap();
            let mut pipe =
                pipe::OpenOptions::new().read_write(true).open_sender(training.join("day")).unwrap();
            let mut command = cloud.command(&[command, &told].concat());
            let mut child = command.stderr(Stdio::null()).spawn().unwrap();
            // More than a pipe holds: it is being read.
            pipe.write_all(&vec![0; 1 << 20]).await.unwrap();
            assert_eq!(press_ctrl_c(&mut child).await, Some(130));
        });
    }
}
