//! A volume's own name: a random number that the first worker commits, so that two volumes share no items in one
//! Redis, however they are mounted (rule 18). The list of pushed paths is the tutorial's, and the same for all.

use super::{Keep, Kind, Put, Result, Store, StoreError};
use crate::contract::RUNS;

/// Reads the volume's name, or gives it one made of `nonce`.
///
/// # Errors
/// Where the volume cannot be written to, or cannot create if absent.
pub async fn identify<S: Store>(store: &S, nonce: u128) -> Result<String> {
    let path = format!("{RUNS}/volume-id");
    match store.get(&path).await {
        Err(error) if error.kind == Kind::NotFound => {}
        read => return parse(&path, &read?),
    }
    let (private, name) = (format!("{RUNS}/volume-id-{nonce:032x}"), format!("{nonce:032x}"));
    // The queue's keys carry it: it must be the same after a power failure.
    let staged = store.stage(&private, name.as_bytes(), Keep::Durable).await?;
    let put = store.put_if_absent(&staged, &path).await;
    store.unstage(&private).await;
    match put? {
        Put::Ours { .. } => Ok(name),
        Put::Theirs(bytes) => parse(&path, &bytes),
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(bytes);
    let name = text.trim();
    if name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(name.to_owned());
    }
    let detail = "it is not the 32 hexadecimal digits of a volume's name".to_owned();
    Err(StoreError { kind: Kind::Io, operation: "read", path: path.to_owned(), detail })
}
