//! Inputs in time: rates, missing values, windows.

use plimsoll_profile::{Align, Axis, Dim, InputSpec, Missing, Signal};

use super::super::{
    plan::Way,
    point::{Fit, Points},
    steps,
};
use super::Target;

/// How many of the pipeline's values become one of the model's.
pub(super) fn rate(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<u64> {
    let aspect = "sampling rate";
    let Some(wanted) = &target.said.signal.sampling_rate else { return Some(1) };
    let hertz = |rate: f64| format!("{rate} Hz");
    let Some(has) = &source.signal.sampling_rate else {
        let both = ["not stated".into(), hertz(wanted.value.0)];
        return points.never(aspect, both, "say the pipeline's sampling-rate in [[inputs]]", Some(source.name.span));
    };
    let both = [hertz(has.value.0), hertz(wanted.value.0)];
    let ratio = has.value.0 / wanted.value.0;
    let whole = ratio.round();
    if ratio < 1.0 - 1e-9 {
        let note = "the pipeline samples more slowly than the model needs; what was not sampled cannot be made";
        return points.never(aspect, both, note, Some(has.span));
    }
    if (ratio - whole).abs() > 1e-6 * ratio {
        let note = format!("{ratio:.3} values to one is no whole number; only whole numbers of values are averaged");
        return points.never(aspect, both, note, Some(has.span));
    }
    if whole > 1.0 {
        points.say(aspect, Fit::Adapts, both, format!("the mean of every {whole} values"), Some(wanted.span));
    } else {
        points.fits(aspect, both);
    }
    Some(whole as u64)
}

/// What becomes of missing values.
pub(super) struct Gaps {
    pub(super) from: Missing,
    pub(super) to: Missing,
    pub(super) fill: Option<plimsoll_profile::Fill>,
}

impl Gaps {
    /// Whether something else stands for them, and nothing is put in their place.
    pub(super) fn recodes(&self) -> bool {
        self.fill.is_none() && self.from != self.to
    }
}

/// `None` inside where nothing is missing.
pub(super) fn gaps(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<Option<Gaps>> {
    let value = |s: &Signal| s.missing.as_ref().map(|m| m.value);
    let from = value(&source.signal).unwrap_or_default();
    let text = |m: Missing| match m {
        Missing::Never => "never".to_owned(),
        Missing::Nan => "NaN".into(),
        Missing::Value(v) => v.to_string(),
    };
    if from == Missing::Never {
        return Some(None);
    }
    let fill = target.said.fill.as_ref();
    // With something to fill gaps the model need not be said to want none.
    let to = value(&target.said.signal).unwrap_or(if fill.is_some() { Missing::Never } else { from });
    let both = [text(from), text(to)];
    let span = target.said.signal.missing.as_ref().or(source.signal.missing.as_ref()).map(|m| m.span);
    match (to, fill) {
        (Missing::Never, None) => {
            let note = "the model takes no gaps, and nothing says what fills them: write fill = \"hold\", \"mean\" or a number";
            points.never("missing values", both, note, span)
        }
        (Missing::Never, Some(fill)) => {
            let how = match fill.value {
                plimsoll_profile::Fill::Hold => "the last value is held".to_owned(),
                plimsoll_profile::Fill::Mean => "the window's mean is put there".into(),
                plimsoll_profile::Fill::Value(v) => format!("{v} is put there"),
            };
            points.say("missing values", Fit::Adapts, both, how, Some(fill.span));
            Some(Some(Gaps { from, to, fill: Some(fill.value) }))
        }
        _ if from == to => {
            points.fits("missing values", both);
            Some(Some(Gaps { from, to, fill: None }))
        }
        _ => {
            points.say("missing values", Fit::Adapts, both, "another value stands for them", span);
            Some(Some(Gaps { from, to, fill: None }))
        }
    }
}

pub(super) fn fill_gaps(
    way: &mut Way,
    fill: plimsoll_profile::Fill,
    affine: Option<&[Vec<f64>; 2]>,
    points: &mut Points<'_>,
) -> Option<()> {
    let how = steps::Fill::how(fill);
    let time = way.axis(Axis::Time);
    let fallback = affine.map_or_else(|| vec![0.0], |[centre, _]| centre.clone());
    let (rank, signals) = (way.rank(), way.axis(Axis::Signal));
    let (time, length) = match (fill, time, way.length(Axis::Time)) {
        (plimsoll_profile::Fill::Value(_), ..) => (0, 0),
        (_, Some(time), Some(length)) if rank > 1 => (time, length as usize),
        _ => {
            let both = ["–".into(), "–".into()];
            let note = "gaps are filled from their window, which takes a batch and a time axis of a fixed length";
            return points.never("missing values", both, note, None);
        }
    };
    way.push(steps::Fill { how, time, length, rank, signals, fallback });
    Some(())
}

/// Brings the window to the length that the model needs of the pipeline's values.
pub(super) fn window(way: &mut Way, target: &Target<'_>, rate: u64, points: &mut Points<'_>) -> Option<()> {
    let (Some(axis), true) = (way.axis(Axis::Time), target.axes.contains(&Axis::Time)) else { return Some(()) };
    let wanted = target.length(Axis::Time).map(|n| n * rate);
    let Dim::Fixed(has) = way.dims[axis] else {
        if let (None, 1) = (wanted, rate) {
            return Some(());
        }
        let both = ["any".into(), wanted.map_or("any".into(), |n| n.to_string())];
        return points.never("window", both, "the pipeline's window must have a fixed length", None);
    };
    // A model that takes any length takes as many whole ones as there are.
    let wanted = wanted.unwrap_or(has / rate * rate);
    let both = [format!("{has} values"), format!("{wanted} values")];
    if has == wanted {
        points.fits("window", both);
        return Some(());
    }
    let Some(align) = &target.said.align else {
        let note = "say which values the model sees with align = \"start\", \"centre\" or \"end\"";
        return points.never("window", both, note, target.said.signal.sampling_rate.as_ref().map(|r| r.span));
    };
    let apart = has.abs_diff(wanted);
    let before = match align.value {
        Align::Start => 0,
        Align::Centre => apart / 2,
        Align::End => apart,
    };
    if has > wanted {
        points.say("window", Fit::Adapts, both, format!("{apart} values are left out"), Some(align.span));
        way.push(steps::Slice { axis, start: before as usize, end: (before + wanted) as usize, name: "time" });
    } else {
        let Some(pad) = &target.said.pad else {
            let note =
                "the pipeline's window is shorter than the model needs; where it may be lengthened, write pad = 0.0";
            return points.never("window", both, note, Some(align.span));
        };
        points.say("window", Fit::Adapts, both, format!("{apart} times {} is added", pad.value), Some(pad.span));
        let (rank, after) = (way.rank(), apart - before);
        let (value, dtype) = (pad.value, way.dtype);
        way.push(steps::Pad { axis, rank, before: before as usize, after: after as usize, value, dtype });
    }
    way.dims[axis] = Dim::Fixed(wanted);
    Some(())
}

pub(super) fn resample(
    way: &mut Way,
    target: &Target<'_>,
    rate: u64,
    gaps: bool,
    points: &mut Points<'_>,
) -> Option<()> {
    if rate == 1 {
        return Some(());
    }
    let time = way.axis(Axis::Time)?;
    let Some(dims) = way.open_dims() else {
        let both = ["–".into(), "–".into()];
        return points.never("sampling rate", both, "more than one dimension of the pipeline's input is open", None);
    };
    // The order that the model wants, where all axes are its; else the pipeline's.
    let order: Vec<usize> = target.axes.iter().filter_map(|a| way.axis(*a)).collect();
    let perm = if order.len() == way.rank() { order } else { (0..way.rank()).collect() };
    way.push(steps::Resample { time, factor: rate as usize, dims, perm: perm.clone(), gaps });
    if let Dim::Fixed(n) = &mut way.dims[time] {
        *n /= rate;
    }
    way.axes = perm.iter().map(|&p| way.axes[p]).collect();
    way.dims = perm.iter().map(|&p| way.dims[p].clone()).collect();
    Some(())
}
