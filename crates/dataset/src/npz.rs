//! npz archives: a zip of npy files.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::{DatasetError, npy};

/// An archive may unpack to 64 times its size and 64 MiB: data worth measuring on do not shrink by more, bombs do.
const MOST_EXPANSION: u64 = 64;
const ALWAYS_ALLOWED: u64 = 64 << 20;

/// Every array of an archive, by name (without `.npy`).
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, npy::Array>, DatasetError> {
    let io = |source| DatasetError::Io { path: path.into(), source };
    let broken = |reason: String| DatasetError::Archive { path: path.into(), reason };
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size == 0 {
        return Err(broken("the file is empty".into()));
    }
    let listed = entries_listed(&mut file).map_err(io)?;
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| broken(e.to_string()))?;
    // The reader keeps the last of several entries of one name, and is silent about the others.
    if listed.is_some_and(|n| n != archive.len()) {
        return Err(broken("an array stands in it twice".into()));
    }
    let limit = size.saturating_mul(MOST_EXPANSION).saturating_add(ALWAYS_ALLOWED);
    let mut left = limit;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|e| broken(e.to_string()))?;
        let full_name = entry.name().map_err(|e| broken(e.to_string()))?.into_owned();
        let Some(name) = full_name.strip_suffix(".npy") else {
            return Err(broken(format!("`{full_name}` is no npy file")));
        };
        let array_error = |reason: String| DatasetError::Array { path: path.into(), array: name.into(), reason };
        let claimed = entry.size();
        if claimed > left {
            return Err(array_error(format!(
                "it claims {claimed} bytes, more than is unpacked from an archive of {size} bytes"
            )));
        }
        // The claim is not trusted for the allocation: what is really there grows the buffer.
        let mut bytes = Vec::new();
        entry.take(claimed + 1).read_to_end(&mut bytes).map_err(|e| array_error(e.to_string()))?;
        if bytes.len() as u64 != claimed {
            return Err(array_error(format!("it holds {} bytes and claims {claimed}", bytes.len())));
        }
        left -= claimed;
        let array = npy::parse(&bytes).map_err(array_error)?;
        if arrays.insert(name.to_owned(), array).is_some() {
            return Err(broken(format!("`{name}` stands in it twice")));
        }
    }
    if arrays.is_empty() {
        return Err(broken("it holds no array".into()));
    }
    Ok(arrays)
}

/// The number of entries that the archive's end record gives; `None` where there is no such record, or a 64-bit one.
fn entries_listed(file: &mut File) -> io::Result<Option<usize>> {
    const RECORD: usize = 22;
    let size = file.metadata()?.len();
    let tail = size.min((RECORD + usize::from(u16::MAX)) as u64);
    file.seek(SeekFrom::End(-(tail as i64)))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    file.rewind()?;
    let record = bytes.windows(RECORD).rev().find(|w| w.starts_with(b"PK\x05\x06"));
    let count = record.map(|r| u16::from_le_bytes([r[10], r[11]]));
    Ok(count.filter(|n| *n != u16::MAX).map(usize::from))
}
