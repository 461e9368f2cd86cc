//! The smallest worker: what a program does that is started by `Isolated`. The tests use it.
//!
//! Texts in place of models stand for what hostile models do to a process.

use std::{collections::BTreeMap, io, process, thread, time::Duration};

use plimsoll_onnx::{Tensor, Tensors};
use plimsoll_runtime::{Counting, ExecError, Executor, LoadOptions, Session, Summary, TractExecutor, worker};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Hostile;

/// Says which process it is; before that, each run does something.
struct Odd {
    runs: usize,
    before: fn(usize),
}

impl Session for Odd {
    fn run(&mut self, _: &Tensors) -> Result<Tensors, ExecError> {
        self.runs += 1;
        (self.before)(self.runs);
        Ok(Tensors::from([("process".to_owned(), Tensor::scalar(process::id()))]))
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        Ok(BTreeMap::new())
    }

    fn time(&mut self, _: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        Ok(vec![1; runs])
    }
}

fn odd(before: fn(usize)) -> Result<Box<dyn Session>, ExecError> {
    Ok(Box::new(Odd { runs: 0, before }))
}

fn hang() {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

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
            b"!hang" => {
                hang();
                odd(|_| ())
            }
            b"!process" => odd(|_| ()),
            b"!third run aborts" => odd(|run| {
                if run == 3 {
                    process::abort()
                }
            }),
            b"!third run hangs" => odd(|run| {
                if run == 3 {
                    hang()
                }
            }),
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
