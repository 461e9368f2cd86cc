//! Families of operators that several passes treat alike.

/// Reductions over some axes, which they keep with length 1 or drop.
pub(crate) const REDUCTIONS: [&str; 12] = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "ArgMax",
    "ArgMin",
];
