//! The ways in: TLS, users of an access control list, Sentinels. What is missing is named.

use std::io::{Read, Write};
use std::time::Duration;

use tests::queue::block_on;
use tests::queue::items::{FOLD, REPORT, join, prepare};
use tests::queue::server::{Server, free_port};
use tests::queue::tls::Certificates;
use worker::queue::any::AnyQueue;
use worker::queue::redis::{Redis, rights};
use worker::queue::{Inbox, Ownership, QueueError, Release, WorkQueue};

use super::{LONG, client, config, first_answer, refusal, tell};

/// Every operation of a queue once; the first that is refused.
async fn all(queue: &Redis) -> Result<(), QueueError> {
    let path = ["path".to_owned()];
    queue.push(&path).await?;
    queue.pushed_count().await?;
    queue.pushed().await?;
    queue.remove_pushed(&path).await?;
    queue.add(&[FOLD, prepare(1)]).await?;
    let claim = queue.claim("worker", 7, LONG, &[prepare(1)]).await?.expect("an item");
    assert_eq!(queue.heartbeat(&claim, LONG, 1).await?, Ownership::Held);
    assert_eq!(queue.release(&claim, Duration::ZERO, Release::Failed).await?, Ownership::Held);
    let claim = queue.claim("worker", 8, LONG, &[]).await?.expect("an item");
    assert_eq!(queue.ack(&claim, &[join(1), REPORT]).await?, Ownership::Held);
    queue.counts().await.map(|_| ())
}

/// A server with one port for TLS and one without, and the number of the first.
fn with_tls(certificates: &Certificates, clients: &str) -> Option<(Server, u16)> {
    let port = free_port().expect("a port");
    let number = port.to_string();
    let [cert, key, authority] = ["server.crt", "server.key", "ca.crt"].map(|name| certificates.file(name));
    let arguments = [
        ["--tls-port", &number],
        ["--tls-cert-file", &cert],
        ["--tls-key-file", &key],
        ["--tls-ca-cert-file", &authority],
        ["--tls-auth-clients", clients],
    ];
    Some((Server::start_process(arguments.as_flattened())?, port))
}

/// What a refusal says, without what differs from run to run.
fn said(url: &str, server: &Server, port: u16, certificates: &Certificates) -> String {
    let answer = match Redis::open_with(url, None, "volume", "1") {
        Ok(queue) => block_on(queue.with_patience(Duration::from_secs(2)).counts()),
        Err(error) => Err(error),
    };
    let folder = certificates.file("");
    refusal(answer, server).replace(&port.to_string(), "TLS").replace(&folder, "FOLDER/")
}

