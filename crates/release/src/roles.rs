//! Who may say what in a repository, as a table. Delegating a new role needs the offline keys, so all of them are there from
//! the first day.

use plimsoll_trust::tuf::RoleSpec;

/// The channel that a release enters first.
pub const BETA: &str = "beta";
/// The channel for everybody.
pub const GENERAL: &str = "general";
/// The channels there are.
pub(crate) const CHANNELS: &[&str] = &[BETA, GENERAL];
/// The role that lists releases.
pub(crate) const RELEASES: &str = "releases";
/// The role that halts channels.
pub(crate) const HALT: &str = "halt";
/// The key that signs payloads and attestations.
pub(crate) const SIGNING: &str = "signing";

/// The roles of a repository. Halting takes any one key of those who may advance.
pub const ROLES: &[RoleSpec] = &[
    RoleSpec { name: "root", keys: &["root-1", "root-2", "root-3"], threshold: 2, days: 365, paths: &[] },
    RoleSpec { name: "targets", keys: &["targets-1", "targets-2", "targets-3"], threshold: 2, days: 365, paths: &[] },
    RoleSpec { name: "snapshot", keys: &["snapshot"], threshold: 1, days: 7, paths: &[] },
    RoleSpec { name: "timestamp", keys: &["timestamp"], threshold: 1, days: 1, paths: &[] },
    RoleSpec {
        name: RELEASES,
        keys: &["releases-ci", "releases-engineer"],
        threshold: 2,
        days: 183,
        paths: &["release.*"],
    },
    RoleSpec { name: BETA, keys: &["beta-1", "beta-2"], threshold: 1, days: 14, paths: &["channel.beta.json"] },
    RoleSpec {
        name: GENERAL,
        keys: &["general-1", "general-2", "general-3"],
        threshold: 2,
        days: 14,
        paths: &["channel.general.json"],
    },
    RoleSpec {
        name: HALT,
        keys: &["beta-1", "beta-2", "general-1", "general-2", "general-3"],
        threshold: 1,
        days: 30,
        paths: &["halt.*"],
    },
];

/// Names of all keys.
pub(crate) fn key_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = ROLES.iter().flat_map(|r| r.keys).copied().chain([SIGNING]).collect();
    names.sort_unstable();
    names.dedup();
    names
}
