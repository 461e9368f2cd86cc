//! What users feel: the groups in which an endpoint shifts most, from the baseline to the model.

use plimsoll_record::{EndpointShift, GroupShift};

use super::{
    Outline,
    chart::Scale,
    table,
    text::{esc, name, px},
};
use crate::endpoint::{COLUMNS, Told};

const WIDTH: f64 = 360.0;
const ROW: f64 = 24.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 346.0;

pub(super) fn section(outline: &mut Outline, endpoints: &[EndpointShift]) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let mut text = outline.section("What users feel");
    for endpoint in endpoints {
        text.push_str(&one(outline, endpoint));
    }
    text.push_str("</section>\n");
    text
}

fn one(outline: &mut Outline, endpoint: &EndpointShift) -> String {
    let told = Told::of(endpoint);
    let mut text = outline.below(&name(&endpoint.name));
    text.push_str(&format!("<p>{}.</p>\n", esc(&told.heading)));
    text.push_str(&dumbbells(endpoint));
    let row = |[group, model, baseline, shift]: &[String; 4]| {
        let cells: String = [model, baseline, shift].map(|c| format!("<td class=\"num\">{}</td>", esc(c))).concat();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", esc(group))
    };
    let rows: String = told.groups.iter().map(row).collect();
    let caption = format!("{}: groups that shift most", endpoint.name);
    text.push_str(&table(outline, &caption, "groups", &COLUMNS, &rows));
    for line in &told.never {
        text.push_str(&format!("<p class=\"note\">{}.</p>\n", esc(line)));
    }
    text
}

/// A line for each group, from the baseline's value (hollow) to the model's (filled).
fn dumbbells(endpoint: &EndpointShift) -> String {
    if endpoint.worst.is_empty() {
        return String::new();
    }
    let values = || endpoint.worst.iter().flat_map(|g| [g.model, g.baseline]);
    // Round numbers of what the table says: minutes from one minute on.
    let (unit, seconds) = if values().any(|v| v.abs() >= 60.0) { ("min", 60.0) } else { ("s", 1.0) };
    let scale = Scale::over(values().map(|v| v / seconds), [LEFT, RIGHT]);
    let bottom = endpoint.worst.len() as f64 * ROW + 6.0;
    let grid = |tick: f64| {
        let at = px(scale.at(tick));
        format!(
            "<path class=\"grid\" d=\"M{at} 4V{0}\"/><text class=\"tick\" x=\"{at}\" y=\"{1}\" text-anchor=\"middle\">{2}</text>",
            px(bottom),
            px(bottom + 16.0),
            esc(&format!("{} {unit}", px(tick)))
        )
    };
    let line = |(i, g): (usize, &GroupShift)| {
        let y = i as f64 * ROW + ROW / 2.0 + 4.0;
        let (from, to) = (scale.at(g.baseline / seconds), scale.at(g.model / seconds));
        format!(
            "<text class=\"tick\" x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{2}</text><path class=\"shift\" d=\"M{3} {4}H{5}\"/><circle class=\"from\" cx=\"{3}\" cy=\"{4}\" r=\"4.5\"/><circle class=\"to\" cx=\"{5}\" cy=\"{4}\" r=\"4.5\"/>",
            px(LEFT - 14.0),
            px(y + 4.0),
            g.group,
            px(from),
            px(y),
            px(to)
        )
    };
    let grid: String = scale.ticks().into_iter().map(grid).collect();
    let lines: String = endpoint.worst.iter().enumerate().map(line).collect();
    format!(
        "<figure>\n<svg class=\"dumbbells\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"A line for each group, from the baseline to the model; the table holds the values.\">{grid}{lines}</svg>\n\
         <figcaption>Each line is a group, from the baseline (hollow) to the model (filled).</figcaption>\n</figure>\n",
        px(bottom + 24.0)
    )
}
