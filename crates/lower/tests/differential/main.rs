//! Lowered models against tract's own operators, over random models and on every instruction set of the machine.
//!
//! `PROPTEST_CASES=20000` makes the search longer.

mod float;
mod maker;
mod quantized;
