//! The candidates of a search: size, time and what is lost, which of them no other beats, and what was chosen.

use plimsoll_profile::{Basis, Better, Metric};
use plimsoll_record::{Choice, Figure, Miss, PassRecord, RankedCandidate, Ranking};

use super::{
    Outline,
    chart::{Scale, levels},
    head::{badge, class},
    table,
    text::{breaking, bytes, count, esc, name, prose, px, quantity, some},
};

/// Candidates that are shown at once.
const BEST: usize = 20;
/// Candidates that are shown besides, at most; the ranking holds all.
const LISTED: usize = 300;

/// What candidates are compared by: a metric and which way is better.
#[derive(Clone, Copy)]
struct Axis<'r> {
    metric: &'r str,
    higher: bool,
}

impl<'r> Axis<'r> {
    fn of(metric: &'r str) -> Self {
        Self { metric, higher: Metric::find(metric).is_some_and(|m| m.better() == Better::Higher) }
    }

    fn figure<'c>(&self, candidate: &'c RankedCandidate) -> Option<&'c Figure> {
        candidate.figures.iter().find(|f| f.metric == self.metric)
    }

    /// The first of these metrics that can be compared: two candidates have it at least.
    fn first_known(metrics: impl IntoIterator<Item = &'r str>, candidates: &[RankedCandidate]) -> Option<Self> {
        let known = |axis: &Self| candidates.iter().filter(|c| axis.figure(c).is_some()).count() > 1;
        metrics.into_iter().map(Self::of).find(known)
    }
}

pub(super) fn section(outline: &mut Outline, ranking: &Ranking) -> String {
    let all = ranking.candidates.as_slice();
    if all.is_empty() {
        return String::new();
    }
    let size = Axis::of("artifact-size");
    let time = Axis::first_known(["latency.ratio", "latency.p50", "macs"], all);
    let quality = Axis::first_known(qualities(all), all);
    let axes: Vec<Axis<'_>> = [Some(size), time, quality].into_iter().flatten().collect();
    let on_front = all.iter().filter(|c| c.front).count();

    let mut text = outline.section("Candidates");
    text.push_str(&chosen(ranking));
    text.push_str(&format!(
        "<p>The order is by {}. {on_front} of {} are unbeaten, and filled in the charts: no other in the running is at least as good in \
         size, multiply-accumulates, time and damage, and better in one.</p>\n",
        esc(&ranking.objective),
        some(all.len(), "candidate", "candidates"),
    ));
    if !ranking.complete {
        text.push_str("<p>The time was over before everything was tried.</p>\n");
    }
    if let Some(quality) = quality {
        let charts: String = [Some(size), time].into_iter().flatten().map(|x| scatter(ranking, x, quality)).collect();
        text.push_str(&format!("<div class=\"charts\">\n{charts}</div>\n"));
    }
    text.push_str(&listed(outline, ranking, &axes));
    text.push_str(&made(outline, ranking));
    text.push_str("</section>\n");
    text
}

/// Metrics on data that candidates have, those that compare with the original first.
fn qualities(candidates: &[RankedCandidate]) -> Vec<&str> {
    let on_data = |f: &&Figure| Metric::find(&f.metric).is_some_and(|m| m.basis() == Basis::Data);
    let mut metrics: Vec<&str> = Vec::new();
    for figure in candidates.iter().flat_map(|c| &c.figures).filter(on_data) {
        if !metrics.contains(&figure.metric.as_str()) {
            metrics.push(&figure.metric);
        }
    }
    let of_labels = |m: &&str| m.ends_with("-drop") || m.ends_with("-increase");
    metrics.sort_by_key(|m| (!of_labels(m), *m != "agreement"));
    metrics
}

/// What was chosen, for all profiles or for each.
fn chosen(ranking: &Ranking) -> String {
    let one = |choice: &Choice| {
        let whom = choice.profile.as_ref().map(|p| format!(" for {}", name(p))).unwrap_or_default();
        let next = choice.runner_up.as_ref().map(|r| format!("; runner-up {}", name(r))).unwrap_or_default();
        let nearest = choice.nearest.as_ref().map(|n| format!(" The nearest is {}", name(n))).unwrap_or_default();
        let binding = choice.binding.as_ref().map(|m| format!(": {}", esc(&missed(m)))).unwrap_or_default();
        match &choice.winner {
            Some(winner) => format!("<p>The winner{whom} is {}{next}.</p>\n", name(winner)),
            None => format!("<p>No candidate keeps every budget{whom}.{nearest}{binding}</p>\n"),
        }
    };
    let all: String = ranking.choices.iter().map(one).collect();
    match (all.is_empty(), &ranking.winner) {
        (false, _) => all,
        (true, Some(winner)) => format!("<p>The winner is {}.</p>\n", name(winner)),
        (true, None) => "<p>No candidate keeps every budget.</p>\n".into(),
    }
}

