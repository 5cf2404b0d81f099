//! One request and its answer, for callers that wait.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::config::Config;
use super::payload::{Outgoing, Payload};
use super::proxy::Proxy;
use super::{Error, Result, tls};

/// How long a connection may take to be made, and an answer to begin.
const BEGIN: Duration = Duration::from_secs(60);
/// How long nothing may come of a body.
const STALL: Duration = Duration::from_secs(60);
/// How long a registry may take to put away what was sent to it.
const COMMIT: Duration = Duration::from_secs(600);
/// How often it is told how much is sent.
const TELL: Duration = Duration::from_millis(100);
/// Addresses that an answer may lead on to, one after another.
const HOPS: usize = 10;

type Sender = SendRequest<Outgoing>;
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A client with a thread of its own that moves the bytes. Dropped, all its connections are closed.
pub struct Http {
    config: Config,
    runtime: Handle,
    gone: watch::Receiver<bool>,
    leaves: Option<OwnedFd>,
    idle: Mutex<BTreeMap<String, Vec<Sender>>>,
    tls: Mutex<BTreeMap<(String, bool), Arc<ClientConfig>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What to ask for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Its method.
    pub method: Method,
    /// Where.
    pub uri: Uri,
    /// With what besides the host.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// The registry that this is part of speaking with, whose rules hold: `host:port`.
    pub domain: String,
}

/// The answer; its body is read from it.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

