//! Stores and registries on the network.
//!
//! This crate must not know what is stored: releases are folders and files here, and whether to believe them is decided by whoever
//! verifies what came.

#[cfg(any(feature = "objects", feature = "registry"))]
mod cause;
#[cfg(any(feature = "objects", feature = "registry"))]
mod host;
#[cfg(feature = "objects")]
pub mod objects;
#[cfg(feature = "registry")]
pub mod registry;
