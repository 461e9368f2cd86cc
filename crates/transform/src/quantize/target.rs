//! Schemes with their conditions: the result is smaller, and a target holds on samples that calibration did not see; the nodes
//! that cost most stay in float until it does. Knows schemes by what they propose.

use std::{fmt, str::FromStr};

use plimsoll_dataset::Dataset;
use plimsoll_onnx::{Model, Patch};

use super::{
    Damage, NodeCost, QuantizeOptions, propose, require_smaller,
    runnable::runnable,
    sensitivity::{rank, split},
};
use crate::{Context, Effect, Pass, Refusal, observe::Reference};

/// Most samples that a target is judged on.
const SAMPLES: usize = 2048;

/// What must hold of a quantized model, on samples held back from calibration.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Target {
    /// The least share of samples that keep the class that the original gives them.
    pub min_agreement: Option<Portion>,
    /// The most that accuracy may fall. Without labels the share of samples that change their class stands for it, which accuracy
    /// cannot exceed in falling; where the output is no row of class scores, the relative error of the outputs.
    pub max_drop: Option<Portion>,
}

impl Target {
    /// Nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A share between 0 and 1, both included: `99%` or `0.99`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Portion(f64);

/// A text that is no share.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("`{0}` is no share between 0 and 100 %: write 99% or 0.99")]
pub struct NotAPortion(String);

impl Portion {
    /// A share; `None` unless between 0 and 1.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The fraction.
    pub fn fraction(self) -> f64 {
        self.0
    }
}

impl FromStr for Portion {
    type Err = NotAPortion;
    fn from_str(s: &str) -> Result<Self, NotAPortion> {
        let (digits, unit) = s.trim().strip_suffix('%').map_or((s.trim(), 1.0), |d| (d.trim_end(), 100.0));
        digits.parse::<f64>().ok().and_then(|v| Self::new(v / unit)).ok_or_else(|| NotAPortion(s.into()))
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", (self.0 * 1e4).round() / 100.0)
    }
}

/// A scheme, its target, and the demand that the result be smaller.
pub(super) struct Conditional {
    options: QuantizeOptions,
    scheme: Box<dyn Pass + Send>,
}

impl Conditional {
    pub(super) fn new(options: QuantizeOptions) -> Self {
        let scheme = propose(options.clone());
        Self { options, scheme }
    }
}

impl Pass for Conditional {
    fn name(&self) -> &'static str {
        self.scheme.name()
    }

    fn effect(&self) -> Effect {
        self.scheme.effect()
    }

    fn after(&self) -> &'static [&'static str] {
        self.scheme.after()
    }

    fn run(&self, model: &Model, context: &Context<'_>) -> Result<Patch, Refusal> {
        if self.options.target.is_none() {
            return require_smaller(model, self.scheme.run(model, context)?);
        }
        self.options.check_excluded(model)?;
        let data = context.data.ok_or(Refusal::NeedsData)?;
        let (calibration, held) = split(model, data)?;
        let (calibration, on_held) = (context.with_data(&calibration), context.with_data(&held));
        let reference = Reference::of(model, &on_held, SAMPLES)?;
        let search =
            Search { options: &self.options, model, calibration: &calibration, held: &held, reference: &reference };
        let first = search.attempt(&[], 0)?;
        if first.holds {
            return Ok(first.explained("every node that the scheme takes is quantized"));
        }
        let ranked = rank(model, &self.options, &calibration, &on_held)?;
        search.climb(&ranked, first)
    }
}

struct Search<'s> {
    options: &'s QuantizeOptions,
    model: &'s Model,
    calibration: &'s Context<'s>,
    held: &'s Dataset,
    reference: &'s Reference<'s>,
}

/// A quantized model and how it stands to the target.
struct Attempt {
    patch: Patch,
    holds: bool,
    /// Larger is nearer to the target.
    score: f64,
    /// The figures, for people.
    figures: String,
}

impl Attempt {
    fn explained(mut self, what: &str) -> Patch {
        self.patch.because(format!("{}: {what}", self.figures));
        self.patch
    }
}

