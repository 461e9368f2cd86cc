//! The step of a pipeline that a model stands in: a command that makes its inputs of a sample, the model, and a command that takes its
//! outputs. Both commands are started once, as they would be where the model serves, and get one sample after the other.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use plimsoll_dataset::{Archive, Dataset, Samples, decode_arrays, encode_arrays};
use plimsoll_onnx::{Model, Tensors};
use plimsoll_runtime::{Filter, FilterError, Session};

use crate::MeasureError;

/// Commands around a model.
#[derive(Debug, Clone)]
pub struct Commands {
    /// Makes the inputs.
    pub before: Option<String>,
    /// Takes the outputs.
    pub after: Option<String>,
    /// What the command before the model takes, where that is not the data of the measurement.
    pub samples: Option<Arc<Archive>>,
    /// Where they run.
    pub folder: PathBuf,
    /// How long one answer may take.
    pub time: Duration,
    /// How many bytes one answer may have.
    pub bytes: u64,
}

/// The running commands.
pub(super) struct Steps {
    before: Option<Mutex<Filter<Tensors>>>,
    after: Option<Mutex<Filter<Tensors>>>,
    samples: Option<Arc<Archive>>,
    words: String,
}

impl Steps {
    pub(super) fn start(commands: &Commands) -> Result<Self, MeasureError> {
        let most = commands.bytes;
        let filter = |command: &Option<String>| {
            let start = |c: &String| {
                Filter::start(c, &commands.folder, commands.time, move |s| decode_arrays(s, most)).map(Mutex::new)
            };
            command.as_ref().map(start).transpose()
        };
        let name = |command: &Option<String>| command.as_ref().map(|c| format!("`{c}`"));
        let words = [name(&commands.before), Some("the model".into()), name(&commands.after)];
        let words = words.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let samples = commands.samples.clone();
        Ok(Self { before: filter(&commands.before)?, after: filter(&commands.after)?, samples, words })
    }

    /// The steps by name.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Whether the samples are what the command before the model takes, and not the model's own inputs.
    pub(super) fn makes_inputs(&self) -> bool {
        self.before.is_some()
    }

    /// Samples of its own for the command before the model.
    pub(super) fn samples(&self) -> Option<&dyn Samples> {
        self.samples.as_deref().map(|s| s as &dyn Samples)
    }

    /// What the command before the model makes of a sample, which must fit the model.
    pub(super) fn inputs(&self, model: &Model, sample: Tensors) -> Result<Tensors, MeasureError> {
        let Some(before) = &self.before else { return Ok(sample) };
        let made = ask(before, encoded(&sample)?)?.0;
        let made = Dataset::new(Path::new("the answer of the command before the model"), made, None, None)?;
        made.check_against(&model.inputs())?;
        Ok(made.inputs().clone())
    }

    /// Runs a sample through all steps; the nanoseconds that they took together. Handing arrays over to the commands counts, to the
    /// process that runs the model it does not.
    pub(super) fn time(&self, session: &mut dyn Session, sample: &Tensors) -> Result<u64, MeasureError> {
        let (made, mut took) = match &self.before {
            Some(before) => {
                let (made, took) = ask(before, encoded(sample)?)?;
                (Some(made), took)
            }
            None => (None, Duration::ZERO),
        };
        let inputs = made.as_ref().unwrap_or(sample);
        took += Duration::from_nanos(session.time(inputs, 1)?.iter().sum());
        if let Some(after) = &self.after {
            // Once more, for what it gives.
            took += ask(after, encoded(&session.run(inputs)?)?)?.1;
        }
        Ok(took.as_nanos() as u64)
    }
}

fn encoded(arrays: &Tensors) -> Result<Vec<u8>, MeasureError> {
    encode_arrays(arrays).map_err(MeasureError::NotHanded)
}

fn ask(filter: &Mutex<Filter<Tensors>>, request: Vec<u8>) -> Result<(Tensors, Duration), FilterError> {
    let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let answer = filter.ask(request)?;
    Ok((answer, start.elapsed()))
}
