//! Budgets as hulls against one waterline, a figure and a table for each profile.

use plimsoll_record::{Report, Verdict};

use super::{
    Outline,
    freeboard::{Freeboard, Standing, standings},
    head::{class, word_badge},
    table,
    text::{breaking, esc, name, px, some},
};
use crate::render::evidence::Sources;

/// Where the water is in the drawing of a hull, which is `HEIGHT` high.
const WATER: f64 = 84.0;
const HEIGHT: f64 = 132.0;
/// How high a mark with all its freeboard stands above the water.
const REACH: f64 = 42.0;
/// The lowest that a mark is drawn, in freeboard: the deck is awash.
const DEEPEST: f64 = -0.62;

pub(super) fn section(outline: &mut Outline, report: &Report) -> String {
    if report.rows.is_empty() {
        return String::new();
    }
    let mut profiles: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !profiles.contains(&row.profile.as_str()) {
            profiles.push(&row.profile);
        }
    }
    let sources = Sources::of(&report.rows);
    let mut text = outline.section("Load lines");
    for profile in profiles {
        let rows = standings(report.rows.iter().filter(|r| r.profile == profile));
        text.push_str(&outline.below(&name(profile)));
        text.push_str(&fleet(profile, &rows));
        text.push_str(&details(outline, profile, &rows, &sources));
    }
    text.push_str("</section>\n");
    text
}

/// The hulls of a profile. What they show is said in one sentence for those who do not see them, and row by row in the table.
fn fleet(profile: &str, rows: &[Standing<'_>]) -> String {
    let afloat: Vec<&Standing<'_>> = rows.iter().filter(|s| !matches!(s.row.verdict, Verdict::Skipped(_))).collect();
    if afloat.is_empty() {
        return String::new();
    }
    let count = |verdict: &Verdict| afloat.iter().filter(|s| s.row.verdict == *verdict).count();
    let lowest = afloat.iter().filter_map(|s| Some((s, s.freeboard?))).min_by(|a, b| a.1.at.total_cmp(&b.1.at));
    let lowest = lowest.map_or_else(String::new, |(s, f)| format!(" Lowest: {}, {}.", s.row.metric, f.words()));
    let label = format!(
        "{} of {profile} against the waterline: {} above, {} below, {} not settled.{lowest} The table has each of them.",
        some(afloat.len(), "budget", "budgets"),
        count(&Verdict::Pass),
        count(&Verdict::Fail),
        count(&Verdict::Inconclusive),
    );
    let hulls: String = afloat.iter().map(|s| vessel(s)).collect();
    format!("<div class=\"fleet\" role=\"img\" aria-label=\"{}\">\n{hulls}</div>\n", esc(&label))
}

fn vessel(s: &Standing<'_>) -> String {
    let row = s.row;
    let settled = match &row.verdict {
        Verdict::Inconclusive => "open",
        verdict => class(verdict),
    };
    let waived = if row.is_waived() { ", waived" } else { "" };
    let words = s.freeboard.map_or_else(|| "no figure".to_owned(), Freeboard::words) + waived;
    let before = if row.loosened.is_some() { ", before this change" } else { "" };
    format!(
        "<div class=\"vessel {settled}\">{}<div class=\"name\">{}</div><div class=\"limit\">{}{before}</div><div class=\"margin\">{words}</div></div>\n",
        hull(s.freeboard),
        breaking(&row.metric),
        name(&row.limit),
    )
}

/// A hull from ahead, drawn so that its mark is as far above the water as the budget has freeboard; an empty sea where nothing is known.
fn hull(freeboard: Option<Freeboard>) -> String {
    let y = |at: f64| WATER - at.clamp(DEEPEST, 1.0) * REACH;
    let ship = freeboard.map_or_else(String::new, |f| {
        let mark = y(f.at);
        // Deck, keel and the turn of the bilge, as heights below the mark.
        let [top, deck, turn, keel] = [-22.0, -16.0, 26.0, 42.0].map(|below| px(mark + below));
        let [bridge, mast] = [-30.0, -39.0].map(|below| px(mark + below));
        let body = format!("M22 {top}Q48 {deck} 74 {top}L71 {turn}Q70 {keel} 56 {keel}H40Q26 {keel} 25 {turn}Z");
        let house = format!("M37 {deck}L39 {bridge}H57L59 {deck}M48 {bridge}V{mast}");
        let whisker = f.ends.map_or_else(String::new, |[low, high]| {
            let (a, b) = (px(y(high)), px(y(low)));
            format!("<path class=\"whisker\" d=\"M84 {a}V{b}M80 {a}H88M80 {b}H88\"/>")
        });
        format!(
            "<path class=\"house\" d=\"{house}\"/><path class=\"hull\" d=\"{body}\"/><g class=\"mark\"><circle cx=\"48\" cy=\"{0}\" r=\"8\"/><path d=\"M34 {0}H62\"/></g>{whisker}",
            px(mark)
        )
    });
    format!(
        "<svg viewBox=\"0 0 96 {HEIGHT}\" preserveAspectRatio=\"xMidYMid meet\" aria-hidden=\"true\" focusable=\"false\">{ship}\
         <path class=\"water\" d=\"M-999 {WATER}H999V{HEIGHT}H-999z\"/><path class=\"line\" d=\"M-999 {WATER}H999\"/></svg>"
    )
}

fn details(outline: &mut Outline, profile: &str, rows: &[Standing<'_>], sources: &Sources<'_>) -> String {
    let line = |s: &Standing<'_>| {
        let row = s.row;
        let found = match &row.verdict {
            Verdict::Skipped(reason) => esc(reason),
            _ => format!("{}{}", name(&row.found), esc(&sources.mark(row))),
        };
        let before = if row.loosened.is_some() { " <span class=\"of\">before this change</span>" } else { "" };
        let freeboard = s.freeboard.map_or_else(|| "–".into(), Freeboard::short);
        let cells = [
            ("verdict", word_badge(row)),
            ("limit", name(&row.limit)),
            ("found", found),
            ("freeboard", freeboard),
            (
                "set at",
                format!("<code>{}</code>{before}", breaking(&format!("{}:{}", row.source.file, row.source.line))),
            ),
        ];
        // Where the table is a list of cards, a cell brings its head along; the roles keep it a table for those who hear it.
        let cell = |(head, text): (&str, String)| format!("<td role=\"cell\" data-head=\"{head}\">{text}</td>");
        let cells: String = cells.into_iter().map(cell).collect();
        format!("<tr role=\"row\"><th scope=\"row\" role=\"rowheader\">{}</th>{cells}</tr>\n", breaking(&row.metric))
    };
    let body: String = rows.iter().map(line).collect();
    let head = ["metric", "verdict", "limit", "found", "freeboard", "set at"];
    let open = rows.iter().any(|s| matches!(s.row.verdict, Verdict::Fail | Verdict::Inconclusive));
    let table = table(outline, &format!("Budgets of {profile}"), "budgets", &head, &body);
    let state = if open { " open" } else { "" };
    format!(
        "<details{state}><summary>{}, in figures</summary>\n{table}</details>\n",
        some(rows.len(), "budget", "budgets")
    )
}
