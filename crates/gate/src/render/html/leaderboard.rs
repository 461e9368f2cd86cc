//! Models on the same samples: their order, and how far each is from the one that has to be beaten.

use plimsoll_record::{Figure, Leaderboard, Place, Rank};

use super::{
    Outline,
    chart::Scale,
    head, table,
    text::{breaking, bytes, count, esc, name, px},
};

const WIDTH: f64 = 560.0;
const ROW: f64 = 28.0;
const LEFT: f64 = 150.0;
const RIGHT: f64 = 540.0;

/// The page, as HTML.
pub fn leaderboard(board: &Leaderboard) -> String {
    let mut outline = Outline::default();
    let beaten = board.baseline().map_or("no baseline", |b| b.model.as_str());
    let mut body = outline.section("Order");
    body.push_str(&format!(
        "<p>By {}, on the same samples. The one to beat is {}.</p>\n",
        esc(&board.metric),
        name(beaten)
    ));
    body.push_str(&listed(&mut outline, board));
    body.push_str("</section>\n");
    body.push_str(&outline.section("Beside the baseline"));
    body.push_str(&intervals(board));
    body.push_str("</section>\n");
    let title = format!("Leaderboard by {}", board.metric);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n{}<body>\n<a class=\"skip\" href=\"#content\">Skip to the report</a>\n\
         <header>\n<div class=\"masthead\">\n<div class=\"words\">\n<p class=\"kicker\">Plimsoll leaderboard</p>\n<h1>{}</h1>\n</div>\n</div>\n\
         </header>\n{}<main id=\"content\">\n{body}</main>\n</body>\n</html>\n",
        head::document(&title),
        esc(&title),
        outline.navigation(),
    )
}

fn points(share: f64) -> String {
    format!("{:.2}", share * 100.0)
}

fn interval(figure: &Figure) -> String {
    figure.interval.map_or_else(|| "–".into(), |[low, high]| format!("{} … {} pp", points(low), points(high)))
}

fn listed(outline: &mut Outline, board: &Leaderboard) -> String {
    let row = |p: &Place| {
        let loss = p.loss.as_ref();
        let missing = p.needed.map_or_else(String::new, |n| {
            format!("; about {} {} would settle it", count(n), if p.by_group { "groups" } else { "samples" })
        });
        let cells = [
            format!("{:.4}", p.figure.value),
            loss.map_or_else(|| "–".into(), |l| format!("{:+.2} pp ({})", l.value * 100.0, interval(l))),
            bytes(p.bytes),
            p.macs.map_or_else(|| "–".into(), count),
        ];
        let cells: String = cells.iter().map(|c| format!("<td class=\"num\">{}</td>", esc(c))).collect();
        let margin = if p.rank == Rank::Baseline { String::new() } else { format!(", margin {} pp", points(p.margin)) };
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}{margin}{}</td>{cells}</tr>\n",
            breaking(&p.model),
            p.rank.words(),
            esc(&missing)
        )
    };
    let rows: String = board.places.iter().map(row).collect();
    let drop = format!("{}-drop", board.metric);
    let header = ["model", "beside the baseline", &board.metric, &drop, "bytes", "MACs"];
    table(outline, "Models, the best first; intervals of 95 %", "groups", &header, &rows)
}

/// A line for each model, over its interval; left of the middle it is better.
fn intervals(board: &Leaderboard) -> String {
    let rows: Vec<(&Place, &Figure, [f64; 2])> =
        board.places.iter().filter_map(|p| Some((p, p.loss.as_ref()?, p.loss.as_ref()?.interval?))).collect();
    if rows.is_empty() {
        return "<p>There is nothing to compare.</p>\n".into();
    }
    let ends = rows.iter().flat_map(|(p, _, [low, high])| [*low, *high, p.margin, 0.0]).map(|v| v * 100.0);
    let scale = Scale::over(ends, [LEFT, RIGHT]);
    let bottom = rows.len() as f64 * ROW + 8.0;
    let grid = |tick: f64| {
        let at = px(scale.at(tick));
        format!(
            "<path class=\"grid\" d=\"M{at} 4V{0}\"/><text class=\"tick\" x=\"{at}\" y=\"{1}\" text-anchor=\"middle\">{2} pp</text>",
            px(bottom),
            px(bottom + 16.0),
            px(tick)
        )
    };
    let line = |(i, (place, loss, [low, high])): (usize, &(&Place, &Figure, [f64; 2]))| {
        let y = i as f64 * ROW + ROW / 2.0 + 4.0;
        let at = |share: f64| px(scale.at(share * 100.0));
        format!(
            "<text class=\"tick\" x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{2}</text><path class=\"shift\" d=\"M{3} {4}H{5}\"/>\
             <path class=\"shift\" d=\"M{6} {7}V{8}\"/><circle class=\"to\" cx=\"{9}\" cy=\"{4}\" r=\"4.5\"/>",
            px(LEFT - 14.0),
            px(y + 4.0),
            esc(&shortened(&place.model)),
            at(*low),
            px(y),
            at(*high),
            at(place.margin),
            px(y - 9.0),
            px(y + 9.0),
            at(loss.value),
        )
    };
    let grid: String = scale.ticks().into_iter().map(grid).collect();
    let lines: String = rows.iter().enumerate().map(line).collect();
    format!(
        "<figure>\n<svg class=\"dumbbells\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"The interval of each model's loss; the table holds the values.\">{grid}{lines}</svg>\n\
         <figcaption>The 95&nbsp;% interval of what each model loses beside the baseline. Left of 0 it is better; the short line is its margin.</figcaption>\n</figure>\n",
        px(bottom + 24.0)
    )
}

/// As much of a name as there is room for.
fn shortened(name: &str) -> String {
    const ROOM: usize = 20;
    if name.chars().count() <= ROOM { name.into() } else { name.chars().take(ROOM - 1).chain(['…']).collect() }
}
