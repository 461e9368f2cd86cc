//! The report as one page that needs nothing else: no network, no script, no font of its own.
//!
//! Its idea is that of the mark that the project is named after. Every budget is a hull, and its limit is the line through the mark: as
//! long as the mark is above the water the model may sail, and how far above it is says how much may be added.
//!
//! A page is a pure function of documents ([`Page`]): the same documents give the same bytes. It shows whatever metrics, units and
//! profiles they name, so that a new budget needs no change here. Each file of this folder draws one section and knows its own
//! document alone; all text from outside goes through [`text`], and a policy in the head forbids whatever would be loaded.

mod candidates;
mod chart;
mod counted;
mod endpoints;
mod forecast;
mod freeboard;
mod head;
mod leaderboard;
mod loads;
mod moved;
mod nodes;
mod sensitivity;
mod sources;
mod text;
mod trend;

use plimsoll_record::{Check, Fault, Inspection, NodeSensitivity, Ranking, Report};

use self::text::{esc, name, prose};
pub use leaderboard::leaderboard;

/// What is known of a model besides its report.
#[derive(Debug, Clone, Default)]
pub struct Anatomy {
    /// What each of its nodes costs.
    pub model: Option<Inspection>,
    /// The same of the model that it is compared with.
    pub baseline: Option<Inspection>,
    /// What quantizing each node does to the outputs, the most damaging first.
    pub sensitivity: Vec<NodeSensitivity>,
}

/// Everything that a page shows.
#[derive(Debug, Clone, Copy)]
pub struct Page<'p> {
    /// What was checked.
    pub check: &'p Check,
    /// Of each report, in the same order, what else is known of the model; where there is less, the rest is left out.
    pub anatomies: &'p [Anatomy],
    /// The candidates that the model of the first report was chosen from.
    pub ranking: Option<&'p Ranking>,
}

/// The page, as HTML.
pub fn html(page: &Page<'_>) -> String {
    let mut outline = Outline::default();
    // A report alone is the page; among others each says whose it is.
    let several = page.check.reports.len() + page.check.faults.len() > 1;
    let mut body = faults(&mut outline, &page.check.faults);
    let mut overview = Vec::new();
    for (i, report) in page.check.reports.iter().enumerate() {
        if several {
            let title = format!("{}: {}", report.verdict, report.model);
            body.push_str(&outline.open(&title, &format!("{} {}", head::badge(&report.verdict), name(&report.model))));
            overview.push(head::overview_row(report, outline.titles.len()));
            (outline.depth, outline.parent) = (1, outline.titles.len());
        }
        body.push_str(&sections(&mut outline, page, i, report));
        if several {
            outline.depth = 0;
            body.push_str("</section>\n");
        }
    }
    if page.check.reports.is_empty()
        && let Some(ranking) = page.ranking
    {
        body.push_str(&candidates::section(&mut outline, ranking));
    }
    body.push_str(&unchecked(&mut outline, page.check));
    if !overview.is_empty() {
        body.insert_str(0, &head::overview(&mut outline, &overview.concat()));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n{}<body>\n<a class=\"skip\" href=\"#content\">Skip to the report</a>\n{}{}\
         <main id=\"content\">\n{body}</main>\n{}</body>\n</html>\n",
        head::document(&head::title(page.check)),
        head::masthead(page.check),
        outline.navigation(),
        head::FOOTER,
    )
}

fn sections(outline: &mut Outline, page: &Page<'_>, i: usize, report: &Report) -> String {
    let (anatomy, ranking) = (page.anatomies.get(i), page.ranking.filter(|_| i == 0));
    let mut text = head::attention(outline, report, page.check.inconclusive_warns);
    text.push_str(&loads::section(outline, report));
    text.push_str(&moved::section(outline, report, anatomy));
    text.push_str(&ranking.map(|r| candidates::section(outline, r)).unwrap_or_default());
    text.push_str(&nodes::section(outline, anatomy));
    text.push_str(&anatomy.map(|a| sensitivity::section(outline, &a.sensitivity)).unwrap_or_default());
    text.push_str(&endpoints::section(outline, &report.endpoints));
    text.push_str(&trend::section(outline, report));
    text.push_str(&forecast::section(outline, report));
    text.push_str(&sources::section(outline, report));
    text
}

