//! The reference device agent.
