//! The kernels of every instruction set against the portable ones, over tiles, vector groups, and runs with gaps. Slices end where the
//! kernels may read last, so that valgrind sees what goes further.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::step::{Output, Rows};

/// Inputs of inner products: `runs` of a window, more pixels than a tile has.
#[derive(Debug, Clone)]
struct Case {
    /// Of whole fours, as int8 has them.
    runs: Vec<Run>,
    /// By how much runs of f32 are shorter.
    cut: usize,
    base: Vec<u32>,
    seed: u64,
}

/// What nothing was written to.
const UNTOUCHED: f32 = -12345.;

/// Several tiles and a rest.
const PIXELS: usize = 3 * TILE + 7;

fn case() -> impl Strategy<Value = Case> {
    let run = (0usize..9, 1usize..12);
    let base = prop::collection::vec(0u32..60, PIXELS);
    (prop::collection::vec(run, 1..5), 0usize..4, base, 1u64..u64::MAX / 2).prop_map(|(gaps, cut, base, seed)| {
        let mut offset = 0;
        let mut runs = Vec::new();
        for (gap, fours) in gaps {
            offset += gap;
            runs.push(Run { offset, len: fours * 4 });
            offset += fours * 4;
        }
        Case { runs, cut, base, seed }
    })
}

/// Runs `G` vector groups on an instruction set, with its features enabled where it is compiled.
fn by_groups<const G: usize>(isa: Isa, f: Option<Dot<'_, f32, f32>>, b: Option<Dot<'_, u8, i8>>) -> Vec<f32> {
    #[inline(always)]
    fn on<K: Kernels, const G: usize>(f: Option<Dot<'_, f32, f32>>, b: Option<Dot<'_, u8, i8>>, out: &mut [f32]) {
        if let Some(dot) = f {
            K::dot_f32::<G>(dot, out);
        }
        if let Some(dot) = b {
            K::dot_u8i8::<G>(dot, out);
        }
    }
    let pixels = f.map_or(0, |dot| dot.base.len()) + b.map_or(0, |dot| dot.base.len());
    let mut out = vec![f32::NAN; pixels.next_multiple_of(TILE) * G * LANES];
    assert!(Isa::available().contains(&isa));
    // SAFETY: the machine has the features of the set.
    match isa {
        Isa::Portable => on::<portable::Portable, G>(f, b, &mut out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => on::<avx2::Avx2, G>(f, b, &mut out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => on::<avxvnni::AvxVnni, G>(f, b, &mut out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => on::<avx512::Avx512, G>(f, b, &mut out),
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("not available"),
    }
    out.truncate(pixels * G * LANES);
    out
}

fn check<const G: usize>(case: &Case, pixels: usize) -> Result<(), TestCaseError> {
    agree(case, pixels, G * LANES, &format!("{pixels} pixels, {G} groups"), &|isa, f, b| by_groups::<G>(isa, f, b))
}

/// The same of channels that go by quads.
fn check_quads(case: &Case, pixels: usize, quads: usize) -> Result<(), TestCaseError> {
    let tile = Quads { quads, width: (quads * QUAD).next_multiple_of(LANES) };
    agree(case, pixels, quads * QUAD, &format!("{pixels} pixels, {tile:?}"), &|isa, f, b| by_quads(isa, f, b, tile))
}

/// Runs a tile by quads: what is written.
fn by_quads(isa: Isa, f: Option<Dot<'_, f32, f32>>, b: Option<Dot<'_, u8, i8>>, tile: Quads) -> Vec<f32> {
    fn on<K: Kernels>(f: Option<Dot<'_, f32, f32>>, b: Option<Dot<'_, u8, i8>>, tile: Quads, out: &mut [f32]) {
        if let Some(dot) = f {
            K::quads_f32(dot, tile, out);
        }
        if let Some(dot) = b {
            K::quads_u8i8(dot, tile, out);
        }
    }
    let pixels = f.map_or(0, |dot| dot.base.len()) + b.map_or(0, |dot| dot.base.len());
    let mut out = vec![UNTOUCHED; pixels * tile.width];
    assert!(Isa::available().contains(&isa));
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => on::<avx512::Avx512>(f, b, tile, &mut out),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni if isa.quads(false).contains(&tile.quads) => on::<avxvnni::AvxVnni>(f, b, tile, &mut out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 if isa.quads(false).contains(&tile.quads) => on::<avx2::Avx2>(f, b, tile, &mut out),
        _ => on::<portable::Portable>(f, b, tile, &mut out),
    }
    let columns = tile.quads * QUAD;
    let rows = out.chunks_exact(tile.width);
    assert!(rows.clone().all(|row| row[columns..].iter().all(|v| *v == UNTOUCHED)), "written behind the last quad");
    rows.flat_map(|row| row[..columns].to_vec()).collect()
}

/// Where the channels of a later group of a convolution begin.
const OFFSET: usize = 4;

type Tiled<'t> = &'t dyn Fn(Isa, Option<Dot<'_, f32, f32>>, Option<Dot<'_, u8, i8>>) -> Vec<f32>;

/// `tile` gives the same on every instruction set, for `pixels` and `width` channels.
fn agree(case: &Case, pixels: usize, width: usize, what: &str, tile: Tiled<'_>) -> Result<(), TestCaseError> {
    let mut state = case.seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    let reach = case.runs.iter().map(|r| r.offset + r.len).max().expect("there are runs");
    let depth: usize = case.runs.iter().map(|r| r.len).sum();
    let starts = Starts::new(case.base[..pixels].to_vec());
    let (base, furthest) = (starts.part(0..pixels), starts.furthest());
    let bytes: Vec<u8> = (0..OFFSET + furthest + reach).map(|_| next()).collect();
    // By quads runs of f32 are rounded up to whole fours, those of int8 to sixteens.
    let most: usize = case.runs.iter().map(|r| r.len.next_multiple_of(16)).sum();
    let whole: Vec<i8> = (0..most * width).map(|_| next() as i8).collect();
    let floats: Vec<f32> = bytes.iter().map(|b| f32::from(*b) / 100. - 1.).collect();
    let weights: Vec<f32> = whole.iter().map(|w| f32::from(*w) / 100.).collect();
    let runs = case.runs.as_slice();
    let cut: Vec<Run> = runs.iter().map(|r| Run { len: r.len - case.cut, ..*r }).collect();
    let f = Some(Dot { x: floats.as_slice(), base, offset: OFFSET, runs: &cut, weights: weights.as_slice() });
    let b = Some(Dot { x: bytes.as_slice(), base, offset: OFFSET, runs, weights: whole.as_slice() });
    let (float, byte) = (tile(Isa::Portable, f, None), tile(Isa::Portable, None, b));
    for isa in Isa::available() {
        prop_assert_eq!(&tile(isa, None, b), &byte, "{:?}, {}", isa, what);
        for (found, expected) in tile(isa, f, None).iter().zip(&float) {
            prop_assert!((found - expected).abs() <= 1e-5 * depth as f32, "{isa:?}, {what}: {found}, not {expected}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn kernels_agree_for_every_number_of_groups(case in case(), pixels in 1..=PIXELS) {
        check::<1>(&case, pixels)?;
        check::<2>(&case, pixels)?;
        check::<MAX_GROUPS>(&case, pixels)?;
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn sums_end_in_registers_as_they_do_in_memory(case in case(), pixels in 1..=PIXELS, empty in 0usize..4) {
        for groups in [1, 2, MAX_GROUPS] {
            check_ending(&case, pixels, BlockLanes::Groups(groups), groups * LANES - 5 * empty)?;
        }
        for quads in [1, 2, 3, 5, 6] {
            check_ending(&case, pixels, BlockLanes::Quads(quads), quads * QUAD - empty)?;
        }
    }

    #[test]
    fn kernels_agree_for_every_number_of_quads(case in case(), pixels in 1..=PIXELS) {
        for quads in [1, 2, 3, 5, 6] {
            check_quads(&case, pixels, quads)?;
        }
    }
}

/// Channels of a block that leave lanes empty, and where its results go: rows of `COLUMNS` from `CHANNEL` on, in turned order.
const CHANNEL: usize = 3;
const COLUMNS: usize = 70;

/// Of floats, of bytes, and of what is stored as well: the memory of a block's results.
type Results = (Vec<f32>, Vec<u8>, Vec<f32>);

fn untouched() -> Results {
    let room = 2 * PIXELS * COLUMNS;
    (vec![UNTOUCHED; room], vec![77; room], vec![UNTOUCHED; room])
}

/// The results of a block, by `K`'s ending.
fn ended<K: Kernels>(
    f: Option<Dot<'_, f32, f32>>,
    b: Option<Dot<'_, u8, i8>>,
    lanes: BlockLanes,
    ending: Ending<'_>,
) -> Results {
    let (mut floats, mut bytes, mut also) = untouched();
    let to = match ending.then {
        Then::Bounds(..) => Elements::F32(&mut floats),
        Then::Bytes { .. } => Elements::U8(&mut bytes),
    };
    let memory = Memory { to, also: &mut also };
    match (f, b) {
        (Some(dot), _) => K::ended_f32(dot, lanes, ending, memory),
        (_, Some(dot)) => K::ended_u8i8(dot, lanes, ending, memory),
        _ => unreachable!("one of them is given"),
    }
    (floats, bytes, also)
}

fn code(x: f32, inverse: f32, zero_point: f32) -> f32 {
    (x * inverse).clamp(-zero_point, 255. - zero_point).round_ties_even() + zero_point
}

/// What the sums of a pixel, one by one, come to.
fn end_by_hand(sums: &[f32], pixel: usize, ending: &Ending<'_>, (floats, bytes, also): &mut Results) {
    for (c, sum) in sums.iter().enumerate().take(ending.channels) {
        let scale = match ending.scale {
            Scale::All(scale) => scale,
            Scale::Lanes(scales) => scales[c],
        };
        let mut x = sum * scale + ending.shift[c];
        if let Some(Codes { inverse, zero_point, back }) = ending.codes {
            x = code(x, inverse, zero_point) * back.scale + back.shift;
        }
        if let Some(plus) = ending.plus {
            x += plus[pixel * COLUMNS + CHANNEL + c];
        }
        let at = |output: &Output| output.start(pixel, COLUMNS) + CHANNEL + c;
        match ending.then {
            Then::Bounds(low, high) => floats[at(ending.output)] = x.max(low).min(high),
            Then::Bytes { inverse, zero_point } => {
                let x = code(x, inverse, zero_point);
                bytes[at(ending.output)] = x as u8;
                if let Some((back, output)) = ending.also {
                    also[at(output)] = x * back.scale + back.shift;
                }
            }
        }
    }
}

/// Endings in registers are what sums by the same kernel, ended one by one, give; nothing else is written.
#[cfg(target_arch = "x86_64")]
fn check_ending(case: &Case, pixels: usize, lanes: BlockLanes, channels: usize) -> Result<(), TestCaseError> {
    if !Isa::available().contains(&Isa::Avx512Vnni) {
        return Ok(());
    }
    let width = lanes.channels();
    let starts: Vec<u32> = (0..pixels).rev().map(|p| (p * COLUMNS * 2 + p % 5) as u32).collect();
    let buffer = crate::program::Buffer { kind: crate::program::Kind::F32, place: crate::program::Place::Slot(0) };
    let whole = lanes.width();
    let by_row: Vec<f32> = (0..whole).map(|c| 0.25 + c as f32 / 100.).collect();
    let shift: Vec<f32> = (0..whole).map(|c| c as f32 / 7. - 3.).collect();
    // As many as there may be: the last pixel's end with its last channel.
    let terms: Vec<f32> = (0..(pixels - 1) * COLUMNS + CHANNEL + channels).map(|i| (i % 23) as f32 / 5. - 2.).collect();
    let back = Back { scale: 0.3, shift: -30. };
    let codes = Some(Codes { inverse: 3.5, zero_point: 120., back });
    let [first, fifth, turned] =
        [Rows::From(0), Rows::From(5), Rows::At(Starts::new(starts))].map(|rows| Output { buffer, rows });
    let plain = Ending {
        scale: Scale::All(1.),
        shift: &shift,
        codes: None,
        plus: None,
        then: Then::Bounds(0., f32::INFINITY),
        channel: CHANNEL,
        channels,
        output: &fifth,
        columns: COLUMNS,
        also: None,
    };
    let bytes = Then::Bytes { inverse: 3., zero_point: 100. };
    let (scale, plus) = (Scale::Lanes(&by_row), Some(terms.as_slice()));
    let endings = [
        plain,
        Ending { scale, then: Then::Bounds(-4., 6.), output: &turned, ..plain },
        Ending { scale, then: bytes, output: &turned, ..plain },
        Ending { scale: Scale::All(0.5), then: Then::Bytes { inverse: 0.01, zero_point: 0. }, output: &first, ..plain },
        Ending { plus, ..plain },
        Ending { plus, then: Then::Bounds(f32::NEG_INFINITY, f32::INFINITY), output: &turned, ..plain },
        Ending { scale, codes, then: Then::Bounds(-9., 40.), ..plain },
        Ending { scale, codes, plus, then: bytes, output: &turned, ..plain },
        Ending { scale, then: bytes, also: Some((back, &turned)), ..plain },
        Ending { scale, codes, plus, then: bytes, output: &turned, also: Some((back, &first)), ..plain },
    ];
    for ending in endings {
        let kept: Tiled<'_> = &|isa, f, b| match lanes {
            BlockLanes::Groups(1) => by_groups::<1>(isa, f, b),
            BlockLanes::Groups(2) => by_groups::<2>(isa, f, b),
            BlockLanes::Groups(_) => by_groups::<MAX_GROUPS>(isa, f, b),
            BlockLanes::Quads(quads) => by_quads(isa, f, b, Quads { quads, width: width.next_multiple_of(LANES) }),
        };
        let ended: Tiled<'_> = &|isa, f, b| {
            let (floats, bytes, also) = if isa == Isa::Avx512Vnni {
                ended::<avx512::Avx512>(f, b, lanes, ending)
            } else {
                let (sums, mut results) = (kept(Isa::Avx512Vnni, f, b), untouched());
                for (pixel, sums) in sums.chunks_exact(width).enumerate() {
                    end_by_hand(sums, pixel, &ending, &mut results);
                }
                results
            };
            floats.into_iter().chain(bytes.into_iter().map(f32::from)).chain(also).collect()
        };
        agree(case, pixels, width, &format!("{pixels} pixels, {channels} channels, {ending:?}"), ended)?;
    }
    Ok(())
}

#[test]
fn windows_that_end_outside_are_refused() {
    let (runs, weights) = (&[Run { offset: 0, len: 4 }], &[0f32; 64][..]);
    let starts = Starts::new(vec![2; TILE]);
    let dot = Dot { x: &[0f32; 7][..], base: starts.part(0..TILE), offset: 2, runs, weights };
    for isa in Isa::available() {
        assert!(std::panic::catch_unwind(|| by_groups::<1>(isa, Some(dot), None)).is_err(), "{isa:?}");
    }
}
