//! One input of the model: what the pipeline delivers against what the model takes, and the steps from one to the other.

use plimsoll_onnx::{DType, DimSpec, ValueSpec};
use plimsoll_profile::{Align, Axis, Contract, Dim, InputSpec, Missing, ModelInput, Normalisation, Signal, Spanned};

use super::{
    plan::{InputPlan, Way},
    point::{Fit, Points},
    steps::{self, Step},
    units,
};

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
    let narrow = bits(from) > bits(target.dtype);
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

/// How many of the pipeline's values become one of the model's.
fn rate(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<u64> {
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

/// What has to be done to the scale: `scale · (x − centre)`.
fn affine(
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

fn per_window(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<bool> {
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

/// What becomes of missing values.
struct Gaps {
    from: Missing,
    to: Missing,
    fill: Option<plimsoll_profile::Fill>,
}

impl Gaps {
    /// Whether something else stands for them, and nothing is put in their place.
    fn recodes(&self) -> bool {
        self.fill.is_none() && self.from != self.to
    }
}

/// `None` inside where nothing is missing.
fn gaps(source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<Option<Gaps>> {
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

fn fill_gaps(
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
fn window(way: &mut Way, target: &Target<'_>, rate: u64, points: &mut Points<'_>) -> Option<()> {
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

fn resample(way: &mut Way, target: &Target<'_>, rate: u64, gaps: bool, points: &mut Points<'_>) -> Option<()> {
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

fn dtype(from: DType, narrow: bool, source: &InputSpec, target: &Target<'_>, points: &mut Points<'_>) -> Option<()> {
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
fn coding(from: DType, to: DType) -> DType {
    let float = |d: DType| d.is_float();
    match (from, to) {
        (DType::F64, _) | (_, DType::F64) => DType::F64,
        _ if float(from) || float(to) => DType::F32,
        _ if bits(from).max(bits(to)) > 32 || from == DType::U32 || to == DType::U32 => DType::I64,
        _ => DType::I32,
    }
}

fn bits(dtype: DType) -> usize {
    dtype.bits()
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
