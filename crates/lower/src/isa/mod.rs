//! Instruction sets: which there are, which one runs, and the two inner products that each of them writes by hand.
//!
//! Everything else that a step does is plain Rust which the compiler vectorizes once for every instruction set: each kind of step, and
//! each width of a tile, is a function that has the set's features ([`Kernels::alone`]). `unsafe` is in these modules alone.

/// Implements [`Kernels::alone`] with a set's features.
#[cfg(target_arch = "x86_64")]
macro_rules! compiled {
    ($features:literal) => {
        #[inline(always)]
        fn alone<W: $crate::step::Work>(work: W) {
            #[inline(never)]
            #[target_feature(enable = $features)]
            fn compiled<W: $crate::step::Work>(work: W) {
                work.run();
            }
            // SAFETY: only `run` of this module gets here, after it has asked for the features.
            unsafe { compiled(work) }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod ending;
mod portable;
mod starts;

use std::marker::PhantomData;

use crate::{
    program::{Env, Program},
    step::{BlockLanes, Compute, Pointwise, Tile, Work, Workspace},
};
pub(crate) use ending::{Back, Codes, Elements, Ending, Memory, Scale, Then};
pub(crate) use starts::{SomeStarts, Starts};

/// Most pixels (rows) that kernels take at once; results of the last ones are written for as many.
pub(crate) const TILE: usize = 8;
/// Output channels of one vector group.
pub(crate) const LANES: usize = 16;
/// Most vector groups of a block.
pub(crate) const MAX_GROUPS: usize = 4;
/// Channels of a quad, and units (an f32, or four bytes) of a window that are multiplied together with it.
pub(crate) const QUAD: usize = 4;

/// An instruction set that steps can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// What every machine has.
    Portable,
    /// AVX2 with FMA; int8 products are computed in f32, where they are exact.
    Avx2,
    /// AVX2 with the 256-bit form of VNNI.
    AvxVnni,
    /// AVX-512 with VNNI.
    Avx512Vnni,
}

/// Environment variable that forces an instruction set: `portable`, `avx2`, `avx-vnni` or `avx512-vnni`. One that the machine lacks
/// is not taken.
pub const ISA_VARIABLE: &str = "PLIMSOLL_ISA";

impl Isa {
    /// The best set of this machine, or the one that [`ISA_VARIABLE`] names if the machine has it.
    pub fn detect() -> Self {
        let best = *Self::available().last().expect("there is always the portable one");
        let Ok(asked) = std::env::var(ISA_VARIABLE) else { return best };
        Self::available().into_iter().find(|isa| isa.name() == asked).unwrap_or(best)
    }

    /// All sets that this machine has, the best last.
    pub fn available() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            all.extend(avx2.then_some(Self::Avx2));
            all.extend((avx2 && is_x86_feature_detected!("avxvnni")).then_some(Self::AvxVnni));
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            all.extend((avx2 && avx512 && is_x86_feature_detected!("avx512vnni")).then_some(Self::Avx512Vnni));
        }
        all
    }

    /// Its name, as in [`ISA_VARIABLE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512Vnni => "avx512-vnni",
        }
    }

    /// What the environment of a process has to say so that a forced instruction set binds tract's own kernels too, as on a machine that
    /// has no other: a variable and its value. `None` where no set is forced, tract is told already, or there is nothing to say. tract
    /// reads it once, before the first model.
    pub fn confinement() -> Option<(&'static str, &'static str)> {
        const TRACT_VARIABLE: &str = "TRACT_CPU_ISA";
        let forced = std::env::var_os(ISA_VARIABLE).is_some() && std::env::var_os(TRACT_VARIABLE).is_none();
        let lacking = match Self::detect() {
            _ if !forced || !cfg!(target_arch = "x86_64") => return None,
            Self::Portable => "-avx512f,-avx512vnni,-avx512fp16,-amx-int8,-amx-bf16,-avxvnni,-avx2,-fma,-f16c,-avx",
            Self::Avx2 => "-avx512f,-avx512vnni,-avx512fp16,-amx-int8,-amx-bf16,-avxvnni",
            Self::AvxVnni => "-avx512f,-avx512vnni,-avx512fp16,-amx-int8,-amx-bf16",
            Self::Avx512Vnni => return None,
        };
        Some((TRACT_VARIABLE, lacking))
    }

    /// Whether it multiplies u8 by i8 faster than f32 by f32.
    pub(crate) fn has_int8(self) -> bool {
        matches!(self, Self::AvxVnni | Self::Avx512Vnni)
    }

    /// Whether its f32 kernels are faster than those that tract has for the same instructions: for other processors than x86 tract has
    /// kernels in assembler, and the portable ones were never held against these.
    pub(crate) fn has_f32(self) -> bool {
        self != Self::Portable || cfg!(target_arch = "x86_64")
    }

    /// Whether that holds for products of any width: with eight lanes tract's own are as good where many channels come together.
    pub(crate) fn has_wide_f32(self) -> bool {
        self.has_f32() && matches!(self, Self::Portable | Self::Avx512Vnni)
    }

    /// The numbers of quads of channels that its kernels take faster than whole vector groups, of f32 or of bytes.
    pub(crate) fn quads(self, bytes: bool) -> &'static [usize] {
        match (self, bytes) {
            (Self::Avx512Vnni, _) => &[1, 2, 3, 5, 6],
            (Self::Avx2 | Self::AvxVnni, false) => &[1, 2, 3],
            _ => &[],
        }
    }

    /// Whether its kernels take vector groups one by one: its registers hold the sums of no more.
    pub(crate) fn takes_single_groups(self) -> bool {
        self != Self::Avx512Vnni
    }

    /// Runs a program. The program must have been compiled for this set.
    pub(crate) fn run(self, program: &Program, env: &mut Env<'_>) {
        match self {
            Self::Portable => portable::run(program, env),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::run(program, env),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => avxvnni::run(program, env),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => avx512::run(program, env),
            #[cfg(not(target_arch = "x86_64"))]
            _ => portable::run(program, env),
        }
    }
}

