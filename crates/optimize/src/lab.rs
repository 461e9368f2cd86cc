//! Where candidates are taken from stage to stage: by running models, or out of a recording. The search sees no difference.

use plimsoll_record::{Recipe, Recording, Stage, Trial, TrialEnd};

use crate::OptimizeError;

/// What takes candidates further.
pub trait Lab {
    /// Takes a candidate to a stage. Earlier stages have been reached.
    fn examine(&mut self, recipe: &Recipe, stage: Stage) -> Result<TrialEnd, OptimizeError>;
    /// Seconds that are left; `None` where time does not matter.
    fn left(&self) -> Option<f64>;
}

/// A laboratory whose trials are written down.
pub struct Recorded<L> {
    inner: L,
    trials: Vec<Trial>,
}

impl<L: Lab> Recorded<L> {
    /// Records what this one finds.
    pub fn new(inner: L) -> Self {
        Self { inner, trials: vec![] }
    }

    /// The laboratory, and its trials as a recording of what has this digest.
    pub fn finish(self, of: &str) -> (L, Recording) {
        (self.inner, Recording::new(of, self.trials))
    }
}

impl<L: Lab> Lab for Recorded<L> {
    fn examine(&mut self, recipe: &Recipe, stage: Stage) -> Result<TrialEnd, OptimizeError> {
        let end = self.inner.examine(recipe, stage)?;
        self.trials.push(Trial { stage, recipe: recipe.clone(), end: end.clone() });
        Ok(end)
    }

    fn left(&self) -> Option<f64> {
        self.inner.left()
    }
}

/// What was found once, in the order in which it was asked for.
pub struct Replayed {
    trials: std::vec::IntoIter<Trial>,
}

impl Replayed {
    /// A recording of what has this digest.
    pub fn new(recording: Recording, of: &str) -> Result<Self, OptimizeError> {
        if recording.schema != Recording::SCHEMA {
            let found = recording.schema;
            return Err(OptimizeError::Replay(format!("it is a `{found}`, not a `{}`", Recording::SCHEMA)));
        }
        if recording.of != of {
            let reason = "the model, the data, the spec, a profile, an option or this program has changed since";
            return Err(OptimizeError::Replay(reason.into()));
        }
        Ok(Self { trials: recording.trials.into_iter() })
    }
}

impl Lab for Replayed {
    fn examine(&mut self, recipe: &Recipe, stage: Stage) -> Result<TrialEnd, OptimizeError> {
        match self.trials.next() {
            Some(trial) if trial.recipe == *recipe && trial.stage == stage => Ok(trial.end),
            _ => Err(OptimizeError::Replay(format!("it does not go on with `{}` where this search does", recipe.name))),
        }
    }

    fn left(&self) -> Option<f64> {
        None
    }
}
