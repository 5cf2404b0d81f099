//! Fetches a file from an address that a client names, by the same rules as what registries have.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use super::basic;
use super::http::{Answer, Ask, Body, Http};
use super::payload::Payload;
use super::{Config, Error, Result};

/// Bytes of a refusal that people are shown.
const REFUSAL: u64 = 1000;

/// A file that comes.
pub struct Fetched {
    /// The whole address, without a user and a password.
    pub address: String,
    /// As the client named it, without a user and a password.
    pub shown: String,
    /// Bytes, if they were told.
    pub size: Option<u64>,
    /// The file.
    pub body: Body,
}

/// Asks for a file. `http://` is meant where nothing is said. `gone`: a pipe that is closed when nobody waits for it any
/// more.
///
/// # Errors
/// [`Error::Request`] for what is no address; [`Error::Refused`], and those of the connection.
pub fn fetch(source: &str, gone: Option<OwnedFd>) -> Result<Fetched> {
    let address = Address::parse(source)?;
    let whole = address.uri.to_string();
    let shown = if address.proof.is_some() { whole.clone() } else { source.to_owned() };
    let what = format!("GET {whole}");
    let http = Http::start(Config::load()?, gone).map_err(|source| Error::Connection { what, source })?;
    let answer = address.get(&http)?;
    let size = answer.headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
    Ok(Fetched { address: whole, shown, size, body: answer.body })
}

/// Where an archive is, and who may have it.
struct Address {
    uri: Uri,
    proof: Option<HeaderValue>,
}

impl Address {
    /// A user and a password in it are kept apart.
    fn parse(source: &str) -> Result<Self> {
        let whole = if source.contains("://") { source.to_owned() } else { format!("http://{source}") };
        let bad = |why: &str| Error::Request(format!("invalid address {source:?}: {why}"));
        let uri: Uri = whole.split('#').next().unwrap_or_default().parse().map_err(|_| bad("it is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad(&format!("unsupported protocol scheme {:?}", uri.scheme_str().unwrap_or_default())));
        }
        let authority = uri.authority().ok_or_else(|| bad("no host in it"))?;
        let Some((user, host)) = authority.as_str().rsplit_once('@') else {
            return Ok(Self { uri, proof: None });
        };
        let proof = basic::of_address(user).ok();
        let host: Authority = host.parse().map_err(|_| bad("no host in it"))?;
        let mut parts = uri.into_parts();
        parts.authority = Some(host);
        Ok(Self { uri: Uri::from_parts(parts).map_err(|_| bad("it is no URL"))?, proof })
    }

    fn get(self, http: &Arc<Http>) -> Result<Answer> {
        let domain = self.uri.authority().map(ToString::to_string).unwrap_or_default();
        let headers: HeaderMap = self.proof.map(|proof| (header::AUTHORIZATION, proof)).into_iter().collect();
        let shown = self.uri.to_string();
        let answer = http.ask(Ask { method: Method::GET, uri: self.uri, headers, body: Payload::none(), domain })?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        let (status, mut text) = (answer.status, Vec::new());
        // What it says besides is a courtesy.
        let _ = answer.body.take(REFUSAL).read_to_end(&mut text);
        let text = format!("failed to GET {shown} with status {status}: {}", String::from_utf8_lossy(&text).trim());
        Err(Error::Refused { status: status.as_u16(), code: String::new(), text, retry_after: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let of = |text: &str| Address::parse(text).map(|address| (address.uri.to_string(), address.proof.is_some()));
        for (text, want, proof) in [
            ("a.example/x.tar", "http://a.example/x.tar", false),
            ("https://a.example:8/x?y=z#part", "https://a.example:8/x?y=z", false),
            ("http://me:s%40crt@a.example/x", "http://a.example/x", true),
        ] {
            assert_eq!(of(text).expect(text), (want.to_owned(), proof));
        }
        for text in ["ftp://a.example/x", "file:///etc/passwd", "http://", "http://a b"] {
            assert!(matches!(of(text), Err(Error::Request(_))), "{text}");
        }
    }
}
