//! Policies of rollouts that tests play: what all have, and what each says of its own.

use std::fmt::Write as _;

/// From one share of the general channel to the next, with the days of each.
pub(crate) type Steps<'s> = &'s [(&'s str, u32)];

/// A policy for a fleet and so many enrolled, with a tenth held back; `beta` and `more` are TOML.
pub(crate) fn policy([fleet, enrolled]: [u64; 2], beta: &str, steps: Steps<'_>, more: &str) -> String {
    let mut text = format!(
        "schema = 1\nname = \"play\"\nholdback = \"10%\"\n[plan]\nfleet = {fleet}\nenrolled = {enrolled}\n[beta]\n{beta}\n"
    );
    for (share, days) in steps {
        writeln!(text, "[[stages]]\nshare = \"{share}\"\nsoak = \"{days}d\"").unwrap();
    }
    text + more
}
