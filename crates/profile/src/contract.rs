//! The contract of a running pipeline: what it feeds a model and what it expects back. Inert: what it means for a model is
//! decided by whoever compares the two.

use std::{path::Path, sync::Arc};

use crate::{
    error::{ConfigError, Problem},
    reader::{self, FromToml, Number, Table, Value, Wrong, a, one_of},
    source::{Source, Span, Spanned},
    spec::{PathAt, labels, resolve},
    units::{Count, Hertz},
};

/// Element types, as tensors name them.
const DTYPES: &[(&str, &str)] = &[
    ("f32", "f32"),
    ("f64", "f64"),
    ("f16", "f16"),
    ("bf16", "bf16"),
    ("i8", "i8"),
    ("u8", "u8"),
    ("i16", "i16"),
    ("u16", "u16"),
    ("i32", "i32"),
    ("u32", "u32"),
    ("i64", "i64"),
    ("u64", "u64"),
    ("bool", "bool"),
];
/// What an axis stands for.
const AXES: &[(&str, &str)] = &[
    ("batch", "batch"),
    ("channel", "channel"),
    ("time", "time"),
    ("height", "height"),
    ("width", "width"),
    ("feature", "feature"),
    ("class", "class"),
];

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always this many.
    Fixed(u64),
    /// Any number, under a name.
    Named(String),
}

impl FromToml for Dim {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        if value.is_integer() {
            return Count::from_toml(value).map(|n| Self::Fixed(n.0));
        }
        let wrong = |_| {
            Wrong::new(format!("this is {}", a(value)), "write a number, or a name for any number, such as \"batch\"")
        };
        String::from_toml(value).map(Self::Named).map_err(wrong)
    }
}

struct Word<const AXIS: bool>(&'static str);

impl<const AXIS: bool> FromToml for Word<AXIS> {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, if AXIS { AXES } else { DTYPES }).map(Self)
    }
}

/// How values were brought to scale before the model sees them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Normalisation {
    /// As they come.
    #[default]
    None,
    /// Each window by its own mean and standard deviation.
    PerWindow,
    /// `(x − mean) / std`.
    Fixed {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
}

/// What stands where a value is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Missing {
    /// Nothing is ever missing.
    #[default]
    Never,
    /// NaN.
    Nan,
    /// This value.
    Value(f64),
}

/// What an output means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Scores before softmax.
    Logits,
    /// Shares that add up to one.
    Probabilities,
    /// The number of a class.
    Label,
    /// Anything else.
    Value,
}

impl FromToml for Meaning {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let words = [
            ("logits", Self::Logits),
            ("probabilities", Self::Probabilities),
            ("label", Self::Label),
            ("value", Self::Value),
        ];
        one_of(value, &words)
    }
}

/// One input that the pipeline delivers.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Element type.
    pub dtype: &'static str,
    /// Shape.
    pub shape: Vec<Dim>,
    /// What each axis stands for; as many as dimensions.
    pub axes: Vec<&'static str>,
    /// Physical unit, in words.
    pub unit: Option<String>,
    /// Least and greatest value that occurs.
    pub range: Option<[f64; 2]>,
    /// Samples a second along the time axis.
    pub sampling_rate: Option<Hertz>,
    /// What was done to the values already.
    pub normalisation: Normalisation,
    /// What stands for a missing value.
    pub missing: Missing,
}

/// One output that the pipeline reads.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Element type.
    pub dtype: &'static str,
    /// Shape.
    pub shape: Vec<Dim>,
    /// What each axis stands for.
    pub axes: Vec<&'static str>,
    /// What its values mean.
    pub meaning: Meaning,
    /// Names of the classes, in the order that the pipeline takes them in.
    pub labels: Vec<String>,
}

