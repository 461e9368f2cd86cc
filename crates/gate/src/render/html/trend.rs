//! Counted figures over the accepted baselines, with the lines that hold today.

use plimsoll_record::{Report, Trend};

use super::{
    Outline,
    chart::{Scale, levels},
    text::{esc, name, px, quantity},
};
use crate::render::changes;

const WIDTH: f64 = 360.0;
const HIGH: f64 = 150.0;
/// Left, top, right, bottom.
const FRAME: [f64; 4] = [62.0, 14.0, 346.0, 120.0];

pub(super) fn section(outline: &mut Outline, report: &Report) -> String {
    if report.trend.is_empty() {
        return String::new();
    }
    let lines = changes::trend(report);
    let figures: String = report.trend.iter().zip(&lines).map(|(t, line)| chart(report, t, line)).collect();
    format!("{}<div class=\"charts\">\n{figures}</div>\n</section>\n", outline.section("Trend"))
}

/// The values as a line, the limits on the metric as waterlines. The caption says the same in words.
fn chart(report: &Report, trend: &Trend, words: &str) -> String {
    let [left, top, right, bottom] = FRAME;
    let of_metric = report.rows.iter().filter(|r| r.metric == trend.metric);
    let mut limits: Vec<f64> =
        of_metric.filter_map(|r| r.load.as_ref()).filter(|l| l.unit == trend.unit).map(|l| l.limit).collect();
    limits.sort_by(f64::total_cmp);
    limits.dedup();
    let values = || trend.points.iter().map(|p| p.value);
    // A limit far away would flatten the line.
    let most = values().fold(0.0, f64::max);
    limits.retain(|l| *l <= most * 4.0);
    let up = Scale::from_zero(values().chain(limits.iter().copied()), [bottom, top]);
    let step = (right - left - 16.0) / trend.points.len().saturating_sub(1).max(1) as f64;
    let x = |i: usize| left + 8.0 + i as f64 * step;
    let mut drawn = levels(up, [left, right], &trend.unit).concat();
    for limit in &limits {
        drawn.push_str(&format!("<path class=\"line\" d=\"M{left} {0}H{right}\"/>", px(up.at(*limit))));
    }
    let path: Vec<String> =
        trend.points.iter().enumerate().map(|(i, p)| format!("{} {}", px(x(i)), px(up.at(p.value)))).collect();
    drawn.push_str(&format!("<path class=\"course\" d=\"M{}\"/>", path.join("L")));
    for (i, p) in trend.points.iter().enumerate() {
        let when = if p.day.is_empty() { "now" } else { &p.day };
        drawn.push_str(&format!(
            "<circle class=\"to\" cx=\"{}\" cy=\"{}\" r=\"4\"><title>{}: {}</title></circle>",
            px(x(i)),
            px(up.at(p.value)),
            esc(when),
            esc(&quantity(p.value, &trend.unit, None))
        ));
    }
    let first = trend.points.first().map_or("", |p| p.day.as_str());
    format!(
        "<figure>\n<svg class=\"course-of\" viewBox=\"0 0 {WIDTH} {HIGH}\" role=\"img\" aria-label=\"{} over the accepted baselines; the caption holds the values.\">{drawn}\
         <text class=\"tick\" x=\"{left}\" y=\"{2}\">{}</text><text class=\"tick\" x=\"{right}\" y=\"{2}\" text-anchor=\"end\">now</text></svg>\n<figcaption>{3}</figcaption>\n</figure>\n",
        esc(&trend.metric),
        esc(first),
        px(bottom + 20.0),
        name(words)
    )
}
