//! Reading files that somebody else may have put there: regular files only, up to a limit.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("failed to read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a symbolic link, a folder, a pipe, or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It is longer than such a file may be.
    #[error("{} has {bytes} bytes; such a file may have {limit}", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
}

impl ReadError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => "check the path".into(),
            Self::Io { path, .. } if is_address(path) => {
                "check the address, the network, and that it may be read".into()
            }
            Self::Io { .. } => "check that the file may be read".into(),
            Self::NotAFile { .. } => {
                "links and special files are refused, since they lead outside of what is signed".into()
            }
            Self::TooLong { .. } => "this is no file that Plimsoll wrote".into(),
        })
    }

    /// Nothing is there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// A path that stands for an address on the network: it begins with a scheme of two letters or more, so that no drive is one.
pub fn is_address(path: &Path) -> bool {
    let parts = path.to_str().and_then(|text| text.split_once("://"));
    parts.is_some_and(|(scheme, _)| scheme.len() > 1 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Opens a regular file, never a link; with its length.
pub fn open_regular(path: &Path) -> Result<(File, u64), ReadError> {
    let io = |source| ReadError::Io { path: path.into(), source };
    // Asked before opening: opening a pipe would wait for its writer.
    if !std::fs::symlink_metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::NotAFile { path: path.into() });
    }
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile { path: path.into() });
    }
    Ok((file, metadata.len()))
}

/// The bytes of a regular file of at most `limit` bytes.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, ReadError> {
    let (file, bytes) = open_regular(path)?;
    if bytes > limit {
        return Err(ReadError::TooLong { path: path.into(), bytes, limit });
    }
    let mut content = Vec::new();
    // One byte more than allowed: the file may grow while it is read.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(|source| ReadError::Io { path: path.into(), source })?;
    match content.len() as u64 {
        bytes if bytes > limit => Err(ReadError::TooLong { path: path.into(), bytes, limit }),
        _ => Ok(content),
    }
}

/// SHA-256 and length of a regular file, read in pieces.
pub fn sha256_of_file(path: &Path) -> Result<([u8; 32], u64), ReadError> {
    let (mut file, _) = open_regular(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let n = file.read(&mut piece).map_err(|source| ReadError::Io { path: path.into(), source })?;
        if n == 0 {
            return Ok((hasher.finalize().into(), bytes));
        }
        hasher.update(piece.get(..n).unwrap_or_default());
        bytes += n as u64;
    }
}

/// Base64 with padding (RFC 4648).
pub fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of bytes, in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The 32 bytes of a SHA-256 in lower-case hex.
pub(crate) fn sha256_from_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_no_address_whatever_it_is_called() {
        for address in ["s3://models/a", "https://releases.example", "https://releases.example/metadata/timestamp.json"]
        {
            assert!(is_address(Path::new(address)), "{address}");
        }
        for folder in ["models", "s3:/models", "C://models", "./s3://models", "a b://c", "://"] {
            assert!(!is_address(Path::new(folder)), "{folder}");
        }
    }
}
