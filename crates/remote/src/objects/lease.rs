//! The lock of a repository in an object store: one object, which its holder writes anew every few seconds and marks as free at the
//! end. Every write of it is conditional, so that of several who want it one gets it, and time is told by watching: a holder whose
//! object has not changed for as long as a lease has died, by the clock of whoever watches. No clocks are compared.

use std::{
    env, fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use object_store::{Error, GetOptions, ObjectStore, PutMode, UpdateVersion, path::Path as ObjectPath};
use plimsoll_trust::tuf::StoreError;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{io_error, put, source::version};

/// A lock says no more.
const LONGEST: u64 = 4 << 10;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Between two signs of life.
    pub(super) beat: Duration,
    /// Without one for so long, a holder has died.
    pub(super) lease: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { beat: Duration::from_millis(2_500), lease: Duration::from_secs(10) }
    }
}

/// Where the lock lies.
#[derive(Clone)]
pub(super) struct Where {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) runtime: Arc<Runtime>,
    pub(super) path: ObjectPath,
    /// What people call the repository.
    pub(super) place: PathBuf,
}

/// What the lock says.
struct Sign {
    holder: Option<String>,
    version: UpdateVersion,
    text: Vec<u8>,
}

impl Where {
    fn io(&self, error: &Error) -> StoreError {
        StoreError::Io { path: self.place.join(self.path.filename().unwrap_or_default()), source: io_error(error) }
    }

    fn read(&self) -> Result<Option<Sign>, StoreError> {
        let read = async {
            let found = self.objects.get_opts(&self.path, GetOptions::default()).await?;
            let version = version(&found.meta);
            let mut text = Vec::new();
            let mut stream = found.into_stream();
            while let Some(piece) = stream.next().await {
                text.extend_from_slice(&piece?);
                if text.len() as u64 > LONGEST {
                    break;
                }
            }
            Ok((version, text))
        };
        match self.runtime.block_on(read) {
            Ok((Some(version), text)) => {
                let said: Value = serde_json::from_slice(&text).unwrap_or_default();
                // A lock that says nothing sensible is held by somebody all the same.
                let holder = match said.get("holder") {
                    Some(Value::Null) => None,
                    Some(Value::String(holder)) => Some(plain(holder)),
                    _ => Some("somebody who does not say who".into()),
                };
                Ok(Some(Sign { holder, version, text }))
            }
            Ok((None, _)) => {
                let source =
                    std::io::Error::other("the store tells no versions of objects apart: no writer can be kept out");
                Err(StoreError::Io { path: self.place.clone(), source })
            }
            Err(Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.io(&e)),
        }
    }

    /// Writes it where it is as it was; nothing where somebody else was faster.
    fn write(&self, text: &[u8], mode: PutMode) -> Result<Option<UpdateVersion>, StoreError> {
        match put((self.objects.as_ref(), &self.runtime), &self.path, text, mode).map_err(|e| self.io(&e))? {
            Some(done) => Ok(Some(done.into())),
            None => Ok(self.read()?.filter(|sign| sign.text == text).map(|sign| sign.version)),
        }
    }
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// This process, as others are told.
fn holder() -> String {
    let named = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| env::var("HOSTNAME").ok());
    let host = named.map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).unwrap_or_else(|| "an unnamed host".into());
    format!("process {} on {host}", std::process::id())
}

struct State {
    version: UpdateVersion,
    /// The last sign of life that was certainly seen.
    since: Instant,
    lost: bool,
}

/// The lock while it is held.
pub(super) struct Lease {
    shared: Arc<Shared>,
    stop: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

struct Shared {
    at: Where,
    times: Times,
    holder: String,
    /// What makes this lock another than any before.
    nonce: u128,
    state: Mutex<State>,
}

impl Shared {
    fn text(&self, beat: u64) -> Vec<u8> {
        json!({"holder": self.holder, "nonce": self.nonce.to_string(), "beat": beat}).to_string().into_bytes()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self, beat: u64) {
        let began = Instant::now();
        let version = self.state().version.clone();
        match self.at.write(&self.text(beat), PutMode::Update(version)) {
            Ok(Some(version)) => {
                let mut state = self.state();
                (state.version, state.since) = (version, began);
            }
            Ok(None) => self.state().lost = true,
            // The network may come back in time.
            Err(_) => {}
        }
    }
}

impl Lease {
    /// Takes the lock; says who holds it; waits as long as a lease for one whose holder gives no sign of life.
    pub(super) fn take(at: Where, times: Times) -> Result<Self, StoreError> {
        let nonce = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (holder, first) = (holder(), Instant::now());
        let text = json!({"holder": holder, "nonce": nonce.to_string(), "beat": 0}).to_string().into_bytes();
        let mut watched: Option<(UpdateVersion, Instant)> = None;
        let busy = |holder: String| StoreError::Busy { path: at.place.clone(), holder };
        let (version, since) = loop {
            let began = Instant::now();
            let mode = match at.read()? {
                None => PutMode::Create,
                Some(Sign { holder: None, version, .. }) => PutMode::Update(version),
                Some(Sign { holder: Some(holder), version, .. }) => match &watched {
                    Some((known, since)) if *known == version && since.elapsed() >= times.lease => {
                        PutMode::Update(version)
                    }
                    Some((known, _)) if *known != version => return Err(busy(holder)),
                    Some(_) => {
                        thread::sleep(times.beat / 5);
                        continue;
                    }
                    None => {
                        watched = Some((version, began));
                        continue;
                    }
                },
            };
            if let Some(version) = at.write(&text, mode)? {
                break (version, began);
            }
            // Somebody was faster: they are watched now. Who loses again and again is told so.
            watched = None;
            if first.elapsed() > times.lease * 3 {
                return Err(busy("others, one after the other".into()));
            }
        };
        let state = Mutex::new(State { version, since, lost: false });
        let shared = Arc::new(Shared { at, times, holder, nonce, state });
        let (stop, stopped) = mpsc::channel();
        let beating = Arc::clone(&shared);
        let beats = thread::Builder::new().name("plimsoll-lock".into()).spawn(move || {
            let mut beat = 0;
            while stopped.recv_timeout(beating.times.beat) == Err(RecvTimeoutError::Timeout) && !beating.state().lost {
                beat += 1;
                beating.beat(beat);
            }
        });
        let beats = beats.map_err(|source| StoreError::Io { path: shared.at.place.clone(), source })?;
        Ok(Self { shared, stop: Some((stop, beats)) })
    }

    /// Nobody else can have taken it yet.
    pub(super) fn is_held(&self) -> bool {
        let state = self.shared.state();
        // With room for a write on its way.
        !state.lost && state.since.elapsed() < self.shared.times.lease * 4 / 5
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((stop, beats)) = self.stop.take() {
            drop(stop);
            let _ = beats.join();
        }
        let state = self.shared.state();
        if !state.lost {
            let free = json!({"holder": null, "nonce": self.shared.nonce.to_string()}).to_string();
            let version = state.version.clone();
            drop(state);
            // One that cannot be freed now is taken over after a while.
            let _ = self.shared.at.write(free.as_bytes(), PutMode::Update(version));
        }
    }
}
