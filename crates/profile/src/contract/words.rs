//! The words of a contract: element types, axes, dimensions, and what values mean.

use crate::{
    error::Problem,
    reader::{FromToml, Number, Table, Value, Wrong, a, one_of},
    source::{Span, Spanned},
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// Samples that are taken at once.
    Batch,
    /// Signals or colours.
    Signal,
    /// Time.
    Time,
    /// Rows of an image.
    Height,
    /// Columns of an image.
    Width,
    /// Numbers without an order.
    Feature,
    /// Classes.
    Class,
}

impl Axis {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Batch, Self::Signal, Self::Time, Self::Height, Self::Width, Self::Feature, Self::Class];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Signal => "channel",
            Self::Time => "time",
            Self::Height => "height",
            Self::Width => "width",
            Self::Feature => "feature",
            Self::Class => "class",
        }
    }
}

impl std::fmt::Display for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

impl FromToml for Axis {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &Self::ALL.map(|axis| (axis.word(), axis)))
    }
}

/// An element type.
pub(super) struct Dtype(pub(super) &'static str);

impl FromToml for Dtype {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, DTYPES).map(Self)
    }
}

/// A dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always this many.
    Fixed(u64),
    /// Any number, under a name.
    Named(String),
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fixed(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
        }
    }
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

/// How values were brought to scale before the model sees them.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Normalisation {
    /// As they come.
    #[default]
    None,
    /// `(x − mean) / √(variance + 10⁻⁵)` of each window: over time where there is a time axis, channel by channel; else over
    /// everything but the batch.
    PerWindow,
    /// `(x − mean) / std`: one number each for all, or one for each channel.
    Fixed {
        /// Mean.
        mean: Vec<f64>,
        /// Standard deviation.
        std: Vec<f64>,
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

/// What to put where a value is missing, for a model that must not see gaps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// The last value before the gap; at the beginning of a window the first after it.
    Hold,
    /// The mean of what the window holds, channel by channel.
    Mean,
    /// This number, in the pipeline's unit.
    Value(f64),
}

/// Which part of a longer window a model sees, and where a shorter one is lengthened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// The beginnings fall together.
    Start,
    /// The middles do.
    Centre,
    /// The ends do: the model sees the latest values.
    End,
}

impl FromToml for Align {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("start", Self::Start), ("centre", Self::Centre), ("end", Self::End)])
    }
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

impl Meaning {
    const WORDS: [(&'static str, Self); 4] = [
        ("logits", Self::Logits),
        ("probabilities", Self::Probabilities),
        ("label", Self::Label),
        ("value", Self::Value),
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(word, _)| word)
    }
}

impl FromToml for Meaning {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &Self::WORDS)
    }
}

/// What is said of an input's values. What is left out of the pipeline's side is unknown or absent; what is left out of the model's
/// side is as the pipeline has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signal {
    /// Physical unit, in words.
    pub unit: Option<Spanned<String>>,
    /// Least and greatest value that occurs.
    pub range: Option<Spanned<[f64; 2]>>,
    /// Samples a second along the time axis.
    pub sampling_rate: Option<Spanned<Hertz>>,
    /// What was done to the values already, or what the model wants done.
    pub normalisation: Option<Spanned<Normalisation>>,
    /// What stands for a missing value.
    pub missing: Option<Spanned<Missing>>,
}

impl Signal {
    /// What is said, without where.
    pub(super) fn terms(&self) -> impl std::fmt::Debug + '_ {
        let value = |range: &Spanned<[f64; 2]>| range.value;
        (
            self.unit.as_ref().map(|u| &u.value),
            self.range.as_ref().map(value),
            self.sampling_rate.as_ref().map(|r| r.value.0),
            self.normalisation.as_ref().map(|n| &n.value),
            self.missing.as_ref().map(|m| m.value),
        )
    }
}

