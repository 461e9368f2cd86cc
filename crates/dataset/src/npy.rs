//! One npy array (NumPy enhancement proposal 1, versions 1 to 3), read as it streams by.
//!
//! Own code, because readers that are typed at compile time do not fit arrays whose dtype is known at run time, because samples
//! are read in slices, and because the length that a header claims is checked here before anything is allocated.

use std::io::Read;

use plimsoll_onnx::{DType, Tensor};

/// Data as stored: numbers, or fixed-width strings (for `group`).
pub(crate) enum Array {
    Numbers(Tensor),
    /// Shape `[n]`, one text an element.
    Texts(Vec<String>),
}

/// No header of numbers or texts is longer.
const MOST_HEADER: usize = 1 << 20;

/// NumPy's names of numbers, without the byte order.
const DTYPES: &[(&str, DType)] = &[
    ("f2", DType::F16),
    ("f4", DType::F32),
    ("f8", DType::F64),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("b1", DType::Bool),
];

/// A table of numbers as an npy file, row-major.
pub fn encode_table(values: &[f64], columns: usize) -> Vec<u8> {
    let columns = columns.max(1);
    let rows = values.len() / columns;
    let mut bytes = header("<f8", &[rows, columns]);
    bytes.extend(values.iter().take(rows * columns).flat_map(|v| v.to_le_bytes()));
    bytes
}

/// A tensor as an npy file; `None` where NumPy has no such dtype.
pub(crate) fn encode(tensor: &Tensor) -> Option<Vec<u8>> {
    let (name, dtype) = DTYPES.iter().find(|(_, dtype)| *dtype == tensor.dtype())?;
    let order = if dtype.bits() == 8 { '|' } else { '<' };
    let mut bytes = header(&format!("{order}{name}"), tensor.shape());
    bytes.extend_from_slice(tensor.bytes());
    Some(bytes)
}

fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let dims: String = shape.iter().map(|d| format!("{d}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", dims.trim_end());
    // Magic, version, length and header together fill blocks of 64 bytes.
    const BEFORE: usize = 10;
    let length = (BEFORE + header.len() + 1).next_multiple_of(64) - BEFORE;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

/// What an array is, as its header says; the bytes that follow are as many as that needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Header {
    pub(crate) shape: Vec<usize>,
    fortran: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Numbers {
        dtype: DType,
        big_endian: bool,
    },
    /// Fixed-width cells: UTF-32 where `wide`, else bytes.
    Texts {
        wide: bool,
        big_endian: bool,
        cell: usize,
    },
}

impl Header {
    /// Reads a header; `claimed` is the number of bytes of the whole file, as the archive says.
    pub(crate) fn read(source: &mut impl Read, claimed: u64) -> Result<Self, String> {
        let (header, length) = Self::next(source)?;
        header.check_length(claimed.saturating_sub(length as u64))?;
        Ok(header)
    }

    /// Reads a header of an array of at most so many bytes, which nobody has announced.
    pub(crate) fn unannounced(source: &mut impl Read, most: u64) -> Result<Self, String> {
        let (header, _) = Self::next(source)?;
        let bytes = header.checked_bytes()?;
        header.check_length(bytes)?;
        if bytes > most {
            return Err(format!("shape {:?} needs {bytes} bytes, more than the {most} that are allowed", header.shape));
        }
        Ok(header)
    }

    /// A header and its length.
    fn next(source: &mut impl Read) -> Result<(Self, usize), String> {
        let mut magic = [0; 8];
        let cut = |_| "the header is cut off".to_owned();
        let found = fill(source, &mut magic)?;
        if !magic[..found].starts_with(b"\x93NUMPY") {
            return Err("it is not in npy format".into());
        }
        let (length, before) = match (found, magic[6]) {
            (8, 1) => {
                let mut bytes = [0; 2];
                source.read_exact(&mut bytes).map_err(cut)?;
                (u16::from_le_bytes(bytes) as usize, 10)
            }
            (8, 2 | 3) => {
                let mut bytes = [0; 4];
                source.read_exact(&mut bytes).map_err(cut)?;
                (u32::from_le_bytes(bytes) as usize, 12)
            }
            (8, other) => return Err(format!("npy version {other} is not known")),
            _ => return Err("the header is cut off".into()),
        };
        let text = exactly(source, length.min(MOST_HEADER))?;
        if text.len() < length {
            return Err(format!("the header is cut off, or longer than {MOST_HEADER} bytes"));
        }
        Ok((Self::parse(std::str::from_utf8(&text).map_err(|_| "the header is not text")?)?, before + length))
    }

