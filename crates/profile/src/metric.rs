//! What may be budgeted: one table of metrics, each with its unit, which way is better, and what its figure rests on.

use std::fmt;

/// What a figure of the metric is in, and how limits on it are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// `"256KiB"`.
    Bytes,
    /// `"2M"`.
    Count,
    /// `"8ms"`.
    Seconds,
    /// `"95%"`, `"0.5pp"`.
    Share,
    /// A plain number; 1 is equality.
    Ratio,
    /// A plain number.
    Decibel,
    /// `"5%"`; what is used over what there is, which may be more than all.
    Usage,
    /// `"2mJ"`.
    Joules,
    /// `"120 USD"`; figures are in the currency itself.
    Money,
    /// A plain number: samples a second.
    PerSecond,
    /// A plain number, in the unit of a regression's targets.
    Target,
}

/// Which way is better; a plain limit is a maximum or a minimum accordingly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Limits are maxima.
    Lower,
    /// Limits are minima.
    Higher,
}

/// What a figure rests on, and so where it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// Counted on the model, or multiplied out of such a count and facts of a profile: the same everywhere, no executor needed.
    Counted,
    /// Worked out from a profile's hardware facts: an estimate and labelled so, no executor needed.
    Estimated,
    /// Measured on a machine, or worked out of such a time and facts of a profile, and true of machines of its kind alone.
    Machine,
    /// Measured against a baseline in the same run: holds on any machine, in the executor that was used.
    Paired,
    /// Taken on data, in the executor that was used.
    Data,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident = $name:literal from $figure:literal, $unit:ident, $better:ident, $basis:ident, $sampled:literal;)*) => {
        /// A metric that may be budgeted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric { $($(#[$doc])* $variant),* }

        impl Metric {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As budgets name it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The metric of the figure that it is judged by.
            pub fn figure(self) -> &'static str {
                match self { $(Self::$variant => $figure),* }
            }

            /// The unit of its limits and figures.
            pub fn unit(self) -> Unit {
                match self { $(Self::$variant => Unit::$unit),* }
            }

            /// Which way is better.
            pub fn better(self) -> Better {
                match self { $(Self::$variant => Better::$better),* }
            }

            /// What its figure rests on.
            pub fn basis(self) -> Basis {
                match self { $(Self::$variant => Basis::$basis),* }
            }

            /// Whether it varies from sample to sample, so that a figure without interval settles nothing.
            pub fn is_sampled(self) -> bool {
                match self { $(Self::$variant => $sampled),* }
            }
        }
    };
}

