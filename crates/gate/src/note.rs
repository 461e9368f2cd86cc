//! What rows say in words.

use plimsoll_profile::{Basis, Metric, Unit};
use plimsoll_record::Figure;

use crate::judge::is_in;

/// A figure in words, in the units of its limit.
pub(crate) fn found(metric: Metric, figure: &Figure, limit: Option<f64>) -> String {
    // Another metric may stand in for this one, such as a time for the real-time factor.
    let metric = Metric::ALL.iter().copied().find(|m| m.name() == figure.metric).unwrap_or(metric);
    if !is_in(figure, metric) {
        return format!("{} {}", figure.value, figure.unit);
    }
    let show = |x| match metric.unit() {
        Unit::Money => format!("{} {}", metric.unit().show(x, limit), figure.unit),
        unit => unit.show(x, limit),
    };
    match figure.interval {
        Some([low, high]) => format!("{} ({} … {}), n {}", show(figure.value), show(low), show(high), figure.n),
        None if metric.basis() == Basis::Estimated => format!("{}, estimated", show(figure.value)),
        None => show(figure.value),
    }
}

/// A relative increase in words.
pub(crate) fn increase(value: f64, [low, high]: [f64; 2]) -> String {
    let percent = |x: f64| format!("{:+.1} %", x * 100.0);
    if low == high { percent(value) } else { format!("{} ({} … {})", percent(value), percent(low), percent(high)) }
}

/// What would settle an interval that straddles its limit.
pub(crate) fn straddles(metric: Metric, n: u64) -> String {
    let more = match metric.basis() {
        Basis::Data => "more test samples narrow it",
        Basis::Machine | Basis::Paired => "a longer measurement on an idle machine narrows it",
        Basis::Counted | Basis::Estimated => "set an absolute limit",
    };
    format!("the interval straddles the limit (n = {n}); {more}")
}

/// Why there may be no figure.
pub(crate) fn absent(metric: Metric, figure: &str) -> &'static str {
    match metric.basis() {
        _ if figure == Metric::LatencyRatio.name() => "it compares with a baseline; give one with --baseline",
        _ if metric.is_end_to_end() => {
            "it needs the commands that stand before and after the model: name them in [pipeline] of a release spec"
        }
        Basis::Counted if metric.needs_profile() => {
            "it cannot be worked out of the model's size and the profile's facts"
        }
        Basis::Counted => "it cannot be counted: the shape of some value is not known",
        Basis::Estimated => "the profile's hardware facts or the model's counts do not suffice",
        Basis::Machine if metric.rests_on().is_some() => {
            "it is worked out of the mean time of one inference (`latency.mean`), which was not measured"
        }
        Basis::Machine => "it was not measured",
        Basis::Paired => "it compares with a baseline; give one with --baseline",
        Basis::Data if matches!(metric, Metric::Mae | Metric::Rmse) => {
            "it is taken on samples whose labels are floats, the targets of a regression; give them with --data"
        }
        Basis::Data if matches!(metric, Metric::MaeIncrease | Metric::RmseIncrease) => {
            "it compares with a baseline on samples whose labels are floats; give --baseline and --data"
        }
        Basis::Data if matches!(metric, Metric::OutputError | Metric::OutputSqnr | Metric::OutputCosine) => {
            "it compares with a baseline on samples; give --baseline and --data"
        }
        Basis::Data if metric.is_relative() => {
            "it compares with a baseline on labelled samples; give --baseline and --data"
        }
        Basis::Data => "it is taken on labelled samples; give them with --data",
    }
}

/// What can be done about a violated limit.
pub(crate) fn remedy(metric: Metric) -> &'static str {
    match metric {
        Metric::ArtifactSize | Metric::ArtifactSizeZstd | Metric::WeightBytes => {
            "store weights in fewer bits (`quantize --scheme int8` or f16) or remove channels (`prune`)"
        }
        Metric::Params => "remove channels (`prune --remove-params`)",
        Metric::MemorySize => {
            "remove channels (`prune --remove-params`), or quantize to int8 so that nodes multiply in 8 bits: weights that are only stored in few bits are floats once loaded"
        }
        Metric::FlashUse | Metric::TransferPerRollout => {
            "store weights in fewer bits (`quantize --scheme int8` or f16) or remove channels (`prune`)"
        }
        Metric::Storage => "keep fewer versions, or store less of each inference for a shorter time",
        Metric::Instances | Metric::Utilization | Metric::WaitP99 | Metric::Capacity => {
            "a new instance is needed, or a faster model: remove channels (`prune --remove-macs`), or quantize to int8 for a lowered plan"
        }
        Metric::MonthlyCost | Metric::CostPerMillion => {
            "`check --forecast` names the cheapest of the listed types of instances; a faster model needs fewer"
        }
        _ if metric.basis() == Basis::Estimated => "remove channels (`prune --remove-macs`)",
        Metric::ArithmeticIntensity => "fold nodes away (`simplify`): each that is left reads and writes its operands",
        Metric::Macs | Metric::MacsF32 | Metric::MacsF16 | Metric::MacsI8 => "remove channels (`prune --remove-macs`)",
        Metric::Allocations => "fold nodes away (`simplify`): each that is left allocates its outputs",
        Metric::PeakActivationMemory
        | Metric::PeakActivationMemoryInPlace
        | Metric::PeakMemory
        | Metric::AllocatedBytes => "remove channels where `inspect` shows the largest activations",
        _ if metric.basis() == Basis::Data && metric.is_relative() => {
            "use a milder recipe: prune less, leave sensitive nodes in float (`quantize --exclude`), or calibrate on more samples"
        }
        _ if metric.basis() == Basis::Data => {
            "use a milder recipe, or a better model: hold the original against the same budget"
        }
        Metric::ThroughputOffline => "remove channels (`prune --remove-macs`), or serve on more cores",
        _ => {
            "remove channels (`prune --remove-macs`), or quantize to int8 for a lowered plan: in tract's own plan fewer bits save bytes, no time"
        }
    }
}

/// What a pass does not prove.
pub(crate) fn caveat(metric: Metric) -> &'static str {
    use Metric::{
        BatteryLife, BatteryLifeEstimate, EnergyEstimate, EnergyPerInference, EnergyShare, EnergyShareEstimate,
    };
    match metric {
        EnergyPerInference | EnergyShare | BatteryLife => {
            "an estimate: the time is measured, the power is the profile's"
        }
        EnergyEstimate | EnergyShareEstimate => "an estimate, not a measurement: the real inference takes more",
        BatteryLifeEstimate => "an estimate, not a measurement: the real battery lasts shorter",
        _ if metric.basis() == Basis::Estimated => "an estimate, not a measurement: the real time is longer",
        _ => "",
    }
}
