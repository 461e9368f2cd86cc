//! What each node costs: the whole model as a strip in stored order, then the nodes that cost most.

use std::collections::BTreeMap;

use plimsoll_record::{Inspection, NodeCost};

use super::{
    Anatomy, Outline,
    chart::bar,
    counted, table,
    text::{breaking, bytes, count, esc, name, px, some},
};

/// Nodes that are shown at once.
const LARGEST: usize = 12;
/// Nodes of the whole table, at most; `inspect` shows all.
const LISTED: usize = 400;
/// Width of a strip in its own units.
const STRIP: f64 = 1000.0;

type Of = fn(&NodeCost) -> u64;
/// What is measured, of a node, and how it is shown.
type Measure = (&'static str, Of, fn(u64) -> String);

pub(super) fn section(outline: &mut Outline, anatomy: Option<&Anatomy>) -> String {
    let Some(model) = anatomy.and_then(|a| a.model.as_ref()).filter(|m| !m.nodes.is_empty()) else {
        return String::new();
    };
    let baseline = anatomy.and_then(|a| a.baseline.as_ref()).filter(|b| b.model_digest != model.model_digest);
    let mut text = outline.section("Cost per node");
    let measures: [Measure; 2] =
        [("multiply-accumulates", |n| n.macs.unwrap_or_default(), count), ("of parameters", |n| n.bytes, bytes)];
    for (what, of, show) in measures {
        text.push_str(&strips(what, of, show, model, baseline));
    }
    text.push_str(&counted::unknown(model));
    if baseline.is_none() {
        text.push_str(&counted::alone(outline, model));
    }
    let mut dearest: Vec<Line<'_>> = model.nodes.iter().map(|n| (n.name.clone(), n)).collect();
    dearest.sort_by_key(|(_, n)| std::cmp::Reverse((n.macs, n.bytes)));
    dearest.truncate(LARGEST);
    let title = format!("Nodes that cost most at batch {}", model.batch);
    text.push_str(&listed(outline, &title, model, baseline, &dearest));
    let mut all = Vec::new();
    for node in &model.nodes {
        with_bodies("", node, &mut all);
    }
    if all.len() > dearest.len() {
        let shown = &all[..all.len().min(LISTED)];
        let table = listed(outline, "Nodes in stored order", model, baseline, shown);
        let summary = format!("{} of {} nodes in stored order", shown.len(), all.len());
        text.push_str(&format!("<details><summary>{summary}</summary>\n{table}</details>\n"));
    }
    text.push_str("</section>\n");
    text
}

/// A node by the name that it is listed by.
type Line<'n> = (String, &'n NodeCost);

/// A node and then those of the graphs that it runs, as each costs once.
fn with_bodies<'n>(within: &str, node: &'n NodeCost, lines: &mut Vec<Line<'n>>) {
    // Enough for the table, however deep the graphs lie.
    if lines.len() > LISTED {
        lines.push((String::new(), node));
        return;
    }
    let label = format!("{within}{}", node.name);
    lines.push((label.clone(), node));
    for body in &node.bodies {
        let within = format!("{label} › {} › ", body.name);
        for inner in &body.nodes {
            with_bodies(&within, inner, lines);
        }
    }
}