/// A body that comes over the network.
pub struct Body {
    http: Arc<Http>,
    incoming: Option<Incoming>,
    chunk: Bytes,
    connection: Option<(String, Sender)>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// A client by this configuration. `gone`: a pipe that is closed when nobody waits for the answers any more.
    ///
    /// # Errors
    /// No thread, or no descriptors.
    pub fn start(config: Config, gone: Option<OwnedFd>) -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let leaves = gone.as_ref().map(OwnedFd::try_clone).transpose()?;
        let (left, watched) = watch::channel(false);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("registry".to_owned()).spawn(move || {
            runtime.block_on(async move {
                let leaves = async move {
                    match gone.map(Receiver::from_owned_fd) {
                        Some(Ok(pipe)) => drop(pipe.readable().await),
                        _ => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = leaves => {
                        let _ = left.send(true);
                    }
                    _ = stopped => {}
                }
            });
            // Those who wait are told; nothing is to be moved any more.
            runtime.shutdown_background();
        })?;
        Ok(Arc::new(Self {
            config,
            runtime: handle,
            gone: watched,
            leaves,
            idle: Mutex::default(),
            tls: Mutex::default(),
            stop: Some(stop),
            thread: Some(thread),
        }))
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether nobody waits for the answers any more.
    pub fn is_cancelled(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits, unless whoever asked leaves.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub fn pause(&self, time: Duration) -> Result<()> {
        self.wait(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    /// What can be read, or hangs up, when nobody waits for the answers any more.
    pub fn leaves(&self) -> Option<BorrowedFd<'_>> {
        self.leaves.as_ref().map(AsFd::as_fd)
    }

    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut gone = self.gone.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // Also if the thread is gone, that is.
                _ = gone.wait_for(|gone| *gone) => Err(Error::Cancelled),
                done = work => done,
            }
        })
    }

    /// Asks, and follows where the answer leads. Another host never sees `Authorization`.
    ///
    /// # Errors
    /// [`Error::Connection`], or the answers lead nowhere.
    pub fn ask(self: &Arc<Self>, ask: Ask) -> Result<Answer> {
        self.ask_telling(ask, &mut |_| true)
    }

    /// As [`Http::ask`]; tells meanwhile how many bytes of a file's part are sent, and whoever is told says whether to go on.
    ///
    /// # Errors
    /// As [`Http::ask`].
    pub fn ask_telling(self: &Arc<Self>, mut ask: Ask, tell: &mut dyn FnMut(u64) -> bool) -> Result<Answer> {
        for _ in 0..=HOPS {
            let what = format!("{} {}", ask.method, shown(&ask.uri));
            let failed = |source: io::Error| match source.downcast::<Error>() {
                Ok(own) => own,
                Err(source) => Error::Connection { what: what.clone(), source },
            };
            let answered = self.answered(&ask, tell);
            let (response, connection) = self.wait(async { answered.await.map_err(failed) })?;
            let (head, incoming) = response.into_parts();
            let body = Body {
                http: Arc::clone(self),
                incoming: Some(incoming),
                chunk: Bytes::new(),
                connection: Some(connection),
            };
            // A body is sent on only where that is asked for; a secret in a form never.
            let leads = match ask.method {
                Method::GET | Method::HEAD => &[301, 302, 303, 307, 308][..],
                Method::PUT | Method::PATCH => &[307, 308],
                _ => &[],
            };
            let moved = leads.contains(&head.status.as_u16());
            let Some(place) = head.headers.get(header::LOCATION).filter(|_| moved) else {
                return Ok(Answer { status: head.status, headers: head.headers, body });
            };
            let next = place.to_str().ok().and_then(|place| follow(&ask.uri, place));
            let next = next.ok_or_else(|| Error::Invalid(format!("{what}: led on to no address")))?;
            let downgraded = ask.uri.scheme_str() == Some("https") && next.scheme_str() == Some("http");
            if downgraded && !self.config.is_insecure(&ask.domain) {
                return Err(Error::Invalid(format!("{what}: led on to {}, which is not encrypted", shown(&next))));
            }
            if (next.scheme(), next.authority()) != (ask.uri.scheme(), ask.uri.authority()) {
                ask.headers.remove(header::AUTHORIZATION);
                ask.domain = next.authority().map(ToString::to_string).unwrap_or_default();
            }
            ask.uri = next;
        }
        Err(Error::Invalid(format!("{}: stopped after {HOPS} redirects", shown(&ask.uri))))
    }

    /// Waits for an answer for as long as something goes on.
    async fn answered(
        &self,
        ask: &Ask,
        tell: &mut dyn FnMut(u64) -> bool,
    ) -> io::Result<(Response<Incoming>, (String, Sender))> {
        let mut exchange = pin!(self.exchange(ask));
        let patience = if ask.method == Method::PUT { COMMIT } else { BEGIN };
        let (mut sent, mut since) = (0, Instant::now());
        loop {
            let part = match &ask.body {
                Payload::Part(part) => Some(part),
                Payload::Bytes(_) => None,
            };
            if let Ok(done) = timeout(part.map_or(patience, |_| TELL), exchange.as_mut()).await {
                return done;
            }
            match part.map(|part| part.sent()).filter(|now| *now != sent) {
                Some(now) => {
                    (sent, since) = (now, Instant::now());
                    if !tell(sent) {
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                }
                None if since.elapsed() >= patience => return Err(io::ErrorKind::TimedOut.into()),
                None => {}
            }
        }
    }

    async fn exchange(&self, ask: &Ask) -> io::Result<(Response<Incoming>, (String, Sender))> {
        let key = format!("{} {}", ask.domain, origin(&ask.uri));
        loop {
            let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&key).and_then(Vec::pop);
            let old = pooled.is_some();
            let mut sender = match pooled {
                Some(sender) => sender,
                None => self.connect(ask).await?,
            };
            let mut request = Request::new(ask.body.outgoing());
            *request.method_mut() = ask.method.clone();
            *request.headers_mut() = ask.headers.clone();
            let host = ask.uri.authority().map_or("", |authority| authority.as_str());
            let bad = |_| io::Error::new(io::ErrorKind::InvalidInput, "no host");
            request.headers_mut().insert(header::HOST, HeaderValue::from_str(host).map_err(bad)?);
            let agent = concat!("pierless/", env!("CARGO_PKG_VERSION"));
            request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
            // A proxy of plain HTTP wants the whole address.
            let proxy = self.proxy(&ask.uri).filter(|_| ask.uri.scheme_str() == Some("http"));
            if let Some(proof) = proxy.map(Proxy::parse).transpose()?.and_then(|proxy| proxy.proof) {
                request.headers_mut().insert(header::PROXY_AUTHORIZATION, proof);
            }
            let path = ask.uri.path_and_query().map_or("/", |path| path.as_str());
            *request.uri_mut() =
                if proxy.is_some() { ask.uri.clone() } else { path.parse().map_err(io::Error::other)? };
            let sent = match sender.ready().await {
                Ok(()) => sender.send_request(request).await,
                Err(err) => Err(err),
            };
            match sent {
                Ok(response) => return Ok((response, (key, sender))),
                // The other side had closed it meanwhile.
                Err(_) if old => {}
                Err(err) => return Err(io::Error::other(because(&err))),
            }
        }
    }

    fn proxy(&self, uri: &Uri) -> Option<&str> {
        self.config.proxy_for(uri.scheme_str() == Some("https"), uri.host().unwrap_or_default())
    }

    async fn connect(&self, ask: &Ask) -> io::Result<Sender> {
        let https = ask.uri.scheme_str() == Some("https");
        let host = ask.uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = ask.uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let tcp = match self.proxy(&ask.uri) {
            Some(proxy) => Proxy::parse(proxy)?.connect(https.then_some((host, port))).await?,
            None => TcpStream::connect((host, port)).await?,
        };
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if https {
            let unchecked = self.config.is_insecure(&ask.domain);
            let config = self.tls(&ask.domain, unchecked).map_err(io::Error::other)?;
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            Box::new(TlsConnector::from(config).connect(name, tcp).await?)
        } else {
            Box::new(tcp)
        };
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|err| io::Error::other(because(&err)))?;
        self.runtime.spawn(async move {
            if let Err(err) = connection.await {
                tracing::debug!("registry connection: {err}");
            }
        });
        Ok(sender)
    }

    fn tls(&self, domain: &str, unchecked: bool) -> Result<Arc<ClientConfig>> {
        let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = known.get(&(domain.to_owned(), unchecked)) {
            return Ok(Arc::clone(config));
        }
        let config = tls::client(&self.config, domain, unchecked)?;
        known.insert((domain.to_owned(), unchecked), Arc::clone(&config));
        Ok(config)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Body {
    /// All of it, if it is not more than so many bytes.
    ///
    /// # Errors
    /// As reading it; or it is more.
    pub fn all(mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        (&mut self).take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the answer has more than {limit} bytes")));
        }
        Ok(bytes)
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            let Some(incoming) = &mut self.incoming else { return Ok(0) };
            let next = self.http.wait(async { Ok(timeout(STALL, incoming.frame()).await) });
            match next.map_err(io::Error::other)? {
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing came for a minute")),
                Ok(Some(Ok(frame))) => self.chunk = frame.into_data().unwrap_or_default(),
                Ok(Some(Err(err))) => {
                    self.incoming = None;
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, because(&err)));
                }
                Ok(None) => {
                    self.incoming = None;
                    if let Some((key, sender)) = self.connection.take().filter(|(_, sender)| !sender.is_closed()) {
                        let mut idle = self.http.idle.lock().unwrap_or_else(PoisonError::into_inner);
                        idle.entry(key).or_default().push(sender);
                    }
                    return Ok(0);
                }
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}

