//! Whether an encoded message ends where its fields say. The protobuf parser takes a field that is cut off at the end of the input,
//! between two of its own fields, for a shorter one: half a graph would pass for a whole one. Knows no message in particular.

/// Walks the outermost fields; the text says what is wrong with them.
pub(crate) fn check_whole(bytes: &[u8]) -> Result<(), String> {
    let mut at = 0;
    while at < bytes.len() {
        let tag = varint(bytes, &mut at).ok_or("it ends within a field's tag")?;
        let length = match tag & 7 {
            0 => varint(bytes, &mut at).map(|_| 0),
            1 => Some(8),
            2 => varint(bytes, &mut at),
            5 => Some(4),
            // Groups, and types that do not exist, are left to the parser.
            _ => return Ok(()),
        };
        let length = length.ok_or_else(|| format!("it ends within field {}", tag >> 3))?;
        let left = (bytes.len() - at) as u64;
        if length > left {
            return Err(format!("field {} should have {length} bytes, {left} are left: the file is cut off", tag >> 3));
        }
        at += length as usize;
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}