/// A piece of the reduced axis that is contiguous in memory for every pixel: elements `offset .. offset + len` from its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) offset: usize,
    pub(crate) len: usize,
}

/// Inner products of some pixels: the window of each starts in `x` at `offset + base[p]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dot<'a, X, W> {
    pub(crate) x: &'a [X],
    pub(crate) base: SomeStarts<'a>,
    pub(crate) offset: usize,
    pub(crate) runs: &'a [Run],
    /// By vector groups `[units][groups × LANES]`, where a unit is one f32, or four int8 in a row. By quads: of each run
    /// `[units / QUAD, rounded up][quads × QUAD][QUAD units]`, with zeros where the run is over.
    pub(crate) weights: &'a [W],
}

impl<X, W> Dot<'_, X, W> {
    /// Elements of the reduced axis.
    #[inline(always)]
    fn depth(&self) -> usize {
        self.runs.iter().map(|r| r.len).sum()
    }

    /// Panics unless every element that `width` channels touch is there, and room for the results of whole tiles of so many pixels:
    /// what the kernels' pointers rest on.
    #[inline(always)]
    fn check(&self, width: usize, tile: usize, out: &[f32]) {
        self.check_weights(width);
        assert!(self.base.len().next_multiple_of(tile) * width <= out.len(), "results have no room");
    }

    /// The same without the results.
    #[inline(always)]
    fn check_weights(&self, width: usize) {
        self.check_windows();
        assert!(self.depth() * width <= self.weights.len(), "weights are missing");
    }

    /// Panics unless runs are of whole fours.
    #[inline(always)]
    fn check_fours(&self) {
        assert!(self.runs.iter().all(|r| r.len % 4 == 0), "runs of bytes are of whole fours");
    }

    #[inline(always)]
    fn check_windows(&self) {
        let reach = self.runs.iter().map(|r| r.offset + r.len).max().unwrap_or(0);
        assert!(self.offset + self.base.furthest() + reach <= self.x.len(), "a window ends outside its input");
    }

    /// Where the windows of pixels `first .. first + P` start; behind the last pixel it is taken again.
    #[inline(always)]
    fn starts<const P: usize>(&self, first: usize) -> [*const X; P] {
        self.base.tile(first).map(|base| self.x.as_ptr().wrapping_add(self.offset + base as usize))
    }

    /// The same where channels go by so many quads.
    #[inline(always)]
    fn check_quads(&self, quads: usize) {
        self.check_windows();
        let width = quads * QUAD;
        assert!(size_of::<W>() == size_of::<X>());
        let vectors: usize = self.runs.iter().map(|r| (r.len * size_of::<X>()).div_ceil(16)).sum();
        assert!(vectors * width * 16 <= size_of_val(self.weights), "weights are missing");
    }
}

