//! The child's side of [`Isolated`](crate::Isolated): reads requests, runs models, writes replies.
//!
//! Must not write anything but frames to its output. On Unix it limits its own address space, leaves no core dump, and ends
//! when its parent does. Elsewhere memory is not limited.

use std::{
    collections::HashMap,
    io::{self, BufReader, BufWriter, Read, Write},
};

use crate::{
    ExecError, Executor, LoadOptions, Session, kernel, machine,
    protocol::{AT_ONCE, Reply, Request, pack_each, read_frame, unpack, unpack_each, write_frame},
};

/// Serves one parent until it closes the pipe. `input` and `output` are the process's stdin and stdout.
pub fn serve(executor: &dyn Executor, input: impl Read, output: impl Write) -> io::Result<()> {
    let (mut input, mut output) =
        (BufReader::with_capacity(64 << 10, input), BufWriter::with_capacity(AT_ONCE, output));
    let mut sessions: HashMap<u64, Box<dyn Session>> = HashMap::new();
    let mut next = 0u64;
    let mut most = u64::MAX;
    while let Some((request, payload)) = read_frame::<Request>(&mut input, most)? {
        let reply = match request {
            Request::Hello { memory_bytes } => {
                most = memory_bytes;
                restrict(memory_bytes)?;
                Ok(Reply::Hello { name: executor.name().into(), version: executor.version() })
            }
            Request::Load { shapes, capture, summarise, threads } => {
                executor.load(&payload, &LoadOptions { shapes, capture, summarise, threads }).map(|session| {
                    next += 1;
                    sessions.insert(next, session);
                    Reply::Loaded { session: next }
                })
            }
            Request::Run { session, inputs } => {
                let ran = find(&mut sessions, session, executor).and_then(|found| {
                    let inputs = unpack_each(inputs, &payload).map_err(|reason| failed(executor, reason))?;
                    drop(payload);
                    found.run_each(&inputs)
                });
                match ran {
                    Ok(runs) => {
                        let (outputs, parts) = pack_each(&runs);
                        write_frame(&mut output, &Reply::Ran { outputs }, &parts)?;
                        continue;
                    }
                    Err(e) => Err(e),
                }
            }
            Request::Time { session, runs, inputs } => find(&mut sessions, session, executor).and_then(|found| {
                let inputs = unpack(inputs, &payload).map_err(|reason| failed(executor, reason))?;
                Ok(Reply::Timed { nanoseconds: found.time(&inputs, runs)? })
            }),
            Request::Allocations { session, inputs } => find(&mut sessions, session, executor).and_then(|found| {
                let inputs = unpack(inputs, &payload).map_err(|reason| failed(executor, reason))?;
                Ok(Reply::Allocations { of_one_run: found.allocations(&inputs)? })
            }),
            Request::Summaries { session } => find(&mut sessions, session, executor)
                .and_then(|found| Ok(Reply::Summaries { kept: found.summaries()? })),
            Request::Calibrate { runs } => Ok(Reply::Timed { nanoseconds: kernel::time(runs) }),
            Request::Close { session } => {
                sessions.remove(&session);
                Ok(Reply::Closed)
            }
            Request::Peak => Ok(Reply::Peak { bytes: machine::peak_resident_bytes() }),
        };
        write_frame(&mut output, &reply.unwrap_or_else(Reply::Error), &[])?;
    }
    Ok(())
}

fn failed(executor: &dyn Executor, reason: String) -> ExecError {
    ExecError::Failed { executor: executor.name().into(), reason }
}

fn find<'s>(
    sessions: &'s mut HashMap<u64, Box<dyn Session>>,
    id: u64,
    executor: &dyn Executor,
) -> Result<&'s mut Box<dyn Session>, ExecError> {
    sessions.get_mut(&id).ok_or_else(|| failed(executor, format!("there is no session {id}")))
}

#[cfg(unix)]
fn restrict(memory_bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getppid, setrlimit};

    let exactly = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    setrlimit(Resource::As, exactly(memory_bytes))?;
    setrlimit(Resource::Core, exactly(0))?;
    // A parent that was killed cannot kill a child that runs an endless loop.
    let parent = getppid();
    std::thread::Builder::new().name("watch".into()).stack_size(64 << 10).spawn(move || {
        while getppid() == parent {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        std::process::exit(1);
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn restrict(_memory_bytes: u64) -> io::Result<()> {
    Ok(())
}