/// A contract.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// The file.
    pub source: Arc<Source>,
    /// Inputs, at least one.
    pub inputs: Vec<InputSpec>,
    /// Outputs, at least one.
    pub outputs: Vec<OutputSpec>,
    /// Highest version of the default operator set that the pipeline's executor reads.
    pub max_opset: Option<u64>,
    /// Operators that it has; empty where all are allowed.
    pub operators: Vec<String>,
    /// Recorded inputs of the pipeline, an npz file.
    pub recorded_inputs: Option<PathAt>,
    /// The incumbent's outputs on them.
    pub recorded_outputs: Option<PathAt>,
}

impl Contract {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_source(reader::open(path)?)
    }

    /// Reads a text under the path that it is known by.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::from_source(Arc::new(Source::new(path.as_ref(), text)))
    }

    fn from_source(source: Arc<Source>) -> Result<Self, ConfigError> {
        reader::read(&source, |table| contract(table, &source))
    }
}

fn contract(table: &Table<'_>, source: &Arc<Source>) -> Option<Contract> {
    table.schema();
    let inputs = each(table, "inputs", input);
    let outputs = each(table, "outputs", output);
    let (max_opset, operators) = table.table("executor").map_or((None, Vec::new()), |t| {
        let opset = t.get::<Count>("max-opset").map(|c| c.value.0);
        let operators = t.list::<String>("operators").map(|l| l.value).unwrap_or_default();
        t.finish();
        (opset, operators.into_iter().map(|o| o.value).collect())
    });
    let (recorded_inputs, recorded_outputs) = table.table("recorded").map_or((None, None), |t| {
        let paths = ["inputs", "outputs"].map(|key| t.get::<String>(key).map(|p| resolve(source, p)));
        t.finish();
        let [inputs, outputs] = paths;
        (inputs, outputs)
    });
    Some(Contract {
        inputs: inputs?,
        outputs: outputs?,
        max_opset,
        operators,
        recorded_inputs,
        recorded_outputs,
        source: Arc::clone(source),
    })
}

/// Something under a name.
type Named<T> = (Spanned<String>, T);

