//! Servers as processes that end with the tests, however those end.

use std::process::{Child, Command, Stdio};

/// Starts a program through a shell that kills it when the shell's own input ends, which is when the tests die. The shell
/// exits with 127 where there is no such program.
///
/// # Errors
/// Where there is no shell.
pub fn spawn(program: &str, arguments: &[String]) -> Result<Child, String> {
    let script = r#"command -v "$1" >/dev/null || exit 127
        exec 3<&0; "$@" >/dev/null & server=$!
        (read -r _ <&3; kill -KILL $server) & wait $server; kill $! 2>/dev/null"#;
    let child = Command::new("sh")
        .args(["-c", script, "sh", program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    child.map_err(|error| format!("sh: {error}"))
}

/// Ends a program that [`spawn`] started.
pub fn end(child: &mut Child) {
    drop(child.stdin.take());
    let _ = child.wait();
}
