//! What the numbers of an input are: units, normalisation, dtypes.

use plimsoll_onnx::DType;
use plimsoll_profile::{Axis, InputSpec, Normalisation, Signal};

use super::super::{
    plan::Way,
    point::{Fit, Points},
    units,
};
use super::Target;

/// What has to be done to the scale: `scale · (x − centre)`.
pub(super) fn affine(
    source: &InputSpec,
    target: &Target<'_>,
    way: &Way,
    points: &mut Points<'_>,
) -> Option<Option<[Vec<f64>; 2]>> {
    let (had, wanted) = (&source.signal, &target.said.signal);
    // What the model wants normalised per window has no scale left.
    let Some((a, b)) = unit(had, wanted, points)? else { return Some(None) };
    let norm = |s: &Signal| s.normalisation.as_ref().map(|n| n.value.clone());
    let signals = way.length(Axis::Signal).unwrap_or(1) as usize;
    let spans = wanted.normalisation.as_ref().or(had.normalisation.as_ref()).map(|n| n.span);
    let own = numbers(norm(had).unwrap_or_default(), signals, [0, 0], points, spans)?;
    let theirs = match norm(wanted) {
        Some(n) => numbers(n, signals, target.signals, points, spans)?,
        // As the pipeline has it.
        None => own.clone(),
    };
    let said = |s: &Signal| match norm(s) {
        Some(Normalisation::Fixed { .. }) => "(x − mean) / std".to_owned(),
        Some(Normalisation::PerWindow) => "per window".into(),
        Some(Normalisation::None) | None => "none".into(),
    };
    let own_scaled = norm(wanted).is_none() && norm(had).is_some();
    if norm(wanted).is_some() {
        let both = [said(had), said(wanted)];
        match (norm(had), norm(wanted)) {
            (h, Some(w)) if h.clone().unwrap_or_default() == w => points.fits("normalisation", both),
            (Some(Normalisation::PerWindow), _) => {
                let note = "what each window was divided by is not delivered, and cannot be undone";
                return points.never("normalisation", both, note, spans);
            }
            (_, Some(Normalisation::PerWindow)) => return Some(None),
            _ => points.say("normalisation", Fit::Adapts, both, "in the graph", spans),
        }
    }
    if own_scaled {
        return Some(None);
    }
    let length = own.len().max(theirs.len());
    let at = |list: &[[f64; 2]], i: usize| list.get(i).or(list.first()).copied().unwrap_or([0.0, 1.0]);
    let (mut centre, mut scale) = (Vec::new(), Vec::new());
    for i in 0..length {
        let ([m0, s0], [m1, s1]) = (at(&own, i), at(&theirs, i));
        // (a · (s0 x + m0) + b − m1) / s1
        let slope = a * s0 / s1;
        let shift = (a * m0 + b - m1) / s1;
        scale.push(slope);
        centre.push(if shift == 0.0 { 0.0 } else { -shift / slope });
    }
    let same = |list: &[f64]| list.iter().all(|x| *x == list[0]);
    if same(&centre) && same(&scale) {
        centre.truncate(1);
        scale.truncate(1);
    }
    let nothing = centre.iter().all(|c| *c == 0.0) && scale.iter().all(|s| *s == 1.0);
    Some((!nothing).then_some([centre, scale]))
}

/// Mean and standard deviation, one pair for all or one for each channel of this source.
fn numbers(
    norm: Normalisation,
    signals: usize,
    [first, all]: [u64; 2],
    points: &mut Points<'_>,
    span: Option<plimsoll_profile::Span>,
) -> Option<Vec<[f64; 2]>> {
    let Normalisation::Fixed { mean, std } = norm else { return Some(vec![[0.0, 1.0]]) };
    let length = mean.len().max(std.len());
    let at = |list: &[f64], i: usize| list.get(i).or(list.first()).copied().unwrap_or(0.0);
    let pairs: Vec<[f64; 2]> = (0..length).map(|i| [at(&mean, i), at(&std, i)]).collect();
    let (first, all) = if all > 0 { (first as usize, all as usize) } else { (0, signals) };
    match length {
        1 => Some(pairs),
        n if n == all => Some(pairs[first..first + signals].to_vec()),
        n => {
            let both = [format!("{all} channels"), format!("{n} numbers")];
            points.never("normalisation", both, "write one number for all, or one for each channel", span)
        }
    }
}