#[test]
fn a_private_authority_and_a_client_certificate_lead_through_tls() {
    let Some(certificates) = Certificates::make() else { return };
    let Some((server, port)) = with_tls(&certificates, "yes") else { return };
    let [authority, cert, key] = ["ca.crt", "client.crt", "client.key"].map(|name| certificates.file(name));
    config(&server.url(), "requirepass", "hunter2");
    let place = format!("rediss://:hunter2@localhost:{port}/3");
    let url = format!("{place}?ssl_ca_certs={authority}&ssl_certfile={cert}&ssl_keyfile={key}");
    assert_eq!(block_on(all(&client(&url))), Ok(()));
    let refused = [
        place.clone(),
        format!("{place}?ssl_ca_certs={authority}"),
        format!("{place}?ssl_ca_certs={cert}&ssl_certfile={cert}&ssl_keyfile={key}"),
        url.replace("localhost", "127.0.0.1"),
        url.replace("hunter2", "wrong"),
        format!("{place}?ssl_ca_certs={authority}.gone"),
        format!("{place}?ssl_ca_certs={key}&ssl_certfile={cert}&ssl_keyfile={authority}"),
        format!("{place}#insecure"),
    ];
    let refused = refused.map(|url| said(&url, &server, port, &certificates));
    insta::assert_snapshot!(refused.join("\n\n"), @r#"
    rediss://localhost:TLS/3: invalid peer certificate: UnknownIssuer
    hint: name the authority that signed it: ?ssl_ca_certs=FILE at the URL's end, or SSL_CERT_FILE

    rediss://localhost:TLS/3: received fatal alert: CertificateRequired
    hint: the server asks for a certificate that it knows: ?ssl_certfile=FILE&ssl_keyfile=FILE at the URL's end

    rediss://localhost:TLS/3: invalid peer certificate: UnknownIssuer
    hint: name the authority that signed it: ?ssl_ca_certs=FILE at the URL's end, or SSL_CERT_FILE

    rediss://127.0.0.1:TLS/3: invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for DnsName("localhost")
    hint: use the host's name as the certificate has it

    rediss://localhost:TLS/3: WRONGPASS invalid username-password pair or user is disabled.
    hint: give the password in the URL, redis://:<password>@<host>, or in REDISCLI_AUTH

    the file FOLDER/ca.crt.gone for TLS cannot be read: No such file or directory (os error 2)
    hint: ssl_ca_certs, ssl_certfile and ssl_keyfile in the URL name files of this machine

    a file for TLS cannot be used: Unable to extract private key from PEM file: no items found
    hint: the files are PEM; a key has no passphrase

    the URL of Redis cannot be used: certificates are always checked: name who signed it by ?ssl_ca_certs=FILE
    hint: redis://[[user]:password@]host[:port][/database], rediss:// for TLS, or unix:///path. In a password write # as %23, / as %2F, ? as %3F and % as %25, or give it in REDISCLI_AUTH
    "#);
}

#[test]
fn a_port_of_the_other_kind_is_named() {
    let Some(certificates) = Certificates::make() else { return };
    let Some((server, port)) = with_tls(&certificates, "no") else { return };
    let refused = [format!("redis://localhost:{port}"), format!("rediss://localhost:{}", server.port())];
    let refused = refused.map(|url| said(&url, &server, port, &certificates));
    insta::assert_snapshot!(refused.join("\n\n"), @r#"
    redis://localhost:TLS/0: this port is one for TLS
    hint: begin the URL with rediss://

    rediss://localhost:PORT/0: this port is one without TLS
    hint: begin the URL with redis://, or name the port for TLS
    "#);
}

/// An HTTP server, one that speaks first, one of a binary protocol.
#[test]
fn what_is_no_redis_is_named_with_its_first_words() {
    let others: [(&[u8], &[u8]); 4] = [
        (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", b""),
        (b"", b"ERROR\r\n"),
        (b"J\0\0\0\n8.0.36\0\x08\0\0\0", b""),
    ];
    let said = others.map(|(first, answer)| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        // Until the tests end: nobody knows how often it is asked.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.write_all(first);
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer);
            }
        });
        let first = first_answer(&format!("redis://127.0.0.1:{port}"));
        match first.expect_err("no queue") {
            QueueError::Refused(why) => why.replace(&port.to_string(), "PORT"),
            QueueError::Away(why) => panic!("it is waited for: {why}"),
        }
    });
    insta::assert_snapshot!(said.join("\n\n"), @r"
    redis://127.0.0.1:PORT/0: what answers there is no Redis: it says `HTTP/1.1 400 Bad Request`
    hint: the URL names another service's host or port

    redis://127.0.0.1:PORT/0: what answers there is no Redis: it says `SSH-2.0-OpenSSH_9.6`
    hint: the URL names another service's host or port

    redis://127.0.0.1:PORT/0: what answers there is no Redis: it says `ERROR`
    hint: the URL names another service's host or port

    redis://127.0.0.1:PORT/0: what answers there is no Redis: it says `J\x00\x00\x00`
    hint: the URL names another service's host or port
    ");
}

/// A user who may do what `rules` say, in a database of its own.
fn user(server: &Server, rules: &str) -> Redis {
    let mut set = redis::cmd("ACL");
    set.arg("SETUSER").arg("w").arg("reset").arg("on").arg(">pw").arg(rules.split(' ').collect::<Vec<_>>());
    tell(&server.url(), &set);
    let url = server.fresh_database().replace("redis://", "redis://w:pw@");
    client(&url)
}

#[test]
fn the_rules_for_a_user_are_enough_and_what_is_missing_is_named() {
    let Some(server) = Server::start(&[]) else { return };
    let _first = server.fresh_database();
    assert_eq!(block_on(all(&user(&server, &rights::rules()))), Ok(()));
    assert!(include_str!("../../../docs/operate.md").contains(&rights::rules()), "{}", rights::rules());
    for command in rights::COMMANDS {
        let queue = user(&server, &format!("{} -{command}", rights::rules()));
        let rule = format!("+{command}");
        match block_on(async { (all(&queue).await, queue.about().await) }) {
            (Err(QueueError::Refused(why)), _) => assert!(why.contains(&rule), "{why}"),
            // What is called only now and then is seen by `worker doctor`.
            (Ok(()), Ok(about)) => {
                assert!(about.remarks.iter().any(|one| one.hint.contains(&rule)), "{command}")
            }
            other => panic!("{command}: {other:?}"),
        }
    }
}

