//! Urls of places that files go to.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// The local folder that `url` names: an absolute path or a `file://` url of one. Relative paths
/// are made absolute where the configuration is read.
pub fn local_folder(url: &str) -> Result<PathBuf> {
    let path = match url.split_once("://") {
        Some(("file", path)) => path,
        Some((scheme, _)) => {
            return Err(Error::config(format!(
                "cannot write to {url}: this build knows folders and file:// urls, not {scheme}://"
            )));
        }
        None => url,
    };
    if !path.starts_with('/') {
        return Err(Error::config(format!("{url} does not name an absolute path")));
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_file_urls_are_the_same() {
        assert_eq!(local_folder("/a/b").unwrap(), PathBuf::from("/a/b"));
        assert_eq!(local_folder("file:///a/b").unwrap(), PathBuf::from("/a/b"));
        for url in ["s3://bucket/a", "a/b", "file://a/b"] {
            local_folder(url).unwrap_err();
        }
    }
}
