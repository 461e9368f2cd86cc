//! Blocks of a result: how their elements come out of memory into registers, and go back.

use super::{Output, Pattern, Rows, math};
use crate::isa::LANES;

/// The part of the result that a block computes: `rows` × `width` registers' elements, of which the first `valid` columns count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) width: usize,
    pub(crate) valid: usize,
    /// Whether what lies behind the valid columns of a row, and behind the last row, may be overwritten: it is slack, or written later.
    pub(crate) spill: bool,
}

/// Lanes that are always computed together, whatever the instruction set: arrays of this length become vectors.
pub(crate) type Lanes = [f32; LANES];

#[inline(always)]
pub(super) fn lanes<T: Copy>(from: &[T; LANES], f: impl Fn(T) -> f32) -> Lanes {
    let from = *from;
    std::array::from_fn(|i| f(from[i]))
}

/// `f(x * scale + shift)`, lane by lane.
#[inline(always)]
pub(super) fn affine(x: &Lanes, scale: &Lanes, shift: &Lanes, f: impl Fn(f32) -> f32) -> Lanes {
    let (x, scale, shift) = (*x, *scale, *shift);
    std::array::from_fn(|i| f(x[i] * scale[i] + shift[i]))
}

#[inline(always)]
pub(super) fn bytes(x: &Lanes) -> [u8; LANES] {
    let x = *x;
    std::array::from_fn(|i| math::byte(x[i]))
}

/// One row of a tile from contiguous elements; lanes behind them keep what they had.
#[inline(always)]
fn load_row<T: Copy>(to: &mut [Lanes], from: &[T], f: impl Fn(T) -> f32) {
    let (whole, rest) = from.as_chunks::<LANES>();
    let (filled, last) = to.split_at_mut(whole.len());
    filled.iter_mut().zip(whole).for_each(|(to, from)| *to = lanes(from, &f));
    if let Some(last) = last.first_mut() {
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = f(*from));
    }
}

/// The same where whole lanes may be read: what is behind the row is there, if not used.
#[inline(always)]
fn load_lanes<T: Copy>(to: &mut [Lanes], from: &[T], valid: usize, f: impl Fn(T) -> f32) {
    match from.get(..to.len() * LANES) {
        Some(from) => to.iter_mut().zip(from.as_chunks().0).for_each(|(to, from)| *to = lanes(from, &f)),
        None => load_row(to, &from[..valid], f),
    }
}

#[inline(always)]
pub(super) fn load<T: Copy>(
    to: &mut [Lanes],
    from: &[T],
    pattern: Pattern,
    tile: Tile,
    vectors: usize,
    columns: usize,
    f: impl Fn(T) -> f32 + Copy,
) {
    match pattern {
        Pattern::Scalar => to.fill([f(from[0]); LANES]),
        Pattern::Row => {
            let from = &from[tile.column..][..tile.valid];
            to.chunks_exact_mut(vectors).for_each(|to| load_row(to, from, f));
        }
        Pattern::Column => {
            for (to, x) in to.chunks_exact_mut(vectors).zip(&from[tile.row..]) {
                to.fill([f(*x); LANES]);
            }
        }
        Pattern::Full if tile.valid == columns && columns == vectors * LANES => {
            load_row(to, &from[tile.row * columns..][..to.len() * LANES], f);
        }
        Pattern::Full => {
            for (r, to) in to.chunks_exact_mut(vectors).enumerate() {
                load_lanes(to, &from[(tile.row + r) * columns + tile.column..], tile.valid, f);
            }
        }
    }
}

/// Stores what `f` makes of each vector of a tile, and of its position in its row.
#[inline(always)]
pub(super) fn store<T: Copy>(
    to: &mut [T],
    from: &[Lanes],
    tile: Tile,
    vectors: usize,
    place: (&Output, usize),
    f: impl Fn(&Lanes, usize) -> [T; LANES] + Copy,
) {
    let (output, columns) = place;
    if tile.valid == columns
        && columns == vectors * LANES
        && let Rows::From(first) = output.rows
    {
        let (whole, _) = to[first + tile.row * columns..].as_chunks_mut::<LANES>();
        for (to, from) in whole.chunks_exact_mut(vectors).zip(from.chunks_exact(vectors)) {
            to.iter_mut().zip(from).enumerate().for_each(|(v, (to, from))| *to = f(from, v));
        }
        return;
    }
    let rows = from.chunks_exact(vectors);
    match &output.rows {
        Rows::From(first) => {
            let first = first + tile.row * columns + tile.column;
            for (r, from) in rows.enumerate() {
                store_row(&mut to[first + r * columns..], from, tile, f);
            }
        }
        Rows::At(starts) => {
            let starts = &starts.as_slice()[tile.row..];
            for (from, start) in rows.zip(starts) {
                store_row(&mut to[*start as usize + tile.column..], from, tile, f);
            }
        }
    }
}

/// Stores one row at the start of `to`. Always inlined: vectors are those of the instruction set.
#[inline(always)]
fn store_row<T: Copy>(to: &mut [T], from: &[Lanes], tile: Tile, f: impl Fn(&Lanes, usize) -> [T; LANES]) {
    if let ([from], true) = (from, tile.spill) {
        *to.first_chunk_mut().expect("there is slack behind the last row") = f(from, 0);
        return;
    }
    let len = if tile.spill { from.len() * LANES } else { tile.valid };
    let (whole, rest) = to[..len].as_chunks_mut::<LANES>();
    whole.iter_mut().zip(from).enumerate().for_each(|(v, (to, from))| *to = f(from, v));
    if !rest.is_empty() {
        let last = f(&from[whole.len()], whole.len());
        rest.iter_mut().zip(last).for_each(|(to, x)| *to = x);
    }
}
