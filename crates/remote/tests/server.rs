//! Repositories on a web server, read on loopback: what is there, what is not, and servers that misbehave.
#![cfg(feature = "objects")]

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use plimsoll_remote::objects;

/// Answers each request by its path, on a port of its own; the address.
fn server(answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/models", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), answer.clone());
            thread::spawn(move || {
                let mut line = String::new();
                let mut request = BufReader::new(stream.try_clone().unwrap());
                request.read_line(&mut line).unwrap();
                let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
                while request.read_line(&mut line).is_ok_and(|n| n > 2) {}
                // A client that has heard enough hangs up.
                let _ = answer(&path, &mut stream);
            });
        }
    });
    address
}

fn status(stream: &mut TcpStream, status: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}

#[test]
fn what_is_there_is_read_and_what_is_not_is_none() {
    let address = server(|path, stream| match path {
        "/models/metadata/1.root.json" => status(stream, "200 OK", b"root"),
        "/models/targets/a+b.json" => status(stream, "200 OK", b"plus"),
        _ => status(stream, "404 Not Found", b"no"),
    });
    let source = objects::source(&format!("{address}/")).unwrap();
    assert_eq!(source.place().display().to_string(), address);
    assert_eq!(source.get("metadata/1.root.json", 100).unwrap().unwrap(), b"root");
    assert_eq!(source.get("targets/a+b.json", 100).unwrap().unwrap(), b"plus");
    assert!(source.get("metadata/2.root.json", 100).unwrap().is_none());
    assert!(source.open("../models/metadata/1.root.json").unwrap().is_none(), "a name that leads elsewhere");
}

#[test]
fn endless_data_are_refused_by_what_is_announced_and_by_what_comes() {
    let address = server(|path, stream| match path {
        "/models/announced" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")?;
            loop {
                stream.write_all(&[0; 1 << 16])?;
            }
        }
        "/models/short" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nshort")
        }
        _ => {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            loop {
                write!(stream, "10000\r\n")?;
                stream.write_all(&[0; 1 << 16])?;
                write!(stream, "\r\n")?;
            }
        }
    });
    let source = objects::source(&address).unwrap();
    let error = source.get("announced", 1 << 20).unwrap_err().to_string();
    assert!(error.contains("/models/announced has 99999999999 bytes"), "{error}");
    let error = source.get("unannounced", 1 << 20).unwrap_err().to_string();
    assert!(error.contains("/models/unannounced"), "{error}");
    let error = source.get("short", 1 << 20).unwrap_err().to_string();
    assert!(error.contains("/models/short"), "{error}");
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_an_error_that_names_it() {
    let address = server(|_, stream| status(stream, "403 Forbidden", b"<html>\x07who are you</html>"));
    let error = objects::source(&address).unwrap().get("metadata/timestamp.json", 100).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("{address}/metadata/timestamp.json")) && text.contains("403"), "{text}");
    assert!(!text.contains('\x07'), "{text}");
    assert!(error.help().unwrap().contains("address"));

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = objects::source(&format!("http://{closed}")).unwrap().get("a", 100).unwrap_err().to_string();
    assert!(error.contains(&closed.to_string()) && error.contains("refused"), "{error}");
}

#[test]
fn a_server_is_not_written_to() {
    let Err(error) = objects::store("https://releases.example/models") else { panic!("it is writable") };
    assert!(error.to_string().contains("read, not written"), "{error}");
}
