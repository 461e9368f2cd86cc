//! Limits and what was held against them as numbers, for those who draw or compute.

use plimsoll_profile::Bound;
use plimsoll_record::{Figure, Load, Side};

/// What was held against a limit.
#[derive(Clone, Copy)]
pub(crate) struct Held<'h> {
    /// The figure that was judged.
    pub(crate) figure: Option<&'h Figure>,
    /// Value and interval where they are not the figure's own: of an increase, or of a distance.
    pub(crate) grown: Option<(f64, [f64; 2])>,
}

/// A limit, as it was set and with its tolerance, on a metric in `unit`, and what was held against it. A figure in another unit was
/// not held against it.
pub(crate) fn load([limit, widened]: [Bound; 2], unit: &str, held: Held<'_>) -> Load {
    let (side, unit) = match limit {
        Bound::Max(_) => (Side::Max, unit),
        Bound::Min(_) => (Side::Min, unit),
        Bound::MaxIncrease(_) => (Side::Max, "increase"),
    };
    let own = held.figure.filter(|f| f.unit == unit).map(|f| (f.value, f.interval));
    // An exact figure has no interval, whatever was worked out of it.
    let found = held.grown.map(|(value, [low, high])| (value, (low < high).then_some([low, high]))).or(own);
    let finite = |(value, interval): &(f64, Option<[f64; 2]>)| {
        value.is_finite() && interval.iter().flatten().all(|x| x.is_finite())
    };
    let found = found.filter(finite);
    let at = |bound| match bound {
        Bound::Max(at) | Bound::Min(at) | Bound::MaxIncrease(at) => at,
    };
    // What is worked out as a quotient less one ends in digits that mean nothing.
    let clean = |x: f64| if unit == "increase" { (x * 1e12).round() / 1e12 } else { x };
    Load {
        side,
        limit: at(limit),
        tolerated: clean(at(widened)),
        unit: unit.into(),
        value: found.map(|f| clean(f.0)),
        interval: found.and_then(|f| f.1).map(|bounds| bounds.map(clean)),
    }
}
