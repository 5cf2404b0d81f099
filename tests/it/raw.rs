//! HTTP/1.1 by hand: what is sent, to the byte, is the test's business; replies are parsed just far enough.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::contract;
use super::process::GUARD;

#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The message of Docker's error body, which has nothing else.
    #[track_caller]
    pub fn message(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        let body = self.json();
        let fields = body.as_object().unwrap();
        assert_eq!(fields.len(), 1, "{body}");
        let message = body["message"].as_str().unwrap();
        assert!(!message.is_empty());
        message.to_owned()
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(GUARD)).unwrap();
    stream
}

/// Reads a status line and headers.
pub fn read_head(from: &mut impl BufRead) -> std::io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let Some(status) = status else { return Err(std::io::Error::other(format!("no status line: {line:?}"))) };
    let mut headers = Vec::new();
    loop {
        line.clear();
        from.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => break,
        }
    }
    Ok(Reply { status, headers, body: vec![] })
}

/// Reads one reply, its body by length, by chunks or to the end.
pub fn read_reply(from: &mut impl BufRead, head_only: bool) -> std::io::Result<Reply> {
    let mut reply = read_head(from)?;
    if !(head_only || reply.status == 204 || reply.status == 304) {
        reply.body = read_body(from, &reply)?;
    }
    Ok(reply)
}

/// Reads the body that follows a head.
pub fn read_body(from: &mut impl BufRead, head: &Reply) -> std::io::Result<Vec<u8>> {
    let mut body = vec![];
    if let Some(length) = head.header("content-length").and_then(|length| length.parse().ok()) {
        body = vec![0; length];
        from.read_exact(&mut body)?;
    } else if head.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            from.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let mut chunk = vec![0; length + 2];
            from.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                break;
            }
        }
    } else {
        from.read_to_end(&mut body)?;
    }
    Ok(body)
}

/// Sends bytes as they are and reads one reply.
pub fn exchange(socket: &Path, bytes: &[u8]) -> std::io::Result<Reply> {
    let mut stream = connect(socket);
    // A server that refuses early may have closed before all was sent; its reply counts.
    let sent = stream.write_all(bytes);
    match read_reply(&mut BufReader::new(&stream), bytes.starts_with(b"HEAD")) {
        Ok(reply) => Ok(reply),
        Err(error) => Err(sent.err().unwrap_or(error)),
    }
}

/// As [`exchange`]; none if the server was killed before it had answered.
pub fn exchange_if_alive(socket: &Path, bytes: &[u8]) -> Option<Reply> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(GUARD)).unwrap();
    let _ = stream.write_all(bytes);
    match read_reply(&mut BufReader::new(&stream), false) {
        Ok(reply) => Some(reply),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer: {error}"),
        Err(_) => None,
    }
}

/// One request on a connection of its own.
#[track_caller]
pub fn request(socket: &Path, method: &str, path: &str, kind: &str, body: &[u8]) -> Reply {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n").into_bytes();
    if !body.is_empty() || method == "POST" || method == "PUT" {
        bytes.extend(format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len()).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    let reply = exchange(socket, &bytes).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    contract::check(method, path, &reply);
    reply
}
