//! What the model takes and gives, as far as its ONNX file cannot say it: `[[model.inputs]]` and `[[model.outputs]]`.

use crate::{
    error::Problem,
    reader::{Number, Table},
    source::Spanned,
    units::Count,
};

use super::{
    InputSpec, OutputSpec, each,
    words::{self, Align, Axis, Fill, Meaning, Signal},
};

/// A part of an axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// The axis of the pipeline's input.
    pub axis: Axis,
    /// First position, and the one after the last.
    pub range: Spanned<[u64; 2]>,
}

/// One input of the model, and what feeds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInput {
    /// Its name in the ONNX file.
    pub name: Spanned<String>,
    /// The inputs of the pipeline that it is made of, in order; the one of the same name where nothing is said.
    pub from: Vec<Spanned<String>>,
    /// The axis along which several are joined.
    pub along: Option<Spanned<Axis>>,
    /// The part of the pipeline's input that it is, where it is not all of it.
    pub take: Option<Take>,
    /// What each axis stands for; as the pipeline's where nothing is said.
    pub axes: Option<Spanned<Vec<Axis>>>,
    /// What its values are.
    pub signal: Signal,
    /// What fills gaps that the model must not see.
    pub fill: Option<Spanned<Fill>>,
    /// How a longer window is cut, or a shorter one lengthened.
    pub align: Option<Spanned<Align>>,
    /// What a shorter window is lengthened with, in the pipeline's unit.
    pub pad: Option<Spanned<f64>>,
}

/// One output of the model, and what reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOutput {
    /// Its name in the ONNX file.
    pub name: Spanned<String>,
    /// The outputs of the pipeline that are made of it; the one of the same name where nothing is said.
    pub to: Vec<Spanned<String>>,
    /// What each axis stands for; as the pipeline's where nothing is said.
    pub axes: Option<Spanned<Vec<Axis>>>,
    /// What its values mean; as the pipeline's where nothing is said.
    pub meaning: Option<Spanned<Meaning>>,
    /// Names of the classes in the model's order; as the pipeline's where none are given.
    pub labels: Option<Spanned<Vec<String>>>,
    /// For classes that the pipeline knows under another name: the model's name, and the pipeline's. Several may become one.
    pub map: Vec<(String, Spanned<String>)>,
}

impl ModelInput {
    pub(super) fn terms(&self) -> String {
        let from: Vec<&str> = self.from.iter().map(|f| f.value.as_str()).collect();
        let take = self.take.as_ref().map(|t| (t.axis, t.range.value));
        let along = self.along.as_ref().map(|a| a.value);
        let axes = self.axes.as_ref().map(|a| &a.value);
        let window = (self.align.as_ref().map(|a| a.value), self.pad.as_ref().map(|p| p.value));
        let fill = self.fill.as_ref().map(|f| f.value);
        let said = super::terms(&self.name.value, &[&from, &take, &along, &axes, &self.signal.terms(), &window, &fill]);
        format!("model input {said}")
    }
}

impl ModelOutput {
    pub(super) fn terms(&self) -> String {
        let to: Vec<&str> = self.to.iter().map(|t| t.value.as_str()).collect();
        let axes = self.axes.as_ref().map(|a| &a.value);
        let meaning = self.meaning.as_ref().map(|m| m.value);
        let labels = self.labels.as_ref().map(|l| &l.value);
        let map: Vec<(&str, &str)> = self.map.iter().map(|(from, to)| (from.as_str(), to.value.as_str())).collect();
        format!("model output {}", super::terms(&self.name.value, &[&to, &axes, &meaning, &labels, &map]))
    }
}

/// The model's side of a contract.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelSide {
    /// Inputs of which something is said.
    pub inputs: Vec<ModelInput>,
    /// Outputs of which something is said.
    pub outputs: Vec<ModelOutput>,
}

pub(super) fn read(table: &Table<'_>, inputs: &[InputSpec], outputs: &[OutputSpec]) -> ModelSide {
    let Some(inner) = table.table("model") else { return ModelSide::default() };
    let optional = |key| inner.raw(key).is_some();
    let (has_inputs, has_outputs) = (optional("inputs"), optional("outputs"));
    let side = ModelSide {
        inputs: if has_inputs { each(&inner, "inputs", input).unwrap_or_default() } else { vec![] },
        outputs: if has_outputs { each(&inner, "outputs", output).unwrap_or_default() } else { vec![] },
    };
    inner.finish();
    let known: Vec<&str> = inputs.iter().map(|i| i.name.value.as_str()).collect();
    for input in &side.inputs {
        known_names(&inner, &input.from, &known, "from", "inputs");
        if let (Some(along), Some(axes)) = (&input.along, &input.axes)
            && !axes.value.contains(&along.value)
        {
            let problem = Problem::at(along.span, format!("the input has no axis `{}`", along.value));
            inner.report(problem.help("name one of its axes"));
        }
    }
    let known: Vec<&str> = outputs.iter().map(|o| o.name.value.as_str()).collect();
    side.outputs.iter().for_each(|output| known_names(&inner, &output.to, &known, "to", "outputs"));
    side
}

