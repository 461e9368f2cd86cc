//! Text that cannot leave its place in a page, and numbers as people read them.
//!
//! Whatever comes from outside goes through [`esc`] or [`name`].

use plimsoll_profile::{Metric, Unit};
use plimsoll_record::html::LONGEST;
pub(super) use plimsoll_record::html::esc;

/// A name from outside, kept apart from the direction of the text around it.
pub(super) fn name(text: &str) -> String {
    format!("<bdi>{}</bdi>", esc(text))
}

/// A name that may be broken after its separators, so that it fits a narrow column.
pub(super) fn breaking(text: &str) -> String {
    let mut out = String::new();
    for part in esc(text).split_inclusive(['-', '.', '/', '_', '+']) {
        out.push_str(part);
        out.push_str("<wbr>");
    }
    format!("<bdi>{out}</bdi>")
}

/// Text that is code.
pub(super) fn code(text: &str) -> String {
    format!("<code>{}</code>", name(text))
}

/// A sentence of ours, in which what stands in backquotes is code.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) || text.chars().count() > LONGEST {
        return esc(text);
    }
    let part = |(i, part): (usize, &&str)| if i % 2 == 1 { code(part) } else { esc(part) };
    parts.iter().enumerate().map(part).collect()
}

/// A value in a unit by its name, as figures carry it. `like` is a limit on it.
pub(super) fn quantity(value: f64, unit: &str, like: Option<f64>) -> String {
    // The units of all metrics, so that a new one is known here without being named.
    let known = Metric::ALL.iter().map(|m| m.unit()).find(|u| u.name() == unit);
    match known {
        // Nothing is nothing in the smallest unit too.
        Some(Unit::Seconds) if value == 0.0 => "0 s".into(),
        Some(known) => known.show(value, like),
        None if unit == "increase" => format!("{:+.1} %", value * 100.0),
        // Units that are not known here: the number with the digits that count.
        None => format!("{} {unit}", Unit::Target.show(value, None)),
    }
}

/// A count of whole things.
pub(super) fn count(n: u64) -> String {
    Unit::Count.show(n as f64, None)
}

/// Bytes.
pub(super) fn bytes(n: u64) -> String {
    Unit::Bytes.show(n as f64, None)
}

/// `1 budget`, `2 budgets`.
pub(super) fn some(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// A coordinate: one decimal, and no digits that say nothing.
pub(super) fn px(x: f64) -> String {
    let text = format!("{x:.1}");
    match text.strip_suffix(".0").unwrap_or(&text) {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_backquotes_is_code_and_a_single_one_is_none() {
        assert_eq!(prose("use `prune <x>`"), "use <code><bdi>prune &lt;x&gt;</bdi></code>");
        assert_eq!(prose("a ` b <"), "a ` b &lt;");
    }

    #[test]
    fn units_that_nobody_knows_are_still_shown() {
        assert_eq!(quantity(0.25, "share", None), "25.00 %");
        assert_eq!(quantity(0.1, "increase", None), "+10.0 %");
        assert_eq!(quantity(262_144.0, "bytes", Some(262_144.0)), "256 KiB");
        assert_eq!(quantity(12.3456, "EUR/month", None), "12.35 EUR/month");
        assert_eq!([px(-0.01), px(2.0), px(2.26)], ["0", "2", "2.3"]);
    }
}
