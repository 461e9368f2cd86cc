//! Named arrays on a pipe: a line with their names, then each as an npy file, one after the other. NumPy reads and writes it with
//! `numpy.lib.format.read_array` and `write_array`, and `cat` hands it on as it is.

use std::io::{BufRead, Read};

use plimsoll_onnx::Tensors;

use crate::npy::{self, Array, Header};

/// The longest line of names.
const MOST_NAMES: u64 = 1 << 16;

/// The arrays as bytes. Refused are names with white space and dtypes that NumPy has not.
pub fn encode_arrays(arrays: &Tensors) -> Result<Vec<u8>, String> {
    let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
    if let Some(name) = names.iter().find(|n| n.is_empty() || n.contains(char::is_whitespace)) {
        return Err(format!("the name `{name}` cannot stand in a line of names"));
    }
    let mut bytes = names.join(" ").into_bytes();
    bytes.push(b'\n');
    for (name, tensor) in arrays {
        let array = npy::encode(tensor).ok_or_else(|| format!("array `{name}`: NumPy has no {}", tensor.dtype()))?;
        bytes.extend(array);
    }
    Ok(bytes)
}

/// The next arrays, of at most `most` bytes together; `None` at the end. What is claimed is not allocated before it is there.
pub fn decode_arrays(source: &mut dyn BufRead, most: u64) -> Result<Option<Tensors>, String> {
    let mut line = Vec::new();
    source.take(MOST_NAMES).read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err("the line of names does not end".into());
    }
    let names = String::from_utf8(line).map_err(|_| "the line of names is no text".to_owned())?;
    let (mut arrays, mut left) = (Tensors::new(), most);
    let mut source = source;
    for name in names.split_whitespace() {
        let of_array = |reason: String| format!("array `{name}`: {reason}");
        let header = Header::unannounced(&mut source, left).map_err(of_array)?;
        left -= header.bytes() as u64;
        let Array::Numbers(tensor) = header.whole(&mut source).map_err(of_array)? else {
            return Err(of_array("it holds texts".into()));
        };
        if arrays.insert(name.to_owned(), tensor).is_some() {
            return Err(of_array("it was named twice".into()));
        }
    }
    Ok(Some(arrays))
}

#[cfg(test)]
mod tests {
    use plimsoll_onnx::Tensor;

    use super::*;

    fn refused(bytes: &[u8], most: u64, says: &str) {
        let error = decode_arrays(&mut &*bytes, most).unwrap_err();
        assert!(error.contains(says), "{error}");
    }

    fn two() -> Tensors {
        Tensors::from([
            ("a".to_owned(), Tensor::from_elements(&[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap()),
            ("b".to_owned(), Tensor::from_elements(&[1], &[-7i64]).unwrap()),
        ])
    }

    #[test]
    fn arrays_come_back_one_message_after_the_other() {
        let bytes = [encode_arrays(&two()).unwrap(), b"\n".to_vec(), encode_arrays(&two()).unwrap()].concat();
        let mut source = bytes.as_slice();
        let mut next = || decode_arrays(&mut source, 1000).unwrap();
        assert_eq!((next(), next(), next(), next()), (Some(two()), Some(Tensors::new()), Some(two()), None));
    }

    #[test]
    fn answers_that_are_cut_off_too_large_or_no_arrays_are_refused() {
        let whole = encode_arrays(&two()).unwrap();
        (1..whole.len()).for_each(|n| assert!(decode_arrays(&mut &whole[..n], 1000).is_err(), "{n}"));
        refused(&whole, 31, "more than the 7 that are allowed");
        refused(&whole, 20, "array `a`");
        refused(b"Traceback (most recent call last):\n  File", 1000, "npy");
        refused(b"a a\n", 1000, "npy");
        refused(&vec![b'x'; 1 << 17], 1000, "does not end");
        let lies = b"a\n\x93NUMPY\x01\x00\x50\x00{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }      ";
        refused(lies, u64::MAX, "impossible");
    }

    #[test]
    fn names_that_would_break_the_line_are_refused() {
        let one = |name: &str| Tensors::from([(name.to_owned(), Tensor::from_elements(&[1], &[0f32]).unwrap())]);
        assert!(encode_arrays(&one("heart rate")).is_err() && encode_arrays(&one("")).is_err());
    }
}
