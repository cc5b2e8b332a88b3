//! Names in paths.

use crate::contract::ROOT;

/// A file's name without folders and ending.
pub fn stem_of(path: &str) -> &str {
    let name = name_of(path);
    name.split_once('.').map_or(name, |(stem, _)| stem)
}

/// A file's name without its folders.
pub fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder that holds a name; a name at the top lies in [`ROOT`].
pub fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(ROOT, |(folder, _)| folder)
}
