//! Getting a release out of a repository: every file by its digest, the folder whole or not at all.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use plimsoll_record::ReleaseManifest;
use plimsoll_trust::{
    atomic, hex,
    tuf::{Client, Opened, Source},
};
use sha2::{Digest, Sha256};

use crate::{
    Place, ReleaseError, catalogue,
    names::{blob, folder_name},
};

/// Copies a release from a repository to `<output>/<name>-<version>`. The repository must verify from `root` (its own first
/// root where none is given) and must not have expired.
pub fn fetch(
    repository: impl Into<Place>,
    root: Option<&[u8]>,
    name: &str,
    version: &str,
    output: &Path,
    now: SystemTime,
) -> Result<PathBuf, ReleaseError> {
    let place = repository.into();
    let client = match root {
        Some(root) => Client::load_from(Arc::clone(&place.0), root, None)?,
        None => catalogue::open(&place)?,
    };
    client.check_expiry(now)?;
    let Some((manifest, _)) = catalogue::manifest(&client, name, version)? else {
        return Err(ReleaseError::NotFound {
            what: format!("release {name} {version}"),
            place: client.folder().into(),
        });
    };
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ReleaseError::Io { path, source }
    };
    atomic::create_folders(output).map_err(io(output))?;
    let staging = tempfile::Builder::new().prefix(atomic::TEMPORARY).tempdir_in(output).map_err(io(output))?;
    let folder = staging.path().join("release");
    extract(place.0.as_ref(), &manifest, &folder)?;
    let place = output.join(folder_name(name, version));
    match atomic::publish_folder(&folder, &place) {
        Ok(()) => Ok(place),
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
            Err(ReleaseError::Taken { name: name.into(), version: version.into(), place: output.into() })
        }
        Err(source) => Err(ReleaseError::Io { path: place, source }),
    }
}

/// Copies every file of a manifest into a folder, each held against its digest and length.
pub(crate) fn extract(repository: &dyn Source, manifest: &ReleaseManifest, folder: &Path) -> Result<(), ReleaseError> {
    for file in &manifest.files {
        let place = folder.join(&file.path);
        let io = |source| ReleaseError::Io { path: place.clone(), source };
        if let Some(above) = place.parent() {
            fs::create_dir_all(above).map_err(io)?;
        }
        let refused = |reason: String| ReleaseError::Refused { what: file.path.clone(), reason };
        let opened = repository.open(&blob(&file.sha256)).map_err(|e| refused(e.to_string()))?;
        let Some(Opened { content, bytes }) = opened else {
            return Err(refused("the repository lists it and does not hold it".into()));
        };
        if bytes != file.bytes {
            return Err(refused(format!("it has {bytes} bytes, {} were signed", file.bytes)));
        }
        let found = copy(content, file.bytes, &place).map_err(io)?;
        if found != file.sha256 {
            return Err(refused(format!("its SHA-256 is {found}, {} was signed", file.sha256)));
        }
    }
    Ok(())
}

/// Copies at most so many bytes, in pieces; the digest of what was copied.
fn copy(content: Box<dyn Read + Send>, bytes: u64, place: &Path) -> io::Result<String> {
    let mut content = content.take(bytes);
    let mut output = File::create_new(place)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let n = content.read(&mut piece)?;
        let read = piece.get(..n).unwrap_or_default();
        if read.is_empty() {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(read);
        output.write_all(read)?;
    }
}
