//! Which nodes bear quantization worst.

use plimsoll_record::NodeSensitivity;

use super::{
    Outline,
    chart::bar,
    table,
    text::{bytes, esc, name},
};

/// Nodes that are shown at once.
const WORST: usize = 12;

pub(super) fn section(outline: &mut Outline, ranked: &[NodeSensitivity]) -> String {
    if ranked.is_empty() {
        return String::new();
    }
    let samples = ranked[0].damage.samples;
    let mut text = outline.section("Sensitivity to quantization");
    text.push_str(&format!(
        "<p>Each node quantized alone, rounded to nearest, and the outputs of the model held against the original's on {samples} samples; \
         the most damaging first. The bar is the damage over that of the most damaging node; <code>quantize --exclude NODE</code> \
         keeps a node in float.</p>\n"
    ));
    let (worst, rest) = ranked.split_at(ranked.len().min(WORST));
    text.push_str(&listed(outline, "Nodes that bear quantization worst", ranked, worst));
    if !rest.is_empty() {
        let table = listed(outline, "Nodes that bear quantization better", ranked, rest);
        text.push_str(&format!("<details><summary>{} nodes more</summary>\n{table}</details>\n", rest.len()));
    }
    text.push_str("</section>\n");
    text
}

fn listed(outline: &mut Outline, title: &str, ranked: &[NodeSensitivity], shown: &[NodeSensitivity]) -> String {
    // What the ranking is by: divergence where the outputs are class scores, else noise over signal.
    let classes = ranked.iter().all(|s| s.damage.divergence.is_some());
    let harm = |s: &NodeSensitivity| match classes {
        true => s.damage.divergence,
        false => s.damage.sqnr.map(|db| 10f64.powf(-db / 20.0)),
    };
    let most = ranked.iter().filter_map(harm).fold(0.0, f64::max);
    let row = |s: &NodeSensitivity| {
        let names = if s.nodes.is_empty() { &s.exclude } else { &s.nodes };
        let sign = if s.bytes_saved < 0 { "-" } else { "" };
        let show = |x: Option<f64>, text: &dyn Fn(f64) -> String| x.map_or_else(|| "–".into(), text);
        let share = harm(s).filter(|_| most > 0.0).map_or(0.0, |n| n / most);
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"num\">{sign}{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"bars\">{}</td></tr>\n",
            name(&names.join(", ")),
            name(&s.operators.join(", ")),
            bytes(s.bytes_saved.unsigned_abs()),
            esc(&show(s.damage.sqnr, &|db| format!("{db:.1} dB"))),
            esc(&show(s.damage.divergence, &|d| format!("{d:.2e}"))),
            esc(&show(s.damage.agreement, &|a| format!("{:.2} %", a * 100.0))),
            bar(share, "now"),
        )
    };
    let rows: String = shown.iter().map(row).collect();
    let head = ["node", "operator", "saves", "SQNR", "divergence", "agreement", "damage"];
    table(outline, title, "sensitivity", &head, &rows)
}
