//! The smallest worker: what a program does that is started by `Isolated`. The tests use it.
//!
//! Texts in place of models stand for what hostile models do to a process.

use std::{io, process, thread, time::Duration};

use plimsoll_runtime::{Counting, ExecError, Executor, LoadOptions, Session, TractExecutor, worker};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Hostile;

impl Executor for Hostile {
    fn name(&self) -> &str {
        "tract"
    }

    fn version(&self) -> String {
        TractExecutor.version()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        match model {
            b"!abort" => process::abort(),
            b"!hang" => loop {
                thread::sleep(Duration::from_secs(1));
            },
            b"!bomb" => {
                let filled = vec![1u8; 64 << 30];
                let reason = format!("{} bytes were there", filled.len());
                Err(ExecError::Failed { executor: "tract".into(), reason })
            }
            _ => TractExecutor.load(model, options),
        }
    }
}

fn main() -> io::Result<()> {
    worker::serve(&Hostile, io::stdin().lock(), io::stdout().lock())
}
