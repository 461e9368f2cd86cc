//! What verbs share: the common options, the executor in its child process, progress, and reading files.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use plimsoll_dataset::{Archive, Dataset, Samples};
use plimsoll_measure::Commands;
use plimsoll_onnx::Model;
use plimsoll_profile::Day;
use plimsoll_release::{ErrorKind, ReleaseError};
use plimsoll_runtime::Executor;
use plimsoll_transform::{Context, ranges};
use plimsoll_trust::atomic;
use serde::Serialize;

use crate::{
    args::{Common, ExecutorName},
    executors::Executors,
    failure::Failure,
    manual::Code,
    ui,
};

pub(crate) struct World {
    pub(crate) common: Common,
    pub(crate) bar: ui::Bar,
    executors: Executors,
}

impl World {
    pub(crate) fn new(common: Common) -> Self {
        Self { common, bar: ui::Bar::default(), executors: Executors::default() }
    }

    /// The executor that was asked for.
    pub(crate) fn executor(&self) -> Result<&dyn Executor, Failure> {
        self.executor_named(self.common.executor)
    }

    /// The name of the executor that was asked for.
    pub(crate) fn executor_name(&self) -> &'static str {
        self.common.executor.name()
    }

    /// An executor by its name.
    pub(crate) fn executor_named(&self, name: ExecutorName) -> Result<&dyn Executor, Failure> {
        Ok(self.executors.get(name, &self.common)?)
    }

    /// What passes may use.
    pub(crate) fn context<'c>(&'c self, data: Option<&'c Dataset>) -> Result<Context<'c>, Failure> {
        Ok(Context { data, seed: self.common.seed, progress: &self.bar, ..Context::new(self.executor()?) })
    }

    /// Commands around a model, in a folder, where there are any.
    pub(crate) fn commands(&self, before: Option<String>, after: Option<String>, folder: &Path) -> Option<Commands> {
        let folder = Some(folder).filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (before.is_some() || after.is_some()).then(|| Commands {
            before,
            after,
            samples: None,
            folder: folder.to_owned(),
            time: Duration::from_secs(self.common.time_limit),
            bytes: self.common.memory_limit << 20,
        })
    }

    /// Latencies of a debug build say nothing.
    pub(crate) fn refuse_debug_build(&self) -> Result<(), Failure> {
        if cfg!(debug_assertions) {
            let message = "this binary was built without optimization; its latencies say nothing about a model";
            return Err(Failure::new(Code::DebugBuild, message).help("use `cargo xtask`, or a release build"));
        }
        Ok(())
    }

    /// Prints the document, or the text.
    pub(crate) fn print(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.common.json { ui::data(&json(document)?) } else { ui::data(&text()) }
    }
}

/// The day, in UTC.
pub(crate) fn today() -> Day {
    Day::of(SystemTime::now())
}

/// Pretty JSON with a final newline.
pub(crate) fn json(document: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(document);
    text.map(|t| t + "\n").map_err(|e| Failure::new(Code::Internal, format!("failed to write JSON: {e}")))
}

/// Reads a model.
pub(crate) fn model(path: &Path) -> Result<Model, Failure> {
    Ok(Model::read(path)?)
}

/// Reads a model that is only counted: its weights may be absent.
pub(crate) fn outline(path: &Path) -> Result<Model, Failure> {
    Ok(Model::read_outline(path)?)
}

/// Says which weights of an outline are absent, and so what cannot be known.
pub(crate) fn tell_absent(path: &Path, model: &Model) {
    let absent = model.absent();
    let Some(first) = absent.first() else { return };
    let more = match absent.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    ui::say(&format!(
        "note: {}: weights are absent: `{}` ({}){more}. Counted is what their shapes and types say; accuracy, the compressed size and \
         whatever takes a run cannot be known",
        path.display(),
        first.name,
        first.reason,
    ));
}

/// Reads samples and checks them against a model's inputs.
pub(crate) fn data(path: &Path, model: &Model) -> Result<Dataset, Failure> {
    let data = Dataset::read_npz(path)?.with_gaps(ranges::with_gaps(model));
    data.check_against(&model.inputs())?;
    Ok(data)
}

/// Opens samples that stay in their file, and checks their shapes against a model's inputs; values are checked as they are read.
pub(crate) fn archive(path: &Path, model: &Model) -> Result<Archive, Failure> {
    let data = Archive::open(path)?.with_gaps(ranges::with_gaps(model));
    data.check_shapes(&model.inputs())?;
    Ok(data)
}

/// Writes a file atomically.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    atomic::write(path, bytes).map_err(|e| Failure::not_written(path, &e))
}

/// Refuses to write over what is read, and into folders that do not take files, before any work is done.
pub(crate) fn check_output(output: &Path, inputs: &[&Path]) -> Result<(), Failure> {
    let same = |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if inputs.iter().any(|i| same(i, output)) {
        let message = format!("failed to write {}: it is one of the inputs", output.display());
        return Err(Failure::new(Code::NotWritten, message).help("give another file with -o"));
    }
    if output.is_dir() {
        let message = format!("failed to write {}: it is a folder", output.display());
        return Err(Failure::new(Code::NotWritten, message).help("give the name of a file with -o"));
    }
    let folder = output.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        let message = format!("failed to write {}: {} is no folder", output.display(), folder.display());
        return Err(Failure::new(Code::NotWritten, message).help("make the folder first, or give another file with -o"));
    }
    tempfile::Builder::new()
        .prefix(atomic::TEMPORARY)
        .tempfile_in(folder)
        .map(drop)
        .map_err(|e| Failure::not_written(output, &e))
}

/// Does something to a repository, and again while somebody else holds its lock: publishing to a folder takes far less than a second,
/// and seconds to a store on the network.
pub(crate) fn patiently<T>(mut act: impl FnMut() -> Result<T, ReleaseError>) -> Result<T, ReleaseError> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match act() {
            Err(e) if e.kind() == ErrorKind::Busy && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(100));
            }
            other => return other,
        }
    }
}