/// Names of the pipeline's side that are written in the model's.
fn known_names(table: &Table<'_>, written: &[Spanned<String>], known: &[&str], key: &str, what: &str) {
    for name in written.iter().filter(|n| !known.contains(&n.value.as_str())) {
        let message = format!("the pipeline has no `{}` among its {what}", name.value);
        let help = format!("write `{key}` with one of {}, or describe it in [[{what}]]", known.join(", "));
        table.report(Problem::at(name.span, message).help(help));
    }
}

/// One name, or a list of some; the input's or output's own where there is none.
fn names(table: &Table<'_>, key: &'static str, own: Option<&Spanned<String>>) -> Vec<Spanned<String>> {
    match table.raw(key) {
        None => own.cloned().into_iter().collect(),
        Some((value, _)) if value.as_array().is_some() => {
            table.list::<String>(key).map(|l| l.value).unwrap_or_default()
        }
        Some(_) => table.get::<String>(key).into_iter().collect(),
    }
}

fn axes(table: &Table<'_>) -> Option<Spanned<Vec<Axis>>> {
    let list = table.list::<Axis>("axes")?;
    let axes = Spanned { value: list.value.into_iter().map(|a| a.value).collect(), span: list.span };
    super::once_each(table, &axes);
    Some(axes)
}

fn input(table: &Table<'_>) -> Option<(Spanned<String>, ModelInput)> {
    let name = table.need::<String>("name", "the name of the input in the ONNX file");
    let from = names(table, "from", name.as_ref());
    let along = table.get::<Axis>("along");
    let axes = axes(table);
    let take = take(table);
    let signal = words::signal(table, axes.as_ref().map(|a| a.value.as_slice()));
    let fill = words::fill(table);
    let align = table.get::<Align>("align");
    let pad = table.get::<Number>("pad").map(|p| Spanned { value: p.value.0, span: p.span });
    let name = name?;
    if from.len() > 1 && along.is_none() {
        table.report(
            Problem::at(name.span, "it is not said along which axis these inputs are joined")
                .help("write along = \"channel\", or another of its axes"),
        );
    }
    if let (Some(pad), None) = (&pad, &align) {
        table.report(
            Problem::at(pad.span, "it is not said at which end the window is lengthened")
                .help("write align = \"end\": its end is the window's, and padding goes before it"),
        );
    }
    let input = ModelInput { name: name.clone(), from, along, take, axes, signal, fill, align, pad };
    Some((name, input))
}

/// `take = { channel = [0, 4] }`.
fn take(table: &Table<'_>) -> Option<Take> {
    let inner = table.table("take")?;
    let found: Vec<Take> = Axis::ALL
        .into_iter()
        .filter_map(|axis| {
            let list = inner.list::<Count0>(axis.word())?;
            match list.value.as_slice() {
                [start, end] if start.value.0 < end.value.0 => {
                    Some(Take { axis, range: Spanned { value: [start.value.0, end.value.0], span: list.span } })
                }
                _ => {
                    let problem = Problem::at(list.span, "this is no part of an axis");
                    table.report(problem.help("write take = { channel = [first, after-the-last] }, counted from 0"));
                    None
                }
            }
        })
        .collect();
    inner.finish();
    if found.len() > 1 {
        table.report(Problem::at(inner.span(), "parts of several axes are taken").help("take a part of one axis"));
    }
    found.into_iter().next()
}

/// A position, from 0.
struct Count0(u64);

impl crate::reader::FromToml for Count0 {
    fn from_toml(value: &crate::reader::Value<'_>) -> Result<Self, crate::reader::Wrong> {
        if value.as_integer().is_some_and(|i| i.as_str() == "0") {
            return Ok(Self(0));
        }
        Count::from_toml(value).map(|c| Self(c.0))
    }
}

fn output(table: &Table<'_>) -> Option<(Spanned<String>, ModelOutput)> {
    let name = table.need::<String>("name", "the name of the output in the ONNX file");
    let to = names(table, "to", name.as_ref());
    let axes = axes(table);
    let meaning = table.get::<Meaning>("meaning");
    let labels = super::spanned_labels(table);
    let map = table.table("map").map_or_else(Vec::new, |inner| {
        let pairs = inner.entries().iter().filter_map(|(key, value)| {
            let to = inner.convert::<String>(value.get_ref(), value.span().into())?;
            let from = key.get_ref().to_string();
            if labels.as_ref().is_some_and(|l| !l.value.contains(&from)) {
                let problem = Problem::at(key.span().into(), format!("`{from}` is none of the model's labels"));
                table.report(problem.help("map the names in `labels`"));
            }
            Some((from, to))
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by_key(|(_, to)| to.span);
        pairs
    });
    let name = name?;
    if let (Some((_, to)), None) = (map.first(), &labels) {
        table.report(
            Problem::at(to.span, "a map of labels needs the model's labels")
                .help("write labels = [\"deep\", \"light\", \"wake\"] in the model's order"),
        );
    }
    Some((name.clone(), ModelOutput { name, to, axes, meaning, labels, map }))
}
