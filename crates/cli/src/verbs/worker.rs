//! The child's side: runs models for a parent.

use std::io;

use plimsoll_runtime::{TractExecutor, worker};

use crate::exit::Exit;

pub(crate) fn run() -> Exit {
    match worker::serve(&TractExecutor, io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Exit::Pass,
        Err(_) => Exit::Other,
    }
}
