//! Change control, `[change]` in a release spec: which ticket asked for the release, which requirements and risks it touches, and
//! which budgets stand for them.

use crate::{
    endpoint::Endpoint,
    error::Problem,
    metric::Metric,
    reader::{Table, unknown},
    source::Spanned,
};

/// A requirement with the risks that it controls and the budgets that show that it is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSpec {
    /// Id of the requirement, one of the change's.
    pub requirement: String,
    /// Ids of risks, each one of the change's.
    pub risks: Vec<String>,
    /// Metrics whose budgets are the gate, or figures of endpoints.
    pub budgets: Vec<String>,
}

/// Why there is a release, by the ids of whoever keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The ticket.
    pub ticket: String,
    /// Whether the change is one that a predetermined change control plan covers.
    pub in_plan: bool,
    /// Ids of requirements.
    pub requirements: Vec<String>,
    /// Ids of risks.
    pub risks: Vec<String>,
    /// Anomalies that are known and shipped, in words.
    pub anomalies: Vec<String>,
    /// What belongs together; a requirement that none names is traced to every risk and every budget.
    pub trace: Vec<TraceSpec>,
}

/// Reads `[change]`.
pub(crate) fn read(table: &Table<'_>, endpoints: &[Endpoint]) -> Option<Change> {
    let t = table.table("change")?;
    let ticket = t.need::<String>("ticket", "the ticket that asked for this release, such as \"SW-1432\"");
    let in_plan = t.need::<bool>("in-plan", "whether the change control plan covers it: true or false");
    let requirements = ids(&t, "requirements");
    let risks = ids(&t, "risks");
    let anomalies = t.list::<String>("anomalies").map(|l| l.value).unwrap_or_default();
    let mut budgets: Vec<String> = Metric::ALL.iter().map(|m| m.name().to_owned()).collect();
    budgets.extend(endpoints.iter().flat_map(|e| e.limits.iter().map(|l| e.figure(l.statistic))));
    let known = Known { requirements: &requirements, risks: &risks, budgets: &budgets };
    let trace: Vec<TraceSpec> = t.tables("trace").iter().filter_map(|t| one(t, &known)).collect();
    t.finish();
    Some(Change {
        ticket: ticket?.value,
        in_plan: in_plan?.value,
        requirements,
        risks,
        anomalies: anomalies.into_iter().map(|a| a.value).collect(),
        trace,
    })
}

struct Known<'k> {
    requirements: &'k [String],
    risks: &'k [String],
    budgets: &'k [String],
}

fn ids(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let ids = table.list::<String>(key).map(|l| l.value).unwrap_or_default();
    for (i, id) in ids.iter().enumerate() {
        if ids.iter().take(i).any(|other| other.value == id.value) {
            table.report(Problem::at(id.span, "this id is there twice").help("name each once"));
        }
    }
    ids.into_iter().map(|id| id.value).collect()
}

fn one(table: &Table<'_>, known: &Known<'_>) -> Option<TraceSpec> {
    let requirement = table.need::<String>("requirement", "the id of a requirement of this change");
    let listed = |key| table.list::<String>(key).map(|l| l.value).unwrap_or_default();
    let (risks, budgets) = (listed("risks"), listed("budgets"));
    table.finish();
    let requirement = requirement?;
    let mut holds = true;
    let mut check = |ids: &[&Spanned<String>], what: &str, known: &[String]| {
        for id in ids.iter().filter(|id| !known.contains(&id.value)) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            table.report(unknown(&id.value, id.span, what, &known));
            holds = false;
        }
    };
    check(&[&requirement], "requirement", known.requirements);
    check(&risks.iter().collect::<Vec<_>>(), "risk", known.risks);
    check(&budgets.iter().collect::<Vec<_>>(), "metric", known.budgets);
    let values = |ids: Vec<Spanned<String>>| ids.into_iter().map(|id| id.value).collect();
    holds.then(|| TraceSpec { requirement: requirement.value, risks: values(risks), budgets: values(budgets) })
}