/// How values of the pipeline's unit or range become the model's.
fn unit(had: &Signal, wanted: &Signal, points: &mut Points<'_>) -> Option<Option<(f64, f64)>> {
    let word = |s: &Signal| s.unit.as_ref().map_or("not stated".to_owned(), |u| u.value.clone());
    let mut factors = [1.0, 0.0];
    if let Some(want) = &wanted.unit {
        let both = [word(had), word(wanted)];
        let Some(has) = &had.unit else {
            return points.never("unit", both, "say the pipeline's unit in [[inputs]]", Some(want.span));
        };
        match units::conversion(&has.value, &want.value) {
            Some([1.0, 0.0]) => points.fits("unit", both),
            Some(found) => {
                points.say(
                    "unit",
                    Fit::Adapts,
                    both,
                    format!("x · {:.6} + {:.6}", found[0], found[1]),
                    Some(want.span),
                );
                factors = found;
            }
            None => return points.never("unit", both, "no conversion between these units is known", Some(want.span)),
        }
    }
    let Some(range) = &wanted.range else { return Some(Some((factors[0], factors[1]))) };
    let text = |r: [f64; 2]| format!("{} to {}", r[0], r[1]);
    let Some(has) = &had.range else {
        let both = ["not stated".into(), text(range.value)];
        return points.never("range", both, "say the pipeline's range in [[inputs]]", Some(range.span));
    };
    let both = [text(has.value), text(range.value)];
    if wanted.unit.is_some() {
        // The same quantity: a range is what the model was made for.
        let [low, high] = has.value.map(|x| factors[0] * x + factors[1]);
        let slack = 1e-9 * (range.value[1] - range.value[0]);
        if low < range.value[0] - slack || high > range.value[1] + slack {
            let note = "the pipeline delivers values beyond those the model was made for; where the two ranges are two scales of one \
                        thing, leave the model's unit out";
            return points.never("range", both, note, Some(range.span));
        }
        points.fits("range", both);
    } else if has.value == range.value {
        points.fits("range", both);
    } else {
        let slope = (range.value[1] - range.value[0]) / (has.value[1] - has.value[0]);
        factors = [slope, range.value[0] - slope * has.value[0]];
        points.say("range", Fit::Adapts, both, "one range is stretched to the other", Some(range.span));
    }
    Some(Some((factors[0], factors[1])))
}

pub(super) fn per_window(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<bool> {
    let norm = |s: &Signal| s.normalisation.as_ref().map(|n| n.value.clone());
    let (had, wanted) = (norm(&source.signal).unwrap_or_default(), norm(&target.said.signal));
    let does = wanted == Some(Normalisation::PerWindow) && had != Normalisation::PerWindow;
    if does {
        let both = ["as measured".into(), "per window".into()];
        let span = target.said.signal.normalisation.as_ref().map(|n| n.span);
        points.say("normalisation", Fit::Adapts, both, "in the graph, window by window", span);
    }
    Some(does)
}

pub(super) fn dtype(
    from: DType,
    narrow: bool,
    source: &InputSpec,
    target: &Target<'_>,
    points: &mut Points<'_>,
) -> Option<()> {
    let to = target.dtype;
    let both = [from.name().to_owned(), to.name().to_owned()];
    if from == to {
        points.fits("dtype", both);
        return Some(());
    }
    let span = Some(source.dtype.span);
    if let ([low, high], false) = (bounds(to), to.is_float()) {
        // Whole numbers that do not hold everything need a range that says it is all right.
        let range = target.said.signal.range.as_ref().or(source.signal.range.as_ref()).map(|r| r.value);
        let needs = narrow || from.is_float() || bounds(from)[0] < low || bounds(from)[1] > high;
        match range {
            Some([lo, hi]) if lo >= low && hi <= high => {}
            _ if !needs => {}
            _ => {
                let note = format!("{to} does not hold every {from}: state a range that it holds");
                return points.never("dtype", both, note, span);
            }
        }
    }
    points.say("dtype", Fit::Adapts, both, "cast", span);
    Some(())
}

/// The dtype in which codes for missing values are compared and replaced: one that holds both, and for which executors have the
/// operators.
pub(super) fn coding(from: DType, to: DType) -> DType {
    let float = |d: DType| d.is_float();
    match (from, to) {
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        _ if float(from) || float(to) => DType::F32,
        _ if from.bits().max(to.bits()) > 32 || from == DType::U32 || to == DType::U32 => DType::I64,
        _ => DType::I32,
    }
}

/// The smallest and the largest whole number.
fn bounds(dtype: DType) -> [f64; 2] {
    match dtype {
        DType::Bool => [0.0, 1.0],
        DType::U8 => [0.0, 255.0],
        DType::I8 => [-128.0, 127.0],
        DType::U16 => [0.0, 65_535.0],
        DType::I16 => [-32_768.0, 32_767.0],
        DType::U32 => [0.0, f64::from(u32::MAX)],
        DType::I32 => [f64::from(i32::MIN), f64::from(i32::MAX)],
        DType::U64 => [0.0, u64::MAX as f64],
        DType::I64 => [i64::MIN as f64, i64::MAX as f64],
        _ => [f64::NEG_INFINITY, f64::INFINITY],
    }
}
