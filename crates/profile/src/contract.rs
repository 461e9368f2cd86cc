//! The contract of a running pipeline: what it feeds a model and what it expects back; and beside it what a new model takes and
//! gives, as far as its file cannot say that. Inert: what it means for a model is decided by whoever compares the two.

mod difference;
mod model_side;
mod words;

use std::{path::Path, sync::Arc};

use crate::{
    error::{ConfigError, Problem},
    reader::{self, Number, Table},
    source::{Source, Spanned},
    spec::{PathAt, labels, resolve},
    units::Count,
};

pub use model_side::{ModelInput, ModelOutput, ModelSide, Take};
pub use words::{Align, Axis, Dim, Fill, Meaning, Missing, Normalisation, Signal};

/// One input that the pipeline delivers.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Element type.
    pub dtype: Spanned<&'static str>,
    /// Shape.
    pub shape: Spanned<Vec<Dim>>,
    /// What each axis stands for; as many as dimensions, each once.
    pub axes: Spanned<Vec<Axis>>,
    /// What its values are.
    pub signal: Signal,
}

/// One output that the pipeline reads.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Element type.
    pub dtype: Spanned<&'static str>,
    /// Shape.
    pub shape: Spanned<Vec<Dim>>,
    /// What each axis stands for.
    pub axes: Spanned<Vec<Axis>>,
    /// What its values mean.
    pub meaning: Spanned<Meaning>,
    /// Names of the classes, in the order that the pipeline takes them in.
    pub labels: Vec<String>,
    /// The share from which on the last of two classes is the label; `None` for the class with the highest score.
    pub threshold: Option<Spanned<f64>>,
}

impl InputSpec {
    fn terms(&self) -> String {
        format!(
            "input {}",
            terms(&self.name.value, &[&self.dtype.value, &self.shape.value, &self.axes.value, &self.signal.terms()])
        )
    }
}

impl OutputSpec {
    fn terms(&self) -> String {
        let threshold = self.threshold.as_ref().map(|t| t.value);
        let shape: [&dyn std::fmt::Debug; 3] = [&self.dtype.value, &self.shape.value, &self.axes.value];
        let meaning: [&dyn std::fmt::Debug; 3] = [&self.meaning.value, &self.labels, &threshold];
        format!("output {}", terms(&self.name.value, &[shape, meaning].concat()))
    }
}

/// A name and what is said of it.
fn terms(name: &str, said: &[&dyn std::fmt::Debug]) -> String {
    said.iter().fold(format!("{name:?}"), |text, one| format!("{text} {one:?}"))
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
    /// What the model takes and gives.
    pub model: ModelSide,
    /// Highest version of the default operator set that the pipeline's executor reads.
    pub max_opset: Option<Spanned<u64>>,
    /// Operators that it has; `None` where all are allowed.
    pub operators: Option<Spanned<Vec<String>>>,
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

    /// What the contract says of both sides, in one form whatever the file looks like: without comments, the executor and recorded
    /// samples. Two contracts with the same terms ask for the same adapter.
    pub fn terms(&self) -> String {
        let mut terms: Vec<String> = self.inputs.iter().map(InputSpec::terms).collect();
        terms.extend(self.outputs.iter().map(OutputSpec::terms));
        terms.extend(self.model.inputs.iter().map(ModelInput::terms));
        terms.extend(self.model.outputs.iter().map(ModelOutput::terms));
        terms.join("\n")
    }

    /// An error about a path of this contract, found by whoever opened it.
    pub fn path_error(&self, path: &PathAt, message: impl Into<String>, help: impl Into<String>) -> ConfigError {
        ConfigError::later(&self.source, path.span, message, help)
    }
}