#[test]
fn all_that_a_user_lacks_is_said_at_once() {
    let Some(server) = Server::start(&[]) else { return };
    let _first = server.fresh_database();
    let rules = rights::rules();
    let refused = [
        rules.replace(" +zadd", "").replace(" +hset", "").replace(" +rpush", ""),
        rules.replace("~datasets ~datasets:*", "~other"),
        rules.replace(" ~datasets:*", ""),
        rules.replace(" +select", ""),
    ];
    let refused = refused.map(|rules| {
        let queue = user(&server, &rules);
        // The server's own words differ by version; the hint is the last line.
        let said = refusal(block_on(queue.add(&[FOLD])), &server);
        said.lines().last().unwrap_or_default().to_owned()
    });
    insta::assert_snapshot!(refused.join("\n"), @r"
    hint: ACL SETUSER w +hset +rpush +zadd
    hint: ACL SETUSER w ~datasets ~datasets:*
    hint: ACL SETUSER w ~datasets:*
    hint: ACL SETUSER w +select
    ");
}

#[test]
fn sentinels_lead_to_the_master_also_after_a_failover() {
    let (Some(mut old), Some(new)) = (Server::start_process(&[]), Server::start_process(&[])) else { return };
    let Some(sentinel) = Server::sentinel(&old) else { return };
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main/2", sentinel.port());
    let queue = client(&url);
    block_on(async {
        assert_eq!(queue.add(&[FOLD]).await, Ok(1));
        old.kill();
        tell(&sentinel.url(), redis::cmd("SENTINEL").arg("REMOVE").arg("main"));
        let mut watch = redis::cmd("SENTINEL");
        watch.arg("MONITOR").arg("main").arg("127.0.0.1").arg(new.port()).arg(1);
        tell(&sentinel.url(), &watch);
        assert!(matches!(queue.counts().await, Err(QueueError::Away(_))), "its connection is gone");
        assert_eq!(queue.add(&[FOLD]).await, Ok(1), "the new master has none");
    });
    let there = first_answer(&format!("{}/2", new.url())).expect("the new master answers");
    assert_eq!(there.pending, 1);
}

/// As hosted Redis is often set up: TLS to Sentinels and master, and one password for both.
#[test]
fn sentinels_with_tls_and_a_password_lead_to_a_master_with_both() {
    let Some(certificates) = Certificates::make() else { return };
    let Some((server, port)) = with_tls(&certificates, "no") else { return };
    config(&server.url(), "requirepass", "hunter2");
    let [cert, key, authority] = ["server.crt", "server.key", "ca.crt"].map(|name| certificates.file(name));
    let sentinels = free_port().expect("a port");
    let settings = format!(
        "tls-port {sentinels}\ntls-cert-file {cert}\ntls-key-file {key}\ntls-ca-cert-file {authority}\n\
         tls-auth-clients no\ntls-replication yes\nrequirepass hunter2\n\
         sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
         sentinel monitor main localhost {port} 1\nsentinel auth-pass main hunter2\n"
    );
    let Some(sentinel) = Server::sentinel_with(&settings) else { return };
    let place = format!("localhost:{sentinels}/main/2?ssl_ca_certs={authority}");
    assert_eq!(block_on(all(&client(&format!("rediss+sentinel://:hunter2@{place}")))), Ok(()));
    let refused = ["rediss+sentinel://", "rediss+sentinel://:wrong@"].map(|to| format!("{to}{place}"));
    let refused = refused.map(|url| said(&url, &sentinel, sentinels, &certificates));
    insta::assert_snapshot!(refused.join("\n\n"), @"
    rediss+sentinel://localhost:TLS/main/2: NOAUTH Authentication required.
    hint: give the password in the URL, redis://:<password>@<host>, or in REDISCLI_AUTH

    rediss+sentinel://localhost:TLS/main/2: WRONGPASS invalid username-password pair or user is disabled.
    hint: give the password in the URL, redis://:<password>@<host>, or in REDISCLI_AUTH
    ");
}

#[test]
fn a_sentinel_that_is_asked_wrongly_says_what_is_right() {
    let Some(master) = Server::start_process(&[]) else { return };
    let Some(sentinel) = Server::sentinel(&master) else { return };
    let refused = [sentinel.url(), format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port())];
    let refused = refused.map(|url| refusal(first_answer(&url), &sentinel));
    insta::assert_snapshot!(refused.join("\n\n"), @r#"
    redis://127.0.0.1:PORT/0: it is a Sentinel
    hint: name the master that it watches: redis+sentinel://HOST:PORT/NAME; redis-cli -p PORT SENTINEL masters shows the names

    redis+sentinel://127.0.0.1:PORT/other/0: the Sentinel watches no master named other
    hint: redis-cli -p PORT SENTINEL masters shows the names
    "#);
    let silent = format!("redis+sentinel://127.0.0.1:{}/main", free_port().expect("a port"));
    assert!(matches!(first_answer(&silent), Err(QueueError::Away(_))));
}

/// The command line takes what the queue takes.
#[test]
fn every_scheme_is_one_of_a_queue() {
    for url in [
        "valkey://h",
        "valkeys://h",
        "rediss://h",
        "redis+sentinel://h/main",
        "rediss+sentinel://h/main",
        "unix:///s",
    ] {
        let opened = AnyQueue::open(url, None, "volume", "1");
        assert!(matches!(opened, Ok(AnyQueue::Redis(_))), "{url}: {opened:?}");
    }
}
