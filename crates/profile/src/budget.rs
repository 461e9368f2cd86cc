//! Budgets: limits on metrics, each with the place that set it.

use crate::{
    error::Problem,
    metric::{Better, Metric, Unit},
    money::Money,
    reader::{FromToml, Number, Table, Value, Wrong, one_of, unknown},
    source::{Source, Span},
    units::{Bytes, Count, Increase, Joules, Seconds, Share, Usage},
};
use std::sync::Arc;

/// What a violated limit means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    /// It decides the verdict.
    #[default]
    Error,
    /// It is shown.
    Warn,
}

impl Level {
    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
        }
    }
}

impl FromToml for Level {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("error", Self::Error), ("warn", Self::Warn)])
    }
}

/// What a limit says; numbers are in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// Not more than this.
    Max(f64),
    /// Not less than this.
    Min(f64),
    /// Not more than so much above the baseline, as a share of the baseline.
    MaxIncrease(f64),
}

/// One limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// What it says.
    pub bound: Bound,
    /// As written, such as `256KiB`.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}

impl Limit {
    /// In words, such as `max 256KiB`.
    pub fn words(&self) -> String {
        let kind = match self.bound {
            Bound::Max(_) => "max",
            Bound::Min(_) => "min",
            Bound::MaxIncrease(_) => "max-increase",
        };
        format!("{kind} {}", self.text)
    }
}

/// The limits on one metric. A profile that extends another takes a budget over as it is, or replaces it whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The metric.
    pub metric: Metric,
    /// One limit or more.
    pub limits: Vec<Limit>,
    /// What violating them means.
    pub level: Level,
    /// Share of a limit by which it may be exceeded.
    pub tolerance: f64,
}

impl Budget {
    /// A limit of this budget in words, such as `max 256KiB (tolerance 2%)`.
    pub fn words(&self, limit: &Limit) -> String {
        match self.tolerance {
            0.0 => limit.words(),
            share => format!("{} (tolerance {:.3}%)", limit.words(), share * 100.0).replace(".000%", "%"),
        }
    }

    /// A limit of this budget with its tolerance.
    pub fn widened(&self, limit: &Limit) -> Bound {
        match limit.bound {
            Bound::Max(max) => Bound::Max(max * (1.0 + self.tolerance)),
            Bound::Min(min) => Bound::Min(min * (1.0 - self.tolerance)),
            // What is limited is the figure over the baseline's.
            Bound::MaxIncrease(most) => Bound::MaxIncrease((1.0 + most) * (1.0 + self.tolerance) - 1.0),
        }
    }
}

/// The budgets of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Budgets {
    /// The file.
    pub source: Arc<Source>,
    /// In the order of the metrics' names.
    pub budgets: Vec<Budget>,
}

impl Budgets {
    /// The budget of a metric.
    pub fn get(&self, metric: Metric) -> Option<&Budget> {
        self.budgets.iter().find(|b| b.metric == metric)
    }

    /// Whether any limit needs the model to be run.
    pub fn needs_measuring(&self) -> bool {
        self.budgets.iter().any(|b| b.metric.is_measured())
    }

    /// Whether any limit compares with a baseline.
    pub fn needs_baseline(&self) -> bool {
        let relative =
            |b: &Budget| b.metric.is_relative() || b.limits.iter().any(|l| matches!(l.bound, Bound::MaxIncrease(_)));
        self.budgets.iter().any(relative)
    }
}

/// Reads the table `key`, whose keys are metrics; dotted names are tables in TOML.
pub(crate) fn read(table: &Table<'_>, key: &'static str, allowed: &[Metric], source: &Arc<Source>) -> Vec<Budget> {
    let Some(inner) = table.table(key) else { return Vec::new() };
    let mut reader = Reader { table: &inner, allowed, source, found: Vec::new() };
    reader.walk("", inner.entries());
    reader.found.sort_by_key(|b| b.metric.name());
    reader.found
}

