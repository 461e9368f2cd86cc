//! npz archives: a zip of npy files.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use zip::ZipArchive;

use crate::{
    DatasetError,
    npy::{Array, Header},
};

/// An archive may unpack to 64 times its size and 64 MiB: data worth measuring on do not shrink by more, bombs do.
const MOST_EXPANSION: u64 = 64;
const ALWAYS_ALLOWED: u64 = 64 << 20;

/// An array of an archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// Without `.npy`.
    pub(crate) name: String,
    /// Position among the entries of the zip.
    index: usize,
    claimed: u64,
    pub(crate) header: Header,
}

/// A reader of an archive of its own, since members are read side by side.
pub(crate) type Reader = ZipArchive<BufReader<File>>;

pub(crate) fn open(path: &Path) -> Result<Reader, DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Io { path: path.into(), source })?;
    ZipArchive::new(BufReader::new(file)).map_err(|e| broken(path, e.to_string()))
}

/// Every array of an archive, in the order of their names; only their headers are read.
pub(crate) fn members(path: &Path) -> Result<Vec<Member>, DatasetError> {
    let io = |source| DatasetError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    if size == 0 {
        return Err(broken(path, "the file is empty".into()));
    }
    let listed = entries_listed(&mut file).map_err(io)?;
    let mut archive = open(path)?;
    // The reader keeps the last of several entries of one name, and is silent about the others.
    if listed.is_some_and(|n| n != archive.len()) {
        return Err(broken(path, "an array stands in it twice".into()));
    }
    let mut left = size.saturating_mul(MOST_EXPANSION).saturating_add(ALWAYS_ALLOWED);
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| broken(path, e.to_string()))?;
        let full_name = entry.name().map_err(|e| broken(path, e.to_string()))?.into_owned();
        let Some(name) = full_name.strip_suffix(".npy") else {
            return Err(broken(path, format!("`{full_name}` is no npy file")));
        };
        let claimed = entry.size();
        if claimed > left {
            let reason = format!("it claims {claimed} bytes, more than is unpacked from an archive of {size} bytes");
            return Err(of_array(path, name, reason));
        }
        left -= claimed;
        let header = Header::read(&mut entry, claimed).map_err(|reason| of_array(path, name, reason))?;
        members.push(Member { name: name.to_owned(), index, claimed, header });
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(broken(path, format!("`{}` stands in it twice", pair[0].name)));
    }
    if members.is_empty() {
        return Err(broken(path, "it holds no array".into()));
    }
    Ok(members)
}

impl Member {
    /// The data of the array, behind its header.
    pub(crate) fn data<'a>(&self, path: &Path, archive: &'a mut Reader) -> Result<Box<dyn Read + 'a>, DatasetError> {
        let failed = |reason| of_array(path, &self.name, reason);
        let mut entry = archive.by_index(self.index).map_err(|e| failed(e.to_string()))?;
        let same = entry.size() == self.claimed && Header::read(&mut entry, self.claimed).as_ref() == Ok(&self.header);
        if !same {
            return Err(failed("the file was changed while it was read".into()));
        }
        Ok(Box::new(entry))
    }

    /// The whole array.
    pub(crate) fn whole(&self, path: &Path) -> Result<Array, DatasetError> {
        let mut archive = open(path)?;
        let mut data = self.data(path, &mut archive)?;
        let array = self.header.whole(&mut data).map_err(|reason| of_array(path, &self.name, reason))?;
        self.end(path, &mut data)?;
        Ok(array)
    }

    /// After the last byte: the zip's checksum is compared where its entry ends.
    pub(crate) fn end(&self, path: &Path, data: &mut dyn Read) -> Result<(), DatasetError> {
        let failed = |reason| of_array(path, &self.name, reason);
        match data.read(&mut [0]).map_err(|e| failed(e.to_string()))? {
            0 => Ok(()),
            _ => Err(failed(format!("it holds more bytes than the {} that it claims", self.claimed))),
        }
    }
}

fn broken(path: &Path, reason: String) -> DatasetError {
    DatasetError::Archive { path: path.into(), reason }
}

pub(crate) fn of_array(path: &Path, array: &str, reason: String) -> DatasetError {
    DatasetError::Array { path: path.into(), array: array.into(), reason }
}

/// The number of entries that the archive's end record gives; `None` where there is no such record, or a 64-bit one.
fn entries_listed(file: &mut File) -> io::Result<Option<usize>> {
    const RECORD: usize = 22;
    let size = file.metadata()?.len();
    let tail = size.min((RECORD + usize::from(u16::MAX)) as u64);
    file.seek(SeekFrom::End(-(tail as i64)))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let record = bytes.windows(RECORD).rev().find(|w| w.starts_with(b"PK\x05\x06"));
    let count = record.map(|r| u16::from_le_bytes([r[10], r[11]]));
    Ok(count.filter(|n| *n != u16::MAX).map(usize::from))
}