    /// The header is a Python dictionary literal with exactly three keys.
    fn parse(text: &str) -> Result<Self, String> {
        let after = |key: &str| {
            let at = text.find(&format!("'{key}'")).ok_or_else(|| format!("the header lacks `{key}`"))?;
            let rest = text[at + key.len() + 2..].trim_start();
            rest.strip_prefix(':').map(str::trim_start).ok_or_else(|| format!("the header is malformed at `{key}`"))
        };
        let descr = after("descr")?;
        let descr =
            descr.strip_prefix('\'').and_then(|d| d.split_once('\'')).ok_or("structured dtypes are not supported")?.0;
        let fortran = after("fortran_order")?.starts_with("True");
        let shape =
            after("shape")?.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or("the shape is malformed")?.0;
        let dims = shape.split(',').map(str::trim).filter(|d| !d.is_empty());
        let shape = dims.map(str::parse).collect::<Result<Vec<usize>, _>>().map_err(|_| "the shape is malformed")?;
        Ok(Self { shape, fortran, kind: Kind::parse(descr)? })
    }

    fn checked_bytes(&self) -> Result<u64, String> {
        let overflow = || format!("shape {:?} is impossible", self.shape);
        let product = |dims: &[usize]| dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(overflow);
        let elements = product(&self.shape)?;
        // An empty array may have axes whose product is no number.
        product(self.shape.get(1..).unwrap_or_default())?.checked_mul(self.kind.width()).ok_or_else(overflow)?;
        Ok(elements.checked_mul(self.kind.width()).ok_or_else(overflow)? as u64)
    }

    fn check_length(&self, found: u64) -> Result<(), String> {
        let expected = self.checked_bytes()?;
        match self.kind {
            Kind::Numbers { dtype, .. } if found != expected => {
                Err(format!("shape {:?} of {dtype} needs {expected} bytes, there are {found}", self.shape))
            }
            Kind::Texts { .. } if found != expected || self.shape.len() != 1 => {
                Err("it is no vector of texts of the length that its header says".into())
            }
            _ => Ok(()),
        }
    }

    /// `None` for texts.
    pub(crate) fn dtype(&self) -> Option<DType> {
        match self.kind {
            Kind::Numbers { dtype, .. } => Some(dtype),
            Kind::Texts { .. } => None,
        }
    }

    /// Whether samples cannot be read one after the other: the first axis runs fastest.
    pub(crate) fn is_interleaved(&self) -> bool {
        self.fortran && self.shape.len() > 1
    }

