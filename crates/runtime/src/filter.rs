//! A command that runs beside us for as long as it is needed, takes bytes on its standard input and answers on its standard output:
//! a step of somebody's pipeline. It knows nothing of what the bytes mean.
//!
//! The command is somebody else's: every answer has a time limit, how large one may be is the decoder's to say, and the whole process
//! group ends with the value.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::isolated::{describe, tail};

/// Why a command gave no answer.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilterError {
    /// It could not be started.
    #[error("start `{command}`: {reason}")]
    Start {
        /// The command.
        command: String,
        /// What the operating system said.
        reason: String,
    },
    /// It ended before it had answered.
    #[error("`{command}` ended without an answer: {reason}")]
    Ended {
        /// The command.
        command: String,
        /// Its exit code or signal, and the end of its standard error.
        reason: String,
    },
    /// Its answer is not what was expected.
    #[error("`{command}` gave an answer that cannot be used: {reason}")]
    Answer {
        /// The command.
        command: String,
        /// What is wrong.
        reason: String,
    },
    /// It took too long.
    #[error("`{command}` did not answer within {seconds} s")]
    TimeLimit {
        /// The command.
        command: String,
        /// The limit, in seconds.
        seconds: u64,
    },
}

impl FilterError {
    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Start { .. } => "commands are run by the shell: try it there".into(),
            Self::Ended { .. } | Self::Answer { .. } => {
                "it is started once; for each sample it reads a line of names and then the arrays in npy format, answers in the same way, \
                 flushes, and ends when its input ends; on its standard output there may be nothing else"
                    .into()
            }
            Self::TimeLimit { .. } => {
                "it must answer each sample at once and flush its output; raise --time-limit if it is meant to take that long".into()
            }
        }
    }
}

type Answer<T> = Result<Option<T>, String>;

/// The running command.
#[derive(Debug)]
pub struct Filter<T> {
    command: String,
    process: Child,
    requests: mpsc::Sender<Vec<u8>>,
    answers: mpsc::Receiver<Answer<T>>,
    stderr: Option<JoinHandle<String>>,
    time: Duration,
    /// It was ended and waited for.
    over: bool,
}

impl<T: Send + 'static> Filter<T> {
    /// Starts a command line in a shell, in a folder. `time` is how long one answer may take; `decode` reads one answer, and gives
    /// `None` at the end.
    pub fn start(
        command: &str,
        folder: &Path,
        time: Duration,
        decode: impl Fn(&mut dyn BufRead) -> Answer<T> + Send + 'static,
    ) -> Result<Self, FilterError> {
        let failed = |reason: String| FilterError::Start { command: command.into(), reason };
        let mut process = shell(command)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(failed("its pipes are missing".into()));
        };
        let (requests, to_write) = mpsc::channel::<Vec<u8>>();
        // A command that does not read must not hold us up.
        thread::spawn(move || {
            for request in to_write {
                if stdin.write_all(&request).and_then(|()| stdin.flush()).is_err() {
                    break;
                }
            }
        });
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            loop {
                let answer = decode(&mut stdout);
                let last = !matches!(answer, Ok(Some(_)));
                if sender.send(answer).is_err() || last {
                    break;
                }
            }
        });
        let stderr = Some(thread::spawn(move || tail(stderr)));
        Ok(Self { command: command.into(), process, requests, answers, stderr, time, over: false })
    }

    /// Hands a request over and waits for the answer.
    pub fn ask(&mut self, request: Vec<u8>) -> Result<T, FilterError> {
        let command = self.command.clone();
        // That it reads no more shows in its answer.
        self.requests.send(request).ok();
        match self.answers.recv_timeout(self.time) {
            Ok(Ok(Some(answer))) => Ok(answer),
            // What it wrote besides may say why.
            Ok(Err(reason)) => Err(FilterError::Answer { reason: self.with_stderr(reason), command }),
            Ok(Ok(None)) | Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.ended()),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.end();
                Err(FilterError::TimeLimit { command, seconds: self.time.as_secs() })
            }
        }
    }

    fn ended(&mut self) -> FilterError {
        let deadline = Instant::now() + Duration::from_secs(2);
        while !has_exited(&mut self.process) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        let left = !has_exited(&mut self.process);
        let status = self.end().filter(|_| !left);
        let reason = status.map_or_else(|| "it closed its output".to_owned(), describe);
        FilterError::Ended { reason: self.with_stderr(reason), command: self.command.clone() }
    }

    /// Ends the command, and adds the last lines of its standard error.
    fn with_stderr(&mut self, reason: String) -> String {
        const LINES: usize = 3;
        self.end();
        let said = self.stderr.take().and_then(|t| t.join().ok()).unwrap_or_default();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        match lines.len() {
            0 => reason,
            n => format!("{reason}: {}", lines[n.saturating_sub(LINES)..].join("; ")),
        }
    }
}

