//! Waivers: somebody answers for it that a named budget may be violated until a day.

use crate::{
    day::Day,
    endpoint::Endpoint,
    metric::Metric,
    reader::{Table, unknown},
    source::{Span, Spanned},
};

/// One waiver, `[[waiver]]` in a release spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The metric whose budgets are waived, or the figure of an endpoint.
    pub metric: Spanned<String>,
    /// The profile whose budget it is; `None` for the spec and every profile.
    pub profile: Option<String>,
    /// The last day on which it holds.
    pub until: Day,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub signed_off_by: String,
    /// Where it was written.
    pub span: Span,
}

/// Reads `[[waiver]]`.
pub(crate) fn read(table: &Table<'_>, endpoints: &[Endpoint]) -> Vec<Waiver> {
    table.tables("waiver").iter().filter_map(|t| one(t, endpoints)).collect()
}

fn one(table: &Table<'_>, endpoints: &[Endpoint]) -> Option<Waiver> {
    let metric = table.need::<String>("metric", "the budget that is waived, such as \"artifact-size\"");
    let profile = table.get::<String>("profile").map(|p| p.value);
    let until = table.need::<Day>("until", "the last day on which it holds, such as \"2026-11-30\"");
    let reason = table.need::<String>("reason", "why the budget may be violated for a while").map(|r| r.value);
    let signed_off_by = table.need::<String>("signed-off-by", "who answers for it").map(|s| s.value);
    table.finish();
    let metric = metric?;
    let mut known: Vec<String> = Metric::ALL.iter().map(|m| m.name().to_owned()).collect();
    known.extend(endpoints.iter().flat_map(|e| e.limits.iter().map(|l| e.figure(l.statistic))));
    if !known.contains(&metric.value) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        table.report(unknown(&metric.value, metric.span, "metric", &known));
        return None;
    }
    Some(Waiver {
        metric,
        profile,
        until: until?.value,
        reason: reason?,
        signed_off_by: signed_off_by?,
        span: table.span(),
    })
}
