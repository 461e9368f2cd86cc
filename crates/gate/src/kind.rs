//! What budgets hold for: an executor, and a kind of machine.

use plimsoll_profile::{Budgets, Profile, Spec};
use plimsoll_record::Machine;

/// Budgets with what their figures must come from.
#[derive(Debug, Clone)]
pub struct Subject<'s> {
    /// Name in reports.
    pub name: &'s str,
    /// Executor that figures must come from; `None` for any.
    pub executor: Option<&'s str>,
    /// Extensions that a machine of the kind has.
    pub isa: &'s [String],
    /// Pattern of the CPU's name; `*` stands for anything.
    pub cpu: Option<&'s str>,
    /// Seconds from one inference to the next, for the real-time factor.
    pub hop: Option<f64>,
    /// The budgets.
    pub budgets: &'s Budgets,
}

impl<'s> Subject<'s> {
    /// A profile.
    pub fn profile(profile: &'s Profile) -> Self {
        Self {
            name: &profile.name,
            executor: profile.executor.map(plimsoll_profile::ExecutorName::name),
            isa: &profile.hardware.isa,
            cpu: profile.hardware.cpu.as_deref(),
            hop: profile.stream.map(|s| s.hop.0),
            budgets: &profile.budgets,
        }
    }

    /// Budgets of a spec, which hold in any executor, on whatever machine measures.
    pub fn spec(spec: &'s Spec, budgets: &'s Budgets) -> Self {
        Self { name: &spec.name.value, executor: None, isa: &[], cpu: None, hop: None, budgets }
    }

    /// Why a machine is not of this kind; `None` where it is.
    pub(crate) fn stranger(&self, machine: &Machine) -> Option<String> {
        let absent: Vec<&str> = self.isa.iter().filter(|e| !machine.isa.contains(e)).map(String::as_str).collect();
        if !absent.is_empty() {
            return Some(format!("it was taken on `{}`, which has no {}", machine.cpu, absent.join(", ")));
        }
        let pattern = self.cpu?;
        let same = matches(&pattern.to_lowercase(), &machine.cpu.to_lowercase());
        (!same).then(|| format!("it was taken on `{}`, which is no `{pattern}`", machine.cpu))
    }
}

/// Whether a text fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    // Without a star, nothing may follow.
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    fn check(pattern: &str, text: &str, fits: bool) {
        assert_eq!(super::matches(pattern, text), fits, "{pattern} {text}");
    }

    #[test]
    fn patterns_fit_what_they_say() {
        check("abc", "abc", true);
        check("abc", "abcd", false);
        check("*zero 2*", "raspberry pi zero 2 w rev 1.0", true);
        check("*zero 2", "raspberry pi zero 2 w", false);
        check("a*a", "a", false);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxcyyb", false);
        check("*", "", true);
        check("", "x", false);
    }
}
