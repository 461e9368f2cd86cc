//! Models on the same samples, the best first, each held against the one that has to be beaten.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Figure;

/// What the samples say of a model beside the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// It is the baseline.
    Baseline,
    /// The whole interval of the difference is in its favour.
    Better,
    /// The whole interval is within the margin.
    NotWorse,
    /// The whole interval is against it, and not within the margin.
    Worse,
    /// None of these.
    CannotTell,
}

impl Rank {
    /// Of the interval of a loss, which is positive where the model is worse, and the loss that is tolerated.
    pub fn of(interval: Option<[f64; 2]>, margin: f64) -> Self {
        match interval {
            Some([_, high]) if high < 0.0 => Self::Better,
            Some([_, high]) if high <= margin => Self::NotWorse,
            Some([low, _]) if low > 0.0 => Self::Worse,
            _ => Self::CannotTell,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Better => "better",
            Self::NotWorse => "not worse",
            Self::Worse => "worse",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A model's place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Name and version, as its spec has them.
    pub model: String,
    /// Its spec.
    pub spec: String,
    /// What the samples say of it.
    pub rank: Rank,
    /// The metric.
    pub figure: Figure,
    /// How much worse than the baseline it is, paired; `null` of the baseline.
    pub loss: Option<Figure>,
    /// The loss that its spec tolerates.
    pub margin: f64,
    /// Where nothing can be told: how many samples (groups, where `by_group`) would settle whether it is within the margin, with a
    /// chance of 80 %, if the difference is as observed; `null` where no number would.
    pub needed: Option<u64>,
    /// Whether `needed` counts groups.
    pub by_group: bool,
    /// Bytes of the file, external data included.
    pub bytes: u64,
    /// Multiply-accumulates of one sample; `null` where they depend on open dimensions.
    pub macs: Option<u64>,
    /// Parameters.
    pub params: u64,
}

/// All models, the best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Leaderboard {
    /// `plimsoll.leaderboard/1`.
    pub schema: String,
    /// What models are ordered by.
    pub metric: String,
    /// The models.
    pub places: Vec<Place>,
}

impl Leaderboard {
    /// The schema's name.
    pub const SCHEMA: &'static str = "plimsoll.leaderboard/1";

    /// Puts the models in order: more of the metric is better, of equals the smaller file goes first.
    pub fn new(metric: &str, mut places: Vec<Place>) -> Self {
        places.sort_by(|a, b| b.figure.value.total_cmp(&a.figure.value).then(a.bytes.cmp(&b.bytes)));
        Self { schema: Self::SCHEMA.into(), metric: metric.into(), places }
    }

    /// The model that the others are held against.
    pub fn baseline(&self) -> Option<&Place> {
        self.places.iter().find(|p| p.rank == Rank::Baseline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_touches_both_sides_tells_nothing() {
        let of = |low, high, margin| Rank::of(Some([low, high]), margin);
        assert_eq!(of(-0.03, -0.01, 0.01), Rank::Better);
        assert_eq!(of(-0.03, 0.01, 0.01), Rank::NotWorse);
        assert_eq!(of(0.001, 0.009, 0.01), Rank::NotWorse);
        assert_eq!(of(0.001, 0.02, 0.01), Rank::Worse);
        assert_eq!(of(-0.001, 0.02, 0.01), Rank::CannotTell);
        assert_eq!(Rank::of(None, 0.01), Rank::CannotTell);
    }
}
