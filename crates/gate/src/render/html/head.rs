//! The head of the page: what the browser needs to know, the verdict with its mark, and what stands in the way.

use plimsoll_record::{Check, Report, Row, Verdict};

use super::{
    Outline,
    freeboard::{Freeboard, Standing, standings},
    table,
    text::{breaking, code, esc, name, prose, px, some},
};
use crate::render::{
    comment::summary,
    severity::{Severity, sentences},
    tally, word,
};

const STYLE: &str = include_str!("style.css");

/// Below everything.
pub(super) const FOOTER: &str = "<footer>\n<p>A hull is a budget. While the line through its mark is above the water the budget is kept; \
    its <dfn>freeboard</dfn> is the share of the limit that is left. The whisker beside the mark is the 95&nbsp;% interval of the \
    figure, and all of it has to be on one side of the water: what straddles it is inconclusive. This page holds everything that it \
    shows and loads nothing.</p>\n</footer>\n";

/// The title of a page of reports.
pub(super) fn title(check: &Check) -> String {
    match check.reports.as_slice() {
        [one] if check.faults.is_empty() => format!("{}: {}", one.verdict, one.model),
        _ => summary(check),
    }
}

/// The `head` element.
pub(super) fn document(title: &str) -> String {
    // Nothing may be loaded; without an icon of its own the page would be asked for one.
    format!(
        "<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n",
        esc(title)
    )
}

/// The verdict, and the mark of what floats lowest.
pub(super) fn masthead(check: &Check) -> String {
    let verdict = if check.faults.is_empty() { &check.verdict } else { &Verdict::Fail };
    let (title, sub) = match check.reports.as_slice() {
        [one] if check.faults.is_empty() => {
            let digest: String = one.model_digest.chars().take(19).collect();
            (name(&one.model), format!("{}. Model {}.", esc(&tally(&one.rows)), code(&digest)))
        }
        reports => {
            let title = summary(check);
            let what = title.split_once(" (").map_or(title.as_str(), |(_, rest)| rest.trim_end_matches(')'));
            (esc(what), format!("{}.", esc(&tally(reports.iter().flat_map(|r| &r.rows)))))
        }
    };
    // What floats says nothing where something could not be checked.
    let lowest = lowest(check.reports.iter().flat_map(|r| &r.rows)).filter(|_| check.faults.is_empty());
    let lowest_words = lowest.map_or_else(String::new, |(row, freeboard)| {
        format!(
            "<p class=\"lowest\">Floats lowest: <strong>{}</strong> of {}, {}, {}.</p>\n",
            breaking(&row.metric),
            name(&row.profile),
            name(&row.limit),
            freeboard.words(),
        )
    });
    let skipped = match &check.verdict {
        Verdict::Skipped(reason) => format!("<p>{}.</p>\n", esc(reason)),
        _ => String::new(),
    };
    format!(
        "<header class=\"{}\">\n<div class=\"masthead\">\n<div class=\"words\">\n<p class=\"kicker\">Plimsoll report</p>\n<h1><span class=\"verdict\">{}</span> \
         <span class=\"model\">{title}</span></h1>\n<p>{sub}</p>\n{skipped}{lowest_words}</div>\n{}</div>\n</header>\n",
        class(verdict),
        esc(&capital(&verdict.to_string())),
        emblem(lowest.map(|(_, f)| f), verdict)
    )
}

/// The decisive row that is settled and floats lowest.
fn lowest<'r>(rows: impl Iterator<Item = &'r Row>) -> Option<(&'r Row, Freeboard)> {
    let decisive = rows.filter(|r| r.level != "warn" && !r.is_waived());
    let settled = decisive.filter(|r| matches!(r.verdict, Verdict::Pass | Verdict::Fail));
    let floating = settled.filter_map(|r| Some((r, Freeboard::of(r.load.as_ref()?)?)));
    floating.min_by(|a, b| a.1.at.total_cmp(&b.1.at))
}

/// One report of several: where it stands, and where it is told.
pub(super) fn overview_row(report: &Report, section: usize) -> String {
    let lowest = lowest(report.rows.iter()).map_or_else(
        || "–".into(),
        |(row, freeboard)| format!("{} of {}, {}", breaking(&row.metric), name(&row.profile), freeboard.words()),
    );
    format!(
        "<tr><th scope=\"row\"><a href=\"#s{section}\">{}</a></th><td>{}</td><td>{}</td><td>{lowest}</td></tr>\n",
        breaking(&report.model),
        badge(&report.verdict),
        esc(&tally(&report.rows)),
    )
}