impl Search<'_> {
    /// The options after so many concessions to the first nodes of a ranking: 8 bits for 4 one after another, then float.
    fn conceded(&self, ranked: &[NodeCost], concessions: usize) -> (QuantizeOptions, usize, usize) {
        let wide = if self.options.scheme.is_narrow() { concessions.min(ranked.len()) } else { 0 };
        let float = (concessions - wide).min(ranked.len());
        let outputs = |n: usize| ranked.iter().take(n).flat_map(|cost| cost.outputs.iter().cloned());
        let mut options = self.options.clone();
        options.exclude.extend(outputs(float));
        options.wide.extend(outputs(wide));
        (options, wide, float)
    }

    /// Quantizes after so many concessions.
    fn attempt(&self, ranked: &[NodeCost], concessions: usize) -> Result<Attempt, Refusal> {
        let (options, ..) = self.conceded(ranked, concessions);
        let patch = require_smaller(self.model, propose(options).run(self.model, self.calibration)?)?;
        let mut changed = self.model.clone();
        patch.clone().apply(&mut changed).map_err(|e| Refusal::CheckFailed(e.to_string()))?;
        let (damage, classes) = self.reference.damage(&runnable(&changed)?)?;
        self.judged(patch, &damage, &classes)
    }

    fn judged(&self, patch: Patch, damage: &Damage, classes: &[usize]) -> Result<Attempt, Refusal> {
        let (mut holds, mut score, mut figures) = (true, f64::INFINITY, Vec::new());
        let mut demand = |margin: f64, text: String| {
            holds &= margin >= 0.0;
            score = score.min(margin);
            figures.push(text);
        };
        if let Some(least) = self.options.target.min_agreement {
            let found = damage.agreement.ok_or_else(|| {
                let reason = "agreement needs a first output of class scores, one row a sample; this model has none";
                Refusal::CheckFailed(reason.into())
            })?;
            demand(found - least.fraction(), format!("agreement {found:.4} (at least {least})"));
        }
        if let Some(most) = self.options.target.max_drop {
            let (found, what) = self.drop(damage, classes)?;
            demand(most.fraction() - found, format!("{what} {found:.4} (at most {most})"));
        }
        let figures = format!("{} on {} held-back samples", figures.join(", "), damage.samples);
        Ok(Attempt { patch, holds, score, figures })
    }

    /// How far accuracy falls, or what stands for it.
    fn drop(&self, damage: &Damage, classes: &[usize]) -> Result<(f64, &'static str), Refusal> {
        let Some(agreement) = damage.agreement else { return Ok((damage.noise.sqrt(), "relative output error")) };
        let Some(labels) = self.held.label() else { return Ok((1.0 - agreement, "share of changed classes")) };
        let right = |classes: &[usize]| {
            let hits = classes.iter().zip(labels).filter(|(c, l)| usize::try_from(**l) == Ok(**c)).count();
            hits as f64 / classes.len().max(1) as f64
        };
        let original = self.reference.damage(self.model)?.1;
        Ok((right(&original) - right(classes), "accuracy drop"))
    }

    /// Concedes more and more to the worst nodes, twice as much each time, until the target holds; then as little as will do.
    fn climb(&self, ranked: &[NodeCost], first: Attempt) -> Result<Patch, Refusal> {
        let ladders = if self.options.scheme.is_narrow() { 2 } else { 1 };
        // With every node in float nothing would be quantized.
        let most = (ranked.len() * ladders).saturating_sub(1);
        let (mut fails, mut best, mut best_at) = (0, first, 0);
        let mut found = None;
        let mut at = 1;
        while found.is_none() && fails < most {
            at = at.min(most);
            let attempt = match self.attempt(ranked, at) {
                Ok(attempt) => attempt,
                // So much in float that the file would not be smaller.
                Err(Refusal::NoGain(_) | Refusal::NoMatch) => break,
                Err(other) => return Err(other),
            };
            if attempt.holds {
                found = Some((at, attempt));
            } else {
                fails = at;
                if attempt.score > best.score {
                    (best, best_at) = (attempt, at);
                }
                at *= 2;
            }
        }
        let Some((mut holds, mut attempt)) = found else {
            let reason = format!(
                "the target is out of reach: the best is {}, with {}",
                best.figures,
                self.concessions(ranked, best_at)
            );
            return Err(Refusal::CheckFailed(reason));
        };
        while holds - fails > 1 {
            let middle = fails + (holds - fails) / 2;
            let between = self.attempt(ranked, middle)?;
            if between.holds {
                (holds, attempt) = (middle, between);
            } else {
                fails = middle;
            }
        }
        Ok(attempt.explained(&self.concessions(ranked, holds)))
    }

    /// What was conceded, for people.
    fn concessions(&self, ranked: &[NodeCost], concessions: usize) -> String {
        let (_, wide, float) = self.conceded(ranked, concessions);
        let part = |n: usize, skip: usize, what: &str| {
            let names = ranked.iter().take(n).skip(skip).flat_map(|c| c.nodes.iter().map(String::as_str));
            format!("{} of {} {what}: {}", n - skip, ranked.len(), names.collect::<Vec<_>>().join(", "))
        };
        match (wide, float) {
            (0, 0) => "every node quantized".into(),
            (0, _) => part(float, 0, "stay in float"),
            (_, 0) => part(wide, 0, "get 8 bits"),
            _ => format!("{}; every other one 8 bits", part(float, 0, "stay in float")),
        }
    }
}
