//! Where the figures come from: how, on what, from how many observations; what was taken over, withheld or remarked on.

use plimsoll_record::{Figure, Report};

use super::{
    Outline, table,
    text::{breaking, code, esc, name, prose, quantity, some},
};
use crate::render::evidence::Sources;

pub(super) fn section(outline: &mut Outline, report: &Report) -> String {
    let mut figures: Vec<&Figure> = Vec::new();
    for figure in report.rows.iter().flat_map(|r| [r.figure.as_ref(), r.baseline.as_ref()]).flatten() {
        if !figures.contains(&figure) {
            figures.push(figure);
        }
    }
    let lists = [
        ("Remarks", report.remarks.clone()),
        ("Figures that somebody else took and signed", Sources::of(&report.rows).lines()),
        ("Figures that were withheld", report.withheld.clone()),
    ];
    let mut text = outline.section("Where the figures come from");
    text.push_str(&format!("<p>Model {}.</p>\n", code(&report.model_digest)));
    for (title, lines) in lists.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", prose(line))).collect();
        text.push_str(&format!("{}<ul>\n{items}</ul>\n", outline.below(title)));
    }
    if !figures.is_empty() {
        let rows: String = figures.iter().map(|f| row(f)).collect();
        let head = ["metric", "value", "95 % interval", "n", "method", "taken in", "on"];
        let table = table(outline, "Figures that were held against budgets", "figures", &head, &rows);
        let summary = some(figures.len(), "figure", "figures");
        text.push_str(&format!("<details><summary>{summary}, with method and machine</summary>\n{table}</details>\n"));
    }
    text.push_str("</section>\n");
    text
}

fn row(f: &Figure) -> String {
    let show = |x| esc(&quantity(x, &f.unit, None));
    let interval = f.interval.map_or_else(|| "exact".into(), |[a, b]| format!("{} … {}", show(a), show(b)));
    let counted = f.executor == "static";
    let executor =
        if counted { "not run".into() } else { format!("{} {}, {} build", f.executor, f.executor_version, f.build) };
    let machine = if counted {
        "any machine".into()
    } else {
        format!("{}, {}", f.machine.cpu, some(f.machine.threads, "thread", "threads"))
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td class=\"num\">{}</td><td class=\"num\">{interval}</td><td class=\"num\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
        breaking(&f.metric),
        show(f.value),
        f.n,
        name(&f.method),
        name(&executor),
        name(&machine),
    )
}
