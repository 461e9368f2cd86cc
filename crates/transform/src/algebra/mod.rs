//! The little linear algebra that passes need, on top of faer. Knows numbers, not layers.

pub(crate) mod least_squares;
mod moments;
pub(crate) mod rectified;
pub(crate) mod softmax;

pub(crate) use self::moments::{Columns, Factor, Moments, Split};
