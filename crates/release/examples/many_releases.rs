//! What a repository of many releases costs: the time to publish one more, and the metadata that a client fetches.
//!
//!     cargo run --release --example many_releases -- FOLDER 2000

use std::{
    error::Error,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use plimsoll_release::{Placement, Repository, build};
use plimsoll_trust::{
    ReadError,
    tuf::{Client, FolderSource, Opened, Source},
};

#[path = "../tests/support/mod.rs"]
mod support;

/// Counts what is read of the metadata.
#[derive(Debug)]
struct Counting {
    inner: FolderSource,
    bytes: Arc<AtomicU64>,
}

struct Counted {
    inner: Box<dyn Read + Send>,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(piece)?;
        self.bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Source for Counting {
    fn open(&self, name: &str) -> Result<Option<Opened>, ReadError> {
        let Some(opened) = self.inner.open(name)? else { return Ok(None) };
        let content = Counted { inner: opened.content, bytes: Arc::clone(&self.bytes) };
        Ok(Some(Opened { content: Box::new(content), bytes: opened.bytes }))
    }

    fn place(&self) -> &Path {
        self.inner.place()
    }
}

/// Bytes that a client with nothing but the first root fetches to read the newest release's manifest.
fn sync(repository: &Path, target: &str) -> Result<u64, Box<dyn Error>> {
    let root = fs::read(repository.join("metadata/1.root.json"))?;
    let bytes = Arc::new(AtomicU64::new(0));
    let source = Counting { inner: FolderSource::new(repository), bytes: Arc::clone(&bytes) };
    let client = Client::load_from(Arc::new(source), &root, None)?;
    for name in ["channel.beta.json", target] {
        client.read_target(name, 1 << 20)?.ok_or("a target is missing")?;
    }
    Ok(bytes.load(Ordering::Relaxed))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A repository that grows.
struct Growing {
    keeper: Repository,
    folder: PathBuf,
    releases: usize,
}

impl Growing {
    fn new(folder: PathBuf) -> Result<Self, Box<dyn Error>> {
        let keeper =
            Repository::open_or_create_trial(&folder.join("repository"), &folder.join("trial"), SystemTime::now())?;
        Ok(Self { keeper, folder, releases: 0 })
    }

    /// Publishes one more release; milliseconds, the building of its folder apart.
    fn publish(&mut self) -> Result<f64, Box<dyn Error>> {
        let version = format!("1.{}.0", self.releases);
        let input = support::input(&version, version.as_bytes());
        let built = build(&input, self.keeper.signing_key()?, &self.folder.join("out"))?;
        let begin = Instant::now();
        self.keeper.publish(&built.folder, &Placement::default(), SystemTime::now())?;
        let time = begin.elapsed().as_secs_f64() * 1e3;
        fs::remove_dir_all(&built.folder)?;
        self.releases += 1;
        Ok(time)
    }

    fn report(&self, times: &mut [f64]) -> Result<String, Box<dyn Error>> {
        let target = format!("release.sleep-wake.1.{}.0.json", self.releases - 1);
        let bytes = sync(self.keeper.folder(), &target)?;
        Ok(format!("{} releases: publish {:.1} ms, sync {bytes} bytes\n", self.releases, median(times)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    const SMALL: usize = 100;
    const TIMED: usize = 50;
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("a folder is needed")?);
    let releases: usize = arguments.next().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(2_000);
    let [mut small, mut large] = [Growing::new(folder.join("small"))?, Growing::new(folder.join("large"))?];
    for (repository, releases) in [(&mut small, SMALL), (&mut large, releases)] {
        while repository.releases + TIMED < releases {
            repository.publish()?;
        }
    }
    // In turns, so that both see the same machine.
    let [mut few, mut many] = [Vec::new(), Vec::new()];
    for _ in 0..TIMED {
        few.push(small.publish()?);
        many.push(large.publish()?);
    }
    let text = small.report(&mut few)? + &large.report(&mut many)?;
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes())?;
    Ok(())
}