metrics! {
    /// Bytes of the model file.
    ArtifactSize = "artifact-size" from "artifact-size", Bytes, Lower, Counted, false;
    /// Bytes of the model file after compression by zstd at level 3: what travels.
    ArtifactSizeZstd = "artifact-size-zstd" from "artifact-size-zstd", Bytes, Lower, Counted, false;
    /// Parameters.
    Params = "params" from "params", Count, Lower, Counted, false;
    /// Multiply-accumulates of one inference.
    Macs = "macs" from "macs", Count, Lower, Counted, false;
    /// Multiply-accumulates of float32 numbers.
    MacsF32 = "macs.f32" from "macs.f32", Count, Lower, Counted, false;
    /// Multiply-accumulates of float16 or bfloat16 numbers.
    MacsF16 = "macs.f16" from "macs.f16", Count, Lower, Counted, false;
    /// Multiply-accumulates of integers of at most 8 bits.
    MacsI8 = "macs.i8" from "macs.i8", Count, Lower, Counted, false;
    /// Multiply-accumulates a byte that nodes read or write.
    ArithmeticIntensity = "arithmetic-intensity" from "arithmetic-intensity", Ratio, Higher, Counted, false;
    /// Bytes of the parameters.
    WeightBytes = "weight-bytes" from "weight-bytes", Bytes, Lower, Counted, false;
    /// Bytes of the parameters once they are loaded, those that are only stored in few bits as floats.
    MemorySize = "memory-size" from "memory-size", Bytes, Lower, Counted, false;
    /// Bytes of the activations that are alive at once, at most.
    PeakActivationMemory = "peak-activation-memory" from "peak-activation-memory", Bytes, Lower, Counted, false;
    /// The same where element-wise nodes write over what is not needed any more.
    PeakActivationMemoryInPlace = "peak-activation-memory.in-place" from "peak-activation-memory.in-place", Bytes, Lower, Counted, false;
    /// Lower bound of the time of one inference, from the profile's hardware facts.
    LatencyEstimate = "latency.estimate" from "latency.estimate", Seconds, Lower, Estimated, false;
    /// Median time of one inference.
    LatencyP50 = "latency.p50" from "latency.p50", Seconds, Lower, Machine, true;
    /// Time that nine inferences in ten keep.
    LatencyP90 = "latency.p90" from "latency.p90", Seconds, Lower, Machine, true;
    /// Time that 99 inferences in 100 keep.
    LatencyP99 = "latency.p99" from "latency.p99", Seconds, Lower, Machine, true;
    /// Median time of one inference, less what a calibration kernel beside it says that other work took.
    LatencyNormalized = "latency.normalized" from "latency.normalized", Seconds, Lower, Machine, true;
    /// Mean time of one inference: what a server has to serve.
    LatencyMean = "latency.mean" from "latency.mean", Seconds, Lower, Machine, true;
    /// Standard deviation of the time of one inference over its mean.
    LatencyCv = "latency.cv" from "latency.cv", Ratio, Lower, Machine, true;
    /// Time over the baseline's, in the same run.
    LatencyRatio = "latency.ratio" from "latency.ratio", Ratio, Lower, Paired, true;
    /// 99th percentile of the time of one inference over the hop of the profile's stream.
    RealTimeFactor = "real-time-factor" from "latency.p99", Ratio, Lower, Machine, true;
    /// Mean time of one inference over the hop of the profile's stream.
    DutyCycle = "duty-cycle" from "duty-cycle", Usage, Lower, Machine, true;
    /// The same with the estimate of the time: a lower bound.
    DutyCycleEstimate = "duty-cycle-estimate" from "duty-cycle-estimate", Usage, Lower, Estimated, false;
    /// Energy that the device takes while it infers once, from the measured time.
    EnergyPerInference = "energy-per-inference" from "energy-per-inference", Joules, Lower, Machine, true;
    /// The same from counts, or from the estimate of the time.
    EnergyEstimate = "energy-estimate" from "energy-estimate", Joules, Lower, Estimated, false;
    /// Share of the device's energy that inferences take.
    EnergyShare = "energy-share" from "energy-share", Usage, Lower, Machine, true;
    /// The same from the estimate of the energy.
    EnergyShareEstimate = "energy-share-estimate" from "energy-share-estimate", Usage, Lower, Estimated, false;
    /// How long a charge of the battery lasts.
    BatteryLife = "battery-life" from "battery-life", Seconds, Higher, Machine, true;
    /// The same from the estimate of the energy: an upper bound.
    BatteryLifeEstimate = "battery-life-estimate" from "battery-life-estimate", Seconds, Higher, Estimated, false;
    /// Bytes of the model in all slots over the flash that there is.
    FlashUse = "flash-use" from "flash-use", Usage, Lower, Counted, false;
    /// Instances that the load needs.
    Instances = "instances" from "instances", Count, Lower, Machine, true;
    /// Share of the time of today's instances that the busiest second takes.
    Utilization = "utilization" from "utilization", Usage, Lower, Machine, true;
    /// Time that 99 calls in 100 wait for a core of today's instances in the busiest second, at most.
    WaitP99 = "wait.p99" from "wait.p99", Seconds, Lower, Machine, true;
    /// Inferences a day that today's instances carry.
    Capacity = "capacity" from "capacity", Count, Higher, Machine, true;
    /// Instances, storage and transfer of a month.
    MonthlyCost = "monthly-cost" from "monthly-cost", Money, Lower, Machine, true;
    /// The same of a million inferences.
    CostPerMillion = "cost-per-million" from "cost-per-million", Money, Lower, Machine, true;
    /// Bytes of kept versions and stored outputs.
    Storage = "storage" from "storage", Bytes, Lower, Counted, false;
    /// Bytes that bring the model to all devices.
    TransferPerRollout = "transfer-per-rollout" from "transfer-per-rollout", Bytes, Lower, Counted, false;
    /// Median time of a sample through the command before the model, the model, and the command after it.
    EndToEndP50 = "end-to-end.p50" from "end-to-end.p50", Seconds, Lower, Machine, true;
    /// The same that nine samples in ten keep.
    EndToEndP90 = "end-to-end.p90" from "end-to-end.p90", Seconds, Lower, Machine, true;
    /// The same that 99 samples in 100 keep.
    EndToEndP99 = "end-to-end.p99" from "end-to-end.p99", Seconds, Lower, Machine, true;
    /// Time end to end over that with the baseline between the same commands, in the same run.
    EndToEndRatio = "end-to-end.ratio" from "end-to-end.ratio", Ratio, Lower, Paired, true;
    /// Samples a second at the batch that was measured.
    Throughput = "throughput" from "throughput", PerSecond, Higher, Machine, true;
    /// Samples a second of as many sessions at once as the machine has cores.
    ThroughputOffline = "throughput.offline" from "throughput.offline", PerSecond, Higher, Machine, true;
    /// Load and first inference.
    ColdStart = "cold-start" from "cold-start", Seconds, Lower, Machine, true;
    /// Most resident memory of the process that runs the model.
    PeakMemory = "peak-memory" from "peak-rss", Bytes, Lower, Machine, false;
    /// Calls of the allocator in one inference of a warm model.
    Allocations = "allocations" from "allocations", Count, Lower, Machine, false;
    /// Bytes that one inference of a warm model asks the allocator for.
    AllocatedBytes = "allocated-bytes" from "allocated-bytes", Bytes, Lower, Machine, false;
    /// Share of samples that are classified rightly.
    Accuracy = "accuracy" from "accuracy", Share, Higher, Data, true;
    /// Mean recall of the classes.
    BalancedAccuracy = "balanced-accuracy" from "balanced-accuracy", Share, Higher, Data, true;
    /// Area under the ROC curve.
    Auc = "auc" from "auc", Share, Higher, Data, true;
    /// Mean F1 of the classes.
    F1Macro = "f1-macro" from "f1-macro", Share, Higher, Data, true;
    /// Cohen's kappa.
    Kappa = "kappa" from "kappa", Ratio, Higher, Data, true;
    /// Share of samples whose class is among the five highest scores.
    Top5 = "top-5" from "top-5", Share, Higher, Data, true;
    /// Mean absolute error of a regression.
    Mae = "mae" from "mae", Target, Lower, Data, true;
    /// Root of the mean squared error of a regression.
    Rmse = "rmse" from "rmse", Target, Lower, Data, true;
    /// Share of samples that are classified as the baseline does.
    Agreement = "agreement" from "agreement", Share, Higher, Data, true;
    /// Accuracy of the baseline less the model's, paired.
    AccuracyDrop = "accuracy-drop" from "accuracy-drop", Share, Lower, Data, true;
    /// Balanced accuracy of the baseline less the model's, paired.
    BalancedAccuracyDrop = "balanced-accuracy-drop" from "balanced-accuracy-drop", Share, Lower, Data, true;
    /// Area under the ROC curve of the baseline less the model's, paired.
    AucDrop = "auc-drop" from "auc-drop", Share, Lower, Data, true;
    /// Macro F1 of the baseline less the model's, paired.
    F1MacroDrop = "f1-macro-drop" from "f1-macro-drop", Share, Lower, Data, true;
    /// Cohen's kappa of the baseline less the model's, paired.
    KappaDrop = "kappa-drop" from "kappa-drop", Ratio, Lower, Data, true;
    /// Mean absolute error of the model less the baseline's, paired.
    MaeIncrease = "mae-increase" from "mae-increase", Target, Lower, Data, true;
    /// Root mean squared error of the model less the baseline's, paired.
    RmseIncrease = "rmse-increase" from "rmse-increase", Target, Lower, Data, true;
    /// Relative L2 distance of the scores to the baseline's.
    OutputError = "output-error" from "output-error", Ratio, Lower, Data, false;
    /// Energy of the baseline's scores over that of the difference.
    OutputSqnr = "output-sqnr" from "output-sqnr", Decibel, Higher, Data, false;
    /// Cosine between the scores and the baseline's.
    OutputCosine = "output-cosine" from "output-cosine", Ratio, Higher, Data, false;
}

