//! Devices that follow a repository on a web server, and servers that are gone, break off, or hand out something else.
#![cfg(feature = "remote")]

mod support;

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::SystemTime,
};

use plimsoll_device::{Agent, DeviceError, Slot};
use plimsoll_profile::DeviceSpec;
use plimsoll_record::{DeviceAction, DeviceStatus};
use plimsoll_runtime::TractExecutor;
use support::{Team, model, version};

/// What a server does with content (`blobs/…`).
const HONEST: usize = 0;
const GONE: usize = 1;
const BREAKS_OFF: usize = 2;
const LIES: usize = 3;

/// A folder on the web, as long as the test runs.
struct Server {
    address: String,
    mood: Arc<AtomicUsize>,
}

impl Server {
    fn of(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let mood = Arc::new(AtomicUsize::new(HONEST));
        let shared = Arc::clone(&mood);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that hangs up is no error of the server's.
                let _ = answer(&folder, stream.unwrap(), shared.load(Ordering::SeqCst));
            }
        });
        Self { address, mood }
    }

    fn is(&self, mood: usize) {
        self.mood.store(mood, Ordering::SeqCst);
    }
}

fn answer(folder: &Path, mut stream: TcpStream, mood: usize) -> io::Result<()> {
    if mood == GONE {
        return Ok(());
    }
    let mut request = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    request.read_line(&mut line)?;
    let name = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    while request.read_line(&mut line)? > 2 {}
    let Ok(mut content) = fs::read(folder.join(&name)) else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", content.len())?;
    if name.starts_with("blobs/") && mood == BREAKS_OFF {
        content.truncate(content.len() / 2);
    }
    if name.starts_with("blobs/") && mood == LIES {
        content.reverse();
    }
    stream.write_all(&content)
}

fn agent(team: &Team, repository: &str) -> Agent {
    let text =
        team.spec_text("d1", "").replace("repository = \"repository\"", &format!("repository = \"{repository}\""));
    Agent::new(DeviceSpec::from_text(team.place("d1.toml"), &text).unwrap_or_else(|e| panic!("{}", e.render())))
        .unwrap()
}

fn sync(agent: &Agent) -> DeviceStatus {
    agent.sync(&TractExecutor, SystemTime::now()).unwrap()
}

#[test]
fn a_device_follows_a_server_and_what_runs_goes_on_whatever_the_server_does() {
    let team = Team::new();
    team.release("1.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    let server = Server::of(team.place("repository"));
    let agent = agent(&team, &server.address);
    let status = sync(&agent);
    assert_eq!((status.action, version(&agent).as_str()), (DeviceAction::Switched, "1.0.0"), "{}", status.reason);

    team.release("2.0.0", &model(), |_| {});
    team.promote(10_000, 0);
    for (mood, says) in [(GONE, "the repository"), (BREAKS_OFF, ""), (LIES, "SHA-256")] {
        server.is(mood);
        let status = sync(&agent);
        assert_eq!(status.action, DeviceAction::Held, "{mood}: {}", status.reason);
        assert!(status.reason.contains(says), "{mood}: {}", status.reason);
        assert_eq!(version(&agent), "1.0.0");
        assert!(agent.state().verify(Slot::A).unwrap());
    }
    server.is(HONEST);
    let status = sync(&agent);
    assert_eq!((status.action, version(&agent).as_str()), (DeviceAction::Switched, "2.0.0"), "{}", status.reason);
}

#[test]
fn an_address_that_cannot_be_read_from_is_told_to_people() {
    let team = Team::new();
    for (address, says) in [
        ("http://releases.example/models", "without TLS"),
        ("https://user:word@releases.example/models", "credentials"),
        ("ftp://releases.example/models", "none of"),
    ] {
        let error = agent(&team, address).sync(&TractExecutor, SystemTime::now()).unwrap_err();
        assert!(matches!(error, DeviceError::Address { .. }), "{address}: {error}");
        let text = format!("{error} {}", error.help().unwrap());
        assert!(text.contains(says) && !text.contains("word@"), "{text}");
    }
}
