//! One input of the model: what the pipeline delivers against what the model takes, and the steps from one to the other.

mod time;
mod values;

use plimsoll_onnx::{DType, DimSpec, ValueSpec};
use plimsoll_profile::{Axis, Contract, Dim, InputSpec, Missing, ModelInput, Spanned};

use super::{
    plan::{InputPlan, Way},
    point::{Fit, Points},
    steps::{self, Step},
};
use time::{Gaps, fill_gaps, gaps, rate, resample, window};
use values::{affine, coding, dtype, per_window};

/// Plans one input; `None` where it cannot be, which the points say.
pub(super) fn plan(
    contract: &Contract,
    spec: &ValueSpec,
    said: &ModelInput,
    points: &mut Points<'_>,
) -> Option<InputPlan> {
    let Some(dtype) = spec.dtype else {
        return points.never(
            "dtype",
            ["–".into(), "no dense numbers".into()],
            "only dense tensors of numbers are fed",
            None,
        );
    };
    let find = |name: &Spanned<String>| contract.inputs.iter().find(|i| i.name.value == name.value);
    let sources: Vec<&InputSpec> = said.from.iter().filter_map(find).collect();
    let first = *sources.first()?;
    let axes = said.axes.as_ref().map_or_else(|| first.axes.value.clone(), |a| a.value.clone());
    let dims: Vec<Option<u64>> = match &spec.dims {
        None => vec![None; axes.len()],
        Some(dims) => dims.iter().map(fixed).collect(),
    };
    if dims.len() != axes.len() {
        let note = format!("the model's input has {} dimensions: name as many axes in [[model.inputs]]", dims.len());
        let span = said.axes.as_ref().map(|a| a.span);
        return points.never("layout", [words(&first.axes.value), format!("{} dimensions", dims.len())], note, span);
    }
    let along = said.along.as_ref().and_then(|along| axes.iter().position(|a| *a == along.value)).unwrap_or(0);
    if let (Some(axis), true) = (&said.along, sources.len() > 1)
        && !axes.contains(&axis.value)
    {
        return points.never(
            "layout",
            [words(&first.axes.value), words(&axes)],
            format!("it has no axis `{}`", axis.value),
            Some(axis.span),
        );
    }
    // Of several that are joined each gives a part of that axis.
    let mut parts = Vec::new();
    let mut before = 0;
    for source in &sources {
        let mut lengths = dims.clone();
        let part = if sources.len() > 1 { part_length(source, axes[along]) } else { None };
        if sources.len() > 1 {
            lengths[along] = part;
        }
        let whole = if sources.len() > 1 && axes[along] == Axis::Signal { dims[along] } else { None };
        let target = Target { axes: &axes, lengths, dtype, said, signals: [before, whole.unwrap_or(0)] };
        before += part.unwrap_or(1);
        parts.push((source.name.value.clone(), source_steps(source, &target, points)?));
    }
    if sources.len() > 1 {
        let both =
            [format!("{before} from {} inputs", sources.len()), dims[along].map_or("any".into(), |n| n.to_string())];
        if dims[along].is_some_and(|n| n != before) {
            return points.never(
                "parts",
                both,
                format!("the parts do not add up along `{}`", axes[along]),
                said.along.as_ref().map(|a| a.span),
            );
        }
        points.say(
            "parts",
            Fit::Adapts,
            both,
            format!("joined along `{}`", axes[along]),
            said.along.as_ref().map(|a| a.span),
        );
    }
    Some(InputPlan { model: spec.name.clone(), dtype, sources: parts, along })
}

fn fixed(dim: &DimSpec) -> Option<u64> {
    match dim {
        DimSpec::Fixed(n) => Some(*n),
        _ => None,
    }
}

/// How much of a joined axis a source gives.
fn part_length(source: &InputSpec, axis: Axis) -> Option<u64> {
    match source.axes.value.iter().position(|a| *a == axis).map(|i| &source.shape.value[i]) {
        Some(Dim::Fixed(n)) => Some(*n),
        Some(Dim::Named(_)) => None,
        None => Some(1),
    }
}

/// Axes in words.
pub(super) fn words(axes: &[Axis]) -> String {
    axes.iter().map(|a| a.word()).collect::<Vec<_>>().join(", ")
}

/// What the model wants of one source.
struct Target<'t> {
    axes: &'t [Axis],
    lengths: Vec<Option<u64>>,
    dtype: DType,
    said: &'t ModelInput,
    /// Which of the model's channels come from this source, and how many the model has: lists of numbers count the model's. Zero
    /// where the source gives all.
    signals: [u64; 2],
}

impl Target<'_> {
    fn length(&self, axis: Axis) -> Option<u64> {
        self.axes.iter().position(|a| *a == axis).and_then(|i| self.lengths[i])
    }
}

