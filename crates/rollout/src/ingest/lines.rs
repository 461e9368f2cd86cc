//! Lines of a file, none of them held in memory for longer than a record may be.

use std::io::{self, BufRead};

/// Bytes of the longest record.
pub(crate) const LONGEST: usize = 1 << 16;

/// Calls with the number of each line that is not empty, and its bytes; `None` where it is too long.
pub(crate) fn each(
    mut reader: impl BufRead,
    mut take: impl FnMut(u64, Option<&[u8]>) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = Vec::new();
    let (mut number, mut too_long) = (1, false);
    loop {
        let piece = reader.fill_buf()?;
        let end = piece.iter().position(|b| *b == b'\n');
        let content = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        let read = content.len() + usize::from(end.is_some());
        if too_long || line.len() + content.len() > LONGEST {
            too_long = true;
            line.clear();
        } else {
            line.extend_from_slice(content);
        }
        let last = read == 0;
        reader.consume(read);
        if end.is_none() && !last {
            continue;
        }
        if too_long {
            take(number, None)?;
        } else if !line.trim_ascii().is_empty() {
            take(number, Some(line.trim_ascii()))?;
        }
        if last {
            return Ok(());
        }
        line.clear();
        (number, too_long) = (number + 1, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &[u8]) -> Vec<(u64, Option<usize>)> {
        let mut found = Vec::new();
        each(io::BufReader::with_capacity(7, content), |n, line| {
            found.push((n, line.map(<[u8]>::len)));
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn a_line_that_is_too_long_is_no_line_and_the_next_one_is() {
        let mut content = b"one\n\n".to_vec();
        content.extend(vec![b'x'; LONGEST + 1]);
        content.extend(b"\nthree");
        assert_eq!(check(&content), [(1, Some(3)), (3, None), (4, Some(5))]);
        assert_eq!(check(b""), []);
        assert_eq!(check(&vec![b'y'; LONGEST]), [(1, Some(LONGEST))]);
        assert_eq!(check(&vec![b'y'; 3 * LONGEST]), [(1, None)]);
    }
}
