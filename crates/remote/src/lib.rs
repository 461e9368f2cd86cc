//! Stores and registries on the network.
