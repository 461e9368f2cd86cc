//! Waivers of a spec, put to the rows that they name.

use plimsoll_profile::{Day, Spec};
use plimsoll_record::{Row, Verdict, Waived};

/// Marks the rows that a spec's waivers name, and says which waivers do nothing.
pub fn waive(rows: &mut [Row], spec: &Spec, today: Day) -> Vec<String> {
    let mut remarks = Vec::new();
    for waiver in &spec.waivers {
        let metric = waiver.metric.value.as_str();
        let line = spec.source.place(waiver.metric.span).line as u64;
        let at = format!("the waiver of `{metric}` at {}:{line}", spec.source.path().display());
        let named =
            |r: &&mut Row| r.metric == metric && waiver.profile.as_ref().is_none_or(|profile| *profile == r.profile);
        let (mut found, mut needed) = (false, false);
        for row in rows.iter_mut().filter(named) {
            found = true;
            needed |= !matches!(row.verdict, Verdict::Pass | Verdict::Skipped(_));
            // Of several, one in force goes first.
            if row.waiver.as_ref().is_some_and(|w| w.in_force) {
                continue;
            }
            row.waiver = Some(Waived {
                until: waiver.until.to_string(),
                in_force: today <= waiver.until,
                reason: waiver.reason.clone(),
                signed_off_by: waiver.signed_off_by.clone(),
                line,
            });
        }
        if !found {
            let whose = waiver.profile.as_ref().map(|p| format!(" of {p}")).unwrap_or_default();
            remarks.push(format!("{at} names no budget{whose}: remove it, or name one that is set"));
        } else if today > waiver.until {
            remarks.push(format!("{at} expired on {}: it waives nothing", waiver.until));
        } else if !needed {
            remarks.push(format!("{at} is not needed: what it names is kept"));
        }
    }
    remarks
}