impl<T> Filter<T> {
    /// Ends the command with all that it started; how it had ended, if it had.
    fn end(&mut self) -> Option<ExitStatus> {
        if !self.over {
            #[cfg(unix)]
            {
                use rustix::process::{Pid, Signal, kill_process_group};
                // Nobody has waited for it yet, so that its number is still its own.
                kill_process_group(Pid::from_child(&self.process), Signal::KILL).ok();
            }
            self.process.kill().ok();
        }
        self.over = true;
        self.process.wait().ok()
    }
}

impl<T> Drop for Filter<T> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(unix)]
fn shell(command: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut shell = Command::new("sh");
    // A group of its own, so that whatever the shell starts ends with it.
    shell.arg("-c").arg(command).process_group(0);
    shell
}

#[cfg(not(unix))]
fn shell(command: &str) -> Command {
    let mut shell = Command::new("cmd");
    shell.arg("/C").arg(command);
    shell
}

/// Whether it has ended; its number stays its own until somebody waits for it.
#[cfg(unix)]
fn has_exited(process: &mut Child) -> bool {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    waitid(WaitId::Pid(Pid::from_child(process)), look).is_ok_and(|status| status.is_some())
}

#[cfg(not(unix))]
fn has_exited(process: &mut Child) -> bool {
    matches!(process.try_wait(), Ok(Some(_)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Lines of at most 100 bytes.
    fn start(command: &str, time: Duration) -> Filter<String> {
        let decode = |source: &mut dyn BufRead| {
            let mut line = String::new();
            std::io::Read::take(source, 100).read_line(&mut line).map_err(|e| e.to_string())?;
            match line.strip_suffix('\n') {
                Some(line) => Ok(Some(line.to_owned())),
                None if line.is_empty() => Ok(None),
                None => Err("too long".into()),
            }
        };
        Filter::start(command, Path::new("."), time, decode).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    fn refused(command: &str, time: Duration, says: &str) {
        let error = start(command, time).ask(b"hello\n".to_vec()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }

    #[test]
    fn one_process_answers_all_requests() {
        let mut filter = start("n=0; while read -r line; do n=$((n+1)); echo \"$n $line\"; done", LONG);
        assert_eq!(filter.ask(b"a\n".to_vec()).unwrap(), "1 a");
        assert_eq!(filter.ask(b"b\n".to_vec()).unwrap(), "2 b");
    }

    #[test]
    fn a_command_that_fails_is_told_with_code_and_stderr() {
        refused("echo no such sensor >&2; exit 3", LONG, "exit status: 3: no such sensor");
        refused("no-such-command-anywhere", LONG, "no-such-command-anywhere");
        refused("exit 0", LONG, "exit status: 0");
        refused("kill -9 $$", LONG, "signal 9");
        // What it leaves behind holds its standard error open.
        refused("sleep 1000 > /dev/null & echo gone >&2; exit 4", LONG, "exit status: 4: gone");
    }

    #[test]
    fn answers_without_end_are_cut_off() {
        refused("yes x | tr -d '\\n'", LONG, "too long");
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_all_that_it_started() {
        let before = Instant::now();
        let mut filter = start("sleep 1000 & echo $!; wait", Duration::from_millis(300));
        let pid: i32 = filter.ask(vec![]).unwrap().parse().unwrap();
        let error = filter.ask(b"hello\n".to_vec()).unwrap_err();
        assert!(matches!(error, FilterError::TimeLimit { .. }) && before.elapsed() < Duration::from_secs(10));
        let gone = || rustix::process::test_kill_process(rustix::process::Pid::from_raw(pid).unwrap()).is_err();
        let zombie = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| s.contains(") Z "));
        assert!((0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            gone() || zombie()
        }));
    }

    #[test]
    fn a_command_that_never_reads_holds_nobody_up() {
        let mut filter = start("sleep 1000", Duration::from_millis(300));
        let error = filter.ask(vec![b'x'; 4 << 20]).unwrap_err();
        assert!(matches!(error, FilterError::TimeLimit { .. }), "{error}");
    }
}