/// What could not be checked.
fn faults(outline: &mut Outline, faults: &[Fault]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let one = |f: &Fault| {
        let place = match (f.file.as_str(), f.line) {
            ("", _) => String::new(),
            (file, 0) => format!(" <span class=\"at\">{}</span>", text::code(file)),
            (file, line) => {
                format!(" <span class=\"at\">{}</span>", text::code(&format!("{file}:{line}:{}", f.column)))
            }
        };
        let help = if f.help.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>", prose(&f.help)) };
        format!("<li class=\"fail\"><strong>{}</strong>: {}{place}{help}</li>\n", name(&f.target), prose(&f.message))
    };
    let list: String = faults.iter().map(one).collect();
    format!("{}<ul class=\"attention\">\n{list}</ul>\n</section>\n", outline.section("What cannot be checked"))
}

/// Specs that were not looked at, and those that are gone.
fn unchecked(outline: &mut Outline, check: &Check) -> String {
    let lists = [
        ("Removed, so that no budget holds their models any more", &check.removed),
        ("Unchanged, not checked", &check.unchanged),
    ];
    let list = |(what, specs): (&str, &Vec<String>)| {
        let items: String = specs.iter().map(|s| format!("<li>{}</li>\n", name(s))).collect();
        if specs.is_empty() { String::new() } else { format!("<p>{what}:</p>\n<ul>\n{items}</ul>\n") }
    };
    let text: String = lists.into_iter().map(list).collect();
    if text.is_empty() { text } else { format!("{}{text}</section>\n", outline.section("Other specs")) }
}

/// The headings so far: they make the navigation, and their levels skip none.
#[derive(Default)]
pub(super) struct Outline {
    /// How many sections are open around the next.
    depth: usize,
    /// The section around it.
    parent: usize,
    titles: Vec<(usize, String)>,
    anchors: usize,
}

impl Outline {
    /// Opens a section with a heading.
    fn section(&mut self, title: &str) -> String {
        self.open(title, &esc(title))
    }

    /// The same, with a heading that is HTML already.
    fn open(&mut self, title: &str, heading: &str) -> String {
        self.titles.push((self.depth, title.to_owned()));
        let (id, level) = (self.titles.len(), self.level());
        // Sections of the same title in several reports are told apart by the report's.
        let of = if self.depth > 0 { format!(" s{}", self.parent) } else { String::new() };
        format!(
            "<section aria-labelledby=\"s{id}{of}\">\n<h{level} id=\"s{id}\" tabindex=\"-1\">{heading}</h{level}>\n"
        )
    }

    /// A heading below that of the section.
    fn below(&self, heading: &str) -> String {
        let level = self.level() + 1;
        format!("<h{level}>{heading}</h{level}>\n")
    }

    fn level(&self) -> usize {
        2 + self.depth
    }

    /// An id that no other element has.
    fn anchor(&mut self) -> String {
        self.anchors += 1;
        format!("a{}", self.anchors)
    }

    /// Links to the sections; of several reports to the reports alone.
    fn navigation(&self) -> String {
        let outer = self.titles.iter().enumerate().filter(|(_, (depth, _))| *depth == 0);
        let link = |(i, (_, title)): (usize, &(usize, String))| {
            format!("<li><a href=\"#s{}\">{}</a></li>\n", i + 1, name(title))
        };
        let links: String = outer.map(link).collect();
        format!("<nav aria-label=\"Sections\">\n<ul>\n{links}</ul>\n</nav>\n")
    }
}

/// A table that may be wider than the page: it scrolls by itself, and the keyboard reaches it.
pub(super) fn table(outline: &mut Outline, caption: &str, class: &str, head: &[&str], rows: &str) -> String {
    let heads: String =
        head.iter().map(|h| format!("<th scope=\"col\" role=\"columnheader\">{}</th>", esc(h))).collect();
    let id = outline.anchor();
    format!(
        "<div class=\"scroll\" role=\"group\" aria-labelledby=\"{id}\" tabindex=\"0\">\n<table class=\"{class}\" role=\"table\">\n\
         <caption id=\"{id}\">{}</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">{heads}</tr></thead>\n<tbody role=\"rowgroup\">\n{rows}</tbody>\n</table>\n</div>\n",
        esc(caption)
    )
}

#[cfg(test)]
mod tests;
