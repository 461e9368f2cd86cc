//! The Update Framework: who may say what, for how long, and how a client notices that it is kept in the dark.
//!
//! [`Editor`] changes a repository, [`Client`] reads one as a device does. Schemas, signatures and delegated paths are tough's. The
//! client is our own, since tough's loads every hash bin; so is the editor, since it must touch no role whose keys stay offline,
//! and write in an order that is valid at every instant. What the targets mean is none of this module's business: roles and their paths come in as [`RoleSpec`]s.

mod chain;
mod client;
mod create;
mod editor;
mod error;
mod keys;
mod sign;
mod store;
#[cfg(test)]
mod tests;

pub use client::{Authority, Client, TargetInfo};
pub use create::{Creation, create};
pub use editor::Editor;
pub use error::TufError;
pub use sign::key_id;
pub use store::{FolderSource, FolderStore, Lock, Opened, Source, Store, StoreError};

/// One role: whose signatures it takes, and how long they last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleSpec {
    /// `root`, `targets`, `snapshot`, `timestamp`, or the name of a delegated role.
    pub name: &'static str,
    /// Names of its keys.
    pub keys: &'static [&'static str],
    /// How many of them must sign.
    pub threshold: u64,
    /// Days until clients refuse what it signed.
    pub days: u32,
    /// Target names that a delegated role may speak for: literal, or with `*`. Flat names only, since clients disagree about
    /// whether `*` crosses `/`.
    pub paths: &'static [&'static str],
    /// Hash bins that a delegated role hands its targets on to, under its own keys: a power of two up to 256, or 0 for none.
    pub bins: u16,
}

/// The roles that every repository has.
pub const TOP_ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

const SPEC_VERSION: &str = "1.0.0";
const METADATA: &str = "metadata";
const TARGETS: &str = "targets";
const TIMESTAMP: &str = "metadata/timestamp.json";

/// A time as documents write it: UTC, whole seconds, RFC 3339.
pub fn utc(now: std::time::SystemTime) -> Result<String, TufError> {
    Ok(sign::instant(now)?.to_string())
}

/// Whether a target name is one that all clients find: no folders, nothing that a shell or a URL would read otherwise.
pub fn is_flat_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 180
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}
