//! What moved, in words: figures and nodes before and after.

use plimsoll_profile::{Metric, Unit};
use plimsoll_record::{Changes, Moved, NodeMoved, Report, Trend, TrendPoint};

/// The heads of the columns of [`moved`].
pub(super) const MOVED: [&str; 4] = ["metric", "before", "now", "change"];
/// The heads of the columns of [`nodes`].
pub(super) const NODES: [&str; 6] = ["node", "operator", "MACs before", "MACs now", "bytes before", "bytes now"];

/// Commit, and what became of the spec's path.
pub(super) fn heading(changes: &Changes) -> String {
    let commit: String = changes.commit.chars().take(12).collect();
    let spec = match changes.spec_before.as_str() {
        "" => "; the spec is new, and its own model is its baseline".to_owned(),
        _ => String::new(),
    };
    format!("Since {} ({commit}) {} changed{spec}", changes.since, list(&changes.files))
}

/// Names, but not hundreds.
fn list(files: &[String]) -> String {
    const NAMED: usize = 8;
    let named = files.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match files.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// The figures that are not what they were.
pub(super) fn moved(changes: &Changes) -> Vec<[String; 4]> {
    let row = |m: &Moved| [m.metric.clone(), shown(m, m.before), shown(m, m.after), change(m.before, m.after)];
    changes.moved.iter().filter(|m| m.before != m.after).map(row).collect()
}

/// The nodes that are not what they were, at most so many.
pub(super) fn nodes(changes: &Changes, most: usize) -> Vec<[String; 6]> {
    let count = |n: Option<u64>| n.map_or("none".into(), |n| Unit::Count.show(n as f64, None));
    let bytes = |n: Option<u64>| n.map_or("none".into(), |n| Unit::Bytes.show(n as f64, None));
    let row = |n: &NodeMoved| {
        let cost = [count(n.macs_before), count(n.macs_after), bytes(n.bytes_before), bytes(n.bytes_after)];
        let [a, b, c, d] = cost;
        [n.name.clone(), n.op.clone(), a, b, c, d]
    };
    changes.nodes.iter().take(most).map(row).collect()
}

/// Which accepted figures increases are held against.
pub(super) fn accepted(report: &Report) -> Option<String> {
    let by = report.accepted.as_ref()?;
    let same = if by.model_digest == report.model_digest { "; this model is the one that was accepted" } else { "" };
    Some(format!("Increases of counted figures are held against what was accepted on {}: {}{same}", by.day, by.reason))
}

/// One line for each figure that has a history.
pub(super) fn trend(report: &Report) -> Vec<String> {
    /// Of a long history, the latest baselines.
    const LATEST: usize = 6;
    let line = |trend: &Trend| {
        let skipped = trend.points.len().saturating_sub(LATEST);
        let point = |p: &TrendPoint| {
            let when = if p.day.is_empty() { "now" } else { p.day.as_str() };
            format!("{} ({when})", value(&trend.metric, &trend.unit, p.value))
        };
        let points: Vec<String> = trend.points.iter().skip(skipped).map(point).collect();
        format!("{} over the accepted baselines: {}", trend.metric, points.join(" → "))
    };
    report.trend.iter().map(line).collect()
}

fn shown(moved: &Moved, moved_value: Option<f64>) -> String {
    moved_value.map_or("none".into(), |v| value(&moved.metric, &moved.unit, v))
}

fn value(metric: &str, unit: &str, value: f64) -> String {
    match Metric::find(metric).filter(|m| m.unit().name() == unit) {
        Some(metric) => metric.unit().show(value, None),
        None => format!("{value} {unit}"),
    }
}

fn change(before: Option<f64>, after: Option<f64>) -> String {
    match (before, after) {
        (Some(before), Some(after)) if before != 0.0 => format!("{:+.1} %", (after / before - 1.0) * 100.0),
        (_, Some(_)) => "new".into(),
        (_, None) => "gone".into(),
    }
}
