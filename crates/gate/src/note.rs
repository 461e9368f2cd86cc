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

/// What would settle an interval that straddles its limit; `limit` is in the figure's unit, where it is one on the figure itself.
pub(crate) fn straddles(metric: Metric, figure: &Figure, limit: Option<f64>) -> String {
    let more = match metric.basis() {
        Basis::Data => match limit.and_then(|limit| samples_to_settle(figure, limit)) {
            Some(n) => format!(
                "about {} samples of the same kind would settle it, if the value is as found",
                thousands(n as u64)
            ),
            None => "more test samples narrow it".to_owned(),
        },
        Basis::Machine | Basis::Paired => "a longer measurement on an idle machine narrows it".to_owned(),
        Basis::Counted | Basis::Estimated => "set an absolute limit".to_owned(),
    };
    format!("the interval straddles the limit (n = {}); {more}", figure.n)
}

/// What a ratio from another kind of machine leaves open, where its plans were rewritten for that machine.
pub(crate) fn lowered_elsewhere(ratio: &Figure) -> Option<String> {
    let (_, set) = ratio.executor_version.split_once("lowered for ")?;
    Some(format!(
        "taken in plans lowered for {set}, which are others on this profile's machines: `device bench` there, or --no-lower here, tells more"
    ))
}

/// A whole number with its thousands apart.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let apart = |(i, c): (usize, char)| {
        let comma = (i > 0 && (digits.len() - i).is_multiple_of(3)).then_some(',');
        comma.into_iter().chain([c])
    };
    digits.chars().enumerate().flat_map(apart).collect()
}

/// How many samples give an interval that lies on one side of the limit with a chance of 80 %, if the value is as found: intervals
/// narrow with the square root of the number of samples (of the same groups, where there are groups). In two digits, since no more is
/// known.
fn samples_to_settle(figure: &Figure, limit: f64) -> Option<f64> {
    /// Standard normal quantiles: of 80 %, and of an interval of 95 %.
    const POWER: f64 = 0.8416;
    const LEVEL: f64 = 1.96;
    let [low, high] = figure.interval?;
    let half = if limit > figure.value { high - figure.value } else { figure.value - low };
    let times = ((LEVEL + POWER) / LEVEL * half / (limit - figure.value).abs()).powi(2);
    let n = figure.n as f64 * times;
    if !n.is_finite() || n > 1e9 || times <= 1.0 {
        return None;
    }
    let unit = 10f64.powf(n.log10().floor() - 1.0).max(1.0);
    Some((n / unit).ceil() * unit)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn drop(n: u64, value: f64, interval: [f64; 2]) -> Figure {
        let blank = r#"{"metric":"accuracy-drop","value":0,"unit":"share","n":1,"interval":null,"method":"","executor":"tract",
            "executor_version":"1","machine":{"cpu":"","isa":[],"threads":1},"build":"release","model_digest":"","data_digest":"",
            "baseline_digest":""}"#;
        Figure { n, value, interval: Some(interval), ..serde_json::from_str(blank).unwrap() }
    }

    #[test]
    fn as_many_samples_settle_it_as_narrow_the_interval_enough() {
        // Half a width of 0.01 is to become 0.005 · 1.96 / 2.80: (2.80 / 1.96 · 2)² times as many.
        assert_eq!(samples_to_settle(&drop(1000, 0.005, [-0.005, 0.015]), 0.01), Some(8200.0));
        // Where the value exceeds the limit, it is the lower end that has to leave it behind.
        assert_eq!(samples_to_settle(&drop(1000, 0.015, [0.005, 0.025]), 0.01), Some(8200.0));
        assert_eq!(samples_to_settle(&drop(1000, 0.01, [0.0, 0.02]), 0.01), None);
    }
}
