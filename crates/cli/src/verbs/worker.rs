//! The child's side: runs models for a parent.

use std::{io, path::Path};

use plimsoll_runtime::{Executor, OnnxRuntimeExecutor, PlainTractExecutor, TractExecutor, worker};

use crate::{exit::Exit, ui};

/// In onnxruntime where its library is named, else in tract: lowered, or `plain`.
pub(crate) fn run(library: Option<&Path>, plain: bool) -> Exit {
    // Ctrl-C reaches every process of a terminal; when this one ends is for its parent to say, whose end closes the pipe.
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, ignored);
    match serve(library, plain) {
        Ok(()) => Exit::Pass,
        Err(reason) => {
            // The parent reads the last line.
            ui::say(&reason);
            Exit::Other
        }
    }
}

fn serve(library: Option<&Path>, plain: bool) -> Result<(), String> {
    let executor: Box<dyn Executor> = match library {
        None if plain => Box::new(PlainTractExecutor),
        None => Box::new(TractExecutor),
        Some(path) => Box::new(OnnxRuntimeExecutor::open(path).map_err(|e| e.to_string())?),
    };
    worker::serve(&*executor, io::stdin().lock(), io::stdout().lock()).map_err(|e| e.to_string())
}
