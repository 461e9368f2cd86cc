//! A page of a rollout: where it is, the course of each metric with its confidence sequence, devices by stage, ratings over time.
//!
//! The page holds everything that it shows and loads nothing. Whatever comes from outside (names, reasons) is escaped.

mod chart;

use std::fmt::Write as _;

use plimsoll_profile::{Day, Policy};
use plimsoll_record::{
    ArmFigure, Decision, DecisionKind, MetricEvidence, MetricStanding, Observed, RolloutVerdict, html::esc,
};

use self::chart::Chart;

const STYLE: &str = include_str!("style.css");
/// The page of a chain of decisions.
pub fn html(decisions: &[&Decision], policy: &Policy, observed: &[Observed]) -> String {
    let Some(last) = decisions.last() else { return String::new() };
    let judged: Vec<&Decision> =
        decisions.iter().copied().filter(|d| d.kind == DecisionKind::Judgement && d.evidence.is_some()).collect();
    let title = format!("{} {}: {}", esc(&last.rollout.name), esc(&last.rollout.version), stage(last));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#content\">Skip to the report</a>\n<main id=\"content\">\n<h1>{title}</h1>\n"
    );
    let _ = writeln!(page, "<p>Release <code>{}</code>, policy {}.</p>", esc(&last.rollout.release), esc(&policy.name));
    if let Some(judgement) = judged.last() {
        latest(&mut page, judgement);
    }
    for metric in policy.tolerances.iter().map(|t| t.metric.name()) {
        course(&mut page, &judged, metric);
    }
    besides(&mut page, observed);
    devices(&mut page, &judged);
    history(&mut page, decisions);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn stage(d: &Decision) -> String {
    let share = f64::from(d.next.percent_bp) / 100.0;
    let at = if d.next.number == 0 { "beta".to_owned() } else { format!("{share} %") };
    format!("{at}, {}", format!("{:?}", d.state).to_lowercase())
}

fn verdict(v: RolloutVerdict) -> (&'static str, &'static str) {
    match v {
        RolloutVerdict::Advance => ("advance", "ADVANCE"),
        RolloutVerdict::Hold => ("hold", "HOLD"),
        RolloutVerdict::Halt => ("halt", "HALT"),
    }
}

fn amount(metric: &MetricEvidence, value: f64) -> String {
    if metric.unit == "points" { format!("{value:.2}") } else { format!("{:.2} %", 100.0 * value) }
}

fn latest(page: &mut String, d: &Decision) {
    let (class, word) = verdict(d.verdict);
    let _ = writeln!(page, "<h2>{}: <span class=\"{class}\">{word}</span></h2>", esc(&d.day));
    list(page, "Because", &d.reasons);
    list(page, "Missing", &d.missing);
    const HEADER: &[&str] = &["metric", "release", "holdback", "harm", "interval", "margin", "power", "standing"];
    let mut rows = String::new();
    for m in &d.metrics {
        let or_dash = |v: Option<f64>| v.map_or("–".to_owned(), |v| amount(m, v));
        let interval =
            m.lower.zip(m.upper).map_or("–".into(), |(l, u)| format!("{} … {}", amount(m, l), amount(m, u)));
        let (class, standing) = match m.standing {
            MetricStanding::NoData => ("hold", "no data"),
            MetricStanding::Unsettled => ("hold", "unsettled"),
            MetricStanding::NonInferior => ("no-worse", "no worse"),
            MetricStanding::Harmful => ("harmful", "harmful"),
            MetricStanding::OverLimit => ("harmful", "over the limit"),
        };
        let cells = [
            or_dash(m.treatment.map(|a| a.value)),
            or_dash(m.holdback.map(|a| a.value)),
            or_dash(m.harm),
            interval,
            amount(m, m.margin),
            m.power.map_or("–".into(), |p| format!("{:.0} %", 100.0 * p)),
        ];
        let cells: String = cells.iter().map(|c| format!("<td class=\"n\">{c}</td>")).collect();
        let name = esc(&m.metric);
        let _ = writeln!(rows, "<tr><th scope=\"row\">{name}</th>{cells}<td class=\"{class}\">{standing}</td></tr>");
    }
    table(page, "Metrics", HEADER, &rows);
}

/// A table that is scrolled by itself, with the keyboard too, where the window is narrow; rows must be safe.
fn table(page: &mut String, title: &str, header: &[&str], rows: &str) {
    let header: String = header.iter().map(|h| format!("<th scope=\"col\">{h}</th>")).collect();
    let _ = writeln!(
        page,
        "<div class=\"wide\" role=\"group\" aria-label=\"{title}\" tabindex=\"0\"><table>\n<thead><tr>{header}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>"
    );
}

/// Latency, energy and drift of the stage, whether the policy names them or not.
fn besides(page: &mut String, observed: &[Observed]) {
    if observed.is_empty() {
        return;
    }
    page.push_str("<h2>Latency, energy and drift</h2>\n");
    let mut rows = String::new();
    for o in observed {
        let [ours, theirs] = [o.treatment, o.holdback].map(|arm| shown(o, arm));
        let name = esc(&o.name);
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{name}</th><td class=\"n\">{ours}</td><td class=\"n\">{theirs}</td></tr>"
        );
    }
    table(page, "Latency, energy and drift", &["what", "release", "holdback"], &rows);
}

/// One arm of what was observed, as people read it.
pub fn shown(observed: &Observed, arm: Option<ArmFigure>) -> String {
    match (arm, observed.unit.as_str()) {
        (None, _) => "–".into(),
        (Some(arm), "seconds") => format!("≤ {:.1} ms", 1e3 * arm.value),
        (Some(arm), _) => format!("{:.2} %", 100.0 * arm.value),
    }
}

