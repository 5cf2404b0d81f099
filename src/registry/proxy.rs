//! A proxy on the way to a registry.

use std::io;

use http::{HeaderValue, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::basic;

/// Bytes of a proxy's answer.
const HEAD: usize = 16 << 10;

/// A proxy that speaks plain HTTP, as nearly all do.
#[derive(Debug)]
pub(super) struct Proxy {
    host: String,
    port: u16,
    /// Who asks it, if its address says so.
    pub proof: Option<HeaderValue>,
}

impl Proxy {
    /// Of `[http://][USER:PASSWORD@]HOST[:PORT]`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> io::Result<Self> {
        // What may be a password is nobody's to print.
        let shown = text.rsplit_once('@').map_or(text, |(_, place)| place);
        let wrong =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("the proxy {shown:?} is no http:// address"));
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| wrong())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(wrong)?;
        let proof = authority.as_str().rsplit_once('@').map(|(user, _)| basic::of_address(user));
        Ok(Self {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            proof: proof.transpose().map_err(|_| wrong())?,
        })
    }

    /// A connection to it; with a target, one through it.
    ///
    /// # Errors
    /// It cannot be reached, or does not want to.
    pub async fn connect(&self, target: Option<(&str, u16)>) -> io::Result<TcpStream> {
        let mut tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some((host, port)) = target else { return Ok(tcp) };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mut ask = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
        if let Some(proof) = &self.proof {
            ask.extend([b"Proxy-Authorization: ", proof.as_bytes(), b"\r\n"].concat());
        }
        ask.extend(b"\r\n");
        tcp.write_all(&ask).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = tcp.read_u8().await?;
            head.push(byte);
            if head.len() > HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy's answer has no end"));
            }
        }
        let line = String::from_utf8_lossy(&head);
        let line = line.lines().next().unwrap_or_default();
        match line.split(' ').nth(1) {
            Some("200") => Ok(tcp),
            _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("the proxy answered {line:?}"))),
        }
    }
}