impl Metric {
    /// The metric of a name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }

    /// Whether `max-increase` may limit it: where lower is better, nothing about it is relative already, and no metric compares sample
    /// by sample. What goes up in whole instances has no increase that a ratio of times would tell.
    pub fn may_increase(self) -> bool {
        let told = self.rests_on().is_none() || self.paired_ratio().is_some();
        self.better() == Better::Lower && self.basis() != Basis::Data && self.basis() != Basis::Paired && told
    }

    /// The measured metric that it is worked out of, with facts of a profile; `None` of what is measured itself, counted or estimated.
    pub fn rests_on(self) -> Option<Self> {
        use Metric::{
            BatteryLife, Capacity, CostPerMillion, DutyCycle, EnergyPerInference, EnergyShare, Instances, MonthlyCost,
            Utilization, WaitP99,
        };
        match self {
            DutyCycle | EnergyPerInference | EnergyShare | BatteryLife => Some(Self::LatencyMean),
            Instances | Utilization | WaitP99 | Capacity | MonthlyCost | CostPerMillion => Some(Self::LatencyMean),
            _ => None,
        }
    }

    /// Whether it means something only with the facts of a profile.
    pub fn needs_profile(self) -> bool {
        use Metric::{FlashUse, RealTimeFactor, Storage, TransferPerRollout};
        self.basis() == Basis::Estimated
            || self.rests_on().is_some()
            || matches!(self, RealTimeFactor | FlashUse | Storage | TransferPerRollout)
    }

