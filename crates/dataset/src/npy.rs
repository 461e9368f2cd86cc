//! One npy array (NumPy enhancement proposal 1, versions 1 to 3).
//!
//! Own code, because readers that are typed at compile time do not fit arrays whose dtype is known at run time, and because
//! the length that a header claims is checked here before anything is allocated.

use plimsoll_onnx::{DType, Tensor};

/// Data as stored: numbers, or fixed-width strings (for `group`).
pub(crate) enum Array {
    Numbers(Tensor),
    /// Shape `[n]`, one text an element.
    Texts(Vec<String>),
}

/// Decodes a whole npy file held in memory.
pub(crate) fn parse(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it is not in npy format")?;
    let (&[major, _minor], rest) = rest.split_first_chunk::<2>().ok_or("the header is cut off")?;
    let (length, rest) = match major {
        1 => rest.split_first_chunk::<2>().map(|(l, r)| (u16::from_le_bytes(*l) as usize, r)),
        2 | 3 => rest.split_first_chunk::<4>().map(|(l, r)| (u32::from_le_bytes(*l) as usize, r)),
        other => return Err(format!("npy version {other} is not known")),
    }
    .ok_or("the header is cut off")?;
    let header = rest.get(..length).ok_or("the header is cut off")?;
    let data = &rest[length..];
    let header = Header::parse(std::str::from_utf8(header).map_err(|_| "the header is not text")?)?;
    header.decode(data)
}

/// A table of numbers as an npy file, row-major.
pub fn encode_table(values: &[f64], columns: usize) -> Vec<u8> {
    let columns = columns.max(1);
    let rows = values.len() / columns;
    let mut header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // Magic, version, length and header together fill blocks of 64 bytes; two numbers never need more than two of them.
    const BEFORE: usize = 10;
    let length = (BEFORE + header.len() + 1).next_multiple_of(64) - BEFORE;
    header.push_str(&" ".repeat(length - header.len() - 1));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((length as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(values.iter().take(rows * columns).flat_map(|v| v.to_le_bytes()));
    bytes
}

struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
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
        Ok(Self { descr: descr.into(), fortran, shape })
    }

    fn decode(&self, data: &[u8]) -> Result<Array, String> {
        let (order, kind) = match self.descr.split_at_checked(1) {
            Some((o @ ("<" | ">" | "|" | "="), kind)) => (o, kind),
            _ => return Err(format!("dtype `{}` is not supported", self.descr)),
        };
        let overflow = || format!("shape {:?} is impossible", self.shape);
        let elements = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(overflow)?;
        if kind.starts_with('O') {
            return Err("it holds pickled Python objects, which are not read".into());
        }
        if let Some(width) = kind.strip_prefix(['U', 'S']) {
            return self.texts(data, kind.starts_with('U').then_some(order), width, elements);
        }
        let dtype = match kind {
            "f2" => DType::F16,
            "f4" => DType::F32,
            "f8" => DType::F64,
            "i1" => DType::I8,
            "i2" => DType::I16,
            "i4" => DType::I32,
            "i8" => DType::I64,
            "u1" => DType::U8,
            "u2" => DType::U16,
            "u4" => DType::U32,
            "u8" => DType::U64,
            "b1" => DType::Bool,
            _ => return Err(format!("dtype `{}` is not supported", self.descr)),
        };
        let width = dtype.bits() / 8;
        let expected = elements.checked_mul(width).ok_or_else(overflow)?;
        if data.len() != expected {
            return Err(format!("shape {:?} of {dtype} needs {expected} bytes, there are {}", self.shape, data.len()));
        }
        let mut bytes = data.to_vec();
        if order == ">" {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        if dtype == DType::Bool {
            bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
        }
        if self.fortran && self.shape.len() > 1 {
            bytes = self.to_row_major(&bytes, width, elements);
        }
        Tensor::new(dtype, self.shape.clone(), bytes).map(Array::Numbers).map_err(|e| e.to_string())
    }

    fn to_row_major(&self, bytes: &[u8], width: usize, elements: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len());
        let mut index = vec![0usize; self.shape.len()];
        for _ in 0..elements {
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

    fn texts(&self, data: &[u8], wide: Option<&str>, width: &str, elements: usize) -> Result<Array, String> {
        let width: usize = width.parse().map_err(|_| format!("dtype `{}` is malformed", self.descr))?;
        let stride = width.checked_mul(if wide.is_some() { 4 } else { 1 }).filter(|&s| s > 0);
        let expected = stride.and_then(|s| s.checked_mul(elements));
        let (Some(stride), true) = (stride, expected == Some(data.len()) && self.shape.len() == 1) else {
            return Err("it is no vector of texts of the length that its header says".into());
        };
        let text = |cell: &[u8]| -> String {
            if let Some(order) = wide {
                let code = if order == ">" { u32::from_be_bytes } else { u32::from_le_bytes };
                let codes = cell.chunks_exact(4).map(|c| code([c[0], c[1], c[2], c[3]]));
                codes.take_while(|&c| c != 0).map(|c| char::from_u32(c).unwrap_or('\u{fffd}')).collect()
            } else {
                String::from_utf8_lossy(cell).trim_end_matches('\0').to_owned()
            }
        };
        Ok(Array::Texts(data.chunks_exact(stride).map(text).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[f64], columns: usize, shape: &[usize]) {
        let bytes = encode_table(values, columns);
        assert_eq!((bytes.len() - values.len() * 8) % 64, 0);
        let Ok(Array::Numbers(found)) = parse(&bytes) else { panic!("not read back") };
        assert_eq!((found.shape(), found.to_vec::<f64>().unwrap().as_slice()), (shape, values));
    }

    #[test]
    fn a_table_is_read_back_as_it_was_written() {
        check(&[1.5, -2.0, 1e-300, 4.0, 5.0, 6.0], 3, &[2, 3]);
        check(&[7.0; 12_345], 1, &[12_345, 1]);
        check(&[], 4, &[0, 4]);
    }
}
