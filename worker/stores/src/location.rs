//! What `--volume` names: a folder, or a place in a bucket.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder that every worker sees.
    Folder(PathBuf),
    /// The objects below a prefix of a bucket.
    Bucket(BucketUrl),
}

/// Whose API a bucket speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3, and what speaks S3.
    S3,
    /// Google Cloud Storage.
    Gcs,
}

impl Provider {
    const ALL: [Self; 2] = [Self::S3, Self::Gcs];

    /// How its URLs begin.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
        }
    }
}

/// `s3://BUCKET/PREFIX` or `gs://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketUrl {
    /// Whose API it speaks.
    pub provider: Provider,
    /// The bucket's name.
    pub bucket: String,
    /// The beginning of all keys, without a slash at either end; empty for the whole bucket.
    pub prefix: String,
}

impl Location {
    /// Takes a folder, or a URL of a bucket.
    ///
    /// # Errors
    /// Where it is a URL of something else.
    pub fn parse(text: OsString) -> Result<Self, String> {
        let Some((scheme, rest)) = text.to_str().and_then(|text| text.split_once("://")) else {
            return Ok(Self::Folder(text.into()));
        };
        let Some(provider) = Provider::ALL.into_iter().find(|provider| provider.scheme() == scheme) else {
            return Err(format!(
                "unknown volume `{scheme}://…`: expected a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX"
            ));
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(format!("`{bucket}` is no name of a bucket: expected {scheme}://BUCKET/PREFIX"));
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | ".."))
            || prefix.contains("//")
            || prefix.chars().any(char::is_control)
        {
            return Err(format!("`{prefix}` is no prefix of keys: give folders' names with / between them"));
        }
        Ok(Self::Bucket(BucketUrl { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(folder),
            Self::Bucket(_) => None,
        }
    }
}

impl From<&Path> for Location {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

/// As a command line takes it.
impl From<&Location> for OsString {
    fn from(location: &Location) -> Self {
        match location {
            Location::Folder(folder) => folder.clone().into(),
            Location::Bucket(url) => url.to_string().into(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Bucket(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        write!(f, "{}://{}{slash}{}", self.provider.scheme(), self.bucket, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Location, String> {
        Location::parse(text.into())
    }

    fn bucket(provider: Provider, bucket: &str, prefix: &str) -> Result<Location, String> {
        Ok(Location::Bucket(BucketUrl { provider, bucket: bucket.to_owned(), prefix: prefix.to_owned() }))
    }

    #[test]
    fn folders_and_buckets_are_distinguished() {
        assert_eq!(parse("/mnt/volume"), Ok(Location::Folder("/mnt/volume".into())));
        assert_eq!(parse("s3"), Ok(Location::Folder("s3".into())));
        assert_eq!(parse("s3://data"), bucket(Provider::S3, "data", ""));
        assert_eq!(parse("s3://data/"), bucket(Provider::S3, "data", ""));
        assert_eq!(parse("gs://my.data/team/run 7/"), bucket(Provider::Gcs, "my.data", "team/run 7"));
    }

    #[test]
    fn what_names_neither_is_refused() {
        for text in
            ["ftp://host/x", "s3://", "s3:///x", "s3://a b/x", "s3://b/x//y", "gs://b/../x", "s3://b/\n"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_reads_back(text in ".{0,40}") {
            if let Ok(location) = parse(&text) {
                prop_assert_eq!(parse(&location.to_string()), Ok(location));
            }
        }
    }
}
