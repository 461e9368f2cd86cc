//! Forecasts in words, for whatever draws a table of them.

use plimsoll_profile::Unit;
use plimsoll_record::Forecast;

/// The columns of a table of forecasts.
pub(super) const COLUMNS: [&str; 5] = ["profile", "what", "lasts for", "until", "rests on"];

/// One forecast, as a row of the table.
pub(super) fn row(forecast: &Forecast) -> [String; 5] {
    let until = forecast.until.as_ref().map(|until| match &until.interval {
        Some([early, late]) if early != late => format!("{} ({early} … {late})", until.day),
        _ => until.day.clone(),
    });
    [
        forecast.profile.clone(),
        forecast.subject.clone(),
        // What is counted is known: nothing uses it up.
        lasts(forecast).unwrap_or_else(|| if forecast.basis == "counted" { "no end" } else { "not known" }.into()),
        until.unwrap_or_else(|| "–".into()),
        if forecast.value.is_some() || forecast.basis == "counted" { forecast.basis.clone() } else { "–".into() },
    ]
}

/// How it was worked out, or why there is nothing to tell.
pub(super) fn note(forecast: &Forecast) -> String {
    format!("{} of {}: {}", forecast.subject, forecast.profile, forecast.method)
}

fn lasts(forecast: &Forecast) -> Option<String> {
    let show = |x: f64| match forecast.unit.as_str() {
        "s" => Unit::Seconds.show(x, None),
        _ => Unit::Count.show(x, None),
    };
    let unit = if forecast.unit == "s" { String::new() } else { format!(" {}", forecast.unit) };
    let value = show(forecast.value?);
    Some(match forecast.interval.map(|ends| ends.map(show)) {
        Some([low, high]) if low != high => format!("{value}{unit} ({low} … {high})"),
        _ => format!("{value}{unit}"),
    })
}
