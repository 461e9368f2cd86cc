//! One output of the pipeline: what the model gives against what the pipeline reads.

use plimsoll_onnx::{DType, DimSpec, ValueSpec};
use plimsoll_profile::{Axis, Dim, Meaning, ModelOutput, OutputSpec};

use super::{
    inputs::words,
    plan::{OutputPlan, Way},
    point::{Fit, Points},
    steps,
};

/// Plans one output; `None` where it cannot be, which the points say.
pub(super) fn plan(
    spec: &OutputSpec,
    given: &ValueSpec,
    said: Option<&ModelOutput>,
    points: &mut Points<'_>,
) -> Option<OutputPlan> {
    let Some(from) = given.dtype else {
        return points.never(
            "dtype",
            ["–".into(), "no dense numbers".into()],
            "only dense tensors of numbers are read",
            None,
        );
    };
    let meaning = said.and_then(|s| s.meaning.as_ref()).map_or(spec.meaning.value, |m| m.value);
    let axes = match said.and_then(|s| s.axes.as_ref()) {
        Some(axes) => axes.value.clone(),
        // A label has lost the axis of classes, which scores have.
        None if spec.meaning.value == Meaning::Label
            && meaning != Meaning::Label
            && !spec.axes.value.contains(&Axis::Class) =>
        {
            [&spec.axes.value[..], &[Axis::Class]].concat()
        }
        None => spec.axes.value.clone(),
    };
    let labels = said.and_then(|s| s.labels.as_ref());
    let classes = labels.map_or(&spec.labels, |l| &l.value);
    let open = |axis: &Axis| match axis {
        Axis::Class if !classes.is_empty() => Dim::Fixed(classes.len() as u64),
        other => spec.axes.value.iter().position(|a| a == other).map_or(Dim::Fixed(1), |i| spec.shape.value[i].clone()),
    };
    let dims: Vec<Dim> = match &given.dims {
        None => axes.iter().map(open).collect(),
        Some(dims) if dims.len() == axes.len() => dims
            .iter()
            .zip(&axes)
            .map(|(dim, axis)| match dim {
                DimSpec::Fixed(n) => Dim::Fixed(*n),
                _ => open(axis),
            })
            .collect(),
        Some(dims) => {
            let both = [words(&spec.axes.value), format!("{} dimensions", dims.len())];
            let note =
                format!("the model's output has {} dimensions: name as many axes in [[model.outputs]]", dims.len());
            return points.never("layout", both, note, Some(spec.axes.span));
        }
    };
    let mut way = Way { axes, dims, dtype: from, steps: Vec::new() };
    scores(spec, said, meaning, classes, &mut way, points)?;
    layout(spec, &mut way, points)?;
    let to = DType::from_short_name(spec.dtype.value)?;
    dtype(spec, from, to, &mut way, points)?;
    Some(OutputPlan { model: given.name.clone(), pipeline: spec.name.value.clone(), dtype: to, steps: way.steps })
}

/// Meaning and classes.
fn scores(
    spec: &OutputSpec,
    said: Option<&ModelOutput>,
    meaning: Meaning,
    classes: &[String],
    way: &mut Way,
    points: &mut Points<'_>,
) -> Option<()> {
    let wanted = spec.meaning.value;
    let both = [wanted.word().to_owned(), meaning.word().to_owned()];
    let span = Some(said.and_then(|s| s.meaning.as_ref()).map_or(spec.meaning.span, |m| m.span));
    let shares = [Meaning::Logits, Meaning::Probabilities];
    let possible = meaning == wanted || (shares.contains(&meaning) && wanted != Meaning::Value);
    if !possible {
        let note = format!("{} cannot be made of {}", both[0], both[1]);
        return points.never("meaning", both, note, span);
    }
    let order = classes_of(spec, said, classes, way, points)?;
    if meaning == wanted {
        points.fits("meaning", both);
    } else {
        points.say("meaning", Fit::Adapts, both, "in the graph", span);
    }
    if meaning == Meaning::Label {
        if let Some(numbers) = order {
            way.cast(DType::I64);
            way.push(steps::Relabel { numbers });
        }
        return Some(());
    }
    let needs_axis = meaning != wanted || order.is_some();
    if !needs_axis {
        return Some(());
    }
    let Some(axis) = way.axis(Axis::Class) else {
        let both = [words(&spec.axes.value), words(&way.axes)];
        return points.never("layout", both, "scores need an axis `class`", Some(spec.axes.span));
    };
    if way.dtype != DType::F32 {
        way.cast(DType::F32);
    }
    let mut now = meaning;
    if let Some(into) = order {
        let mut inverse: Vec<Option<usize>> = vec![None; spec.labels.len()];
        into.iter().enumerate().for_each(|(from, &to)| inverse[to] = Some(from));
        if into.len() == spec.labels.len() {
            way.push(steps::Pick { axis, order: inverse.into_iter().flatten().collect() });
        } else {
            if axis + 1 != way.rank() {
                let both = [words(&spec.axes.value), words(&way.axes)];
                return points.never(
                    "layout",
                    both,
                    "classes are added up where they are the last axis",
                    Some(spec.axes.span),
                );
            }
            if now == Meaning::Logits {
                way.push(steps::Softmax { axis });
                now = Meaning::Probabilities;
            }
            way.push(steps::Merge { axis, into, classes: spec.labels.len() });
        }
        way.dims[axis] = Dim::Fixed(spec.labels.len() as u64);
    }
    match (now, wanted) {
        (Meaning::Logits, Meaning::Probabilities) => way.push(steps::Softmax { axis }),
        (Meaning::Probabilities, Meaning::Logits) => way.push(steps::Log),
        (_, Meaning::Label) => {
            match &spec.threshold {
                Some(threshold) => {
                    if now == Meaning::Logits {
                        way.push(steps::Softmax { axis });
                    }
                    way.push(steps::Threshold { axis, least: threshold.value });
                }
                None => way.push(steps::ArgMax { axis }),
            }
            way.axes.remove(axis);
            way.dims.remove(axis);
            way.dtype = DType::I64;
        }
        _ => {}
    }
    Some(())
}