fn contract(table: &Table<'_>, source: &Arc<Source>) -> Option<Contract> {
    table.schema();
    let inputs = each(table, "inputs", input);
    let outputs = each(table, "outputs", output);
    let model = model_side::read(table, inputs.as_deref().unwrap_or_default(), outputs.as_deref().unwrap_or_default());
    let (max_opset, operators) = table.table("executor").map_or((None, None), |t| {
        let opset = t.get::<Count>("max-opset").map(|c| Spanned { value: c.value.0, span: c.span });
        let operators = t
            .list::<String>("operators")
            .map(|l| Spanned { value: l.value.into_iter().map(|o| o.value).collect(), span: l.span });
        t.finish();
        (opset, operators)
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
        model,
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

/// What inputs and outputs have in common.
struct Tensor {
    name: Spanned<String>,
    dtype: Spanned<&'static str>,
    shape: Spanned<Vec<Dim>>,
    axes: Spanned<Vec<Axis>>,
}

fn tensor(table: &Table<'_>) -> Option<Tensor> {
    let name = table.need::<String>("name", "the name that the pipeline has it under");
    let dtype = table.need::<words::Dtype>("dtype", "the element type, such as \"f32\"");
    if table.raw("shape").is_none() {
        table.missing("shape", "write shape = [\"batch\", 1, 150]: numbers, or names for any number");
    }
    let shape = table.list::<Dim>("shape");
    if table.raw("axes").is_none() {
        table.missing("axes", "write axes = [\"batch\", \"channel\", \"time\"]: what each dimension stands for");
    }
    let axes = table.list::<Axis>("axes");
    if let (Some(shape), Some(axes)) = (&shape, &axes)
        && shape.value.len() != axes.value.len()
    {
        let message = format!("there are {} axes for {} dimensions", axes.value.len(), shape.value.len());
        table.report(Problem::at(axes.span, message).help("name one axis for each dimension"));
    }
    let (dtype, shape, axes) = (dtype?, shape?, axes?);
    let axes = Spanned { value: axes.value.into_iter().map(|a| a.value).collect(), span: axes.span };
    once_each(table, &axes);
    Some(Tensor {
        name: name?,
        dtype: Spanned { value: dtype.value.0, span: dtype.span },
        shape: Spanned { value: shape.value.into_iter().map(|d| d.value).collect(), span: shape.span },
        axes,
    })
}

/// An axis is known by what it stands for, so that none may be there twice.
fn once_each(table: &Table<'_>, axes: &Spanned<Vec<Axis>>) {
    let twice = axes.value.iter().enumerate().find(|(i, axis)| axes.value[..*i].contains(axis));
    if let Some((_, axis)) = twice {
        let problem = Problem::at(axes.span, format!("the axis `{axis}` is there twice"));
        table.report(problem.help("name each axis once: batch, channel, time, height, width, feature or class"));
    }
}

fn input(table: &Table<'_>) -> Option<Named<InputSpec>> {
    let tensor = tensor(table);
    let axes = tensor.as_ref().map(|t| t.axes.value.as_slice());
    let signal = words::signal(table, axes);
    let Tensor { name, dtype, shape, axes } = tensor?;
    Some((name.clone(), InputSpec { name, dtype, shape, axes, signal }))
}

fn output(table: &Table<'_>) -> Option<Named<OutputSpec>> {
    let tensor = tensor(table);
    let meaning = table.need::<Meaning>("meaning", "one of logits, probabilities, label, value");
    let labels = labels(table);
    let threshold = table.get::<Number>("threshold").map(|t| Spanned { value: t.value.0, span: t.span });
    let Tensor { name, dtype, shape, axes } = tensor?;
    let meaning = meaning?;
    let classes = axes.value.iter().zip(&shape.value).find(|(axis, _)| **axis == Axis::Class).map(|(_, dim)| dim);
    if let Some(Dim::Fixed(n)) = classes
        && !labels.is_empty()
        && *n != labels.len() as u64
    {
        table.report(
            Problem::at(meaning.span, format!("there are {} labels for {n} classes", labels.len()))
                .help("name every class once"),
        );
    }
    if let Some(threshold) = &threshold {
        let problem = if meaning.value != Meaning::Label {
            Some(("only a label has a threshold", "write meaning = \"label\", or remove the threshold"))
        } else if labels.len() != 2 {
            Some(("a threshold parts two classes", "name two labels; the last is given from the threshold on"))
        } else if !(threshold.value > 0.0 && threshold.value < 1.0) {
            Some(("a threshold is a share between 0 and 1", "write threshold = 0.5"))
        } else {
            None
        };
        if let Some((message, help)) = problem {
            table.report(Problem::at(threshold.span, message).help(help));
        }
    }
    Some((name.clone(), OutputSpec { name, dtype, shape, axes, meaning, labels, threshold }))
}

/// Labels and where they are written; `None` where there are none.
fn spanned_labels(table: &Table<'_>) -> Option<Spanned<Vec<String>>> {
    let (_, span) = table.raw("labels")?;
    Some(Spanned { value: labels(table), span })
}
