//! As much of D-Bus as two calls of the service manager need.
//!
//! By hand, for it must work in a process that is single-threaded and, inside its user namespace, believes to be root:
//! libraries bring threads, or tell the bus the user id that they see. What the bus believes is the socket's credentials.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// The largest message that is read, in bytes.
const LARGEST: usize = 1 << 20;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Fields of a message's header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_TO: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Whom a call is for.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// The name on the bus.
    pub destination: &'static str,
    /// The object's path.
    pub path: &'static str,
    /// The interface of it.
    pub interface: &'static str,
}

/// The bus itself.
const DAEMON: Object =
    Object { destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", interface: "org.freedesktop.DBus" };

/// A connection to a bus.
#[derive(Debug)]
pub struct Bus {
    socket: UnixStream,
    serial: u32,
}

/// What came: an answer, or a signal.
#[derive(Debug)]
struct Message {
    kind: u8,
    reply_to: u32,
    member: String,
    error: String,
    body: Vec<u8>,
}

impl Bus {
    /// Connects to the bus that listens here.
    ///
    /// # Errors
    /// Nobody listens, or lets this user in.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let mut socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        // Who this is the bus knows; it is not asked to believe a number.
        socket.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let mut said = Vec::new();
        let mut byte = [0];
        while !said.windows(3).any(|text| text == b"OK ") || !said.ends_with(b"\r\n") {
            if said.len() > 4096 || socket.read(&mut byte)? == 0 || said.starts_with(b"REJECTED") {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the bus does not let this user in"));
            }
            said.push(byte[0]);
        }
        let mut bus = Self { socket, serial: 0 };
        bus.call(DAEMON, "Hello", "", &Body::default())?;
        Ok(bus)
    }

    /// Calls a method, and returns the text that its answer begins with, if it is one.
    ///
    /// # Errors
    /// The other side's refusal, as `Other`; those of the socket.
    pub fn call(&mut self, object: Object, method: &str, signature: &str, body: &Body) -> io::Result<String> {
        self.serial += 1;
        let serial = self.serial;
        self.socket.write_all(&call(object, method, signature, &body.0, serial))?;
        loop {
            let message = self.message()?;
            if message.reply_to != serial {
                continue;
            }
            match message.kind {
                RETURN => return Ok(Reader::new(&message.body).text().unwrap_or_default()),
                ERROR => {
                    let text = Reader::new(&message.body).text().unwrap_or_default();
                    return Err(io::Error::other(format!("{}: {text}", message.error)));
                }
                _ => {}
            }
        }
    }

    /// Has the bus pass on signals of this name.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn subscribe(&mut self, interface: &str, signal: &str) -> io::Result<()> {
        let mut body = Body::default();
        body.text(&format!("type='signal',interface='{interface}',member='{signal}'"));
        self.call(DAEMON, "AddMatch", "s", &body).map(drop)
    }

    /// Waits for a signal whose body `wanted` says yes to.
    ///
    /// # Errors
    /// It does not come in time.
    pub fn wait_for(&mut self, signal: &str, wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        loop {
            let message = self.message()?;
            if message.kind == SIGNAL && message.member == signal && wanted(&message.body) {
                return Ok(());
            }
        }
    }

    fn message(&mut self) -> io::Result<Message> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a message of D-Bus");
        let mut head = [0; 16];
        self.socket.read_exact(&mut head)?;
        let number = |at: usize| {
            let bytes = head[at..at + 4].try_into().expect("four");
            if head[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
        };
        let (body, fields) = (number(4) as usize, number(12) as usize);
        let rest = fields.next_multiple_of(8).checked_add(body).filter(|len| *len <= LARGEST).ok_or_else(bad)?;
        // The manager is on this machine.
        if head[0] != native() {
            return Err(bad());
        }
        let mut bytes = vec![0; rest];
        self.socket.read_exact(&mut bytes)?;
        let body = bytes.split_off(fields.next_multiple_of(8));
        let mut message = Message { kind: head[1], reply_to: 0, member: String::new(), error: String::new(), body };
        // Fields begin at a multiple of eight, as all of the header does.
        let mut reader = Reader::new(&bytes[..fields]);
        while reader.align(8).is_some() && !reader.is_empty() {
            let code = reader.byte().ok_or_else(bad)?;
            let signature = reader.signature().ok_or_else(bad)?;
            match (code, signature.as_str()) {
                (REPLY_TO, "u") => message.reply_to = reader.number().ok_or_else(bad)?,
                (MEMBER, "s") => message.member = reader.text().ok_or_else(bad)?,
                (ERROR_NAME, "s") => message.error = reader.text().ok_or_else(bad)?,
                (_, "s" | "o") => drop(reader.text().ok_or_else(bad)?),
                (_, "g") => drop(reader.signature().ok_or_else(bad)?),
                (_, "u") => drop(reader.number().ok_or_else(bad)?),
                _ => return Err(bad()),
            }
        }
        Ok(message)
    }
}

