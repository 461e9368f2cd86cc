//! How far above the water the mark of a budget is: the share of its limit that is left.
//!
//! A ship may be loaded until the line through her Plimsoll mark touches the water. Here the load is the figure: at nothing the mark
//! stands at 1, at the limit it touches the water at 0, and beyond it lies below.

use plimsoll_record::{Load, Row, Side, Verdict};

/// Where the mark of a budget is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Freeboard {
    /// Of the value.
    pub(super) at: f64,
    /// Of the interval, the lower end first.
    pub(super) ends: Option<[f64; 2]>,
}

impl Freeboard {
    /// `None` where nothing was held against the limit.
    pub(super) fn of(load: &Load) -> Option<Self> {
        let value = load.value?;
        // Where the limit is zero, its share means nothing: the figure itself is the measure.
        let span = [value].into_iter().chain(load.interval.into_iter().flatten()).map(f64::abs).fold(0.0, f64::max);
        let at = |x: f64| match (load.side, load.limit) {
            (_, 0.0) if span == 0.0 => 0.0,
            (Side::Max, 0.0) => -x / span,
            (Side::Min, 0.0) => x / span,
            (Side::Max, limit) => (limit - x) / limit.abs(),
            // What can be 1 at most.
            (Side::Min, limit) if load.unit == "share" && limit < 1.0 => (x - limit) / (1.0 - limit),
            (Side::Min, limit) if limit > 0.0 => {
                if x > 0.0 {
                    1.0 - limit / x
                } else {
                    -1.0
                }
            }
            (Side::Min, limit) => (x - limit) / limit.abs(),
        };
        let sorted = |[a, b]: [f64; 2]| if at(a) <= at(b) { [at(a), at(b)] } else { [at(b), at(a)] };
        Some(Self { at: at(value), ends: load.interval.map(sorted) })
    }

    /// In words, such as `12 % freeboard`.
    pub(super) fn words(self) -> String {
        let what = if self.at < 0.0 { "under water" } else { "freeboard" };
        format!("{} {what}", self.percent())
    }

    /// As a number, such as `-12 %`.
    pub(super) fn short(self) -> String {
        let sign = if self.at < 0.0 { "-" } else { "" };
        format!("{sign}{}", self.percent())
    }

    fn percent(self) -> String {
        let percent = self.at.abs() * 100.0;
        let digits = usize::from(percent < 9.95);
        match self.at {
            at if at > 1.0 => "over 100 %".into(),
            at if at < -10.0 => "over 1000 %".into(),
            _ => format!("{percent:.digits$} %"),
        }
    }
}

/// A row and where its mark is.
#[derive(Clone, Copy)]
pub(super) struct Standing<'r> {
    pub(super) row: &'r Row,
    pub(super) freeboard: Option<Freeboard>,
}

/// The rows, what needs attention first, then what floats lowest.
pub(super) fn standings<'r>(rows: impl IntoIterator<Item = &'r Row>) -> Vec<Standing<'r>> {
    let of = |row: &'r Row| Standing { row, freeboard: row.load.as_ref().and_then(Freeboard::of) };
    let mut all: Vec<Standing<'r>> = rows.into_iter().map(of).collect();
    all.sort_by(|a, b| {
        let height = |s: &Standing<'_>| s.freeboard.map_or(f64::INFINITY, |f| f.at);
        urgency(a.row).cmp(&urgency(b.row)).then(height(a).total_cmp(&height(b)))
    });
    all
}

fn urgency(row: &Row) -> u8 {
    match (&row.verdict, row.level.as_str()) {
        (Verdict::Fail | Verdict::Inconclusive, _) if row.is_waived() => 4,
        (Verdict::Fail, "warn") => 1,
        (Verdict::Fail, _) => 0,
        (Verdict::Inconclusive, "warn") => 3,
        (Verdict::Inconclusive, _) => 2,
        (Verdict::Pass, _) => 5,
        (Verdict::Skipped(_), _) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(side: Side, limit: f64, unit: &str, value: f64, at: f64, words: &str) {
        let load = Load { side, limit, tolerated: limit, unit: unit.into(), value: Some(value), interval: None };
        let found = Freeboard::of(&load).unwrap();
        assert!((found.at - at).abs() < 1e-9, "{found:?}");
        assert_eq!(found.words(), words);
    }

    #[test]
    fn the_mark_touches_the_water_at_the_limit() {
        check(Side::Max, 200.0, "bytes", 0.0, 1.0, "100 % freeboard");
        check(Side::Max, 200.0, "bytes", 150.0, 0.25, "25 % freeboard");
        check(Side::Max, 200.0, "bytes", 200.0, 0.0, "0.0 % freeboard");
        check(Side::Max, 200.0, "bytes", 212.0, -0.06, "6.0 % under water");
        check(Side::Max, 200.0, "bytes", 20_000.0, -99.0, "over 1000 % under water");
        check(Side::Max, 0.03, "share", -0.01, 4.0 / 3.0, "over 100 % freeboard");
        check(Side::Min, 0.9, "share", 0.95, 0.5, "50 % freeboard");
        check(Side::Min, 100.0, "1/s", 400.0, 0.75, "75 % freeboard");
        check(Side::Min, 100.0, "1/s", 0.0, -1.0, "100 % under water");
        check(Side::Max, 0.0, "share", 0.01, -1.0, "100 % under water");
        check(Side::Max, 0.0, "share", 0.0, 0.0, "0.0 % freeboard");
        check(Side::Min, -3.0, "dB", -6.0, -1.0, "100 % under water");
    }

    #[test]
    fn the_lower_end_of_the_mark_is_the_upper_end_of_a_load() {
        let load = Load {
            side: Side::Max,
            limit: 10.0,
            tolerated: 10.0,
            unit: "s".into(),
            value: Some(9.0),
            interval: Some([8.0, 11.0]),
        };
        let [low, high] = Freeboard::of(&load).unwrap().ends.unwrap();
        assert!((low + 0.1).abs() < 1e-12 && (high - 0.2).abs() < 1e-12);
        assert_eq!(Freeboard::of(&Load { value: None, ..load }), None);
    }
}
