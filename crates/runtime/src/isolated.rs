//! Any executor in a child process, with memory and time limits: models are hostile.
//!
//! Sessions that one thread loads share a child, so that a model and its baseline are timed in one process; each thread has its
//! own, so that samples can be spread. A child ends with its last session, unless it is held. A child that dies takes its sessions
//! with it; the next load starts another. The time limit is kept by the parent and works everywhere; the memory limit needs Unix.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ffi::OsString,
    io::{BufReader, BufWriter, Read},
    path::PathBuf,
    process::{self, Command, ExitStatus, Stdio},
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc},
    thread::{self, JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use plimsoll_lower::Isa;
use plimsoll_onnx::Tensors;

use crate::{
    Allocated, ExecError, Executor, LoadOptions, Session, Summary,
    protocol::{AT_ONCE, Reply, Request, pack, pack_each, read_frame, unpack_each, write_frame},
};

/// How to start a worker: a program whose main function calls [`worker::serve`](crate::worker::serve).
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    /// The program, most often the running one.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// What a worker may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space of the whole worker, in bytes (about 100 MB go to the program itself).
    pub memory_bytes: u64,
    /// Time for one load, run, or call of `time`; for several runs together as many times that.
    pub time: Duration,
}

impl Default for Limits {
    /// 4 GiB and two minutes.
    fn default() -> Self {
        Self { memory_bytes: 4 << 30, time: Duration::from_secs(120) }
    }
}

/// An executor in child processes.
#[derive(Debug)]
pub struct Isolated {
    command: WorkerCommand,
    limits: Limits,
    name: String,
    version: String,
    children: Mutex<HashMap<ThreadId, Weak<Mutex<Child>>>>,
}

impl Isolated {
    /// Starts a worker once, to see that it does and what it is.
    pub fn new(command: WorkerCommand, limits: Limits) -> Result<Self, ExecError> {
        let first = Child::start(&command, limits)?;
        let (name, version) = (first.name.clone(), first.version.clone());
        Ok(Self { command, limits, name, version, children: Mutex::default() })
    }

    /// The limits of each worker.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// This thread's child; a new one where there is none alive.
    fn child(&self) -> Result<Arc<Mutex<Child>>, ExecError> {
        let here = thread::current().id();
        let known = lock(&self.children).get(&here).and_then(Weak::upgrade);
        if let Some(child) = known.filter(|c| lock(c).alive()) {
            return Ok(child);
        }
        let child = Arc::new(Mutex::new(Child::start(&self.command, self.limits)?));
        let mut children = lock(&self.children);
        children.retain(|_, c| c.strong_count() > 0);
        children.insert(here, Arc::downgrade(&child));
        Ok(child)
    }
}

impl Executor for Isolated {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> String {
        self.version.clone()
    }

    fn load(&self, model: &[u8], options: &LoadOptions) -> Result<Box<dyn Session>, ExecError> {
        let LoadOptions { shapes, capture, summarise, threads } = options.clone();
        let child = self.child()?;
        let loaded = lock(&child).ask(&Request::Load { shapes, capture, summarise, threads }, &[model])?;
        match loaded {
            (Reply::Loaded { session }, _) => Ok(Box::new(Remote { child, session, together: 1 })),
            other => Err(lock(&child).confused(&other.0)),
        }
    }

    fn hold(&self) -> Option<Box<dyn Send>> {
        Some(Box::new(self.child().ok()?))
    }
}

/// Runs of a request, at most.
const MOST: usize = 64;
/// Requests of runs that take longer do not grow: they would gain nothing, and one that hangs would be noticed late.
const SHORT: Duration = Duration::from_millis(20);

struct Remote {
    child: Arc<Mutex<Child>>,
    session: u64,
    /// Runs of the next request, where there are so many.
    together: usize,
}

impl Remote {
    /// All of these runs by one request.
    fn request(&self, inputs: &[Tensors]) -> Result<Vec<Tensors>, ExecError> {
        let (metas, parts) = pack_each(inputs);
        let mut child = lock(&self.child);
        match child.ask_for(&Request::Run { session: self.session, inputs: metas }, &parts, inputs.len())? {
            (Reply::Ran { outputs }, payload) if outputs.len() == inputs.len() => {
                unpack_each(outputs, &payload).map_err(|reason| child.failed(reason))
            }
            other => Err(child.confused(&other.0)),
        }
    }
}