/// Channels that go by quads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quads {
    /// Quads of channels: one of [`Isa::quads`].
    pub(crate) quads: usize,
    /// Elements from one pixel's results to the next's.
    pub(crate) width: usize,
}

impl Quads {
    /// Panics unless there is room for the results of so many pixels.
    #[inline(always)]
    fn check(self, pixels: usize, out: &[f32]) {
        assert!(self.quads * QUAD <= self.width, "results are closer than they are wide");
        assert!(pixels * self.width <= out.len(), "results have no room");
    }
}

/// What an instruction set compiles for itself: steps, and the inner products. `out` is `[pixels][groups × LANES]`, with room for whole
/// tiles of pixels.
pub(crate) trait Kernels: Sized {
    /// Runs work as a function of its own with the set's features, so that the compiler looks at it by itself and takes it in nowhere.
    fn alone<W: Work>(work: W);
    /// Runs a step.
    #[inline(always)]
    fn step<S: Compute>(step: &S, env: &mut Env<'_>) {
        Self::alone(Running { step, env, set: PhantomData::<Self> });
    }
    /// Runs an element-wise program on one tile, as wide as `W` says, or as the tile says where that is 0.
    #[inline(always)]
    fn block<const W: usize>(program: &Pointwise, tile: Tile, work: &mut Workspace<'_>) {
        Self::alone(Blocked::<W> { program, tile, work });
    }
    /// f32 by f32, channels by quads; of each pixel's `width` elements of `out` the first `quads × QUAD` are written.
    #[inline(always)]
    fn quads_f32(dot: Dot<'_, f32, f32>, tile: Quads, out: &mut [f32]) {
        portable::quads_f32(dot, tile, out);
    }
    /// As [`Kernels::quads_f32`], u8 by i8, summed in i32; run lengths are multiples of four.
    #[inline(always)]
    fn quads_u8i8(dot: Dot<'_, u8, i8>, tile: Quads, out: &mut [f32]) {
        portable::quads_u8i8(dot, tile, out);
    }
    /// Whether the set takes sums to results in the processor's registers.
    const ENDS: bool = false;
    /// f32 by f32, to results at once, where [`Kernels::ENDS`].
    #[inline(always)]
    fn ended_f32(_: Dot<'_, f32, f32>, _: BlockLanes, _: Ending<'_>, _: Memory<'_>) {
        unreachable!("the set has no endings");
    }
    /// As [`Kernels::ended_f32`], u8 by i8, summed in i32; run lengths are multiples of four.
    #[inline(always)]
    fn ended_u8i8(_: Dot<'_, u8, i8>, _: BlockLanes, _: Ending<'_>, _: Memory<'_>) {
        unreachable!("the set has no endings");
    }
    /// f32 by f32.
    fn dot_f32<const G: usize>(dot: Dot<'_, f32, f32>, out: &mut [f32]);
    /// u8 by i8, summed in i32; run lengths are multiples of four.
    fn dot_u8i8<const G: usize>(dot: Dot<'_, u8, i8>, out: &mut [f32]);
}

/// A step on an instruction set.
struct Running<'r, 'e, S, K> {
    step: &'r S,
    env: &'r mut Env<'e>,
    set: PhantomData<K>,
}

impl<S: Compute, K: Kernels> Work for Running<'_, '_, S, K> {
    #[inline(always)]
    fn run(self) {
        self.step.run::<K>(self.env);
    }
}

/// An element-wise program on one tile of this width.
struct Blocked<'r, 'w, const W: usize> {
    program: &'r Pointwise,
    tile: Tile,
    work: &'r mut Workspace<'w>,
}

impl<const W: usize> Work for Blocked<'_, '_, W> {
    #[inline(always)]
    fn run(self) {
        self.program.block_of::<W>(self.tile, self.work);
    }
}

#[cfg(test)]
mod tests;