fn list(page: &mut String, title: &str, items: &[String]) {
    if !items.is_empty() {
        let items: String = items.iter().map(|i| format!("<li>{}</li>", esc(i))).collect();
        let _ = writeln!(page, "<p>{title}:</p>\n<ul>{items}</ul>");
    }
}

fn number(day: &str) -> f64 {
    Day::parse(day).map_or(0.0, |d| f64::from(d.number()))
}

/// First and last day of what is charted.
fn ends<'d>(judged: &[&'d Decision]) -> Option<(f64, f64, &'d str, &'d str)> {
    let (first, last) = (judged.first()?, judged.last()?);
    Some((number(&first.day), number(&last.day) - number(&first.day), &first.day, &last.day))
}

/// The stage that a decision is about.
fn at(d: &Decision) -> String {
    if d.stage.number == 0 { "beta".into() } else { format!("{} %", f64::from(d.stage.percent_bp) / 100.0) }
}

/// Where stages begin: what is counted begins anew with each.
fn stages(chart: &mut Chart, judged: &[&Decision], start: f64) {
    let mut before = None;
    for d in judged {
        if before.replace(d.stage.number) != Some(d.stage.number) {
            let name = at(d);
            chart.begins(number(&d.day) - start, &name);
        }
    }
}

/// The harm of a metric over time, and what users said.
fn course(page: &mut String, judged: &[&Decision], name: &str) {
    let Some((start, days, first, last)) = ends(judged) else { return };
    let found: Vec<(f64, &MetricEvidence)> = judged
        .iter()
        .filter_map(|d| Some((number(&d.day) - start, d.metrics.iter().find(|m| m.metric == name)?)))
        .collect();
    let bounds: Vec<(f64, f64, f64)> = found.iter().filter_map(|(d, m)| Some((*d, m.lower?, m.upper?))).collect();
    let harm: Vec<(f64, f64)> = found.iter().filter_map(|(d, m)| Some((*d, m.harm?))).collect();
    let Some((_, one)) = found.last() else { return };
    let _ = writeln!(page, "<h2>{}</h2>", esc(name));
    if harm.is_empty() {
        page.push_str("<p>Too few devices have reported it to show anything.</p>\n");
        return;
    }
    // A bound of everything or nothing would flatten all others.
    let most = 6.0 * one.margin;
    let values =
        bounds.iter().flat_map(|(_, l, u)| [*l, *u]).map(|v| v.clamp(-most, most)).chain([one.margin, -one.margin]);
    let mut chart = Chart::over(days, values);
    stages(&mut chart, judged, start);
    chart.level(0.0, "zero", "0");
    chart.level(one.margin, "limit", &amount(one, one.margin));
    chart.level(one.margin / 2.0, "half", &amount(one, one.margin / 2.0));
    chart.band(&bounds);
    chart.line(&harm, "line");
    let what = format!("Harm of {} over time with its confidence sequence", esc(name));
    page.push_str(&chart.svg(&what, &esc(first), &esc(last)));
    let _ = writeln!(
        page,
        "<p>How much worse the release is than the holdback: {}. Harm that is too much: the line at {}; shown to lie above half of it, it halts.</p>",
        esc(&one.method),
        amount(one, one.margin)
    );
    if name == "rating" {
        let of = |pick: fn(&MetricEvidence) -> Option<f64>| -> Vec<(f64, f64)> {
            found.iter().filter_map(|(d, m)| Some((*d, pick(m)?))).collect()
        };
        let (ours, theirs) = (of(|m| m.treatment.map(|a| a.value)), of(|m| m.holdback.map(|a| a.value)));
        let mut chart = Chart::over(days, ours.iter().chain(&theirs).map(|(_, v)| *v).chain([5.0]));
        (1..=5).for_each(|points| chart.level(f64::from(points), "zero", &points.to_string()));
        chart.line(&theirs, "other");
        chart.line(&ours, "line");
        page.push_str(&chart.svg("Mean rating over time", &esc(first), &esc(last)));
        page.push_str("<p>Mean of the last rating of each user: with the release, and dashed in the holdback.</p>\n");
    }
}

/// Devices with the release over time.
fn devices(page: &mut String, judged: &[&Decision]) {
    let Some((start, days, first, last)) = ends(judged) else { return };
    let course: Vec<(f64, f64)> =
        judged.iter().filter_map(|d| Some((number(&d.day) - start, d.evidence.as_ref()?.treatment as f64))).collect();
    let most = course.iter().map(|(_, n)| *n).fold(0.0, f64::max);
    let mut chart = Chart::over(days, course.iter().map(|(_, n)| *n));
    stages(&mut chart, judged, start);
    chart.level(0.0, "zero", "0");
    chart.level(most, "zero", &format!("{most:.0}"));
    chart.line(&course, "line");
    page.push_str("<h2>Devices with the release</h2>\n");
    page.push_str(&chart.svg("Devices with the release over time", &esc(first), &esc(last)));
}

fn history(page: &mut String, decisions: &[&Decision]) {
    page.push_str("<h2>Decisions</h2>\n");
    let mut rows = String::new();
    for d in decisions {
        let (class, word) = verdict(d.verdict);
        let kind = format!("{:?}", d.kind).to_lowercase();
        let what = if d.kind == DecisionKind::Judgement { word.to_owned() } else { kind };
        let why = d.reasons.iter().chain(&d.missing).next().map(|r| esc(r)).unwrap_or_default();
        let share = at(d);
        let by = esc(d.by.as_deref().unwrap_or("evidence"));
        let _ = writeln!(
            rows,
            "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"{class}\">{what}</td><td>{share}</td><td>{by}</td><td>{why}</td></tr>",
            d.sequence,
            esc(&d.day)
        );
    }
    table(page, "Decisions", &["no", "day", "what", "stage", "by", "why"], &rows);
}
