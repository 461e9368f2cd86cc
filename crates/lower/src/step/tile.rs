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

/// Each lane by itself. `array::from_fn` would be a call where the function around it is large, without the features of the set.
#[inline(always)]
pub(super) fn each<T: Copy + Default>(f: impl Fn(usize) -> T) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    for (i, lane) in lanes.iter_mut().enumerate() {
        *lane = f(i);
    }
    lanes
}

#[inline(always)]
pub(super) fn lanes<T: Copy>(from: &[T; LANES], f: impl Fn(T) -> f32) -> Lanes {
    let from = *from;
    each(|i| f(from[i]))
}

#[inline(always)]
pub(super) fn bytes(x: &Lanes) -> [u8; LANES] {
    let x = *x;
    each(|i| math::byte(x[i]))
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

/// What is stored of a vector, from its position in its row. No closure: that would be a call where the function around it is large,
/// without the features of the set.
pub(super) trait Made<T> {
    fn of(&self, x: &Lanes, vector: usize) -> [T; LANES];
}

/// The vector itself.
pub(super) struct Same;

impl Made<f32> for Same {
    #[inline(always)]
    fn of(&self, x: &Lanes, _: usize) -> Lanes {
        *x
    }
}

impl Made<u8> for Same {
    #[inline(always)]
    fn of(&self, x: &Lanes, _: usize) -> [u8; LANES] {
        bytes(x)
    }
}

/// `then(x * scale + shift)`.
pub(super) struct Affine<'a, F> {
    /// One for each vector of a row, `apart`, or one for all where that is 0.
    pub(super) scale: &'a [Lanes],
    pub(super) apart: usize,
    pub(super) shift: &'a [Lanes],
    pub(super) then: F,
}

impl<F: Fn(f32) -> f32> Made<f32> for Affine<'_, F> {
    #[inline(always)]
    fn of(&self, x: &Lanes, vector: usize) -> Lanes {
        let (x, scale, shift) = (*x, self.scale[vector * self.apart], self.shift[vector]);
        each(|i| (self.then)(x[i] * scale[i] + shift[i]))
    }
}

impl<F: Fn(f32) -> f32> Made<u8> for Affine<'_, F> {
    #[inline(always)]
    fn of(&self, x: &Lanes, vector: usize) -> [u8; LANES] {
        bytes(&Made::<f32>::of(self, x, vector))
    }
}

/// Stores what is made of each vector of a tile.
#[inline(always)]
pub(super) fn store<T: Copy, M: Made<T>>(
    to: &mut [T],
    from: &[Lanes],
    tile: Tile,
    vectors: usize,
    (output, columns): (&Output, usize),
    made: &M,
) {
    if tile.valid == columns
        && columns == vectors * LANES
        && let Rows::From(first) = output.rows
    {
        let (whole, _) = to[first + tile.row * columns..].as_chunks_mut::<LANES>();
        for (to, from) in whole.chunks_exact_mut(vectors).zip(from.chunks_exact(vectors)) {
            for (v, (to, from)) in to.iter_mut().zip(from).enumerate() {
                *to = made.of(from, v);
            }
        }
        return;
    }
    let rows = from.chunks_exact(vectors);
    match &output.rows {
        Rows::From(first) => {
            let first = first + tile.row * columns + tile.column;
            for (r, from) in rows.enumerate() {
                store_row(&mut to[first + r * columns..], from, tile, made);
            }
        }
        Rows::At(starts) => {
            let starts = &starts.as_slice()[tile.row..];
            for (from, start) in rows.zip(starts) {
                store_row(&mut to[*start as usize + tile.column..], from, tile, made);
            }
        }
    }
}

/// Stores one row at the start of `to`.
#[inline(always)]
fn store_row<T: Copy, M: Made<T>>(to: &mut [T], from: &[Lanes], tile: Tile, made: &M) {
    if let ([from], true) = (from, tile.spill) {
        *to.first_chunk_mut().expect("there is slack behind the last row") = made.of(from, 0);
        return;
    }
    let len = if tile.spill { from.len() * LANES } else { tile.valid };
    let (whole, rest) = to[..len].as_chunks_mut::<LANES>();
    for (v, (to, from)) in whole.iter_mut().zip(from).enumerate() {
        *to = made.of(from, v);
    }
    if !rest.is_empty() {
        let last = made.of(&from[whole.len()], whole.len());
        for (to, x) in rest.iter_mut().zip(last) {
            *to = x;
        }
    }
}