    /// The metric that compares the same with a baseline, where there is one.
    pub fn comparison(self) -> Option<Self> {
        Some(match self {
            Self::Accuracy => Self::AccuracyDrop,
            Self::BalancedAccuracy => Self::BalancedAccuracyDrop,
            Self::Auc => Self::AucDrop,
            Self::F1Macro => Self::F1MacroDrop,
            Self::Kappa => Self::KappaDrop,
            Self::Mae => Self::MaeIncrease,
            Self::Rmse => Self::RmseIncrease,
            Self::Top5 => Self::Agreement,
            Self::Throughput | Self::ThroughputOffline => Self::LatencyRatio,
            Self::Instances | Self::MonthlyCost | Self::CostPerMillion | Self::WaitP99 => Self::LatencyRatio,
            Self::Capacity | Self::BatteryLife | Self::EnergyShare => Self::LatencyRatio,
            _ => return None,
        })
    }

    /// The paired ratio of times that judges its `max-increase`, where one does.
    pub fn paired_ratio(self) -> Option<Self> {
        use Metric::{
            DutyCycle, EnergyPerInference, LatencyMean, LatencyNormalized, LatencyP50, LatencyP90, LatencyP99,
            RealTimeFactor, Utilization,
        };
        match self {
            LatencyP50 | LatencyP90 | LatencyP99 | LatencyMean | LatencyNormalized | RealTimeFactor => {
                Some(Self::LatencyRatio)
            }
            // In proportion to the time.
            DutyCycle | EnergyPerInference | Utilization => Some(Self::LatencyRatio),
            Self::EndToEndP50 | Self::EndToEndP90 | Self::EndToEndP99 => Some(Self::EndToEndRatio),
            _ => None,
        }
    }

    /// Whether it is of the whole step of a pipeline, commands before and after the model included.
    pub fn is_end_to_end(self) -> bool {
        self == Self::EndToEndRatio || self.paired_ratio() == Some(Self::EndToEndRatio)
    }

    /// Whether its figure compares with a baseline.
    pub fn is_relative(self) -> bool {
        use Metric::{EndToEndRatio, LatencyRatio, OutputCosine, OutputError, OutputSqnr};
        let of_labels = Self::ALL.iter().any(|m| m.comparison() == Some(self));
        of_labels || matches!(self, LatencyRatio | EndToEndRatio | OutputError | OutputSqnr | OutputCosine)
    }

    /// Whether an executor must run the model for its figure.
    pub fn is_measured(self) -> bool {
        !matches!(self.basis(), Basis::Counted | Basis::Estimated)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Unit {
    /// As figures name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Seconds => "s",
            Self::Share => "share",
            Self::Ratio | Self::Usage => "ratio",
            Self::Joules => "J",
            Self::Money => "money",
            Self::Decibel => "dB",
            Self::PerSecond => "1/s",
            Self::Target => "target",
        }
    }