pub(super) fn signal(table: &Table<'_>, axes: Option<&[Axis]>) -> Signal {
    let sampling_rate = table.get::<Hertz>("sampling-rate");
    if let (Some(rate), Some(axes)) = (&sampling_rate, axes)
        && !axes.contains(&Axis::Time)
    {
        table.report(
            Problem::at(rate.span, "a sampling rate needs a time axis")
                .help("name an axis \"time\" or remove the rate"),
        );
    }
    Signal {
        unit: table.get::<String>("unit"),
        range: range(table),
        sampling_rate,
        normalisation: normalisation(table),
        missing: missing(table),
    }
}

fn range(table: &Table<'_>) -> Option<Spanned<[f64; 2]>> {
    let list = table.list::<Number>("range")?;
    let values: Vec<f64> = list.value.iter().map(|n| n.value.0).collect();
    match values.as_slice() {
        &[low, high] if low < high => Some(Spanned { value: [low, high], span: list.span }),
        _ => {
            table.report(Problem::at(list.span, "this is no range").help("write range = [low, high] with low < high"));
            None
        }
    }
}

fn normalisation(table: &Table<'_>) -> Option<Spanned<Normalisation>> {
    let (value, span) = table.raw("normalisation")?;
    if !value.is_table() {
        let words = [("none", false), ("per-window", true)];
        let per_window = or_report(table, span, one_of(value, &words))?;
        let value = if per_window { Normalisation::PerWindow } else { Normalisation::None };
        return Some(Spanned { value, span });
    }
    let inner = table.table("normalisation")?;
    let mean = numbers(&inner, "mean", "the mean that was subtracted, or a list with one for each channel");
    let std = numbers(&inner, "std", "the standard deviation that was divided by, or a list with one for each channel");
    inner.finish();
    if let Some(std) = &std
        && std.value.iter().any(|s| *s <= 0.0)
    {
        inner.report(Problem::at(std.span, "a standard deviation is above zero").help("write what was divided by"));
    }
    let (mean, std) = (mean?, std?);
    if mean.value.len() != std.value.len() && mean.value.len() != 1 && std.value.len() != 1 {
        let message = format!("there are {} means and {} standard deviations", mean.value.len(), std.value.len());
        inner.report(Problem::at(std.span, message).help("write one of each for each channel, or one for all"));
    }
    Some(Spanned { value: Normalisation::Fixed { mean: mean.value, std: std.value }, span })
}

/// A number, or a list of some.
fn numbers(table: &Table<'_>, key: &'static str, help: &str) -> Option<Spanned<Vec<f64>>> {
    let Some((value, span)) = table.raw(key) else {
        table.missing(key, help);
        return None;
    };
    if value.as_array().is_some() {
        let list = table.list::<Number>(key)?;
        if list.value.is_empty() {
            table.report(Problem::at(span, "this list is empty").help(help));
            return None;
        }
        return Some(Spanned { value: list.value.into_iter().map(|n| n.value.0).collect(), span });
    }
    table.get::<Number>(key).map(|n| Spanned { value: vec![n.value.0], span })
}

fn missing(table: &Table<'_>) -> Option<Spanned<Missing>> {
    let (value, span) = table.raw("missing")?;
    let value = if value.is_integer() || value.is_float() {
        Missing::Value(or_report(table, span, Number::from_toml(value))?.0)
    } else {
        or_report(table, span, one_of(value, &[("never", Missing::Never), ("nan", Missing::Nan)]))?
    };
    Some(Spanned { value, span })
}

pub(super) fn fill(table: &Table<'_>) -> Option<Spanned<Fill>> {
    let (value, span) = table.raw("fill")?;
    let value = if value.is_integer() || value.is_float() {
        Fill::Value(or_report(table, span, Number::from_toml(value))?.0)
    } else {
        or_report(table, span, one_of(value, &[("hold", Fill::Hold), ("mean", Fill::Mean)]))?
    };
    Some(Spanned { value, span })
}

fn or_report<T>(table: &Table<'_>, span: Span, result: Result<T, Wrong>) -> Option<T> {
    result.map_err(|wrong| table.report(Problem::at(span, wrong.message).help(wrong.help))).ok()
}
