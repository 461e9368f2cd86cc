//! What a search makes as small as it can: one figure, or several with weights.

use std::fmt;

use crate::{
    error::Problem,
    metric::Metric,
    reader::{FromToml, Number, Table, Value, Wrong, one_of},
    source::Spanned,
};

/// A figure that can be made small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aim {
    /// Bytes of the file.
    ArtifactSize,
    /// Time of one inference over the original's, in the same run.
    Latency,
    /// Multiply-accumulates.
    Macs,
    /// What a month costs, over all profiles that have a load and a price.
    Cost,
}

impl Aim {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::ArtifactSize, Self::Latency, Self::Macs, Self::Cost];

    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Self::ArtifactSize => "artifact-size",
            Self::Latency => "latency",
            Self::Macs => "macs",
            Self::Cost => "cost",
        }
    }

    /// The metric whose figure it is.
    pub fn metric(self) -> Metric {
        match self {
            Self::ArtifactSize => Metric::ArtifactSize,
            Self::Latency => Metric::LatencyRatio,
            Self::Macs => Metric::Macs,
            Self::Cost => Metric::MonthlyCost,
        }
    }

    /// Whether it takes a time.
    pub fn is_timed(self) -> bool {
        matches!(self, Self::Latency | Self::Cost)
    }
}

impl FromToml for Aim {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &Self::ALL.map(|a| (a.name(), a)))
    }
}

/// What the search makes small: a weighted sum of logarithms, so that a weight says how many per cent of one figure a per cent of
/// another is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    /// Each with its weight, above 0.
    pub aims: Vec<(Aim, f64)>,
}

impl Default for Objective {
    fn default() -> Self {
        Self::of(Aim::ArtifactSize)
    }
}

impl Objective {
    /// One figure alone.
    pub fn of(aim: Aim) -> Self {
        Self { aims: vec![(aim, 1.0)] }
    }

    /// The weight of a figure; 0 where it does not count.
    pub fn weight(&self, aim: Aim) -> f64 {
        self.aims.iter().filter(|(a, _)| *a == aim).map(|(_, w)| w).sum()
    }

    /// Whether any figure takes a time.
    pub fn is_timed(&self) -> bool {
        self.aims.iter().any(|(aim, _)| aim.is_timed())
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(aim, _)] = self.aims.as_slice() {
            return f.write_str(aim.name());
        }
        let parts: Vec<String> = self.aims.iter().map(|(aim, weight)| format!("{} × {weight}", aim.name())).collect();
        f.write_str(&parts.join(" + "))
    }
}

/// Whether one model serves all profiles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Models {
    /// One that keeps the budgets of every profile.
    #[default]
    One,
    /// The best for each profile by itself.
    OneAProfile,
}

impl FromToml for Models {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        one_of(value, &[("one", Self::One), ("one-a-profile", Self::OneAProfile)])
    }
}

/// Reads `objective`: a name, or a table of names and weights.
pub(crate) fn read(table: &Table<'_>) -> Objective {
    let Some(value) = table.raw("objective") else { return Objective::default() };
    if value.0.is_table() {
        let Some(weights) = table.table("objective") else { return Objective::default() };
        let mut aims = Vec::new();
        for aim in Aim::ALL {
            if let Some(weight) = weights.get::<Number>(aim.name()).map(|w| Spanned { value: w.value.0, span: w.span })
            {
                if weight.value.is_finite() && weight.value > 0.0 {
                    aims.push((aim, weight.value));
                } else {
                    let problem = Problem::at(weight.span, "this weight is not above 0");
                    weights.report(problem.help("leave a figure that does not count out"));
                }
            }
        }
        weights.finish();
        if aims.is_empty() {
            table.missing("objective", "give at least one weight, such as { artifact-size = 1, latency = 2 }");
            return Objective::default();
        }
        return Objective { aims };
    }
    table.get::<Aim>("objective").map_or_else(Objective::default, |aim| Objective::of(aim.value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spec;

    fn check(optimize: &str) -> Result<(String, Models), String> {
        let text = format!(
            "schema = 1\nprofiles = []\n[release]\nname = \"n\"\nversion = \"1.0.0\"\n[model]\npath = \"m.onnx\"\n\
             [budget]\nmacs = 5\n[optimize]\n{optimize}\n"
        );
        Spec::from_text("spec.toml", &text).map(|s| (s.objective.to_string(), s.models)).map_err(|e| e.render())
    }

    #[test]
    fn weights_are_read_and_wrong_ones_refused() {
        assert_eq!(check("").unwrap(), ("artifact-size".into(), Models::One));
        assert_eq!(check("objective = \"latency\"\nmodels = \"one-a-profile\"").unwrap().1, Models::OneAProfile);
        let weighed = check("objective = { latency = 2, artifact-size = 1 }").unwrap().0;
        assert_eq!(weighed, "artifact-size × 1 + latency × 2");
        assert!(check("objective = { latency = 0 }").unwrap_err().contains("not above 0"));
        assert!(check("objective = { latency = -1 }").is_err());
        assert!(check("objective = {}").unwrap_err().contains("at least one weight"));
        assert!(check("objective = { size = 1 }").is_err());
        assert!(check("objective = \"sise\"").unwrap_err().contains("there is no `sise`"));
        assert!(check("objective = 3").is_err());
    }
}