/// For each class of the model the pipeline's, `None` inside where they are the same in the same order.
#[expect(clippy::option_option, reason = "what cannot be, what need not be, and what is to be done")]
fn classes_of(
    spec: &OutputSpec,
    said: Option<&ModelOutput>,
    classes: &[String],
    way: &Way,
    points: &mut Points<'_>,
) -> Option<Option<Vec<usize>>> {
    let listed = |labels: &[String]| match labels.len() {
        0 => "not named".to_owned(),
        1..=4 => labels.join(", "),
        n => format!("{}, … ({n})", labels[..3].join(", ")),
    };
    let both = [listed(&spec.labels), listed(classes)];
    let span = said.and_then(|s| s.labels.as_ref()).map(|l| l.span);
    if let (Some(n), false) = (way.length(Axis::Class), classes.is_empty())
        && n != classes.len() as u64
    {
        return points.never("labels", both, format!("the model gives {n} classes"), span);
    }
    if spec.labels.is_empty() || classes.is_empty() {
        if let (Some(wanted), Some(found)) = (class_count(spec), way.length(Axis::Class))
            && wanted != found
        {
            let both = [format!("{wanted} classes"), format!("{found} classes")];
            return points.never("labels", both, "the classes are not the same; name them on both sides", span);
        }
        return Some(None);
    }
    let map = said.map_or(&[][..], |s| &s.map);
    let mapped =
        |class: &String| map.iter().find(|(from, _)| from == class).map_or(class.clone(), |(_, to)| to.value.clone());
    let mut into = Vec::new();
    for class in classes {
        let Some(at) = spec.labels.iter().position(|l| *l == mapped(class)) else {
            let note = format!("the pipeline knows no class `{}`: map it in [model.outputs.map]", mapped(class));
            return points.never("labels", both, note, span);
        };
        into.push(at);
    }
    if let Some((_, label)) = spec.labels.iter().enumerate().find(|(i, _)| !into.contains(i)) {
        return points.never("labels", both, format!("the model has no class `{label}`"), span);
    }
    if into.iter().enumerate().all(|(i, &to)| i == to) {
        points.fits("labels", both);
        return Some(None);
    }
    let how = if into.len() == spec.labels.len() { "another order" } else { "classes are added up" };
    points.say("labels", Fit::Adapts, both, how, span);
    Some(Some(into))
}

/// How many classes the pipeline reads.
fn class_count(spec: &OutputSpec) -> Option<u64> {
    let at = spec.axes.value.iter().position(|a| *a == Axis::Class)?;
    match spec.shape.value[at] {
        Dim::Fixed(n) => Some(n),
        Dim::Named(_) => None,
    }
}

fn layout(spec: &OutputSpec, way: &mut Way, points: &mut Points<'_>) -> Option<()> {
    let both = [words(&spec.axes.value), words(&way.axes)];
    let lengths: Vec<Option<u64>> = spec
        .shape
        .value
        .iter()
        .map(|d| match d {
            Dim::Fixed(n) => Some(*n),
            Dim::Named(_) => None,
        })
        .collect();
    // A model that is fed one sample gives one, whatever its file says of the batch.
    let same = way.axes == spec.axes.value;
    if let Err(why) = way.lay_out(&spec.axes.value, &lengths) {
        // The sides are the other way round here.
        let why = why.replace("the model has", "the pipeline reads").replace("the pipeline has", "the model gives");
        return points.never("layout", both, why, Some(spec.axes.span));
    }
    if same {
        points.fits("layout", both);
    } else {
        points.say("layout", Fit::Adapts, both, "axes are brought into the pipeline's order", Some(spec.axes.span));
    }
    for ((axis, has), wanted) in spec.axes.value.iter().zip(&way.dims).zip(&lengths) {
        if let (Dim::Fixed(has), Some(wanted)) = (has, wanted)
            && has != wanted
        {
            let both = [format!("{wanted} along {axis}"), has.to_string()];
            return points.never("shape", both, format!("the model gives {has} along `{axis}`"), Some(spec.shape.span));
        }
    }
    Some(())
}

fn dtype(spec: &OutputSpec, from: DType, to: DType, way: &mut Way, points: &mut Points<'_>) -> Option<()> {
    let both = [to.name().to_owned(), from.name().to_owned()];
    let made = way.dtype;
    if made == to && from == to {
        points.fits("dtype", both);
        return Some(());
    }
    if made.is_float() && !to.is_float() {
        let note = format!("{to} does not hold scores; a label would be whole");
        return points.never("dtype", both, note, Some(spec.dtype.span));
    }
    if made != to || from != to {
        points.say("dtype", Fit::Adapts, both, "cast", Some(spec.dtype.span));
    }
    way.cast(to);
    Some(())
}
