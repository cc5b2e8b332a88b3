//! Stand-ins between a client and its Redis: a server that always returns the given bytes, and a line that
//! loses the replies of a real server.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A server that answers each read with the same bytes, then hangs up. Its thread ends with the
/// process.
#[derive(Debug)]
pub struct Liar {
    port: u16,
}

impl Liar {
    pub fn start(answer: Vec<u8>) -> Self {
        let (listener, port) = listen();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = lie(client, &answer);
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

fn lie(mut client: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut asked = [0; 4096];
    if client.read(&mut asked)? > 0 {
        client.write_all(answer)?;
    }
    Ok(())
}

/// A line to a real server, whose answers can be lost on the way.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl Proxy {
    pub fn start(server: u16) -> Self {
        let (listener, port) = listen();
        let loses = Arc::new(AtomicBool::new(false));
        let lost = loses.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let lost = lost.clone();
                std::thread::spawn(move || pass(client, server, &lost));
            }
        });
        Self { port, loses }
    }

    pub fn url(&self, database: &str) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// From now on, what is asked reaches the server, and its answer reaches nobody.
    pub fn lose_answers(&self, lose: bool) {
        self.loses.store(lose, Ordering::SeqCst);
    }
}

fn pass(client: TcpStream, server: u16, loses: &Arc<AtomicBool>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server))?;
    let (mut asks, mut to) = (client.try_clone()?, server.try_clone()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut asks, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let (mut answers, mut client) = (server, client);
    let mut bytes = [0; 16384];
    loop {
        let count = answers.read(&mut bytes)?;
        if count == 0 || loses.load(Ordering::SeqCst) {
            let _ = answers.shutdown(std::net::Shutdown::Both);
            return client.shutdown(std::net::Shutdown::Both);
        }
        client.write_all(&bytes[..count])?;
    }
}

fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback");
    let port = listener.local_addr().expect("its number").port();
    (listener, port)
}
