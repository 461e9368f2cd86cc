//! From beta to everybody.
