//! Repairs on synthetic layers.