impl Session for Remote {
    fn run(&mut self, inputs: &Tensors) -> Result<Tensors, ExecError> {
        Ok(self.request(slice::from_ref(inputs))?.pop().unwrap_or_default())
    }

    fn run_each(&mut self, inputs: &[Tensors]) -> Result<Vec<Tensors>, ExecError> {
        let mut found = Vec::with_capacity(inputs.len());
        while found.len() < inputs.len() {
            let left = &inputs[found.len()..];
            let start = Instant::now();
            found.extend(self.request(&left[..self.together.min(left.len())])?);
            if start.elapsed() <= SHORT {
                self.together = (2 * self.together).min(MOST);
            }
        }
        Ok(found)
    }

    fn summaries(&mut self) -> Result<BTreeMap<String, Summary>, ExecError> {
        let mut child = lock(&self.child);
        match child.ask(&Request::Summaries { session: self.session }, &[])? {
            (Reply::Summaries { kept }, _) => Ok(kept),
            other => Err(child.confused(&other.0)),
        }
    }

    fn time(&mut self, inputs: &Tensors, runs: usize) -> Result<Vec<u64>, ExecError> {
        let (metas, parts) = pack(inputs);
        let mut child = lock(&self.child);
        match child.ask(&Request::Time { session: self.session, runs, inputs: metas }, &parts)? {
            (Reply::Timed { nanoseconds }, _) => Ok(nanoseconds),
            other => Err(child.confused(&other.0)),
        }
    }

    fn calibrate(&mut self, runs: usize) -> Result<Vec<u64>, ExecError> {
        let mut child = lock(&self.child);
        match child.ask(&Request::Calibrate { runs }, &[])? {
            (Reply::Timed { nanoseconds }, _) => Ok(nanoseconds),
            other => Err(child.confused(&other.0)),
        }
    }

    fn allocations(&mut self, inputs: &Tensors) -> Result<Option<Allocated>, ExecError> {
        let (metas, parts) = pack(inputs);
        let mut child = lock(&self.child);
        match child.ask(&Request::Allocations { session: self.session, inputs: metas }, &parts)? {
            (Reply::Allocations { of_one_run }, _) => Ok(of_one_run),
            other => Err(child.confused(&other.0)),
        }
    }

    fn peak_memory(&mut self) -> Option<u64> {
        match lock(&self.child).ask(&Request::Peak, &[]) {
            Ok((Reply::Peak { bytes }, _)) => bytes,
            _ => None,
        }
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The last session ends its child; others only give their memory back, and a failure shows at the next request.
        if Arc::strong_count(&self.child) > 1 {
            let mut child = lock(&self.child);
            if child.end.is_none() {
                child.ask(&Request::Close { session: self.session }, &[]).ok();
            }
        }
    }
}

/// A panic elsewhere leaves nothing half-done here that a later request would not notice.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Frames = mpsc::Receiver<std::io::Result<(Reply, Vec<u8>)>>;

#[derive(Debug)]
struct Child {
    process: process::Child,
    stdin: BufWriter<process::ChildStdin>,
    frames: Frames,
    stderr: Option<JoinHandle<String>>,
    limits: Limits,
    name: String,
    version: String,
    /// Why there is no child any more.
    end: Option<ExecError>,
}

