//! Telemetry where it has arrived: files, folders of them, and objects below an address, of which a copy is read.

use std::path::{Path, PathBuf};

#[cfg(feature = "remote")]
use plimsoll_remote::objects::Bucket;
use plimsoll_rollout::ingest;
use plimsoll_trust::is_address;

use crate::failure::Failure;
#[cfg(feature = "remote")]
use crate::manual::Code;

/// A file of telemetry.
pub(super) struct Arrived {
    /// As people know it.
    pub(super) name: PathBuf,
    /// Where its bytes lie, and beside them what a gateway signed.
    pub(super) bytes: PathBuf,
}

/// What a gateway signed of a file lies beside it.
pub(super) fn envelope_of(file: &Path) -> PathBuf {
    let mut beside = file.as_os_str().to_owned();
    beside.push(ENVELOPE);
    beside.into()
}

const ENVELOPE: &str = ".dsse.json";

/// Calls with each file of a path, by name.
pub(super) fn each(path: &Path, mut take: impl FnMut(&Arrived) -> Result<(), Failure>) -> Result<(), Failure> {
    if is_address(path) {
        return elsewhere(path, take);
    }
    ingest::files(path)?.into_iter().try_for_each(|file| take(&Arrived { name: file.clone(), bytes: file }))
}

#[cfg(feature = "remote")]
fn elsewhere(path: &Path, mut take: impl FnMut(&Arrived) -> Result<(), Failure>) -> Result<(), Failure> {
    let at = |address: &Path| Bucket::at(&address.to_string_lossy());
    // An address with the ending of a file is one.
    let (bucket, names) = match (path.parent(), path.file_name().and_then(|n| n.to_str())) {
        (Some(folder), Some(name)) if ingest::is_known(path) => (at(folder)?, vec![name.to_owned()]),
        _ => {
            let bucket = at(path)?;
            let mut names = bucket.names()?;
            if names.is_empty() {
                let message = format!("nothing lies below {}", path.display());
                return Err(Failure::new(Code::BadData, message).help("check the address: s3://BUCKET/PREFIX"));
            }
            names.retain(|name| ingest::is_known(Path::new(name)));
            (bucket, names)
        }
    };
    for object in names {
        let name = bucket.place().join(&object);
        // One copy at a time: a bucket may hold more than the disk.
        let folder = tempfile::tempdir().map_err(|e| Failure::not_written(&std::env::temp_dir(), &e))?;
        let bytes = folder.path().join("copy");
        if !copy(&bucket, &object, &bytes)? {
            return Err(
                Failure::new(Code::BadData, format!("there is no {}", name.display())).help("check the address")
            );
        }
        copy(&bucket, &format!("{object}{ENVELOPE}"), &envelope_of(&bytes))?;
        take(&Arrived { name, bytes })?;
    }
    Ok(())
}

/// Copies an object, where it is there.
#[cfg(feature = "remote")]
fn copy(bucket: &Bucket, object: &str, to: &Path) -> Result<bool, Failure> {
    let Some(mut opened) = bucket.open(object).map_err(|e| Failure::of(Code::BadData, &e, None))? else {
        return Ok(false);
    };
    let mut file = std::fs::File::create(to).map_err(|e| Failure::not_written(to, &e))?;
    let copied = std::io::copy(&mut opened.content, &mut file);
    let copied = copied.map_err(|e| Failure::not_read(&bucket.place().join(object), &e))?;
    if copied != opened.bytes {
        let short = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        return Err(Failure::not_read(&bucket.place().join(object), &short));
    }
    Ok(true)
}

#[cfg(not(feature = "remote"))]
fn elsewhere(_: &Path, _: impl FnMut(&Arrived) -> Result<(), Failure>) -> Result<(), Failure> {
    Err(crate::repositories::unknown())
}