/// Why a candidate is not in the running, or the budget that it misses most.
fn note(candidate: &RankedCandidate) -> String {
    let refused = candidate.refused.clone();
    refused.or_else(|| candidate.misses.first().map(missed)).unwrap_or_default()
}

fn missed(miss: &Miss) -> String {
    format!("{} of {} is {}, asked for is {}", miss.metric, miss.profile, miss.found, miss.limit)
}

const WIDTH: f64 = 360.0;
const HIGH: f64 = 250.0;
/// Left, top, right, bottom.
const FRAME: [f64; 4] = [62.0, 16.0, 346.0, 206.0];

fn scatter(ranking: &Ranking, x: Axis<'_>, y: Axis<'_>) -> String {
    let [left, top, right, bottom] = FRAME;
    let points: Vec<(usize, &Figure, &Figure)> =
        ranking.candidates.iter().enumerate().filter_map(|(i, c)| Some((i, x.figure(c)?, y.figure(c)?))).collect();
    if points.len() < 2 {
        return String::new();
    }
    let across = Scale::over(points.iter().map(|p| p.1.value), [left, right]);
    let up = Scale::over(points.iter().flat_map(|p| p.2.bounds()), [bottom, top]);
    let mut drawn = String::new();
    for tick in across.ticks() {
        let at = px(across.at(tick));
        let label = esc(&quantity(tick, &points[0].1.unit, None));
        drawn.push_str(&format!(
            "<path class=\"grid\" d=\"M{at} {top}V{bottom}\"/><text class=\"tick\" x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{label}</text>\n",
            px(bottom + 16.0)
        ));
    }
    for level in levels(up, [left, right], &points[0].2.unit) {
        drawn.push_str(&level);
        drawn.push('\n');
    }
    let places: Vec<[f64; 2]> = points.iter().map(|(_, fx, fy)| [across.at(fx.value), up.at(fy.value)]).collect();
    let mut labels = Labels::around(&places);
    for (i, fx, fy) in &points {
        let candidate = &ranking.candidates[*i];
        let (cx, cy) = (across.at(fx.value), up.at(fy.value));
        let whisker = fy.interval.map_or_else(String::new, |[low, high]| {
            format!("<path class=\"whisker\" d=\"M{0} {1}V{2}\"/>", px(cx), px(up.at(low)), px(up.at(high)))
        });
        let won = ranking.winner.as_ref() == Some(&candidate.recipe.name);
        let mark = if won {
            format!("<path class=\"bar-of-mark\" d=\"M{} {}H{}\"/>", px(cx - 12.0), px(cy), px(cx + 12.0))
        } else {
            String::new()
        };
        let kind = if candidate.front { "front" } else { "beaten" };
        let radius = if won { 7 } else { 5 };
        drawn.push_str(&format!(
            "<g class=\"point {kind} {}\"><title>{}</title>{whisker}<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\"/>{mark}{}</g>\n",
            class(&candidate.verdict),
            esc(&candidate.recipe.name),
            px(cx),
            px(cy),
            labels.of([cx, cy], i + 1),
        ));
    }
    let better = if y.higher { "higher" } else { "lower" };
    let (x_name, y_name) = (esc(x.metric), esc(y.metric));
    format!(
        "<figure>\n<svg class=\"scatter\" viewBox=\"0 0 {WIDTH} {HIGH}\" role=\"img\" aria-label=\"{x_name} across and {y_name} upwards, one mark for each candidate; the table holds all values.\">\n\
         {drawn}<text class=\"axis\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">{x_name} →</text>\n</svg>\n\
         <figcaption>{y_name} ({better} is better) against {x_name}. Numbers are ranks; the bar is the winner's mark; whiskers are 95&nbsp;% intervals.</figcaption>\n</figure>\n",
        px(bottom + 36.0),
    )
}

