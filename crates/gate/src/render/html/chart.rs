//! What charts share: axes with round numbers, and bars in tables.

use super::text::{esc, px, quantity};

/// What is larger than this is drawn as this: differences of such numbers overflow.
const LARGEST: f64 = 1e30;

/// A scale from values to coordinates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    domain: [f64; 2],
    range: [f64; 2],
}

impl Scale {
    /// A scale over all values and a little more, to a range of coordinates. A single value stands in the middle.
    pub(super) fn over(values: impl IntoIterator<Item = f64>, range: [f64; 2]) -> Self {
        let (low, high) =
            values.into_iter().map(drawable).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        let (low, high) = if low.is_finite() { (low, high) } else { (0.0, 1.0) };
        let pad = if high > low { (high - low) * 0.08 } else { low.abs().max(1e-9) * 0.5 };
        Self { domain: [low - pad, high + pad], range }
    }

    /// The same, from zero where no value lies below it.
    pub(super) fn from_zero(values: impl IntoIterator<Item = f64>, range: [f64; 2]) -> Self {
        let mut scale = Self::over(values.into_iter().chain([0.0]), range);
        if scale.domain[0] > -(scale.domain[1] - scale.domain[0]) * 0.08 {
            scale.domain[0] = 0.0;
        }
        scale
    }

    /// The coordinate of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let ([a, b], [p, q]) = (self.domain, self.range);
        p + (drawable(value) - a) / (b - a) * (q - p)
    }

    /// A few round values within the domain.
    pub(super) fn ticks(&self) -> Vec<f64> {
        const WANTED: f64 = 4.0;
        let [low, high] = self.domain;
        let raw = (high - low) / WANTED;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(raw);
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        // So few because the step is a quarter of the span at least.
        (first..=last.min(first + 8)).map(|i| i as f64 * step).collect()
    }
}

/// The lines of round values across a chart, from `left` to `right`, each with its value before it.
pub(super) fn levels(up: Scale, [left, right]: [f64; 2], unit: &str) -> Vec<String> {
    let one = |tick: f64| {
        let at = up.at(tick);
        format!(
            "<path class=\"grid\" d=\"M{left} {0}H{right}\"/><text class=\"tick\" x=\"{1}\" y=\"{2}\" text-anchor=\"end\">{3}</text>",
            px(at),
            px(left - 6.0),
            px(at + 4.0),
            esc(&quantity(tick, unit, None))
        )
    };
    up.ticks().into_iter().map(one).collect()
}

fn drawable(x: f64) -> f64 {
    x.clamp(-LARGEST, LARGEST)
}

/// A bar in a cell of a table: its length is a share of the cell's width. What it shows stands in the cell as text.
pub(super) fn bar(share: f64, class: &str) -> String {
    format!(
        "<svg class=\"bar {class}\" viewBox=\"0 0 100 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">\
         <rect class=\"bed\" width=\"100\" height=\"6\"/><rect class=\"fill\" width=\"{}\" height=\"6\"/></svg>",
        px(share.clamp(0.0, 1.0) * 100.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_round_whatever_the_values() {
        let ticks = |values: &[f64]| Scale::over(values.iter().copied(), [0.0, 100.0]).ticks();
        assert_eq!(ticks(&[0.0, 10.0]), [0.0, 5.0, 10.0]);
        for values in [vec![], vec![0.0], vec![5.0], vec![-3.0, -3.0], vec![1e-12, 1e12], vec![f64::MAX / 4.0]] {
            let ticks = ticks(&values);
            assert!(ticks.len() <= 9 && ticks.iter().all(|t| t.is_finite()), "{values:?} {ticks:?}");
        }
    }

    #[test]
    fn the_domain_starts_at_zero_unless_something_is_below() {
        let scale = Scale::from_zero([10.0, 20.0], [0.0, 100.0]);
        assert_eq!(scale.at(0.0), 0.0);
        assert!(Scale::from_zero([-10.0, 20.0], [0.0, 100.0]).at(-10.0) > 0.0);
    }
}
