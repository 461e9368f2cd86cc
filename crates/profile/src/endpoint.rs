//! Endpoint metrics of a release spec: what users feel of a record (the sleep of a night, say), and how far it may shift against
//! the baseline.
//!
//! This file must not know samples: whether the data have groups is seen where they are read.

use std::sync::Arc;

use crate::{
    budget::{Bound, Level, Limit},
    error::Problem,
    nearest::nearest,
    reader::{FromToml, Table, Value, Wrong, a, one_of, shortened, unknown},
    source::{Source, Span, Spanned},
    units::Seconds,
};

/// What is read off the predicted classes of a group, in their order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum EndpointOf {
    /// Time spent in the class.
    Total,
    /// Time to the first run of the class that lasts.
    Onset {
        /// How long it has to last; counted in whole samples, rounded up.
        lasting: Seconds,
    },
}

/// What is limited of the shifts of all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShiftStatistic {
    /// The mean of the signed shifts, limited to both sides.
    Mean,
    /// The 95th percentile of the absolute shifts.
    P95,
    /// The largest absolute shift.
    Max,
}

impl ShiftStatistic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::P95, Self::Max];

    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P95 => "p95",
            Self::Max => "max",
        }
    }
}

/// A limit on the shift of an endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct ShiftLimit {
    /// What is limited.
    pub statistic: ShiftStatistic,
    /// Seconds, as a [`Bound::Max`].
    pub limit: Limit,
    /// What violating it means.
    pub level: Level,
}

impl ShiftLimit {
    /// Seconds that may not be exceeded.
    pub fn seconds(&self) -> f64 {
        let (Bound::Max(seconds) | Bound::Min(seconds) | Bound::MaxIncrease(seconds)) = self.limit.bound;
        seconds
    }
}

/// An endpoint and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Name in figures, `endpoint.NAME.shift.mean`.
    pub name: Spanned<String>,
    /// What is read off the predictions.
    pub of: EndpointOf,
    /// Number of the class.
    pub class: usize,
    /// The class as people call it: its label where there is one.
    pub class_name: String,
    /// What one sample stands for.
    pub per: Seconds,
    /// One limit or more, each on another statistic.
    pub limits: Vec<ShiftLimit>,
}

impl Endpoint {
    /// The metric of the figure that a limit is judged by; its unit is seconds.
    pub fn figure(&self, statistic: ShiftStatistic) -> String {
        format!("endpoint.{}.shift.{}", self.name.value, statistic.name())
    }
}

/// A class as a file names it.
#[derive(Clone)]
enum Class {
    Label(String),
    Number(usize),
}

impl FromToml for Class {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        const HELP: &str = "write a label of [model], or the number of a class, from 0";
        let wrong = || Wrong::new(format!("this is {}, no class", a(value)), HELP);
        match value {
            Value::String(_) => String::from_toml(value).map(Self::Label),
            Value::Integer(i) => usize::from_str_radix(i.as_str(), i.radix()).map(Self::Number).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Which endpoint, without what only one of them has.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Total,
    Onset,
}

impl FromToml for Kind {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("total", Self::Total), ("onset", Self::Onset)])
    }
}

/// Reads `[endpoint.NAME]` tables, in the order of their names; `labels` are the classes of the model, `None` where the model could
/// not be read.
pub(crate) fn read(table: &Table<'_>, labels: Option<&[String]>, source: &Arc<Source>) -> Vec<Endpoint> {
    let Some(all) = table.table("endpoint") else { return Vec::new() };
    let one = |(key, value): (&toml::Spanned<std::borrow::Cow<'_, str>>, &_)| {
        let value: &toml::Spanned<Value<'_>> = value;
        let span = Span::from(key.span());
        let inner = all.as_table(key.get_ref(), value.get_ref(), span)?;
        let name = name(&inner, key.get_ref(), span);
        let read = endpoint(&inner, labels, source);
        inner.finish();
        let (of, (class, class_name), per, limits) = read?;
        Some(Endpoint { name: Spanned { value: name?, span }, of, class, class_name, per, limits })
    };
    all.entries().iter().filter_map(one).collect()
}

/// A name that can be a part of a metric's.
fn name(table: &Table<'_>, written: &str, span: Span) -> Option<String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !written.is_empty() && written.len() <= 64 && written.bytes().all(plain) {
        return Some(written.to_owned());
    }
    let problem = Problem::at(span, format!("`{}` is no name of an endpoint", shortened(written)));
    table.report(problem.help("up to 64 of a-z, 0-9 and `-`, such as [endpoint.total-sleep-time]"));
    None
}

type Parts = (EndpointOf, (usize, String), Seconds, Vec<ShiftLimit>);