/// Reads the table `key` of a file and of those that it extends: of each metric, the budget of the nearest file.
pub(crate) fn inherited(
    layers: &[Table<'_>],
    key: &'static str,
    allowed: &[Metric],
    source: &Arc<Source>,
) -> Vec<Budget> {
    let mut found: Vec<Budget> = Vec::new();
    for layer in layers {
        for budget in read(layer, key, allowed, source) {
            if !found.iter().any(|b| b.metric == budget.metric) {
                found.push(budget);
            }
        }
    }
    found.sort_by_key(|b| b.metric.name());
    found
}

struct Reader<'r, 't> {
    table: &'r Table<'t>,
    allowed: &'r [Metric],
    source: &'r Source,
    found: Vec<Budget>,
}

impl Reader<'_, '_> {
    fn walk(&mut self, prefix: &str, entries: &toml::de::DeTable<'_>) {
        for (key, value) in entries {
            let name =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let dotted = format!("{name}.");
            match (Metric::find(&name).filter(|m| self.allowed.contains(m)), value.get_ref().as_table()) {
                (Some(metric), _) => self.budget(metric, value.get_ref(), value.span().into(), key.span().into()),
                (None, Some(inner)) if self.allowed.iter().any(|m| m.name().starts_with(&dotted)) => {
                    self.walk(&name, inner)
                }
                (None, _) => {
                    let known: Vec<&str> = self.allowed.iter().map(|m| m.name()).collect();
                    let problem = unknown(&name, key.span().into(), "metric", &known);
                    let elsewhere = Metric::find(&name)
                        .map(|m| format!("`{m}` cannot be limited here; the metrics here are {}", known.join(", ")));
                    self.table.report(match elsewhere {
                        Some(help) => problem.help(help),
                        None => problem,
                    });
                }
            }
        }
    }

    fn budget(&mut self, metric: Metric, value: &Value<'_>, span: Span, key: Span) {
        if self.found.iter().any(|b| b.metric == metric) {
            self.table.report(Problem::at(key, format!("`{metric}` is limited twice")).help("keep one of them"));
            return;
        }
        let mut budget = Budget { metric, limits: Vec::new(), level: Level::Error, tolerance: 0.0 };
        let Some(table) = value.as_table() else {
            let bound = if metric.better() == Better::Lower { Bound::Max } else { Bound::Min };
            self.limit(&mut budget, bound, value, span);
            return self.found.push(budget);
        };
        // `throughput.offline` is a metric as well as `throughput`, whose key `offline` it is in TOML.
        let mut dotted = 0;
        for (key, value) in table {
            if let Some(inner) =
                Metric::find(&format!("{metric}.{}", key.get_ref())).filter(|m| self.allowed.contains(m))
            {
                dotted += 1;
                self.budget(inner, value.get_ref(), value.span().into(), key.span().into());
                continue;
            }
            let (span, value) = (Span::from(value.span()), value.get_ref());
            let wrong_way = |table: &Table<'_>, help: &str| {
                table.report(
                    Problem::at(key.span().into(), format!("`{}` makes no sense for `{metric}`", key.get_ref()))
                        .help(help),
                );
            };
            match key.get_ref().as_ref() {
                "max" if metric.better() == Better::Lower => self.limit(&mut budget, Bound::Max, value, span),
                "min" if metric.better() == Better::Higher => self.limit(&mut budget, Bound::Min, value, span),
                "max" => wrong_way(self.table, "more is better here: write `min`"),
                "min" => wrong_way(self.table, "less is better here: write `max`"),
                "max-increase" if metric.may_increase() => {
                    if let Some(increase) = self.table.convert::<Increase>(value, span) {
                        let text = self.text(span);
                        budget.limits.push(Limit { bound: Bound::MaxIncrease(increase.value.0), text, span });
                    }
                }
                "max-increase" => {
                    let help = metric.comparison().map_or_else(
                        || "it compares with the baseline already: write `max` or `min`".to_owned(),
                        |m| format!("limit `{m}` instead: it compares with the baseline in the same run"),
                    );
                    wrong_way(self.table, &help);
                }
                "level" => {
                    if let Some(level) = self.table.convert::<Level>(value, span) {
                        budget.level = level.value;
                    }
                }
                "tolerance" => match self.table.convert::<Share>(value, span) {
                    Some(share) if share.value.0 < 1.0 => budget.tolerance = share.value.0,
                    Some(_) => {
                        let problem = Problem::at(span, "a tolerance of everything limits nothing");
                        self.table.report(problem.help("write a share of the limit such as \"2%\""));
                    }
                    None => {}
                },
                other => self.table.report(unknown(
                    other,
                    key.span().into(),
                    "key",
                    &["max", "min", "max-increase", "level", "tolerance"],
                )),
            }
        }
        if dotted > 0 && dotted == table.len() {
            return;
        }
        if !["max", "min", "max-increase"].iter().any(|k| table.contains_key(*k)) {
            self.table.report(
                Problem::at(key, format!("the budget of `{metric}` sets no limit"))
                    .help("write `max`, `min` or `max-increase`"),
            );
        }
        self.found.push(budget);
    }

    fn limit(&self, budget: &mut Budget, bound: fn(f64) -> Bound, value: &Value<'_>, span: Span) {
        match limit_value(budget.metric.unit(), value) {
            Ok(number) => budget.limits.push(Limit { bound: bound(number), text: self.text(span), span }),
            Err(wrong) => self.table.report(Problem::at(span, wrong.message).help(wrong.help)),
        }
    }

    fn text(&self, span: Span) -> String {
        self.source.slice(span).trim_matches(['"', '\'']).to_owned()
    }
}

/// A limit in the unit of its metric.
fn limit_value(unit: Unit, value: &Value<'_>) -> Result<f64, Wrong> {
    match unit {
        Unit::Bytes => Bytes::from_toml(value).map(|b| b.0 as f64),
        Unit::Count => Count::from_toml(value).map(|c| c.0 as f64),
        Unit::Seconds => Seconds::from_toml(value).map(|s| s.0),
        Unit::Share => Share::from_toml(value).map(|s| s.0),
        Unit::Usage => Usage::from_toml(value).map(|u| u.0),
        Unit::Joules => Joules::from_toml(value).map(|j| j.0),
        Unit::Money => Money::from_toml(value).map(|m| m.amount),
        Unit::Ratio | Unit::Decibel | Unit::PerSecond | Unit::Target => match Number::from_toml(value)?.0 {
            number if number >= 0.0 => Ok(number),
            _ => Err(Wrong::new("this is negative", "write a number such as 1.05")),
        },
    }
}
