//! What parent and worker say to each other: frames of a JSON header and raw tensor bytes.
//!
//! A frame is `PLW1`, the header's length (u32), the payload's length (u64), both little-endian, the header, the payload.
//! Tensor data never pass through JSON. Lengths are checked against a bound before anything is allocated.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use plimsoll_onnx::{DType, Tensor, Tensors};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Allocated, ExecError, Keep, Summary};

const MAGIC: [u8; 4] = *b"PLW1";
/// No header is longer: names and shapes only.
const MOST_HEADER: usize = 64 << 20;

/// A tensor without its data.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    name: String,
    dtype: String,
    shape: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first frame: limits that the worker puts on itself.
    Hello { memory_bytes: u64 },
    /// The payload is the model.
    Load {
        shapes: BTreeMap<String, Vec<usize>>,
        capture: Vec<String>,
        summarise: BTreeMap<String, Keep>,
        threads: usize,
    },
    /// Several runs; the payload is the tensors, one after the other.
    Run { session: u64, inputs: Vec<Vec<Meta>> },
    /// The payload is the tensors of one run.
    Time { session: u64, runs: usize, inputs: Vec<Meta> },
    /// As `Time`: what one run allocates.
    Allocations { session: u64, inputs: Vec<Meta> },
    /// What a session kept of the values that were to be summarised.
    Summaries { session: u64 },
    /// Times the calibration kernel.
    Calibrate { runs: usize },
    /// The session is no longer needed.
    Close { session: u64 },
    /// Peak resident memory of the worker.
    Peak,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Hello {
        name: String,
        version: String,
    },
    Loaded {
        session: u64,
    },
    /// Of each run, in their order; the payload is the tensors.
    Ran {
        outputs: Vec<Vec<Meta>>,
    },
    Timed {
        nanoseconds: Vec<u64>,
    },
    Allocations {
        of_one_run: Option<Allocated>,
    },
    Summaries {
        kept: BTreeMap<String, Summary>,
    },
    Closed,
    Peak {
        bytes: Option<u64>,
    },
    Error(ExecError),
}

/// The headers of tensors, and their data to be written after it.
pub(crate) fn pack(tensors: &Tensors) -> (Vec<Meta>, Vec<&[u8]>) {
    let meta = |(name, t): (&String, &Tensor)| Meta {
        name: name.clone(),
        dtype: t.dtype().name().into(),
        shape: t.shape().to_vec(),
    };
    (tensors.iter().map(meta).collect(), tensors.values().map(Tensor::bytes).collect())
}

/// The headers of the tensors of several runs, and their data.
pub(crate) fn pack_each(runs: &[Tensors]) -> (Vec<Vec<Meta>>, Vec<&[u8]>) {
    let (metas, parts): (Vec<_>, Vec<_>) = runs.iter().map(pack).unzip();
    (metas, parts.concat())
}

/// The tensors of headers and payload.
pub(crate) fn unpack(metas: Vec<Meta>, payload: &[u8]) -> Result<Tensors, String> {
    let mut rest = payload;
    let tensors = take(metas, &mut rest)?;
    used_up(rest).map(|()| tensors)
}

/// The tensors of several runs.
pub(crate) fn unpack_each(runs: Vec<Vec<Meta>>, payload: &[u8]) -> Result<Vec<Tensors>, String> {
    let mut rest = payload;
    let runs = runs.into_iter().map(|metas| take(metas, &mut rest)).collect::<Result<_, _>>()?;
    used_up(rest).map(|()| runs)
}

fn used_up(rest: &[u8]) -> Result<(), String> {
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes are left over", rest.len())) }
}

/// Takes the tensors of one run off a payload.
fn take(metas: Vec<Meta>, rest: &mut &[u8]) -> Result<Tensors, String> {
    let mut tensors = Tensors::new();
    for meta in metas {
        let dtype = DType::from_name(&meta.dtype).ok_or_else(|| format!("unknown dtype `{}`", meta.dtype))?;
        let elements = meta.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bytes = elements.and_then(|n| dtype.bytes_of(n)).filter(|&n| n <= rest.len());
        let (data, after) = rest.split_at(bytes.ok_or_else(|| format!("`{}` is cut off", meta.name))?);
        *rest = after;
        tensors.insert(meta.name, Tensor::new(dtype, meta.shape, data.to_vec()).map_err(|e| e.to_string())?);
    }
    Ok(tensors)
}

