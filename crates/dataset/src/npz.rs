//! npz archives: a zip of npy files.

use std::{collections::BTreeMap, fs::File, io::BufReader, io::Read, path::Path};

use crate::{DatasetError, npy};

/// Deflate cannot shrink by more than this; an archive that claims more is lying (RFC 1951 gives 1032 : 1).
const MOST_EXPANSION: u64 = 1032;
/// What one archive may unpack to at the most.
const MOST_BYTES: u64 = 16 << 30;

/// Every array of an archive, by name (without `.npy`).
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, npy::Array>, DatasetError> {
    let io = |source| DatasetError::Io { path: path.into(), source };
    let broken = |reason: String| DatasetError::Archive { path: path.into(), reason };
    let file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size == 0 {
        return Err(broken("the file is empty".into()));
    }
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| broken(e.to_string()))?;
    let limit = size.saturating_mul(MOST_EXPANSION).min(MOST_BYTES);
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
            return Err(array_error(format!("it claims {claimed} bytes, more than this archive can hold")));
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
