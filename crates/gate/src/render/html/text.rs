//! Text that cannot leave its place in a page, and numbers as people read them.
//!
//! Names in models and files are somebody else's: they may hold tags, quotes, marks that turn the direction of writing, or ten
//! thousand characters. Whatever comes from outside goes through [`esc`] or [`name`].

use plimsoll_profile::{Metric, Unit};

/// Characters of a text from outside that are shown, at most; the JSON documents hold all of them.
const LONGEST: usize = 240;
/// Of a longer one, so many of its end.
const TAIL: usize = 60;

/// Text for the content of an element or a quoted attribute.
pub(super) fn esc(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in shortened(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(' '),
            // Marks that change what the text around them looks like are shown, not obeyed.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
                safe.push_str(&format!("‹U+{:04X}›", c as u32));
            }
            c if c.is_control() || matches!(c as u32 & 0xffff, 0xfffe | 0xffff) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

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

/// The beginning and the end of a text that is too long.
fn shortened(text: &str) -> String {
    let n = text.chars().count();
    if n <= LONGEST {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST - TAIL).collect();
    let tail: String = text.chars().skip(n - TAIL).collect();
    format!("{head} … {tail} ({n} characters)")
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
    fn marks_of_direction_and_tags_are_shown_as_text() {
        assert_eq!(esc("a<b>\"'&"), "a&lt;b&gt;&quot;&#39;&amp;");
        assert_eq!(esc("x\u{202e}txt.exe"), "x‹U+202E›txt.exe");
        assert_eq!(esc("a\u{1b}[2J\u{0}\u{ffff}\nb"), "a\u{fffd}[2J\u{fffd}\u{fffd} b");
    }

    #[test]
    fn what_stands_in_backquotes_is_code_and_a_single_one_is_none() {
        assert_eq!(prose("use `prune <x>`"), "use <code><bdi>prune &lt;x&gt;</bdi></code>");
        assert_eq!(prose("a ` b <"), "a ` b &lt;");
    }

    #[test]
    fn a_name_of_ten_thousand_characters_is_cut_and_says_so() {
        let long = esc(&"ä<".repeat(5_000));
        assert!(long.ends_with("(10000 characters)") && long.chars().count() < 1_000, "{long}");
        assert_eq!(esc(&"x".repeat(LONGEST)).len(), LONGEST);
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
