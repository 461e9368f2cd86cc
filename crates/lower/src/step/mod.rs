//! The steps of a program. Each is plain data made by [`crate::compile`] and a `run` that every instruction set compiles for itself.

mod conv;
mod copy;
mod depthwise;
mod epilogue;
mod fill;
mod math;
mod micro;
mod output;
mod pointwise;
mod pool;
mod reduce;
mod tile;

pub(crate) use conv::{Block, BlockLanes, Conv, Weights};
pub(crate) use copy::Copy;
pub(crate) use depthwise::Depthwise;
pub(crate) use epilogue::Epilogue;
pub(crate) use fill::Fill;
pub(crate) use micro::{Arg, BinaryFn, Micro, Operand, Pattern, UnaryFn};
pub(crate) use output::{Output, Rows};
pub(crate) use pointwise::{
    BLOCK, MAX_OPERANDS, MAX_REGISTERS, Pointwise, Registers, Workspace, padded_row, registers,
};
pub(crate) use pool::{Pool, PoolFn, Window};
pub(crate) use reduce::{Reduce, ReduceFn};
pub(crate) use tile::{Lanes, Tile};

use crate::{isa::Kernels, program::Env};

/// Work that is a function of its own. Always inlined: [`Kernels::alone`] has the features of the instruction set.
pub(crate) trait Work {
    fn run(self);
}

/// A step at work. Always inlined: [`Kernels::step`] has the features of the instruction set.
pub(crate) trait Compute {
    fn run<K: Kernels>(&self, env: &mut Env<'_>);
}
