//! The policy of a rollout: who gets a release when, and what must hold before more people get it. Inert: how evidence is
//! weighed is decided elsewhere.

use std::{path::Path, sync::Arc};

use crate::{
    error::{ConfigError, Problem},
    reader::{self, Name, Number, Table, unknown},
    source::{Source, Span, Spanned},
    units::{Count, Seconds, Share, Usage},
};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RolloutMetric {
    /// Share of a device's inferences over the time budget.
    OverBudget,
    /// Share of devices that ever crashed.
    CrashedDevices,
    /// Share of shadow runs that agree with the previous release.
    Agreement,
    /// Last rating of each user, 1 to 5.
    Rating,
    /// Share of devices that do not report.
    MissingDevices,
    /// Energy of an inference, relative to the same device's before the release.
    Energy,
    /// How far inputs lie from the reference that the release ships, 0 to 1.
    InputDrift,
    /// The same of outputs.
    OutputDrift,
}

impl RolloutMetric {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::OverBudget,
        Self::CrashedDevices,
        Self::Agreement,
        Self::Rating,
        Self::MissingDevices,
        Self::Energy,
        Self::InputDrift,
        Self::OutputDrift,
    ];

    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Self::OverBudget => "over-budget",
            Self::CrashedDevices => "crashed-devices",
            Self::Agreement => "agreement",
            Self::Rating => "rating",
            Self::MissingDevices => "missing-devices",
            Self::Energy => "energy",
            Self::InputDrift => "input-drift",
            Self::OutputDrift => "output-drift",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        matches!(self, Self::Agreement | Self::Rating)
    }
}

/// What a metric may lose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The metric.
    pub metric: RolloutMetric,
    /// How much worse than the holdback it may be: a share, or points of a rating.
    pub margin: f64,
    /// What it may never pass, whatever the holdback does: a maximum, or a minimum where more is better.
    pub limit: Option<f64>,
    /// What devices of the release before show: the standard deviation between them (`spread`), or the share that crashes (`base`). Power is
    /// worked out of it; where it is not written, of the holdback's telemetry.
    pub spread: Option<f64>,
    /// What the metric is held against where the holdback does not show it: agreement.
    pub expected: Option<f64>,
    /// Where the margin was written.
    pub span: Span,
}

/// A step on the way to everybody.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Share of the fleet.
    pub share: f64,
    /// How long it lasts at least.
    pub soak: Seconds,
    /// Devices that must have reported.
    pub min_devices: Option<u64>,
}

/// Devices that are planned with: what a stage can prove, and so what may be asked of it, follows from their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// All devices.
    pub fleet: u64,
    /// Those enrolled in the beta.
    pub enrolled: u64,
    /// Share of users that rate, in hundredths of a per cent.
    pub responding_bp: u64,
}

/// What no release should do to any device, and what devices do by themselves all the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Incidents {
    /// Devices that gave the release up after crashes in a row: fewer halt nothing.
    pub crash_loops: u64,
    /// Devices that got other files than were signed: fewer halt nothing.
    pub signature_failures: u64,
    /// Share of devices that report one in a stage with any release.
    pub base: f64,
}

impl Incidents {
    /// Where the policy says nothing else.
    pub const USUAL: Self = Self { crash_loops: 3, signature_failures: 3, base: 1e-4 };
}

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The file.
    pub source: Arc<Source>,
    /// Its name.
    pub name: String,
    /// Share of each cohort that keeps the previous release, for comparison.
    pub holdback: f64,
    /// Share of the devices that must report before anything is decided.
    pub min_reporting: f64,
    /// The devices planned with.
    pub plan: Option<Plan>,
    /// The beta: its share is that of the enrolled.
    pub beta: Stage,
    /// Stages of the general release; the last one is everybody.
    pub stages: Vec<Stage>,
    /// Error rate of a decision.
    pub alpha: f64,
    /// Power below which a stage is not asked for proof.
    pub power: f64,
    /// Time before a release, that each device is compared with itself over.
    pub pre_period: Seconds,
    /// Time before the first statistical halt.
    pub halt_after: Seconds,
    /// Time after which a person decides.
    pub person_after: Seconds,
    /// What halts it at once.
    pub incidents: Incidents,
    /// Smallest number of devices that a report shows.
    pub min_cell: u64,
    /// How long telemetry is kept.
    pub retention: Seconds,
    /// What is watched, in the order of [`RolloutMetric::ALL`].
    pub tolerances: Vec<Tolerance>,
}