/// Where a `Location` leads.
pub(super) fn follow(from: &Uri, place: &str) -> Option<Uri> {
    let scheme = from.scheme_str()?;
    let text = if place.contains("://") {
        place.to_owned()
    } else if let Some(rest) = place.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if place.starts_with('/') {
        format!("{scheme}://{}{place}", from.authority()?)
    } else {
        let (folder, _) = from.path().rsplit_once('/')?;
        format!("{scheme}://{}{folder}/{place}", from.authority()?)
    };
    let uri: Uri = text.split('#').next()?.parse().ok()?;
    matches!(uri.scheme_str(), Some("http" | "https")).then_some(uri)
}

fn origin(uri: &Uri) -> String {
    format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()))
}

/// An address for people: the query of a presigned one is a secret.
fn shown(uri: &Uri) -> String {
    format!("{}{}", origin(uri), uri.path())
}

/// hyper's errors say little; their sources say why.
fn because(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_lead_where_they_say() {
        let from: Uri = "https://a.example:5000/v2/x/blobs/1?y=z".parse().expect("address");
        for (place, want) in [
            ("https://b.example/c?d#e", Some("https://b.example/c?d")),
            ("//b.example/c", Some("https://b.example/c")),
            ("/c", Some("https://a.example:5000/c")),
            ("c", Some("https://a.example:5000/v2/x/blobs/c")),
            ("ftp://b.example/c", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(follow(&from, place).map(|uri| uri.to_string()).as_deref(), want, "{place}");
        }
    }
}
