//! What halts a release at once: more devices that gave it up, or got other files than were signed, than devices do by themselves.

use plimsoll_profile::Policy;
use plimsoll_stats::anytime::proportion::{self, Events};

use crate::evidence::Evidence;

/// Share of the policy's error rate: what need not wait for the first day of statistical halts has to be surer.
pub(crate) const AT_ONCE: f64 = 0.1;

/// Why a release is halted at once; empty where nothing of that kind is shown.
pub(crate) fn reasons(policy: &Policy, evidence: &Evidence) -> Vec<String> {
    let rules = policy.incidents;
    let arms = [&evidence.treatment, &evidence.holdback];
    let kinds = [
        ("a crash loop", rules.crash_loops, arms.map(|arm| arm.crash_loops)),
        ("files that are not what was signed", rules.signature_failures, arms.map(|arm| arm.signature_failures)),
    ];
    let shown = kinds.into_iter().filter(|(_, fewest, [with, without])| {
        // Where the holdback has as many for its size, it is not the release.
        let besides = without.units == 0 || with.share() > without.share();
        with.events >= *fewest && besides && is_above(*with, rules.base, AT_ONCE * policy.alpha)
    });
    shown
        .map(|(what, fewest, _)| {
            format!(
                "{what}: reported by {fewest} devices with the release or more, and by more than the {} % of them that report one with any \
                 release; that halts at once",
                100.0 * rules.base
            )
        })
        .collect()
}

/// Whether more devices have had an incident than have one with any release. The prior has its mean at ten times that share.
fn is_above(seen: Events, base: f64, alpha: f64) -> bool {
    proportion::interval(seen, [0.5, 0.05 / base], alpha)[0] > base
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_a_beta_are_no_chance_and_three_of_a_large_fleet_are() {
        let of = |events, units| is_above(Events { events, units }, 1e-4, 0.005);
        assert!(of(3, 225) && of(3, 1_000) && !of(3, 25_000) && of(25, 25_000) && !of(1, 225) && !of(0, 0));
    }
}