impl Policy {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_source(reader::open(path)?)
    }

    /// Reads a text under the path that it is known by.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::from_source(Arc::new(Source::new(path.as_ref(), text)))
    }

    fn from_source(source: Arc<Source>) -> Result<Self, ConfigError> {
        reader::read(&source, |table| policy(table, &source))
    }
}

const DAY: f64 = 86_400.0;

fn policy(table: &Table<'_>, source: &Arc<Source>) -> Option<Policy> {
    table.schema();
    let name = table.need::<Name>("name", "a name for the policy, such as \"bed-sensor\"");
    let holdback = inner_share(table, "holdback", 0.1, 0.5);
    let min_reporting = inner_share(table, "min-reporting", 0.9, 1.0);
    let beta = table.need_table("beta", "write [beta] with `soak`, such as soak = \"30d\"").and_then(|t| {
        let stage = soak(&t, 1.0);
        t.finish();
        stage
    });
    let stages = stages(table);
    let plan = table.table("plan").and_then(|t| {
        let fleet = t.need::<Count>("fleet", "how many devices there are, such as fleet = 5000");
        let enrolled = t.get::<Count>("enrolled").map_or(0, |c| c.value.0);
        let responding_bp = (inner_share(&t, "responding", 0.2, 1.0) * 1e4).round() as u64;
        t.finish();
        Some(Plan { fleet: fleet?.value.0, enrolled, responding_bp })
    });
    let decision = table.table("decision");
    let duration = |key: &'static str, days: f64| {
        let given = decision.as_ref().and_then(|t| t.get::<Seconds>(key));
        given.map_or(Seconds(days * DAY), |s| s.value)
    };
    let rate = |key, default, below| decision.as_ref().map_or(default, |t| inner_share(t, key, default, below));
    let (alpha, power) = (rate("alpha", 0.05, 0.5), rate("power", 0.8, 1.0));
    let (pre_period, halt_after, person_after) =
        (duration("pre-period", 14.0), duration("halt-after", 7.0), duration("person-after", 60.0));
    if let Some(t) = &decision {
        if let Some((_, span)) = t.raw("keys") {
            t.report(Problem::at(span, "`keys` is not the policy's to say").help(
                "how many keys sign an advance is the threshold of the repository's role `general`, which every device checks; remove the line",
            ));
        }
        t.finish();
    }
    let incidents = incidents(table);
    let (min_cell, retention) = table.table("reporting").map_or((10, Seconds(400.0 * DAY)), |t| {
        let cell = t.get::<Count>("min-cell").map_or(10, |c| c.value.0);
        let retention = t.get::<Seconds>("retention").map_or(Seconds(400.0 * DAY), |s| s.value);
        t.finish();
        (cell, retention)
    });
    let tolerances = tolerances(table);
    Some(Policy {
        name: name?.value.0,
        holdback,
        min_reporting,
        plan,
        beta: beta?,
        stages: stages?,
        alpha,
        power,
        pre_period,
        halt_after,
        person_after,
        incidents,
        min_cell,
        retention,
        tolerances: tolerances?,
        source: Arc::clone(source),
    })
}

/// What halts a release at once.
fn incidents(table: &Table<'_>) -> Incidents {
    let usual = Incidents::USUAL;
    let Some(t) = table.table("incidents") else { return usual };
    let count = |key: &'static str, usual| t.get::<Count>(key).map_or(usual, |c| c.value.0);
    let found = Incidents {
        crash_loops: count("crash-loops", usual.crash_loops),
        signature_failures: count("signature-failures", usual.signature_failures),
        base: inner_share(&t, "base", usual.base, 0.1),
    };
    t.finish();
    found
}

/// A share above zero and not above `most`.
fn inner_share(table: &Table<'_>, key: &'static str, default: f64, most: f64) -> f64 {
    let Some(share) = table.get::<Share>(key) else { return default };
    if share.value.0 <= 0.0 || share.value.0 > most {
        let problem = Problem::at(share.span, format!("`{key}` must lie above 0 and not above {} %", most * 100.0));
        table.report(problem.help(format!("the usual value is {} %", default * 100.0)));
    }
    share.value.0
}

fn soak(table: &Table<'_>, share: f64) -> Option<Stage> {
    let soak = table.need::<Seconds>("soak", "how long the stage lasts at least, such as \"7d\"");
    let min_devices = table.get::<Count>("min-devices").map(|c| c.value.0);
    Some(Stage { share, soak: soak?.value, min_devices })
}

