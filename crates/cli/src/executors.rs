//! Executors in child processes, by name; where onnxruntime's library is on this machine.

use std::{
    cell::OnceCell,
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use plimsoll_runtime::{ExecError, Executor, Isolated, Limits, WorkerCommand};

use crate::args::{Common, ExecutorName};

/// Each started when it is first asked for.
#[derive(Default)]
pub(crate) struct Executors {
    tract: OnceCell<Isolated>,
    onnxruntime: OnceCell<Isolated>,
}

impl ExecutorName {
    /// As figures name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tract => plimsoll_profile::ExecutorName::Tract.name(),
            Self::OnnxRuntime => plimsoll_profile::ExecutorName::OnnxRuntime.name(),
        }
    }

    /// As in a profile.
    pub(crate) fn of(profile: plimsoll_profile::ExecutorName) -> Self {
        match profile {
            plimsoll_profile::ExecutorName::Tract => Self::Tract,
            plimsoll_profile::ExecutorName::OnnxRuntime => Self::OnnxRuntime,
        }
    }
}

impl Executors {
    /// An executor, in a child process with limits: models are hostile.
    pub(crate) fn get(&self, name: ExecutorName, common: &Common) -> Result<&dyn Executor, ExecError> {
        let (cell, library) = match name {
            ExecutorName::Tract => (&self.tract, None),
            ExecutorName::OnnxRuntime => (&self.onnxruntime, Some(common.ort_lib.as_deref())),
        };
        if let Some(found) = cell.get() {
            return Ok(found);
        }
        let failed = |reason: String| ExecError::Failed { executor: "worker".into(), reason };
        let program = env::current_exe().map_err(|e| failed(format!("find this program: {e}")))?;
        let mut args = vec!["__worker".into()];
        if common.no_lower {
            args.push("--no-lower".into());
        }
        if let Some(named) = library {
            args.push(onnxruntime(named)?.into());
        }
        let limits = Limits {
            memory_bytes: common.memory_limit.saturating_mul(1 << 20),
            time: Duration::from_secs(common.time_limit.max(1)),
        };
        let started = Isolated::new(WorkerCommand { program, args }, limits)?;
        Ok(cell.get_or_init(|| started))
    }
}

/// The library of onnxruntime: the one that is named, or else that of ORT_DYLIB_PATH, or else that of the Python package.
fn onnxruntime(named: Option<&Path>) -> Result<PathBuf, ExecError> {
    let missing = |reason: String| ExecError::Missing { executor: "onnxruntime".into(), reason };
    let set = env::var_os("ORT_DYLIB_PATH").filter(|v| !v.is_empty()).map(PathBuf::from);
    let given = named.map(|p| (p.to_owned(), "--ort-lib")).or(set.map(|p| (p, "ORT_DYLIB_PATH")));
    if let Some((path, by)) = given {
        let here = path.is_file().then(|| path.clone());
        return here.ok_or_else(|| missing(format!("{by} names {}, which is no file", path.display())));
    }
    let of_python = ["python3", "python"].into_iter().find_map(of_package);
    of_python.ok_or_else(|| missing("there is no ORT_DYLIB_PATH, and python3 has no package onnxruntime".into()))
}

/// The library inside the package of an interpreter; nothing of the package is run.
fn of_package(python: &str) -> Option<PathBuf> {
    const FIND: &str = "import importlib.util as u; s = u.find_spec('onnxruntime'); print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new(python).args(["-c", FIND]).output().ok().filter(|o| o.status.success())?;
    let folder = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let entries = Path::new(&folder).join("capi").read_dir().ok()?;
    let library = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.so")
            || name.starts_with("libonnxruntime.") && name.ends_with("dylib")
            || name == "onnxruntime.dll"
    };
    let mut found: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(library).collect();
    found.sort();
    found.pop()
}
