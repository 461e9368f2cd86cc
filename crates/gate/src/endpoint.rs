//! Endpoints of a spec against their limits, and what is told of the groups that shift most.

use plimsoll_profile::{Endpoint, ShiftLimit, ShiftStatistic, Spec};
use plimsoll_record::{EndpointShift, Figure, Row, Verdict};

use crate::{
    Evidence, Scope,
    judge::{below, place},
    load,
};

/// One row for each limit. Figures of endpoints are those of this run: what was taken elsewhere does not hold the definition that
/// it was taken by.
pub(crate) fn rows(spec: &Spec, evidence: &Evidence<'_>, scope: Scope) -> Vec<Row> {
    let of = |endpoint| move |limit| row(spec, endpoint, limit, evidence, scope);
    spec.endpoints.iter().flat_map(|e| e.limits.iter().map(of(e))).collect()
}

fn row(spec: &Spec, endpoint: &Endpoint, limit: &ShiftLimit, evidence: &Evidence<'_>, scope: Scope) -> Row {
    let metric = endpoint.figure(limit.statistic);
    let figure = evidence.figures.iter().find(|f| f.metric == metric && f.model_digest == evidence.model_digest);
    let (verdict, note) = match (scope, figure) {
        (Scope::CostOnly, _) => (Verdict::Skipped("only counted figures were asked for".into()), String::new()),
        (_, None) => {
            let withheld = evidence.withheld.iter().find_map(|w| w.strip_prefix(&metric)?.strip_prefix(": "));
            let absent = "it compares with a baseline on samples that have a `group`; give --baseline and --data";
            (Verdict::Inconclusive, withheld.unwrap_or(absent).into())
        }
        (_, Some(figure)) => judged(&metric, limit, figure, evidence),
    };
    let figure = figure.filter(|_| scope != Scope::CostOnly);
    let found = match (&verdict, figure) {
        (_, Some(figure)) => found(figure),
        (Verdict::Skipped(_), None) => String::new(),
        (_, None) => "no figure".into(),
    };
    Row {
        profile: spec.name.value.clone(),
        metric,
        limit: limit.limit.words(),
        level: limit.level.name().into(),
        load: Some(load::load([limit.limit.bound; 2], "s", held(limit.statistic, figure))),
        figure: figure.cloned(),
        evidence: None,
        baseline: None,
        found,
        verdict,
        note,
        source: place(&spec.source, &limit.limit),
        waiver: None,
        loosened: None,
    }
}

/// A mean may lie to either side: its distance from no shift is what the limit is for.
fn held(statistic: ShiftStatistic, figure: Option<&Figure>) -> load::Held<'_> {
    let either = figure.filter(|_| statistic == ShiftStatistic::Mean);
    load::Held { figure, grown: either.map(|f| (f.value.abs(), distance(f.bounds()))) }
}

/// The distances from zero of what lies in an interval.
fn distance([low, high]: [f64; 2]) -> [f64; 2] {
    let nearest = if low <= 0.0 && high >= 0.0 { 0.0 } else { low.abs().min(high.abs()) };
    [nearest, low.abs().max(high.abs())]
}

fn judged(metric: &str, limit: &ShiftLimit, figure: &Figure, evidence: &Evidence<'_>) -> (Verdict, String) {
    let seconds = limit.seconds();
    let needed = evidence.endpoints.iter().flat_map(|e| &e.needed);
    let needed = needed.filter(|n| n.metric == metric && n.limit == seconds).find_map(|n| n.groups);
    let more = match needed {
        Some(groups) => format!("about {groups} groups would settle it if they shift as these do"),
        None => "no number of groups is known to settle it if they shift as these do".into(),
    };
    let verdict = match (limit.statistic, figure.interval) {
        _ if figure.clone().checked().is_err() || figure.build != "release" => Verdict::Inconclusive,
        // A shift to either side: the mean may lie nowhere beyond the limit.
        (ShiftStatistic::Mean, Some(bounds)) => below(distance(bounds), seconds),
        (ShiftStatistic::P95, Some(bounds)) => below(bounds, seconds),
        // Of these groups, and exact.
        (ShiftStatistic::Max, None) => below(figure.bounds(), seconds),
        (ShiftStatistic::Mean | ShiftStatistic::P95, None) => {
            let why = figure.method.split_once("no interval: ").map_or("there is no interval", |(_, why)| why);
            return (Verdict::Inconclusive, format!("{why}; {more}"));
        }
        (ShiftStatistic::Max, Some(_)) => Verdict::Inconclusive,
    };
    let note = match verdict {
        Verdict::Fail => {
            "look at the groups that shift most, and use a milder recipe: prune less, leave sensitive nodes in float \
                          (`quantize --exclude`), or calibrate on more samples"
                .into()
        }
        Verdict::Inconclusive if figure.build != "release" => {
            format!("it was taken in a {} build; use a release build", figure.build)
        }
        Verdict::Inconclusive => format!("the interval straddles the limit (n = {}); {more}", figure.n),
        _ => String::new(),
    };
    (verdict, note)
}

fn found(figure: &Figure) -> String {
    match figure.interval {
        Some([low, high]) => {
            format!("{} ({} … {}), n {}", time(figure.value), time(low), time(high), figure.n)
        }
        None => format!("{}, n {}", time(figure.value), figure.n),
    }
}

/// Seconds as people who read nights say them: in minutes from one minute on.
fn time(seconds: f64) -> String {
    if seconds.abs() < 60.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// What is told of an endpoint: a heading, the worst groups as (group, model, baseline, shift), and lines about groups in which it
/// never comes.
pub(crate) struct Told {
    pub(crate) heading: String,
    pub(crate) groups: Vec<[String; 4]>,
    pub(crate) never: Vec<String>,
}

/// The heads of the columns of [`Told::groups`].
pub(crate) const COLUMNS: [&str; 4] = ["group", "model", "baseline", "shift"];

impl Told {
    pub(crate) fn of(endpoint: &EndpointShift) -> Self {
        /// More are counted.
        const NAMED: usize = 10;
        let worst = endpoint.worst.len();
        let heading = format!(
            "{} ({}): the {worst} of {} groups that shift most against the baseline",
            endpoint.name, endpoint.what, endpoint.groups
        );
        let group = |g: &plimsoll_record::GroupShift| {
            let sign = if g.shift() > 0.0 { "+" } else { "" };
            [g.group.to_string(), time(g.model), time(g.baseline), format!("{sign}{}", time(g.shift()))]
        };
        let never = |(groups, whose): (&Vec<i64>, &str)| {
            let named = groups.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let rest = groups.len().saturating_sub(NAMED);
            let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            (!groups.is_empty()).then(|| {
                format!(
                    "{}: by {whose} it never comes in groups {named}{rest}; there it counts as the length of the whole record",
                    endpoint.name
                )
            })
        };
        let both = [(&endpoint.never_in_model, "the model"), (&endpoint.never_in_baseline, "the baseline")];
        Self {
            heading,
            groups: endpoint.worst.iter().map(group).collect(),
            never: both.into_iter().filter_map(never).collect(),
        }
    }
}
