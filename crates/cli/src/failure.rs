//! Every error as the user sees it: a code with a manual page, a message, a remedy, an exit code.

use std::{error::Error, fmt::Write as _, path::Path};

use plimsoll_dataset::DatasetError;
use plimsoll_measure::MeasureError;
use plimsoll_onnx::{ReadError, WriteError};
use plimsoll_optimize::{OptimizeError, RecipeError};
use plimsoll_profile::{ConfigError, Problem};
use plimsoll_record::Fault;
use plimsoll_release::{ErrorKind, EvidenceError, ReleaseError};
use plimsoll_runtime::ExecError;
use plimsoll_transform::{PipelineError, Refusal, adapt::ProofError};
use plimsoll_trust::KeyError;

use crate::{exit::Exit, manual::Code, ui};

/// Why a verb did not come to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// Source lines with labels, where the error points into a file of the user's.
    excerpt: Option<String>,
    help: Option<String>,
    /// What is wrong where, in files of the user's.
    places: Vec<Fault>,
}

impl Failure {
    /// A failure of a kind.
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), excerpt: None, help: None, places: vec![] }
    }

    /// With a remedy.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// With the line of a file that is wrong, from 1, and its column; 0 for all of the line, or of the file.
    pub(crate) fn place(self, file: &Path, line: u64, column: u64) -> Self {
        let (message, help) = (self.message.clone(), self.remedy().to_owned());
        let place = Fault { file: file.display().to_string(), line, column, message, help, ..Fault::default() };
        Self { places: vec![place], ..self }
    }

    /// What a report says of it: one fault for each place, or one alone.
    pub(crate) fn faults(&self, target: &str) -> Vec<Fault> {
        let target = target.to_owned();
        if self.places.is_empty() {
            let (message, help) = (self.message.clone(), self.remedy().to_owned());
            return vec![Fault { target, message, help, ..Fault::default() }];
        }
        self.places.iter().map(|place| Fault { target: target.clone(), ..place.clone() }).collect()
    }

    /// A file that could not be read.
    pub(crate) fn not_read(path: &Path, error: &std::io::Error) -> Self {
        Self::new(Code::BadConfig, format!("failed to read {}: {error}", path.display()))
    }

    pub(crate) fn of(code: Code, error: &dyn Error, help: Option<String>) -> Self {
        Self { code, message: chain(error), excerpt: None, help, places: vec![] }
    }

    /// A file that could not be written.
    pub(crate) fn not_written(path: &Path, error: &std::io::Error) -> Self {
        Self::new(Code::NotWritten, format!("failed to write {}: {error}", path.display()))
            .help("choose a folder that exists and that you may write to")
    }

    /// What is wrong, in one line.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> &str {
        self.help.as_deref().unwrap_or_default()
    }

    /// What the process ends in.
    pub(crate) fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// Prints it to stderr.
    pub(crate) fn say(&self) {
        let mut text = format!("error[{}]: {}", self.code.name(), self.message);
        if let Some(excerpt) = &self.excerpt {
            let _ = write!(text, "\n{}", excerpt.trim_end());
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "\n  help: {help}");
        }
        let _ = write!(text, "\n  manual: plimsoll explain {}", self.code.name());
        ui::say(&text);
    }
}

