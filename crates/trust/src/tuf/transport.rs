//! How the client gets at the files of a folder: by flat names, in pieces, never through a link or a pipe.
//!
//! tough's own transport takes the path of a `file://` address as it is written there, and so finds nothing below a folder
//! with a space or an umlaut in its name.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use tough::{Bytes, Transport, TransportError, TransportErrorKind, TransportStream};
use url::Url;

use super::{METADATA, TARGETS, TufError};
use crate::{ReadError, read::open_regular};

const PIECE: u64 = 1 << 16;

/// Addresses that stand for the folder, whatever its real path.
pub(super) fn base(part: &str) -> Result<Url, TufError> {
    Url::parse(&format!("file:///{part}/")).map_err(|e| TufError::refused(e.to_string()))
}

/// The files of a repository's folder.
#[derive(Debug, Clone)]
pub(super) struct FolderTransport {
    folder: PathBuf,
}

impl FolderTransport {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// The path of an address, where it is one of a file directly in `metadata` or `targets`.
    fn path(&self, url: &Url) -> Option<PathBuf> {
        let (part, name) = url.path().strip_prefix('/')?.split_once('/')?;
        let flat = !name.starts_with('.') && !name.is_empty() && !name.contains(['/', '\\', '\0']);
        (flat && [METADATA, TARGETS].contains(&part)).then(|| self.folder.join(part).join(name))
    }
}

#[tough::async_trait]
impl Transport for FolderTransport {
    async fn fetch(&self, url: Url) -> Result<TransportStream, TransportError> {
        let missing = || TransportError::new(TransportErrorKind::FileNotFound, &url);
        let path = self.path(&url).ok_or_else(missing)?;
        match open_regular(&path) {
            Ok((file, _)) => Ok(Box::pin(Pieces { file: Some(file), url })),
            Err(e @ ReadError::Io { .. }) if e.is_not_found() => Err(missing()),
            Err(e) => Err(TransportError::new_with_cause(TransportErrorKind::Other, &url, e)),
        }
    }
}

/// A file in pieces, so that whoever limits its length need not hold all of it.
struct Pieces {
    file: Option<File>,
    url: Url,
}

impl Stream for Pieces {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(file) = &mut self.file else { return Poll::Ready(None) };
        let mut piece = Vec::new();
        let read = file.take(PIECE).read_to_end(&mut piece);
        Poll::Ready(match read {
            Ok(0) => {
                self.file = None;
                None
            }
            Ok(_) => Some(Ok(Bytes::from(piece))),
            Err(e) => {
                self.file = None;
                Some(Err(TransportError::new_with_cause(TransportErrorKind::Other, &self.url, e)))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str) -> Option<PathBuf> {
        FolderTransport::new(Path::new("/r s")).path(&Url::parse(url).unwrap())
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_not_followed() {
        assert_eq!(check("file:///metadata/1.root.json"), Some("/r s/metadata/1.root.json".into()));
        for url in [
            "file:///metadata/../secret",
            "file:///metadata/sub/x",
            "file:///blobs/x",
            "file:///metadata/",
            "file:///metadata/.lock",
            "file:///targets/..%5Cx/..",
            "file:///etc/passwd",
        ] {
            assert_eq!(check(url), None, "{url}");
        }
    }
}