/// Numbers beside points, each where nothing else is yet; where there is no room it is left out, and the point's title tells.
struct Labels {
    taken: Vec<[f64; 2]>,
}

impl Labels {
    fn around(points: &[[f64; 2]]) -> Self {
        Self { taken: points.to_vec() }
    }

    fn of(&mut self, [x, y]: [f64; 2], number: usize) -> String {
        /// Of the middle of a number from its point: to the right, to the left, above, below.
        const BESIDE: [[f64; 2]; 6] =
            [[12.0, -9.0], [-12.0, -9.0], [12.0, 10.0], [-12.0, 10.0], [0.0, -15.0], [0.0, 16.0]];
        let free = |[a, b]: [f64; 2]| self.taken.iter().all(|[p, q]| (a - p).abs() > 10.0 || (b - q).abs() > 9.0);
        let Some(at) = BESIDE.into_iter().map(|[dx, dy]| [x + dx, y + dy]).find(|at| free(*at)) else {
            return String::new();
        };
        self.taken.push(at);
        format!("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{number}</text>", px(at[0]), px(at[1] + 4.0))
    }
}

fn listed(outline: &mut Outline, ranking: &Ranking, axes: &[Axis<'_>]) -> String {
    let row = |(i, c): (usize, &RankedCandidate)| {
        let show = |axis: &Axis<'_>| {
            let figure = axis.figure(c);
            let text = figure.map_or_else(
                || "–".into(),
                |f| {
                    let show = |x| quantity(x, &f.unit, None);
                    let interval = f.interval.map(|[a, b]| format!(" ({} … {})", show(a), show(b))).unwrap_or_default();
                    format!("{}{interval}", show(f.value))
                },
            );
            format!("<td class=\"num\">{}</td>", esc(&text))
        };
        let figures: String = axes.iter().map(show).collect();
        format!(
            "<tr><th scope=\"row\">{}. {}</th><td>{}</td>{figures}<td>{}</td><td>{}</td></tr>\n",
            i + 1,
            breaking(&c.recipe.name),
            badge(&c.verdict),
            if c.front { "unbeaten" } else { "" },
            prose(&note(c)),
        )
    };
    let all: Vec<String> = ranking.candidates.iter().enumerate().map(row).collect();
    let mut head = vec!["candidate", "verdict"];
    head.extend(axes.iter().map(|a| a.metric));
    head.extend(["front", "note"]);
    let (best, rest) = all.split_at(all.len().min(BEST));
    let caption = format!("Candidates, best first by {}", ranking.objective);
    let mut text = table(outline, &caption, "candidates", &head, &best.concat());
    if !rest.is_empty() {
        let shown = &rest[..rest.len().min(LISTED)];
        let table = table(outline, "Candidates further behind", "candidates", &head, &shown.concat());
        let summary = format!("{} of {} candidates further behind", shown.len(), rest.len());
        text.push_str(&format!("<details><summary>{summary}</summary>\n{table}</details>\n"));
    }
    text
}

/// What the passes of the winner did, or of the best where nothing won.
fn made(outline: &mut Outline, ranking: &Ranking) -> String {
    let winner = ranking.winner.as_ref().and_then(|name| ranking.candidate(name));
    let Some(best) = winner.or(ranking.candidates.first()) else { return String::new() };
    let did: Vec<&PassRecord> = best.passes.iter().filter(|p| p.outcome != "nothing to do").collect();
    if did.is_empty() {
        return String::new();
    }
    let row = |p: &&PassRecord| {
        let [nodes, size] = [p.nodes.map(count), p.bytes.map(bytes)]
            .map(|[before, after]| if before == after { after } else { format!("{before} → {after}") });
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"num\">{nodes}</td><td class=\"num\">{size}</td><td>{}</td></tr>\n",
            name(&p.pass),
            prose(&p.outcome),
            some(p.reasons.len(), "change", "changes"),
        )
    };
    let rows: String = did.iter().map(row).collect();
    let caption = format!("How {} was made", best.recipe.name);
    let table = table(outline, &caption, "passes", &["pass", "outcome", "nodes", "bytes", "changes"], &rows);
    format!(
        "<details><summary>{} that made it</summary>\n{table}</details>\n",
        some(best.passes.len(), "pass", "passes")
    )
}