fn stages(table: &Table<'_>) -> Option<Vec<Stage>> {
    const HELP: &str = "write [[stages]] with `share` and `soak`, from a small share to \"100%\"";
    if table.raw("stages").is_none() {
        table.missing("stages", HELP);
        return None;
    }
    let mut stages: Vec<Stage> = Vec::new();
    let mut last = None;
    for t in table.tables("stages") {
        let share = t.need::<Share>("share", "the share of the fleet, such as \"5%\"");
        let stage = soak(&t, share.as_ref().map_or(0.0, |s| s.value.0));
        t.finish();
        if let Some(share) = &share {
            if stages.last().is_some_and(|s| s.share >= share.value.0) || share.value.0 <= 0.0 {
                t.report(Problem::at(share.span, "each stage reaches more devices than the one before").help(HELP));
            }
            last = Some(share.span);
        }
        stages.extend(stage);
    }
    if stages.last().is_none_or(|s| s.share < 1.0) {
        table.report(
            Problem::at(last.unwrap_or(table.span()), "the last stage is not everybody")
                .help("end with share = \"100%\""),
        );
    }
    Some(stages)
}

fn tolerances(table: &Table<'_>) -> Option<Vec<Tolerance>> {
    const HELP: &str =
        "write a table for each watched metric, such as [metrics.crashed-devices] with margin = \"0.5pp\"";
    let metrics = table.need_table("metrics", HELP)?;
    let mut tolerances = Vec::new();
    let known: Vec<&str> = RolloutMetric::ALL.iter().map(|m| m.name()).collect();
    for key in metrics.entries().keys() {
        if !known.contains(&key.get_ref().as_ref()) {
            metrics.report(unknown(key.get_ref(), key.span().into(), "metric", &known));
        }
    }
    for metric in RolloutMetric::ALL.iter().copied() {
        let Some(t) = metrics.table(metric.name()) else { continue };
        let (right, wrong) = if metric.higher_is_better() { ("min", "max") } else { ("max", "min") };
        let margin = amount(&t, metric, "margin");
        if margin.is_none() && t.raw("margin").is_none() {
            t.missing("margin", "how much worse than the holdback it may be");
        }
        let limit = amount(&t, metric, right);
        if t.raw(wrong).is_some() {
            t.report(
                Problem::at(t.span(), format!("`{wrong}` makes no sense for `{}`", metric.name()))
                    .help(format!("write `{right}`")),
            );
        }
        let spread = if metric == RolloutMetric::CrashedDevices { "base" } else { "spread" };
        let spread = amount(&t, metric, spread).map(|s| s.value);
        let expected = if metric == RolloutMetric::Agreement { amount(&t, metric, "expected") } else { None };
        if metric == RolloutMetric::Agreement && margin.is_some() && expected.is_none() && limit.is_none() {
            t.report(
                Problem::at(
                    t.span(),
                    "nothing says what agreement is held against: the holdback runs the previous release alone",
                )
                .help("write `expected`, what the gate measured, or `min`"),
            );
        }
        if let Some(m) = &margin
            && m.value <= 0.0
        {
            t.report(Problem::at(m.span, "no evidence excludes a harm of zero").help("write a margin above 0"));
        }
        t.finish();
        if let Some(margin) = margin {
            tolerances.push(Tolerance {
                metric,
                margin: margin.value,
                limit: limit.map(|l| l.value),
                spread,
                expected: expected.map(|e| e.value),
                span: margin.span,
            });
        }
    }
    if metrics.entries().is_empty() {
        metrics.report(Problem::at(metrics.span(), "nothing is watched").help(HELP));
    }
    Some(tolerances)
}

/// An amount of a metric: a share, or points of a rating.
fn amount(table: &Table<'_>, metric: RolloutMetric, key: &'static str) -> Option<Spanned<f64>> {
    // More energy than before is more than all of it.
    if metric == RolloutMetric::Energy {
        return table.get::<Usage>(key).map(|u| Spanned { value: u.value.0, span: u.span });
    }
    if metric != RolloutMetric::Rating {
        return table.get::<Share>(key).map(|s| Spanned { value: s.value.0, span: s.span });
    }
    let points = table.get::<Number>(key)?;
    if (0.0..=5.0).contains(&points.value.0) {
        return Some(Spanned { value: points.value.0, span: points.span });
    }
    table.report(Problem::at(points.span, "this is no number of points").help("ratings go from 1 to 5"));
    None
}
