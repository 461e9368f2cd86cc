//! The child's side: runs models for a parent.

use std::io;

use plimsoll_runtime::{TractExecutor, worker};

use crate::{exit::Exit, ui};

pub(crate) fn run() -> Exit {
    match worker::serve(&TractExecutor, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Exit::Pass,
        Err(e) => {
            // The parent reads the last line.
            ui::say(&e.to_string());
            Exit::Other
        }
    }
}
