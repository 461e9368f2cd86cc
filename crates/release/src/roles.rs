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
/// The role that anchors the audit log.
pub(crate) const AUDIT: &str = "audit";
/// Its target.
pub(crate) const AUDIT_TARGET: &str = "audit.json";
/// The key that signs payloads and attestations.
pub(crate) const SIGNING: &str = "signing";

/// The roles of a repository. Halting takes any one key of those who may advance.
pub const ROLES: &[RoleSpec] = &[
    RoleSpec { name: "root", keys: &["root-1", "root-2", "root-3"], threshold: 2, days: 365, paths: &[], bins: 0 },
    RoleSpec {
        name: "targets",
        keys: &["targets-1", "targets-2", "targets-3"],
        threshold: 2,
        days: 365,
        paths: &[],
        bins: 0,
    },
    RoleSpec { name: "snapshot", keys: &["snapshot"], threshold: 1, days: 7, paths: &[], bins: 0 },
    RoleSpec { name: "timestamp", keys: &["timestamp"], threshold: 1, days: 1, paths: &[], bins: 0 },
    RoleSpec {
        name: RELEASES,
        keys: &["releases-ci", "releases-engineer"],
        threshold: 2,
        days: 183,
        paths: &["release.*"],
        // One manifest target a release; what a client fetches is one bin.
        bins: 16,
    },
    RoleSpec {
        name: BETA,
        keys: &["beta-1", "beta-2"],
        threshold: 1,
        days: 14,
        paths: &["channel.beta.json"],
        bins: 0,
    },
    RoleSpec {
        name: GENERAL,
        keys: &["general-1", "general-2", "general-3"],
        threshold: 2,
        days: 14,
        paths: &["channel.general.json"],
        bins: 0,
    },
    RoleSpec {
        name: HALT,
        keys: &["beta-1", "beta-2", "general-1", "general-2", "general-3"],
        threshold: 1,
        days: 30,
        paths: &["halt.*"],
        bins: 0,
    },
    // Whoever may change anything says so.
    RoleSpec {
        name: AUDIT,
        keys: &[
            "beta-1",
            "beta-2",
            "general-1",
            "general-2",
            "general-3",
            "releases-ci",
            "releases-engineer",
            "root-1",
            "root-2",
            "root-3",
            "targets-1",
            "targets-2",
            "targets-3",
        ],
        threshold: 1,
        days: 183,
        paths: &[AUDIT_TARGET],
        bins: 0,
    },
];

/// Names of all keys.
pub(crate) fn key_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = ROLES.iter().flat_map(|r| r.keys).copied().chain([SIGNING]).collect();
    names.sort_unstable();
    names.dedup();
    names
}