impl Child {
    fn start(command: &WorkerCommand, limits: Limits) -> Result<Self, ExecError> {
        let name = "worker".to_owned();
        let cannot = |what: &str, reason: String| ExecError::Failed {
            executor: name.clone(),
            reason: format!("{what} {}: {reason}", command.program.display()),
        };
        let mut process = Command::new(&command.program)
            .envs(Isa::confinement())
            .args(&command.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| cannot("start", e.to_string()))?;
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(cannot("talk to", "its pipes are missing".into()));
        };
        #[cfg(target_os = "linux")]
        {
            // Captured activations are large; a refusal only costs speed.
            rustix::pipe::fcntl_setpipe_size(&stdin, AT_ONCE).ok();
            rustix::pipe::fcntl_setpipe_size(&stdout, AT_ONCE).ok();
        }
        let stdin = BufWriter::with_capacity(AT_ONCE, stdin);
        let (sender, frames) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::with_capacity(64 << 10, stdout);
            // A worker cannot send more than it can hold.
            while let Some(frame) = read_frame(&mut stdout, limits.memory_bytes).transpose() {
                let last = frame.is_err();
                if sender.send(frame).is_err() || last {
                    break;
                }
            }
        });
        let stderr = Some(thread::spawn(move || tail(stderr)));
        let mut child = Self { process, stdin, frames, stderr, limits, name, version: String::new(), end: None };
        match child.ask(&Request::Hello { memory_bytes: limits.memory_bytes }, &[])? {
            (Reply::Hello { name, version }, _) => {
                child.name = name;
                child.version = version;
                Ok(child)
            }
            other => Err(child.confused(&other.0)),
        }
    }

    fn alive(&mut self) -> bool {
        self.end.is_none() && matches!(self.process.try_wait(), Ok(None))
    }

    /// One request and its reply; errors of the worker come out as errors.
    fn ask(&mut self, request: &Request, parts: &[&[u8]]) -> Result<(Reply, Vec<u8>), ExecError> {
        self.ask_for(request, parts, 1)
    }

    /// The same with time for so many runs.
    fn ask_for(&mut self, request: &Request, parts: &[&[u8]], runs: usize) -> Result<(Reply, Vec<u8>), ExecError> {
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        // The worker would refuse to read it, and end.
        if parts.iter().map(|p| p.len() as u64).sum::<u64>() > self.limits.memory_bytes {
            return Err(self.out_of_memory());
        }
        if write_frame(&mut self.stdin, request, parts).is_err() {
            return Err(self.ended());
        }
        let time = self.limits.time.saturating_mul(u32::try_from(runs.max(1)).unwrap_or(u32::MAX));
        match self.frames.recv_timeout(time) {
            // tract says so in a panic, which its executor turns into an error.
            Ok(Ok((Reply::Error(ExecError::Crash { reason, .. }), _))) if reason.contains("failed to allocate") => {
                Err(self.out_of_memory())
            }
            Ok(Ok((Reply::Error(e), _))) => Err(e),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.ended()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.kill();
                let seconds = self.limits.time.as_secs();
                Err(self.close(ExecError::TimeLimit { executor: self.name.clone(), seconds }))
            }
        }
    }

    fn close(&mut self, end: ExecError) -> ExecError {
        self.end.insert(end).clone()
    }

    fn kill(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }

    /// The pipe broke: waits for the process, and says what became of it.
    fn ended(&mut self) -> ExecError {
        let deadline = Instant::now() + Duration::from_secs(2);
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                _ => break None,
            }
        };
        self.kill();
        let said = self.stderr.take().and_then(|t| t.join().ok()).unwrap_or_default();
        // Rust's allocator says so before it aborts.
        if said.contains("memory allocation of") || said.contains("out of memory") {
            let limit = self.out_of_memory();
            return self.close(limit);
        }
        let mut reason = status.map_or_else(|| "its process closed the pipe".to_owned(), describe);
        if let Some(last) = said.lines().rev().find(|l| !l.trim().is_empty()) {
            reason = format!("{reason}: {}", last.trim());
        }
        self.close(ExecError::Crash { executor: self.name.clone(), reason })
    }

    fn out_of_memory(&self) -> ExecError {
        ExecError::MemoryLimit { executor: self.name.clone(), bytes: self.limits.memory_bytes }
    }

    fn failed(&self, reason: String) -> ExecError {
        ExecError::Failed { executor: self.name.clone(), reason }
    }

    fn confused(&self, reply: &Reply) -> ExecError {
        self.failed(format!("its worker gave a reply that does not fit the request: {reply:?}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(unix)]
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    let named = |signal| match signal {
        4 => "illegal instruction",
        6 => "abort",
        7 => "bus error",
        8 => "arithmetic error",
        9 => "killed, most likely because memory ran out",
        11 => "segmentation fault",
        _ => "signal",
    };
    match status.signal() {
        Some(signal) => format!("its process died by signal {signal} ({})", named(signal)),
        None => format!("its process ended with {status}"),
    }
}

#[cfg(not(unix))]
pub(crate) fn describe(status: ExitStatus) -> String {
    format!("its process ended with {status}")
}

/// Reads to the end and keeps the last 4 KiB.
pub(crate) fn tail(mut stderr: impl Read) -> String {
    const KEEP: usize = 4 << 10;
    let mut kept = VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = stderr.read(&mut buffer) {
        kept.extend(&buffer[..n]);
        kept.drain(..kept.len().saturating_sub(KEEP));
    }
    String::from_utf8_lossy(kept.make_contiguous()).into_owned()
}