/// Bytes of a frame that are written at once, so that whoever waits for it is woken up once; as many as a pipe may hold.
pub(crate) const AT_ONCE: usize = 1 << 20;

/// Writes one frame and flushes.
pub(crate) fn write_frame(out: &mut impl Write, header: &impl Serialize, parts: &[&[u8]]) -> io::Result<()> {
    let header = serde_json::to_vec(header).map_err(io::Error::other)?;
    let payload: u64 = parts.iter().map(|p| p.len() as u64).sum();
    let mut head = Vec::with_capacity(16 + header.len());
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&(header.len() as u32).to_le_bytes());
    head.extend_from_slice(&payload.to_le_bytes());
    head.extend_from_slice(&header);
    out.write_all(&head)?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    out.flush()
}

/// Reads one frame; `None` where the other side has closed the pipe between two frames.
pub(crate) fn read_frame<H: DeserializeOwned>(input: &mut impl Read, most: u64) -> io::Result<Option<(H, Vec<u8>)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut start = [0u8; 1];
    loop {
        match input.read(&mut start) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let mut rest = [0u8; 15];
    input.read_exact(&mut rest)?;
    let [m1, m2, m3, h0, h1, h2, h3, payload @ ..] = rest;
    if [start[0], m1, m2, m3] != MAGIC {
        return Err(invalid("the frame does not start as one"));
    }
    let header = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
    let payload = u64::from_le_bytes(payload);
    if header > MOST_HEADER || payload > most {
        return Err(invalid("the frame is longer than it may be"));
    }
    let header = read_exactly(input, header)?;
    let payload = read_exactly(input, payload as usize)?;
    let header = serde_json::from_slice(&header).map_err(io::Error::other)?;
    Ok(Some((header, payload)))
}

fn read_exactly(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    input.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8]) -> io::Result<Option<(Request, Vec<u8>)>> {
        read_frame(&mut &*bytes, 1 << 20)
    }

    fn frame() -> Vec<u8> {
        let tensors = Tensors::from([("x".to_owned(), Tensor::vector(&[1f32, 2.0]))]);
        let runs = [tensors];
        let (inputs, parts) = pack_each(&runs);
        let mut bytes = Vec::new();
        write_frame(&mut bytes, &Request::Run { session: 3, inputs }, &parts).unwrap();
        bytes
    }

    #[test]
    fn a_frame_comes_back_equal() {
        let Some((Request::Run { session: 3, inputs }, payload)) = check(&frame()).unwrap() else {
            panic!("not a run")
        };
        assert_eq!(unpack_each(inputs, &payload).unwrap()[0]["x"], Tensor::vector(&[1f32, 2.0]));
    }

    #[test]
    fn several_runs_share_a_payload_in_their_order() {
        let of = |values: &[f32]| Tensors::from([("x".to_owned(), Tensor::vector(values))]);
        let runs = [of(&[1.0]), Tensors::new(), of(&[2.0, 3.0])];
        let (metas, parts) = pack_each(&runs);
        assert_eq!(unpack_each(metas, &parts.concat()).unwrap(), runs);
        let (metas, _) = pack_each(&runs);
        assert!(unpack_each(metas, &[0; 8]).is_err());
        let (metas, _) = pack_each(&runs);
        assert!(unpack_each(metas, &[0; 16]).is_err());
    }

    #[test]
    fn a_frame_cut_anywhere_is_an_error_and_an_empty_pipe_is_the_end() {
        let whole = frame();
        assert!(check(&[]).unwrap().is_none());
        (1..whole.len()).for_each(|n| assert!(check(&whole[..n]).is_err(), "{n} bytes"));
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_it_is_allocated() {
        let mut lie = frame();
        lie[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(check(&lie).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn shapes_that_lie_about_the_payload_are_refused() {
        let meta = |shape: Vec<usize>| vec![Meta { name: "x".into(), dtype: "float32".into(), shape }];
        assert!(unpack(meta(vec![2]), &[0; 8]).is_ok());
        assert!(unpack(meta(vec![3]), &[0; 8]).is_err());
        assert!(unpack(meta(vec![1]), &[0; 8]).is_err());
        assert!(unpack(meta(vec![usize::MAX, 4]), &[0; 8]).is_err());
    }
}