    /// A value as people read it. Bytes take binary units where `like`, the limit, is a multiple of 1 KiB and of no 1000.
    pub fn show(self, value: f64, like: Option<f64>) -> String {
        match self {
            Self::Bytes if like.is_some_and(|l| l >= 1024.0 && l % 1024.0 == 0.0 && l % 1000.0 != 0.0) => {
                scaled(value, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")])
            }
            Self::Bytes => scaled(value, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")]),
            Self::Count => scaled(value, &[(1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]).trim_end().to_owned(),
            Self::Seconds => {
                scaled(value, &[(86_400.0, "d"), (3600.0, "h"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")])
            }
            Self::Share => format!("{:.2} %", value * 100.0),
            Self::Ratio => format!("{value:.3}"),
            Self::Usage if value < 0.001 => format!("{:.4} %", value * 100.0),
            Self::Usage => format!("{:.2} %", value * 100.0),
            Self::Joules => {
                scaled(value, &[(1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ")])
            }
            // Cents of a million calls still count.
            Self::Money if value < 1.0 => format!("{value:.4}"),
            Self::Money => format!("{value:.2}"),
            Self::Decibel => format!("{value:.1} dB"),
            Self::PerSecond => scaled(value, &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s"), (1e-3, "m/s")]),
            Self::Target => {
                // Four digits that count, however large the targets are.
                let before = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
                format!("{value:.*}", (3.0 - before).clamp(0.0, 12.0) as usize)
            }
        }
    }
}

/// Four digits and the unit that fits.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let smallest = units.last().copied().unwrap_or((1.0, ""));
    let (factor, unit) = units.iter().copied().find(|(f, _)| value.abs() >= *f).unwrap_or(smallest);
    let number = value / factor;
    let digits = match number.abs() {
        n if n >= 1000.0 || n.fract() == 0.0 => 0,
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_hidden_by_the_keys_of_another() {
        for a in Metric::ALL {
            assert_eq!(Metric::find(a.name()), Some(*a));
            for key in ["max", "min", "max-increase", "level"] {
                assert_eq!(Metric::find(&format!("{a}.{key}")), None);
            }
        }
    }

    #[test]
    fn what_names_a_drop_or_an_increase_compares() {
        for metric in Metric::ALL {
            let named = metric.name().ends_with("-drop") || metric.name().ends_with("-increase");
            assert!(!named || metric.is_relative() && metric.better() == Better::Lower, "{metric}");
            assert!(!metric.is_relative() || !metric.may_increase(), "{metric}");
        }
    }

    #[test]
    fn what_a_time_is_worked_into_is_judged_where_the_time_holds() {
        for metric in Metric::ALL {
            if let Some(time) = metric.rests_on() {
                assert_eq!((metric.basis(), time.basis(), time.rests_on()), (Basis::Machine, Basis::Machine, None));
                assert!(metric.is_sampled() && metric.needs_profile(), "{metric}");
                assert!(metric.may_increase() || metric.comparison().is_some(), "{metric} names no way to compare");
            }
        }
    }

    fn check(unit: Unit, value: f64, like: Option<f64>, text: &str) {
        assert_eq!(unit.show(value, like), text);
    }

    #[test]
    fn values_are_shown_in_the_limits_own_units() {
        check(Unit::Bytes, 262_144.0, Some(262_144.0), "256 KiB");
        check(Unit::Bytes, 262_144.0, Some(300_000.0), "262.1 kB");
        // 100 GB is a multiple of 1 KiB, too.
        check(Unit::Bytes, 5e10, Some(1e11), "50 GB");
        check(Unit::Bytes, 0.0, None, "0 B");
        check(Unit::Seconds, 0.0081234, None, "8.123 ms");
        check(Unit::Seconds, 0.0, None, "0 ns");
        check(Unit::Count, 2_540_000.0, None, "2.540 M");
        check(Unit::Count, 12.0, None, "12");
        check(Unit::Share, -0.0012, None, "-0.12 %");
        check(Unit::Ratio, 0.5, None, "0.500");
        check(Unit::Usage, 1.25, None, "125.00 %");
        check(Unit::Usage, 0.000_012, None, "0.0012 %");
        check(Unit::Joules, 0.0021, None, "2.100 mJ");
        check(Unit::Money, 65.1525, None, "65.15");
        check(Unit::Money, 0.0123, None, "0.0123");
        check(Unit::Target, 0.012345, None, "0.01235");
        check(Unit::Target, 12345.0, None, "12345");
        check(Unit::Target, 0.0, None, "0.000");
    }
}