/// The model, below its baseline, as strips of one scale.
fn strips(what: &str, of: Of, show: fn(u64) -> String, model: &Inspection, baseline: Option<&Inspection>) -> String {
    let total = |i: &Inspection| i.nodes.iter().map(of).fold(0u64, u64::saturating_add);
    let all: Vec<(&str, &Inspection)> = match baseline {
        Some(before) => vec![("before: ", before), ("now: ", model)],
        None => vec![("", model)],
    };
    let widest = all.iter().map(|(_, i)| total(i)).max().unwrap_or_default();
    if widest == 0 {
        return String::new();
    }
    let strip = |(when, i): &(&str, &Inspection)| {
        let label = format!("{when}{} {what} in {}", show(total(i)), some(i.nodes.len(), "node", "nodes"));
        format!("<p class=\"strip-label\">{}</p>\n{}", esc(&label), blocks(i, of, widest))
    };
    let drawn: String = all.iter().map(strip).collect();
    let mut largest: Vec<&NodeCost> = model.nodes.iter().collect();
    largest.sort_by_key(|n| std::cmp::Reverse(of(n)));
    let share =
        |n: &&NodeCost| format!("{} ({:.0} %)", name(&n.name), of(n) as f64 / total(model).max(1) as f64 * 100.0);
    let largest: Vec<String> = largest.iter().take(3).filter(|n| of(n) > 0).map(share).collect();
    format!(
        "<figure class=\"strips\">\n{drawn}<figcaption>Node by node in stored order. Largest: {}.</figcaption>\n</figure>\n",
        largest.join(", ")
    )
}

fn blocks(inspection: &Inspection, of: Of, widest: u64) -> String {
    /// What is narrower is drawn together with its neighbours.
    const NARROWEST: f64 = 1.0;
    let scale = STRIP / widest as f64;
    let (mut x, mut since, mut drawn, mut dark) = (0.0, 0.0, String::new(), false);
    for node in &inspection.nodes {
        x += of(node) as f64 * scale;
        if x - since >= NARROWEST {
            let class = if dark { "a" } else { "b" };
            let title = format!("{} {}", node.op, node.name);
            drawn.push_str(&format!(
                "<rect class=\"{class}\" x=\"{}\" width=\"{}\" height=\"24\"><title>{}</title></rect>",
                px(since),
                px(x - since),
                esc(&title)
            ));
            (since, dark) = (x, !dark);
        }
    }
    format!(
        "<svg class=\"strip\" viewBox=\"0 0 {STRIP} 24\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"bed\" width=\"{STRIP}\" height=\"24\"/>{drawn}</svg>\n"
    )
}

fn listed(
    outline: &mut Outline,
    title: &str,
    model: &Inspection,
    baseline: Option<&Inspection>,
    lines: &[Line<'_>],
) -> String {
    let before: BTreeMap<&str, &NodeCost> =
        baseline.into_iter().flat_map(|b| &b.nodes).map(|n| (n.name.as_str(), n)).collect();
    // Names may have been stripped: then no node is known again.
    let baseline = baseline.filter(|_| model.nodes.iter().any(|n| before.contains_key(n.name.as_str())));
    let most = model.nodes.iter().filter_map(|n| n.macs).max().unwrap_or_default().max(1) as f64;
    let row = |(label, n): &Line<'_>| {
        let shape = n.shape.as_ref().map_or_else(|| "?".into(), |s| format!("{s:?}"));
        let macs = n.macs.map_or_else(|| "?".into(), count);
        let before = baseline.map_or_else(String::new, |_| {
            let known = before.get(n.name.as_str()).and_then(|b| b.macs);
            format!("<td class=\"num\">{}</td>", known.map_or_else(|| "–".into(), count))
        });
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{shape}</td>{before}<td class=\"num\">{macs}</td><td class=\"num\">{}</td><td class=\"num\">{}</td><td class=\"bars\">{}</td></tr>\n",
            breaking(label),
            operator(n),
            count(n.params),
            bytes(n.bytes),
            bar(n.macs.unwrap_or_default() as f64 / most, "now"),
        )
    };
    let rows: String = lines.iter().map(row).collect();
    let mut head = vec!["node", "operator", "shape"];
    head.extend(baseline.map(|_| "MACs before"));
    head.extend([if baseline.is_some() { "MACs now" } else { "MACs" }, "parameters", "bytes", "share of the largest"]);
    table(outline, title, "nodes", &head, &rows)
}

/// The operator, and what its count stands for where that is not plain.
fn operator(node: &NodeCost) -> String {
    match node.counted.as_str() {
        "" | "always" => name(&node.op),
        counted => format!("{} <span class=\"of\">({})</span>", name(&node.op), esc(&counted.replace('-', " "))),
    }
}
