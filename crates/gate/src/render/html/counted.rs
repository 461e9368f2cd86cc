//! What can be counted of a whole model, alone or beside another.

use plimsoll_record::Inspection;

use super::{
    Outline,
    chart::bar,
    table,
    text::{esc, name, quantity, some},
};

/// What is counted, its unit, and how much there is; `None` where that is not known.
type Counted = (&'static str, &'static str, Option<u64>);

fn of(i: &Inspection) -> [Counted; 14] {
    let (t, m) = (&i.totals, &i.totals.macs_by_dtype);
    [
        ("bytes of the file", "bytes", Some(i.file_bytes)),
        ("bytes of the file, compressed", "bytes", i.zstd_bytes),
        ("parameters", "count", Some(t.params)),
        ("bytes of the parameters", "bytes", Some(t.bytes)),
        ("bytes of the parameters once loaded", "bytes", t.loaded_bytes),
        ("multiply-accumulates", "count", Some(t.macs)),
        ("of them in float32", "count", Some(m.f32)),
        ("of them in float16", "count", Some(m.f16)),
        ("of them in 8 bits", "count", Some(m.i8)),
        ("of them in other types", "count", Some(m.other)),
        ("peak activations, nothing reused", "bytes", t.peak_activation_bytes),
        ("peak activations, in place", "bytes", t.peak_in_place_bytes),
        ("bytes read and written", "bytes", t.traffic_bytes),
        ("nodes", "count", Some(i.nodes.len() as u64)),
    ]
}

/// A model alone. What there is nothing of is left out.
pub(super) fn alone(outline: &mut Outline, model: &Inspection) -> String {
    let row = |(what, unit, n): Counted| {
        let n = n.filter(|n| *n > 0)?;
        Some(format!(
            "<tr><th scope=\"row\">{what}</th><td class=\"num\">{}</td></tr>\n",
            esc(&quantity(n as f64, unit, None))
        ))
    };
    let rows: String = of(model).into_iter().filter_map(row).collect();
    table(outline, "The model, counted", "counted", &["counted", "now"], &rows)
}

/// A model beside its baseline. What neither has is left out.
pub(super) fn compared(outline: &mut Outline, model: &Inspection, baseline: &Inspection) -> String {
    let row = |((what, unit, before), (_, _, after)): (Counted, Counted)| {
        let (before, after) = (before? as f64, after? as f64);
        if before == 0.0 && after == 0.0 {
            return None;
        }
        let change = match (before > 0.0, after > 0.0) {
            (true, true) => format!("{:+.1} %", (after / before - 1.0) * 100.0),
            (true, false) => "gone".into(),
            (false, _) => "new".into(),
        };
        let largest = before.max(after);
        let show = |x| esc(&quantity(x, unit, None));
        Some(format!(
            "<tr><th scope=\"row\">{what}</th><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{change}</td><td class=\"bars\">{}{}</td></tr>\n",
            show(before),
            show(after),
            bar(before / largest, "before"),
            bar(after / largest, "now"),
        ))
    };
    let rows: String = of(baseline).into_iter().zip(of(model)).filter_map(row).collect();
    let head = ["counted", "before", "now", "change", "both, the upper bar before"];
    table(outline, "The model and its baseline, counted", "moved", &head, &rows)
}

/// What could not be counted, and why.
pub(super) fn unknown(model: &Inspection) -> String {
    const NAMED: usize = 10;
    let mut text = String::new();
    let nodes = model.totals.unknown_nodes as usize;
    if nodes > 0 {
        let what = "are not known, or stand for one iteration of an unknown number";
        text.push_str(&format!("<p>The multiply-accumulates of {} {what}.</p>\n", some(nodes, "node", "nodes")));
    }
    let absent = model.absent.len();
    if absent > 0 {
        let named: Vec<String> = model.absent.iter().take(NAMED).map(|a| name(&a.name)).collect();
        let more = if absent > NAMED { format!(" and {} more", absent - NAMED) } else { String::new() };
        text.push_str(&format!(
            "<p>{} absent: {}{more}. What depends on their values is not known.</p>\n",
            some(absent, "weight is", "weights are"),
            named.join(", ")
        ));
    }
    text
}
