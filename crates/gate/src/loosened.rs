//! Limits that a change loosens: they are judged as they were, too.

use std::mem::discriminant;

use plimsoll_profile::{Bound, Budgets, Level, Limit, Metric, Profile, Server, ShiftLimit, Spec};
use plimsoll_record::{BudgetSource, Loosened, Row};

use crate::judge::place;

/// Budgets of a spec and its profiles.
#[derive(Debug, Clone, Copy)]
pub struct Set<'s> {
    /// The spec.
    pub spec: &'s Spec,
    /// Its profiles.
    pub profiles: &'s [Profile],
}

/// Of the rows of the budgets before, those whose limits are looser now, each with what has become of its limit.
pub fn loosened(before: Set<'_>, rows: Vec<Row>, now: Set<'_>) -> Vec<Row> {
    let looser = before.limits(now);
    let one = |row: Row| {
        let same = |l: &&Looser| l.source == row.source && l.metric == row.metric && l.profile == row.profile;
        let loosened = looser.iter().find(same)?.loosened.clone();
        Some(Row { loosened: Some(loosened), ..row })
    };
    rows.into_iter().filter_map(one).collect()
}

/// A limit that is looser now.
struct Looser {
    profile: String,
    metric: String,
    source: BudgetSource,
    loosened: Loosened,
}

impl Set<'_> {
    fn limits(self, now: Set<'_>) -> Vec<Looser> {
        let spec = self.spec.name.value.as_str();
        let mut found = compare(spec, &self.spec.margins, Some(&now.spec.margins));
        found.extend(compare(spec, &self.spec.budgets, Some(&now.spec.budgets)));
        for profile in self.profiles {
            let after = now.profiles.iter().find(|p| p.name == profile.name);
            found.extend(compare(&profile.name, &profile.budgets, after.map(|p| &p.budgets)));
            found.extend(after.iter().flat_map(|after| facts(profile, after)));
        }
        found.extend(self.endpoints(now.spec));
        found
    }

    fn endpoints(self, now: &Spec) -> Vec<Looser> {
        let mut found = Vec::new();
        for endpoint in &self.spec.endpoints {
            let after = now.endpoints.iter().find(|e| e.name.value == endpoint.name.value);
            for limit in &endpoint.limits {
                let same = after.and_then(|e| e.limits.iter().find(|l| l.statistic == limit.statistic));
                let held = |l: &ShiftLimit| (l.limit.bound, l.level);
                let now = same.map(|l| (held(l), l.limit.words(), place(&now.source, &l.limit)));
                if let Some(loosened) = became(held(limit), now) {
                    let (profile, metric) = (self.spec.name.value.clone(), endpoint.figure(limit.statistic));
                    found.push(Looser { profile, metric, source: place(&self.spec.source, &limit.limit), loosened });
                }
            }
        }
        found
    }
}

fn compare(profile: &str, before: &Budgets, after: Option<&Budgets>) -> Vec<Looser> {
    let mut found = Vec::new();
    for budget in &before.budgets {
        let same = after.and_then(|a| a.get(budget.metric));
        for limit in &budget.limits {
            let alike = |l: &&Limit| discriminant(&l.bound) == discriminant(&limit.bound);
            let now = after.zip(same).and_then(|(a, b)| {
                let limit = b.limits.iter().find(alike)?;
                Some(((b.widened(limit), b.level), b.words(limit), place(&a.source, limit)))
            });
            if let Some(loosened) = became((budget.widened(limit), budget.level), now) {
                let (profile, metric) = (profile.to_owned(), budget.metric.name().to_owned());
                found.push(Looser { profile, metric, source: place(&before.source, limit), loosened });
            }
        }
    }
    found
}

/// What holds of a limit, its tolerance included.
type Held = (Bound, Level);

/// What has become of a limit, if it is looser; of the one that is there now, its words and its place too.
fn became((before, was): Held, after: Option<(Held, String, BudgetSource)>) -> Option<Loosened> {
    let Some(((after, is), words, place)) = after else {
        return Some(Loosened { became: "no longer limited".into(), now_at: None });
    };
    let looser = match (before, after) {
        (Bound::Max(a), Bound::Max(b)) | (Bound::MaxIncrease(a), Bound::MaxIncrease(b)) => b > a,
        (Bound::Min(a), Bound::Min(b)) => b < a,
        _ => true,
    };
    let warns = was == Level::Error && is == Level::Warn;
    let became = format!("now {words}{}", if warns { ", and only warns" } else { "" });
    (looser || warns).then_some(Loosened { became, now_at: Some(place) })
}

/// Limits that hold for less because the profile's facts are others: what is estimated from them, and what is told by the machine.
fn facts(before: &Profile, after: &Profile) -> Vec<Looser> {
    let mut found = Vec::new();
    let hop = |p: &Profile| p.stream.map(|s| s.hop.0);
    // Today's instances are a limit of their own.
    let server = |p: &Profile| p.server.clone().map(|s| Server { instances: None, ..s });
    let facts = |p: &Profile| (p.hardware.clone(), p.stream, p.power, server(p));
    for budget in &before.budgets.budgets {
        let other = match budget.metric {
            Metric::RealTimeFactor => hop(before) < hop(after),
            metric if metric.needs_profile() => facts(before) != facts(after),
            _ => false,
        };
        for limit in budget.limits.iter().filter(|_| other) {
            found.push(Looser {
                profile: before.name.clone(),
                metric: budget.metric.name().into(),
                source: place(&before.budgets.source, limit),
                loosened: Loosened { became: "judged by other facts now".into(), now_at: None },
            });
        }
    }
    found
}
