//! The operator sets that schemes need.

pub(super) use crate::opset::require;