fn endpoint(table: &Table<'_>, labels: Option<&[String]>, source: &Source) -> Option<Parts> {
    let kind =
        table.need::<Kind>("of", "\"total\" (time in the class) or \"onset\" (time to its first run that lasts)");
    let class = table.need::<Class>("class", "a label of [model], or the number of a class, from 0");
    let class = class.and_then(|class| resolved(table, class, labels?));
    let per = table.need::<Seconds>("per", "what one sample stands for, such as \"30s\"").map(|p| p.value);
    let lasting = table.get::<Seconds>("lasting");
    let of = match (kind.map(|k| k.value), &lasting) {
        (Some(Kind::Onset), Some(lasting)) => Some(EndpointOf::Onset { lasting: lasting.value }),
        (Some(Kind::Onset), None) => {
            if table.raw("lasting").is_none() {
                table.missing("lasting", "how long a run of the class must last to count, such as \"5min\"");
            }
            None
        }
        (Some(Kind::Total), Some(lasting)) => {
            let problem = Problem::at(lasting.span, "`lasting` makes no sense for a total");
            table.report(problem.help("remove it, or write of = \"onset\""));
            None
        }
        (Some(Kind::Total), None) => Some(EndpointOf::Total),
        (None, _) => None,
    };
    let limits = limits(table, source);
    Some((of?, class?, per?, limits?))
}

/// The number of a class and what people call it.
fn resolved(table: &Table<'_>, class: Spanned<Class>, labels: &[String]) -> Option<(usize, String)> {
    let known = labels.join(", ");
    let problem = match class.value {
        Class::Number(number) if labels.is_empty() => return Some((number, format!("class {number}"))),
        Class::Number(number) => match labels.get(number) {
            Some(label) => return Some((number, label.clone())),
            None => Problem::at(class.span, format!("there is no class {number}"))
                .help(format!("[model] names {} classes, from 0: {known}", labels.len())),
        },
        Class::Label(label) => match labels.iter().position(|l| *l == label) {
            Some(number) => return Some((number, label)),
            None => {
                let problem = Problem::at(class.span, format!("there is no label `{}`", shortened(&label)));
                match nearest(&label, labels.iter().map(String::as_str)) {
                    _ if labels.is_empty() => problem.help("write `labels` in [model], or the number of the class"),
                    Some(near) => problem.help(format!("did you mean `{near}`? the labels of [model] are {known}")),
                    None => problem.help(format!("the labels of [model] are {known}")),
                }
            }
        },
    };
    table.report(problem);
    None
}

/// `max-shift.mean`, `.p95` and `.max`, each a time or a table of `max` and `level`.
fn limits(table: &Table<'_>, source: &Source) -> Option<Vec<ShiftLimit>> {
    const HELP: &str = "limit the shift against the baseline, such as max-shift.mean = \"5min\"";
    let names = ShiftStatistic::ALL.map(ShiftStatistic::name);
    let shifts = table.need_table("max-shift", HELP)?;
    let mut limits = Vec::new();
    for (key, value) in shifts.entries() {
        let (span, value) = (Span::from(value.span()), value.get_ref());
        match ShiftStatistic::ALL.into_iter().find(|s| s.name() == key.get_ref().as_ref()) {
            Some(statistic) => limits.push(limit(&shifts, key.get_ref(), value, span, source, statistic)),
            None => {
                shifts.report(unknown(key.get_ref(), key.span().into(), "key in `max-shift`", &names));
                limits.push(None);
            }
        }
    }
    if limits.is_empty() {
        table.report(Problem::at(shifts.span(), "`max-shift` sets no limit").help(HELP));
        return None;
    }
    let mut limits = limits.into_iter().collect::<Option<Vec<_>>>()?;
    limits.sort_by_key(|l| l.statistic);
    Some(limits)
}

fn limit(
    shifts: &Table<'_>,
    key: &str,
    value: &Value<'_>,
    span: Span,
    source: &Source,
    statistic: ShiftStatistic,
) -> Option<ShiftLimit> {
    let (seconds, level) = match value.as_table() {
        None => (shifts.convert::<Seconds>(value, span)?, Level::Error),
        Some(_) => {
            let inner = shifts.as_table(key, value, span)?;
            let seconds = inner.need::<Seconds>("max", "a time, such as \"10min\"");
            let level = inner.get::<Level>("level").map_or(Level::Error, |l| l.value);
            inner.finish();
            (seconds?, level)
        }
    };
    let text = source.slice(seconds.span).trim_matches(['"', '\'']).to_owned();
    Some(ShiftLimit { statistic, limit: Limit { bound: Bound::Max(seconds.value.0), text, span: seconds.span }, level })
}