/// A list of tables that holds at least one, whose names differ.
fn each<T>(table: &Table<'_>, key: &'static str, read: fn(&Table<'_>) -> Option<Named<T>>) -> Option<Vec<T>> {
    if table.raw(key).is_none() {
        table.missing(key, &format!("describe each one in a table of its own, [[{key}]]"));
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for one in table.tables(key) {
        let found = read(&one);
        one.finish();
        let Some((name, value)) = found else { continue };
        if names.contains(&name.value) {
            table.report(
                Problem::at(name.span, "this name is there twice").help("names of inputs and of outputs differ"),
            );
        }
        names.push(name.value);
        all.push(value);
    }
    Some(all)
}

/// What inputs and outputs have in common: dtype, shape, axes.
type Tensor = (&'static str, Vec<Dim>, Vec<&'static str>);

fn tensor(table: &Table<'_>) -> Option<Named<Tensor>> {
    let name = table.need::<String>("name", "the name that the model has it under");
    let dtype = table.need::<Word<false>>("dtype", "the element type, such as \"f32\"");
    if table.raw("shape").is_none() {
        table.missing("shape", "write shape = [\"batch\", 1, 150]: numbers, or names for any number");
    }
    let shape = table.list::<Dim>("shape");
    if table.raw("axes").is_none() {
        table.missing("axes", "write axes = [\"batch\", \"channel\", \"time\"]: what each dimension stands for");
    }
    let axes = table.list::<Word<true>>("axes");
    if let (Some(shape), Some(axes)) = (&shape, &axes)
        && shape.value.len() != axes.value.len()
    {
        let message = format!("there are {} axes for {} dimensions", axes.value.len(), shape.value.len());
        table.report(Problem::at(axes.span, message).help("name one axis for each dimension"));
    }
    let words = |axes: Vec<Spanned<Word<true>>>| axes.into_iter().map(|a| a.value.0).collect();
    let dims = shape?.value.into_iter().map(|d| d.value).collect();
    Some((name?, (dtype?.value.0, dims, words(axes?.value))))
}

fn input(table: &Table<'_>) -> Option<Named<InputSpec>> {
    let tensor = tensor(table);
    let unit = table.get::<String>("unit").map(|u| u.value);
    let range = range(table);
    let sampling_rate = table.get::<Hertz>("sampling-rate");
    let normalisation = normalisation(table);
    let missing = missing(table);
    let (name, (dtype, shape, axes)) = tensor?;
    if let Some(rate) = &sampling_rate
        && !axes.contains(&"time")
    {
        table.report(
            Problem::at(rate.span, "a sampling rate needs a time axis")
                .help("name an axis \"time\" or remove the rate"),
        );
    }
    let sampling_rate = sampling_rate.map(|r| r.value);
    let spec = InputSpec { name: name.clone(), dtype, shape, axes, unit, range, sampling_rate, normalisation, missing };
    Some((name, spec))
}

fn output(table: &Table<'_>) -> Option<Named<OutputSpec>> {
    let tensor = tensor(table);
    let meaning = table.need::<Meaning>("meaning", "one of logits, probabilities, label, value");
    let labels = labels(table);
    let (name, (dtype, shape, axes)) = tensor?;
    let meaning = meaning?;
    let classes = axes.iter().zip(&shape).find(|(axis, _)| **axis == "class").map(|(_, dim)| dim);
    if let Some(Dim::Fixed(n)) = classes
        && !labels.is_empty()
        && *n != labels.len() as u64
    {
        table.report(
            Problem::at(meaning.span, format!("there are {} labels for {n} classes", labels.len()))
                .help("name every class once"),
        );
    }
    Some((name.clone(), OutputSpec { name, dtype, shape, axes, meaning: meaning.value, labels }))
}

fn range(table: &Table<'_>) -> Option<[f64; 2]> {
    let list = table.list::<Number>("range")?;
    let values: Vec<f64> = list.value.iter().map(|n| n.value.0).collect();
    match values.as_slice() {
        &[low, high] if low < high => Some([low, high]),
        _ => {
            table.report(Problem::at(list.span, "this is no range").help("write range = [low, high] with low < high"));
            None
        }
    }
}

fn normalisation(table: &Table<'_>) -> Normalisation {
    match table.raw("normalisation") {
        Some((value, _)) if value.is_table() => {
            let Some(inner) = table.table("normalisation") else { return Normalisation::None };
            let mean = inner.need::<Number>("mean", "the mean that was subtracted");
            let std = inner.need::<Number>("std", "the standard deviation that was divided by");
            inner.finish();
            if let Some(std) = &std
                && std.value.0 <= 0.0
            {
                inner.report(
                    Problem::at(std.span, "a standard deviation is above zero").help("write what was divided by"),
                );
            }
            mean.zip(std).map_or(Normalisation::None, |(m, s)| Normalisation::Fixed { mean: m.value.0, std: s.value.0 })
        }
        Some((value, span)) => {
            let words = [("none", Normalisation::None), ("per-window", Normalisation::PerWindow)];
            or_report(table, span, one_of(value, &words)).unwrap_or_default()
        }
        None => Normalisation::None,
    }
}

fn missing(table: &Table<'_>) -> Missing {
    match table.raw("missing") {
        Some((value, span)) if value.is_integer() || value.is_float() => {
            or_report(table, span, Number::from_toml(value)).map_or(Missing::Never, |n| Missing::Value(n.0))
        }
        Some((value, span)) => {
            or_report(table, span, one_of(value, &[("never", Missing::Never), ("nan", Missing::Nan)]))
                .unwrap_or_default()
        }
        None => Missing::Never,
    }
}

fn or_report<T>(table: &Table<'_>, span: Span, result: Result<T, Wrong>) -> Option<T> {
    result.map_err(|wrong| table.report(Problem::at(span, wrong.message).help(wrong.help))).ok()
}