/// The message with those of its sources that it does not contain.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            let _ = write!(text, ": {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Says which model an error speaks of.
pub(crate) trait Named<T> {
    /// Puts the path before the message.
    fn of_model(self, path: &Path) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Named<T> for Result<T, E> {
    fn of_model(self, path: &Path) -> Result<T, Failure> {
        self.map_err(|e| {
            let failure = e.into();
            Failure { message: format!("{}: {}", path.display(), failure.message), ..failure }
        })
    }
}

impl From<ReadError> for Failure {
    fn from(e: ReadError) -> Self {
        let code = if matches!(e, ReadError::External { .. }) { Code::ExternalData } else { Code::BadModel };
        let help = e.help().or_else(|| Some("check the path and its permissions; an ONNX file is needed".into()));
        Self { message: format!("failed to {}", chain(&e)), ..Self::of(code, &e, help) }
    }
}

impl From<WriteError> for Failure {
    fn from(e: WriteError) -> Self {
        let help = "choose a folder that exists and that you may write to".to_owned();
        Self { message: format!("failed to {}", chain(&e)), ..Self::of(Code::NotWritten, &e, Some(help)) }
    }
}

impl From<DatasetError> for Failure {
    fn from(e: DatasetError) -> Self {
        let help = e.help();
        Self::of(Code::BadData, &e, help)
    }
}

impl From<ExecError> for Failure {
    fn from(e: ExecError) -> Self {
        let code = match &e {
            ExecError::Unsupported { .. } | ExecError::Missing { .. } => Code::Unsupported,
            ExecError::BadInput { .. } => Code::BadData,
            ExecError::Crash { .. } => Code::ExecutorCrash,
            ExecError::TimeLimit { .. } | ExecError::MemoryLimit { .. } => Code::LimitReached,
            _ => Code::Unsupported,
        };
        let help = e.help();
        Self::of(code, &e, help)
    }
}

impl From<MeasureError> for Failure {
    fn from(e: MeasureError) -> Self {
        match e {
            MeasureError::Data(e) => e.into(),
            MeasureError::Exec(e) => e.into(),
            MeasureError::Encode(e) => e.into(),
            e => {
                let help = e.help();
                let code = match &e {
                    MeasureError::Label { .. }
                    | MeasureError::UnknownMetric(_)
                    | MeasureError::Targets { .. }
                    | MeasureError::OtherSamples
                    | MeasureError::Margin(_) => Code::BadData,
                    MeasureError::Figure(_) => Code::Internal,
                    MeasureError::Step(_) | MeasureError::NotHanded(_) => Code::CommandFailed,
                    _ => Code::BadModel,
                };
                Self::of(code, &e, help)
            }
        }
    }
}

impl From<PipelineError> for Failure {
    fn from(e: PipelineError) -> Self {
        let help = e.help();
        match e {
            PipelineError::Refused { source: Refusal::Exec(e), .. } => e.into(),
            PipelineError::Refused { .. } => {
                let help =
                    help.or_else(|| Some("`plimsoll inspect MODEL` shows the nodes; nothing was written".into()));
                Self::of(Code::PassRefused, &e, help)
            }
            PipelineError::Differs { .. } => Self::of(Code::CheckDiffers, &e, help),
            _ => Self::of(Code::Internal, &e, help),
        }
    }
}

impl From<ProofError> for Failure {
    fn from(e: ProofError) -> Self {
        match e {
            ProofError::Run { source, which } => {
                let failure = Self::from(source);
                Self { message: format!("the {which} model does not run: {}", failure.message), ..failure }
            }
            e => Self::of(Code::Internal, &e, None),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(e: Refusal) -> Self {
        match e {
            Refusal::Exec(e) => e.into(),
            e => {
                let help = e.help();
                Self::of(Code::PassRefused, &e, help)
            }
        }
    }
}

impl From<RecipeError> for Failure {
    fn from(e: RecipeError) -> Self {
        match e {
            RecipeError::Pipeline(e) => e.into(),
            e => {
                let help = e.help();
                Self::of(Code::BadConfig, &e, help)
            }
        }
    }
}

impl From<OptimizeError> for Failure {
    fn from(e: OptimizeError) -> Self {
        match e {
            OptimizeError::Recipe(e) => e.into(),
            OptimizeError::Measure(e) => e.into(),
            OptimizeError::Overlap { .. } => {
                let help = e.help();
                Self::of(Code::DataOverlap, &e, help)
            }
            OptimizeError::Store(_) => Self::of(Code::NotWritten, &e, e.help()),
            OptimizeError::Replay(_) => Self::of(Code::BadConfig, &e, e.help()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(e: ConfigError) -> Self {
        let excerpt = Some(e.render());
        let place = |problem: &Problem| {
            let place = problem.span.map(|span| e.source_text().place(span));
            let (file, _) = e.source_text().file_of(problem.span.unwrap_or_default());
            Fault {
                message: problem.message.clone(),
                help: problem.help.clone(),
                file: file.path().display().to_string(),
                line: place.map_or(0, |p| p.line as u64),
                column: place.map_or(0, |p| p.column as u64),
                ..Fault::default()
            }
        };
        let places = e.problems().iter().map(place).collect();
        Self { excerpt, places, ..Self::of(Code::BadConfig, &e, None) }
    }
}

impl From<EvidenceError> for Failure {
    fn from(e: EvidenceError) -> Self {
        let help = e.help();
        // A file that is not there says nothing of who made it.
        let code = if matches!(e, EvidenceError::Read(_)) { Code::BadConfig } else { Code::EvidenceRefused };
        Self::of(code, &e, help)
    }
}

#[cfg(feature = "rollout")]
impl From<plimsoll_rollout::RolloutError> for Failure {
    fn from(e: plimsoll_rollout::RolloutError) -> Self {
        use plimsoll_rollout::RolloutError as E;
        let help = e.help();
        let code = match &e {
            E::Chain { .. } => Code::VerificationRefused,
            E::Order(_) => Code::RolloutOrder,
            E::Key(_) => Code::BadKey,
            _ => Code::BadData,
        };
        Self::of(code, &e, help)
    }
}

impl From<KeyError> for Failure {
    fn from(e: KeyError) -> Self {
        let help = e.help();
        Self::of(Code::BadKey, &e, help)
    }
}

impl From<ReleaseError> for Failure {
    fn from(e: ReleaseError) -> Self {
        let help = e.help();
        let code = match e.kind() {
            ErrorKind::VerificationRefused => Code::VerificationRefused,
            ErrorKind::NotFound => Code::NoRepository,
            ErrorKind::GateFailed => Code::GateFailed,
            ErrorKind::BadInput => Code::BadRelease,
            ErrorKind::Busy => Code::RepositoryBusy,
            _ => Code::NotWritten,
        };
        Self::of(code, &e, help)
    }
}
