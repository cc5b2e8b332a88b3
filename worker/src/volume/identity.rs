//! A volume's own name: a random number that whoever comes first links into place, so that two
//! volumes share no items in one Redis, however they are mounted (rule 18). The list of pushed paths
//! is the tutorial's, and the same for all.

use super::{Kind, Result, Volume, VolumeError};
use crate::contract::{ROOT, RUNS};

/// Reads the volume's name, or gives it one made of `nonce`.
///
/// # Errors
/// Where the volume cannot be written to, or cannot link.
pub async fn identify<V: Volume>(volume: &V, nonce: u128) -> Result<String> {
    let path = format!("{RUNS}/volume-id");
    match volume.read(&path).await {
        Err(error) if error.kind == Kind::NotFound => {}
        read => return parse(&path, &read?),
    }
    volume.make_folder(RUNS).await?;
    let private = format!("{RUNS}/volume-id-{nonce:032x}");
    let mut file = volume.create(&private).await?;
    volume.write(&mut file, format!("{nonce:032x}").as_bytes()).await?;
    volume.sync(&mut file).await?;
    volume.close(file).await?;
    // Whoever was first: the name is what is there afterwards.
    let linked = volume.link(&private, &path).await;
    let read = volume.read(&path).await;
    let _ = volume.remove(&private).await;
    // The queue's keys carry it: it must be the same after a power failure.
    for folder in [RUNS, ROOT] {
        volume.sync_folder(folder).await?;
    }
    match read {
        Ok(bytes) => parse(&path, &bytes),
        Err(error) => Err(linked.err().unwrap_or(error)),
    }
}

fn parse(path: &str, bytes: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(bytes);
    let name = text.trim();
    if name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(name.to_owned());
    }
    let detail = "it is not the 32 hexadecimal digits of a volume's name".to_owned();
    Err(VolumeError { kind: Kind::Io, operation: "read", path: path.to_owned(), detail })
}
