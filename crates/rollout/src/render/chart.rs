//! Lines and bands over days, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 190.0;
const TOP: f64 = 12.0;

/// A chart over so many days, with values in a range.
pub(super) struct Chart {
    days: f64,
    low: f64,
    high: f64,
    marks: String,
}

impl Chart {
    /// Over the days from the first to the last, and over all values.
    pub(super) fn over(days: f64, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|v| v.is_finite());
        let (low, high) = finite.fold((0.0_f64, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
        let room = ((high - low) * 0.08).max(1e-6);
        Self { days: days.max(1.0), low: low - room, high: high + room, marks: String::new() }
    }

    fn x(&self, day: f64) -> f64 {
        LEFT + day / self.days * (WIDTH - LEFT - 10.0)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (value.clamp(self.low, self.high) - self.low) / (self.high - self.low) * (BOTTOM - TOP)
    }

    /// A level with its name; the text must be safe.
    pub(super) fn level(&mut self, value: f64, class: &str, name: &str) {
        let y = self.y(value);
        let _ = write!(
            self.marks,
            "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }

    /// A day on which something begins, with its name; the text must be safe.
    pub(super) fn begins(&mut self, day: f64, name: &str) {
        let x = self.x(day);
        let _ = write!(
            self.marks,
            "<line class=\"begins\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{:.1}\" y=\"{TOP}\">{name}</text>",
            x + 3.0
        );
    }

    /// A band between two courses.
    pub(super) fn band(&mut self, course: &[(f64, f64, f64)]) {
        let up = course.iter().map(|(day, _, high)| format!("{:.1},{:.1}", self.x(*day), self.y(*high)));
        let down = course.iter().rev().map(|(day, low, _)| format!("{:.1},{:.1}", self.x(*day), self.y(*low)));
        let points: Vec<String> = up.chain(down).collect();
        let _ = write!(self.marks, "<polygon class=\"band\" points=\"{}\"/>", points.join(" "));
    }

    /// A line.
    pub(super) fn line(&mut self, course: &[(f64, f64)], class: &str) {
        let points: Vec<String> = course.iter().map(|(d, v)| format!("{:.1},{:.1}", self.x(*d), self.y(*v))).collect();
        let _ = write!(self.marks, "<polyline class=\"{class}\" points=\"{}\"/>", points.join(" "));
        for (day, value) in course {
            let _ = write!(
                self.marks,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\" class=\"bar\"/>",
                self.x(*day),
                self.y(*value)
            );
        }
    }

    /// The element, with the days named below it; all texts must be safe.
    pub(super) fn svg(self, title: &str, first: &str, last: &str) -> String {
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{}\
             <text x=\"{LEFT}\" y=\"212\">{first}</text><text x=\"{WIDTH}\" y=\"212\" text-anchor=\"end\">{last}</text></svg>\n",
            self.marks
        )
    }
}