/// All reports at a glance.
pub(super) fn overview(outline: &mut Outline, rows: &str) -> String {
    let table =
        table(outline, "Models that were checked", "overview", &["model", "verdict", "budgets", "floats lowest"], rows);
    format!("<section aria-labelledby=\"overview\">\n<h2 id=\"overview\">At a glance</h2>\n{table}</section>\n")
}

/// The mark on the side of a hull, as high above the water as what floats lowest. The sea goes on over the whole width of the page.
fn emblem(lowest: Option<Freeboard>, verdict: &Verdict) -> String {
    const WATER: f64 = 132.0;
    const REACH: f64 = 62.0;
    let unknown = if matches!(verdict, Verdict::Fail) { -0.3 } else { 0.5 };
    let height = px(lowest.map_or(unknown, |f| f.at.clamp(-0.5, 1.0)) * -REACH);
    format!(
        "<svg class=\"emblem\" viewBox=\"0 0 280 190\" aria-hidden=\"true\" focusable=\"false\">\n\
         <g transform=\"translate(0 {height})\"><path class=\"plate\" d=\"M4 88C90 98 200 92 276 62C268 130 246 190 214 330H10Z\"/>\
         <path class=\"seam\" d=\"M6 108C90 116 196 112 271 86M8 178H250M9 218H238\"/>\
         <g class=\"mark\"><circle cx=\"104\" cy=\"{WATER}\" r=\"26\"/><path d=\"M58 {WATER}H150\"/>\
         <path class=\"ladder\" d=\"M172 113V153M172 113H190M172 {WATER}H190M172 142H190M172 153H190\"/></g></g>\n\
         <path class=\"water\" d=\"M-3000 {WATER}H3000V190H-3000z\"/><path class=\"line\" d=\"M-3000 {WATER}H3000\"/></svg>\n"
    )
}

/// What blocks, and what only warns, each with the line that set its limit.
pub(super) fn attention(outline: &mut Outline, report: &Report, inconclusive_warns: bool) -> String {
    let rows = standings(&report.rows);
    let of = |row: &Row| Severity::of(row, inconclusive_warns);
    let (blocks, rest): (Vec<_>, Vec<_>) =
        rows.iter().filter(|s| of(s.row).is_some()).partition(|s| of(s.row) == Some(Severity::Error));
    let mut text = String::new();
    if !blocks.is_empty() {
        text.push_str(&outline.section("What stands in the way"));
        text.push_str(&list(&blocks));
        text.push_str("</section>\n");
    }
    if !rest.is_empty() {
        text.push_str(&outline.section("Warnings and notes"));
        let summary = some(rest.len(), "budget that blocks nothing", "budgets that block nothing");
        text.push_str(&format!("<details><summary>{summary}</summary>\n{}</details>\n</section>\n", list(&rest)));
    }
    // Of one report alone the masthead says so.
    if let Verdict::Skipped(reason) = &report.verdict
        && outline.depth > 0
    {
        text.push_str(&format!("<p>{}.</p>\n", esc(reason)));
    }
    text
}

fn list(rows: &[&Standing<'_>]) -> String {
    let one = |s: &&Standing<'_>| {
        let row = s.row;
        let lines: String =
            sentences(row).iter().map(|line| format!("<p class=\"note\">{}</p>\n", prose(line))).collect();
        let source = &row.source;
        let freeboard = s.freeboard.map(|f| format!(", {}", f.words())).unwrap_or_default();
        format!(
            "<li class=\"{}\">\n<p>{} <strong>{}</strong> <span class=\"of\">of {}{freeboard}</span></p>\n{lines}<p class=\"set\"><span class=\"at\">{}</span> \
             <code class=\"source\">{}</code></p>\n</li>\n",
            class(&row.verdict),
            word_badge(row),
            breaking(&row.metric),
            name(&row.profile),
            code(&format!("{}:{}:{}", source.file, source.line, source.column)),
            name(source.text.trim()),
        )
    };
    format!("<ul class=\"attention\">\n{}</ul>\n", rows.iter().map(one).collect::<String>())
}

/// The verdict of a row, not by its colour alone.
pub(super) fn word_badge(row: &Row) -> String {
    format!("<span class=\"badge {}\">{}</span>", class(&row.counts_as()), esc(&word(row)))
}

/// A verdict, not by its colour alone.
pub(super) fn badge(verdict: &Verdict) -> String {
    format!("<span class=\"badge {}\">{}</span>", class(verdict), esc(&verdict.to_string()))
}

/// The class that colours a verdict.
pub(super) fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "open",
        Verdict::Skipped(_) => "skipped",
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