    /// Bytes of the array.
    pub(crate) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.width()
    }

    /// Bytes of one sample.
    fn stride(&self) -> usize {
        self.shape.iter().skip(1).product::<usize>() * self.kind.width()
    }

    /// The next samples of numbers that are stored row by row.
    pub(crate) fn numbers(&self, source: &mut impl Read, samples: usize) -> Result<Tensor, String> {
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = samples;
        }
        let wanted = samples * self.stride();
        let bytes = exactly(source, wanted)?;
        if bytes.len() < wanted {
            return Err(format!("it is cut off: shape {:?} needs {} bytes", self.shape, self.bytes()));
        }
        self.tensor(shape, bytes)
    }

    /// As [`Header::numbers`], of what [`Header::whole`] has made.
    pub(crate) fn native(&self, source: &mut impl Read, samples: usize) -> Result<Tensor, String> {
        let kind = match self.kind {
            Kind::Numbers { dtype, .. } => Kind::Numbers { dtype, big_endian: false },
            texts @ Kind::Texts { .. } => texts,
        };
        Self { kind, fortran: false, shape: self.shape.clone() }.numbers(source, samples)
    }

    /// The whole array.
    pub(crate) fn whole(&self, source: &mut impl Read) -> Result<Array, String> {
        let bytes = exactly(source, self.bytes())?;
        if bytes.len() < self.bytes() {
            return Err(format!("it is cut off: shape {:?} needs {} bytes", self.shape, self.bytes()));
        }
        match self.kind {
            Kind::Texts { wide, big_endian, cell } => Ok(Array::Texts(texts(&bytes, wide, big_endian, cell))),
            Kind::Numbers { .. } if self.is_interleaved() => {
                self.tensor(self.shape.clone(), self.rows_of(&bytes)).map(Array::Numbers)
            }
            Kind::Numbers { .. } => self.tensor(self.shape.clone(), bytes).map(Array::Numbers),
        }
    }

    fn tensor(&self, shape: Vec<usize>, mut bytes: Vec<u8>) -> Result<Tensor, String> {
        let Kind::Numbers { dtype, big_endian } = self.kind else { return Err("it holds texts".into()) };
        if big_endian {
            bytes.chunks_exact_mut(self.kind.width()).for_each(<[u8]>::reverse);
        }
        if dtype == DType::Bool {
            bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        Tensor::new(dtype, shape, bytes).map_err(|e| e.to_string())
    }

    /// The same elements row by row.
    fn rows_of(&self, bytes: &[u8]) -> Vec<u8> {
        let width = self.kind.width();
        let mut out = Vec::with_capacity(bytes.len());
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..bytes.len() / width {
            let at = self.shape.iter().zip(&index).rev().fold(0, |offset, (dim, i)| offset * dim + i);
            out.extend_from_slice(&bytes[at * width..][..width]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        out
    }
}

impl Kind {
    fn parse(descr: &str) -> Result<Self, String> {
        let unsupported = || format!("dtype `{descr}` is not supported");
        let (order, kind) = descr.split_at_checked(1).ok_or_else(unsupported)?;
        if !matches!(order, "<" | ">" | "|" | "=") {
            return Err(unsupported());
        }
        let big_endian = order == ">";
        if kind.starts_with('O') {
            return Err("it holds pickled Python objects, which are not read".into());
        }
        if let Some(letters) = kind.strip_prefix(['U', 'S']) {
            let wide = kind.starts_with('U');
            let letters: Option<usize> = letters.parse().ok();
            let cell = letters.and_then(|n| n.checked_mul(if wide { 4 } else { 1 })).filter(|&c| c > 0);
            let cell = cell.ok_or_else(|| format!("dtype `{descr}` is malformed"))?;
            return Ok(Self::Texts { wide, big_endian, cell });
        }
        let (_, dtype) = DTYPES.iter().find(|(name, _)| *name == kind).ok_or_else(unsupported)?;
        Ok(Self::Numbers { dtype: *dtype, big_endian })
    }

    /// Bytes of one element.
    fn width(self) -> usize {
        match self {
            Self::Numbers { dtype, .. } => dtype.bits() / 8,
            Self::Texts { cell, .. } => cell,
        }
    }
}

fn texts(bytes: &[u8], wide: bool, big_endian: bool, cell: usize) -> Vec<String> {
    let text = |cell: &[u8]| -> String {
        if wide {
            let code = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            let codes = cell.chunks_exact(4).map(|c| code([c[0], c[1], c[2], c[3]]));
            codes.take_while(|&c| c != 0).map(|c| char::from_u32(c).unwrap_or('\u{fffd}')).collect()
        } else {
            String::from_utf8_lossy(cell).trim_end_matches('\0').to_owned()
        }
    };
    bytes.chunks_exact(cell).map(text).collect()
}

/// As many bytes as are wanted, or fewer where the source ends. What is really there grows the buffer: no claim is trusted for the
/// allocation.
fn exactly(source: &mut impl Read, wanted: usize) -> Result<Vec<u8>, String> {
    const AT_ONCE: usize = 1 << 24;
    let mut bytes = Vec::with_capacity(wanted.min(AT_ONCE));
    source.take(wanted as u64).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Fills the buffer as far as the source goes.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> Result<usize, String> {
    let bytes = exactly(source, buffer.len())?;
    buffer[..bytes.len()].copy_from_slice(&bytes);
    Ok(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], columns: usize, shape: &[usize]) {
        let bytes = encode_table(values, columns);
        assert_eq!((bytes.len() - values.len() * 8) % 64, 0);
        let mut source = bytes.as_slice();
        let header = Header::read(&mut source, bytes.len() as u64).unwrap();
        let Ok(Array::Numbers(found)) = header.whole(&mut source) else { panic!("not read back") };
        assert_eq!((found.shape(), found.to_vec::<f64>().unwrap().as_slice()), (shape, values));
    }

    #[test]
    fn a_table_is_read_back_as_it_was_written() {
        check(&[1.5, -2.0, 1e-300, 4.0, 5.0, 6.0], 3, &[2, 3]);
        check(&[7.0; 12_345], 1, &[12_345, 1]);
        check(&[], 4, &[0, 4]);
    }
}