/// The mark of this machine's byte order.
fn native() -> u8 {
    if cfg!(target_endian = "little") { b'l' } else { b'B' }
}

fn call(object: Object, method: &str, signature: &str, body: &[u8], serial: u32) -> Vec<u8> {
    let mut message = Body(vec![native(), CALL, 0, 1]);
    message.number(u32::try_from(body.len()).unwrap_or(u32::MAX));
    message.number(serial);
    message.array(8, |fields| {
        for (code, kind, text) in [
            (PATH, "o", object.path),
            (INTERFACE, "s", object.interface),
            (MEMBER, "s", method),
            (DESTINATION, "s", object.destination),
        ] {
            fields.field(code, kind).text(text);
        }
        if !signature.is_empty() {
            fields.field(SIGNATURE, "g").signature(signature);
        }
    });
    message.align(8);
    message.0.extend_from_slice(body);
    message.0
}

/// Values one after the other, each aligned as its type asks.
#[derive(Debug, Default)]
pub struct Body(Vec<u8>);

impl Body {
    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    /// Appends a `u`.
    pub fn number(&mut self, value: u32) {
        self.align(4);
        self.0.extend_from_slice(&value.to_ne_bytes());
    }

    /// Appends an `s` or an `o`.
    pub fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0.push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    fn field(&mut self, code: u8, kind: &str) -> &mut Self {
        self.align(8);
        self.0.push(code);
        self.signature(kind);
        self
    }

    /// Appends an array whose elements begin at multiples of `align`.
    pub fn array(&mut self, align: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(align);
        let start = self.0.len();
        fill(self);
        let bytes = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.0[length..length + 4].copy_from_slice(&bytes.to_ne_bytes());
    }

    /// Appends a property `(sv)`.
    pub fn property(&mut self, name: &str, value: &Value<'_>) {
        self.align(8);
        self.text(name);
        match value {
            Value::Text(text) => {
                self.signature("s");
                self.text(text);
            }
            Value::Flag(flag) => {
                self.signature("b");
                self.number((*flag).into());
            }
            Value::Long(number) => {
                self.signature("t");
                self.align(8);
                self.0.extend_from_slice(&number.to_ne_bytes());
            }
            Value::Numbers(numbers) => {
                self.signature("au");
                self.numbers(numbers);
            }
        }
    }

    /// Appends an `au`.
    pub fn numbers(&mut self, numbers: &[u32]) {
        self.array(4, |array| numbers.iter().for_each(|number| array.number(*number)));
    }
}

/// A property's value.
#[derive(Debug)]
pub enum Value<'a> {
    /// `s`
    Text(&'a str),
    /// `b`
    Flag(bool),
    /// `t`
    Long(u64),
    /// `au`
    Numbers(&'a [u32]),
}

/// Reads values; none where there are not enough bytes.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of a body, which begins aligned.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A `u`.
    pub fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        Some(u32::from_ne_bytes(self.take(4)?.try_into().ok()?))
    }

    /// An `s` or an `o`.
    pub fn text(&mut self) -> Option<String> {
        let length = self.number()? as usize;
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).ok()
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?.into();
        let text = self.take(length)?.to_vec();
        self.take(1)?;
        String::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn speaks_with_a_bus() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).expect("listen");
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("accept");
            let mut hello = [0; 29];
            socket.read_exact(&mut hello).expect("read");
            assert_eq!(&hello, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            socket.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").expect("write");
            let mut bus = Bus { socket, serial: 0 };
            for answer in [true, false] {
                let asked = bus.message().expect("message");
                let mut message = Body(vec![native(), if answer { RETURN } else { ERROR }, 0, 1]);
                let mut body = Body::default();
                body.text("answer");
                message.number(u32::try_from(body.0.len()).expect("small"));
                message.number(7);
                message.array(8, |fields| {
                    fields.field(REPLY_TO, "u").number(if asked.member == "Hello" { 1 } else { 2 });
                    if !answer {
                        fields.field(ERROR_NAME, "s").text("no.such.Unit");
                    }
                    fields.field(SIGNATURE, "g").signature("s");
                });
                message.align(8);
                message.0.extend(body.0);
                bus.socket.write_all(&message.0).expect("write");
            }
        });
        let mut bus = Bus::connect(&path).expect("connect");
        let error = bus.call(DAEMON, "Other", "", &Body::default()).expect_err("refused");
        assert_eq!(error.to_string(), "no.such.Unit: answer");
        server.join().expect("server");
    }

    #[test]
    fn what_is_cut_short_is_none() {
        let mut body = Body::default();
        body.text("some text");
        body.property("PIDs", &Value::Numbers(&[1, 2]));
        for len in 0..body.0.len() {
            let mut reader = Reader::new(&body.0[..len]);
            assert_eq!(reader.text().is_some(), len >= 14, "{len}");
        }
        assert_eq!(Reader::new(&u32::MAX.to_ne_bytes()).text(), None);
    }
}
