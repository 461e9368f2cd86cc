//! How long what runs today will do.

use plimsoll_record::{Forecast, Report};

use super::{
    Outline, table,
    text::{name, prose},
};
use crate::render::forecast::{COLUMNS, note, row};

pub(super) fn section(outline: &mut Outline, report: &Report) -> String {
    if report.forecast.is_empty() {
        return String::new();
    }
    let line = |forecast: &Forecast| {
        let [profile, rest @ ..] = row(forecast);
        let cells = rest.map(|cell| format!("<td>{}</td>", name(&cell))).concat();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>\n", name(&profile))
    };
    let rows: String = report.forecast.iter().map(line).collect();
    let notes: String = report.forecast.iter().map(|f| format!("<li>{}</li>\n", prose(&note(f)))).collect();
    let title = outline.section("How long it lasts");
    let table = table(outline, "Forecasts", "forecast", &COLUMNS, &rows);
    format!(
        "{title}{table}<details><summary>How this was worked out</summary>\n<ul>\n{notes}</ul>\n</details>\n</section>\n"
    )
}