fn source_steps(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<Vec<Box<dyn Step>>> {
    let from = DType::from_short_name(source.dtype.value)?;
    let (axes, dims) = (source.axes.value.clone(), source.shape.value.clone());
    let mut way = Way { axes, dims, dtype: from, steps: Vec::new() };
    take(&mut way, target, points)?;
    let rate = rate(source, target, points)?;
    let affine = affine(source, target, &way, points)?;
    let gaps = gaps(source, target, points)?;
    let per_window = per_window(source, target, points)?;
    let filled = gaps.as_ref().is_some_and(|g| g.fill.is_some());
    let computes = rate > 1 || affine.is_some() || per_window || filled;
    let narrow = from.bits() > target.dtype.bits();
    let work = if computes {
        DType::F32
    } else if gaps.as_ref().is_some_and(Gaps::recodes) {
        coding(from, target.dtype)
    } else {
        from
    };
    let before = way.dtype;
    way.cast(work);
    window(&mut way, target, rate, points)?;
    // NaN stands for what is missing while anything is computed.
    let mut marks = gaps.as_ref().is_some_and(|g| g.from == Missing::Nan);
    if let Some(Gaps { from: Missing::Value(code), .. }) = &gaps
        && computes
    {
        way.push(steps::Replace { from: Missing::Value(*code), to: f64::NAN, dtype: work });
        marks = true;
    }
    resample(&mut way, target, rate, marks, points)?;
    if let Some(Gaps { fill: Some(fill), .. }) = &gaps {
        fill_gaps(&mut way, *fill, affine.as_ref(), points)?;
    }
    if let Some([centre, scale]) = affine {
        let axis = way.axis(Axis::Signal);
        way.push(steps::Affine { centre, scale, axis, rank: way.rank() });
    }
    if per_window {
        let time = way.axis(Axis::Time);
        let others = (0..way.rank()).filter(|i| way.axes[*i] != Axis::Batch);
        let over = time.map_or_else(|| others.collect(), |t| vec![t]);
        way.push(steps::Standardise { over });
    }
    if let Some(gaps) = gaps.filter(Gaps::recodes) {
        let from = if computes { Missing::Nan } else { gaps.from };
        let to = if let Missing::Value(v) = gaps.to { v } else { f64::NAN };
        if !(computes && gaps.to == Missing::Nan) {
            way.push(steps::Replace { from, to, dtype: way.dtype });
        }
    }
    dtype(before, narrow && !computes, source, target, points)?;
    // Before the axes move, so that their order can cancel out with the model's own.
    way.cast(target.dtype);
    layout(source, &mut way, target, points)?;
    Some(way.steps)
}

/// `take = { channel = [0, 4] }`.
fn take(way: &mut Way, target: &Target<'_>, points: &mut Points<'_>) -> Option<()> {
    let Some(take) = &target.said.take else { return Some(()) };
    let both = |n: String| [n, format!("{} to {}", take.range.value[0], take.range.value[1])];
    let (Some(axis), Some(length)) = (way.axis(take.axis), way.length(take.axis)) else {
        let note = format!("the pipeline's input has no axis `{}` of a fixed length", take.axis);
        return points.never("part", both("–".into()), note, Some(take.range.span));
    };
    let [start, end] = take.range.value;
    if end > length {
        let note = format!("the pipeline's input has {length} along `{}`", take.axis);
        return points.never("part", both(format!("{length}")), note, Some(take.range.span));
    }
    if [start, end] != [0, length] {
        points.say(
            "part",
            Fit::Adapts,
            both(format!("{length}")),
            format!("a part along `{}`", take.axis),
            Some(take.range.span),
        );
        way.push(steps::Slice { axis, start: start as usize, end: end as usize, name: take.axis.word() });
        way.dims[axis] = Dim::Fixed(end - start);
    }
    Some(())
}

fn layout(source: &InputSpec, way: &mut Way, target: &Target<'_>, points: &mut Points<'_>) -> Option<()> {
    let both = [words(&source.axes.value), words(target.axes)];
    let span = target.said.axes.as_ref().map_or(source.axes.span, |a| a.span);
    if let Err(why) = way.lay_out(target.axes, &target.lengths) {
        return points.never("layout", both, why, Some(span));
    }
    if source.axes.value == target.axes {
        points.fits("layout", both);
    } else {
        points.say("layout", Fit::Adapts, both, "axes are brought into the model's order", Some(span));
    }
    let mut fits = true;
    for ((axis, has), wanted) in target.axes.iter().zip(&way.dims).zip(&target.lengths) {
        let Some(wanted) = wanted else { continue };
        if *has == Dim::Fixed(*wanted) {
            continue;
        }
        let note = match (axis, has) {
            (Axis::Batch, _) => format!("the model takes exactly {wanted} samples at once"),
            (_, Dim::Fixed(_)) => format!("the model needs {wanted} along `{axis}`"),
            (_, Dim::Named(_)) => format!("the model needs {wanted} along `{axis}`, and the pipeline does not fix it"),
        };
        points.say(
            "shape",
            Fit::Never,
            [format!("{has} along {axis}"), wanted.to_string()],
            note,
            Some(source.shape.span),
        );
        fits = false;
    }
    fits.then_some(())
}
