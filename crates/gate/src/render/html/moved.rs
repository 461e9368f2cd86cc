//! Before and after: figures against those of the baseline, and what a change moved.

use plimsoll_record::{Figure, Report};

use super::{
    Anatomy, Outline, counted, table,
    text::{esc, name, quantity},
};
use crate::render::changes::{self, MOVED, NODES};

/// Nodes that are listed, at most.
const NODES_SHOWN: usize = 60;

pub(super) fn section(outline: &mut Outline, report: &Report, anatomy: Option<&Anatomy>) -> String {
    let (model, baseline) = anatomy.map_or((None, None), |a| (a.model.as_ref(), a.baseline.as_ref()));
    let pair = model.zip(baseline).filter(|(m, b)| m.model_digest != b.model_digest);
    let mut text = pair.map(|(model, baseline)| counted::compared(outline, model, baseline)).unwrap_or_default();
    text.push_str(&compared(outline, report));
    text.push_str(&change(outline, report));
    let accepted = changes::accepted(report).map(|line| format!("<p>{}.</p>\n", esc(&line))).unwrap_or_default();
    if text.is_empty() && accepted.is_empty() {
        return String::new();
    }
    let own = outline.section("Before and after");
    format!("{own}{accepted}{text}</section>\n")
}

/// Figures that compare with the baseline by themselves, each once.
fn compared(outline: &mut Outline, report: &Report) -> String {
    let mut seen: Vec<&Figure> = Vec::new();
    for figure in report.rows.iter().filter_map(|r| r.figure.as_ref()).filter(|f| !f.baseline_digest.is_empty()) {
        if !seen.iter().any(|s| s.metric == figure.metric && s.executor == figure.executor) {
            seen.push(figure);
        }
    }
    let row = |f: &&Figure| {
        let show = |x| quantity(x, &f.unit, None);
        let interval = f.interval.map_or_else(|| "–".into(), |[a, b]| format!("{} … {}", show(a), show(b)));
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td>{}</td></tr>\n",
            name(&f.metric),
            esc(&show(f.value)),
            esc(&interval),
            f.n,
            name(&f.method),
        )
    };
    if seen.is_empty() {
        return String::new();
    }
    let rows: String = seen.iter().map(row).collect();
    let head = ["measured", "value", "95 % interval", "n", "method"];
    table(outline, "Figures against the baseline", "compared", &head, &rows)
}

/// What the change under review moved.
fn change(outline: &mut Outline, report: &Report) -> String {
    let Some(changes) = &report.changes else { return String::new() };
    let cells = |row: &[String]| {
        let rest: String = row[1..].iter().map(|c| format!("<td class=\"num\">{}</td>", name(c))).collect();
        format!("<tr><th scope=\"row\">{}</th>{rest}</tr>\n", name(&row[0]))
    };
    let mut text = format!("<p>{}.</p>\n", esc(&changes::heading(changes)));
    let moved: String = changes::moved(changes).iter().map(|row| cells(row)).collect();
    if !moved.is_empty() {
        text.push_str(&table(outline, "Counted figures that moved", "moved", &MOVED, &moved));
    }
    let nodes: String = changes::nodes(changes, NODES_SHOWN).iter().map(|row| cells(row)).collect();
    if !nodes.is_empty() {
        let (shown, all) = (changes.nodes.len().min(NODES_SHOWN), changes.nodes.len());
        let table = table(outline, "Nodes that changed, the largest change first", "moved", &NODES, &nodes);
        text.push_str(&format!("<details><summary>{shown} of {all} nodes that changed</summary>\n{table}</details>\n"));
    }
    text
}
