//! A repository of a registry: its manifests, blobs and tags.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::{Reference, sha256_hex};

use super::auth::{Credentials, Proof};
use super::http::{Answer, Ask, Body, Http};
use super::payload::Payload;
use super::refusal::refusal;
use super::{Error, Result};

/// Largest manifest or index in bytes: as registries have it.
const MAX_MANIFEST: u64 = 4 << 20;
/// Largest page of a list of tags in bytes, and how many pages.
const MAX_TAGS: u64 = 8 << 20;
const MAX_PAGES: usize = 1000;
/// Tries of a small request.
const TRIES: u32 = 4;
/// What we can read.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.1";

/// A repository, at its registry or the registry's mirrors.
#[derive(Debug)]
pub struct Repository {
    http: Arc<Http>,
    path: String,
    /// What is to be allowed, in the words of token services.
    scope: String,
    places: Vec<Place>,
    /// The place that answered.
    current: AtomicUsize,
}

/// Where a repository is asked for.
#[derive(Debug)]
struct Place {
    /// `https://host:port`.
    base: String,
    /// The registry whose settings hold.
    domain: String,
    proof: Proof,
}

/// A manifest or an index, to the byte.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What the registry says that it is.
    pub media_type: String,
    /// `sha256:…` of the bytes.
    pub digest: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A blob that is coming.
pub struct Blob {
    /// Where in it the bytes begin.
    pub from: u64,
    /// The bytes.
    pub body: Body,
}

impl Repository {
    /// The repository of this name. Nothing is asked yet. Mirrors never see the credentials.
    ///
    /// # Errors
    /// A mirror's address cannot be one.
    pub fn new(http: Arc<Http>, name: &Reference, credentials: Credentials) -> Result<Self> {
        let domain = name.domain();
        let mut places = Vec::new();
        for mirror in http.config().host(domain).mirrors {
            let base = mirror.trim_end_matches('/').to_owned();
            let uri: Uri = base.parse().map_err(|_| Error::Request(format!("the mirror {mirror:?} is no address")))?;
            let host = match (uri.scheme_str(), uri.authority()) {
                (Some("http" | "https"), Some(host)) => host.to_string(),
                _ => return Err(Error::Request(format!("the mirror {mirror:?} has neither https:// nor http://"))),
            };
            places.push(Place { base, domain: host, proof: Proof::new(Credentials::default()) });
        }
        places.extend(own_places(&http, domain, &credentials));
        let scope = format!("repository:{}:pull", name.path());
        Ok(Self { http, path: name.path().to_owned(), scope, places, current: AtomicUsize::new(0) })
    }

    /// The repository of this name at the registry itself, to be pushed to. `sources`: paths of others in that registry, of
    /// which blobs may be taken over.
    pub fn to_push(http: Arc<Http>, name: &Reference, credentials: Credentials, sources: &[String]) -> Self {
        let mut scope = format!("repository:{}:pull,push", name.path());
        sources.iter().for_each(|path| scope.push_str(&format!(" repository:{path}:pull")));
        let places = own_places(&http, name.domain(), &credentials);
        Self { http, path: name.path().to_owned(), scope, places, current: AtomicUsize::new(0) }
    }

    /// A registry itself, by its domain, to be asked for what is in no repository.
    pub(super) fn whole(http: Arc<Http>, domain: &str, credentials: &Credentials) -> Self {
        let places = own_places(&http, domain, credentials);
        Self { http, path: String::new(), scope: String::new(), places, current: AtomicUsize::new(0) }
    }

    /// Whether the registry knows who asks: what `docker login` wants to be told.
    ///
    /// # Errors
    /// The registry's refusal.
    pub fn login(&self) -> Result<()> {
        self.patiently(|| self.get("/v2/", "application/json").map(drop))
    }

    /// The client that it uses.
    pub fn http(&self) -> &Arc<Http> {
        &self.http
    }

    /// The digest of what a tag means, where the registry tells it without sending it: that is not counted as a pull.
    pub fn look(&self, tag: &str) -> Option<String> {
        let path = self.manifest_path(tag);
        let ask = || self.request(Call::new(Method::HEAD, &path, &[(header::ACCEPT, ACCEPT)]), &mut |_| true);
        let answer = self.patiently(ask).ok()?;
        let digest = answer.headers.get("docker-content-digest")?.to_str().ok()?;
        sha256_hex(digest).map(|_| digest.to_owned())
    }

    /// A manifest or index by tag or digest. By digest, it is what it should be.
    ///
    /// # Errors
    /// The registry's; what came is too large, or another one.
    pub fn manifest(&self, reference: &str) -> Result<Fetched> {
        self.patiently(|| {
            let path = self.manifest_path(reference);
            let answer = self.get(&path, ACCEPT)?;
            let told = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let media_type = told("content-type").unwrap_or_default();
            let media_type = media_type.split(';').next().unwrap_or_default().trim().to_owned();
            let claimed = told("docker-content-digest");
            let bytes = answer.body.all(MAX_MANIFEST).map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData => Error::Invalid(format!("manifest {reference}: {source}")),
                _ => self.failed(&path, source),
            })?;
            let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
            let want = if reference.contains(':') { Some(reference.to_owned()) } else { claimed };
            match want.filter(|want| sha256_hex(want).is_some() && *want != digest) {
                Some(want) => {
                    Err(Error::Spoilt(format!("manifest verification failed for digest {want}: it is {digest}")))
                }
                None => Ok(Fetched { media_type, digest, bytes }),
            }
        })
    }

    /// A blob from this byte on; if the registry gives it only as a whole, from its beginning. Not tried again.
    ///
    /// # Errors
    /// The registry's.
    pub fn blob(&self, digest: &str, from: u64) -> Result<Blob> {
        let path = format!("/v2/{}/blobs/{digest}", self.path);
        let range = format!("bytes={from}-");
        let headers = [(header::ACCEPT, "*/*"), (header::RANGE, &range)];
        let headers = if from > 0 { &headers[..] } else { &headers[..1] };
        let answer = self.request(Call::new(Method::GET, &path, headers), &mut |_| true)?;
        let begins = answer.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let begins = begins.and_then(|text| text.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        match (answer.status, begins) {
            (StatusCode::PARTIAL_CONTENT, Some(begins)) if begins <= from => {
                Ok(Blob { from: begins, body: answer.body })
            }
            (StatusCode::OK, _) => Ok(Blob { from: 0, body: answer.body }),
            (status, _) => Err(Error::Invalid(format!("blob {digest}: answered by {status} and another range"))),
        }
    }

    /// A small blob, as a whole and verified.
    ///
    /// # Errors
    /// The registry's; what came is too large, or another one.
    pub fn small_blob(&self, digest: &str, limit: u64) -> Result<Vec<u8>> {
        self.patiently(|| {
            let failed = |source| Error::Connection { what: format!("GET blob {digest}"), source };
            let bytes = self.blob(digest, 0)?.body.all(limit).map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData => Error::Invalid(format!("blob {digest}: {source}")),
                _ => failed(source),
            })?;
            match format!("sha256:{}", hex(&Sha256::digest(&bytes))) == digest {
                true => Ok(bytes),
                false => Err(Error::Spoilt(format!("blob verification failed for digest {digest}"))),
            }
        })
    }

    /// All tags.
    ///
    /// # Errors
    /// The registry's.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut tags = Vec::new();
        let mut path = format!("/v2/{}/tags/list", self.path);
        for _ in 0..MAX_PAGES {
            let (page, next) = self.patiently(|| {
                let answer = self.get(&path, "application/json")?;
                let next = answer.headers.get(header::LINK).and_then(|link| next_page(link.to_str().ok()?));
                let bytes = answer.body.all(MAX_TAGS).map_err(|source| self.failed(&path, source))?;
                let page: Page =
                    serde_json::from_slice(&bytes).map_err(|err| Error::Invalid(format!("tags: {err}")))?;
                Ok((page, next))
            })?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) if next != path => path = next,
                _ => break,
            }
        }
        Ok(tags)
    }

    /// Its path in the registry.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The address of what the last answer was about.
    pub(super) fn current_base(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed).min(self.places.len() - 1);
        &self.places[current].base
    }

    pub(super) fn manifest_path(&self, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.path)
    }

    pub(super) fn failed(&self, path: &str, source: io::Error) -> Error {
        Error::Connection { what: format!("GET {}{path}", self.current_base()), source }
    }

    /// Tries again what may pass.
    pub(super) fn patiently<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            tries += 1;
            match act() {
                Err(err) if err.is_passing() && tries < TRIES => self.http.pause(delay(&err, tries))?,
                other => return other,
            }
        }
    }

    pub(super) fn get(&self, path: &str, accept: &str) -> Result<Answer> {
        self.request(Call::new(Method::GET, path, &[(header::ACCEPT, accept)]), &mut |_| true)
    }

    /// Asks the place that answered last, or all in turn until one does.
    pub(super) fn request(&self, call: Call<'_>, tell: &mut dyn FnMut(u64) -> bool) -> Result<Answer> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failure = None;
        for (at, place) in self.places.iter().enumerate().skip(first) {
            match self.request_at(place, &call, tell) {
                Ok(answer) => {
                    self.current.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(err @ (Error::Cancelled | Error::Config { .. })) => return Err(err),
                Err(err) => {
                    tracing::debug!("{}: {err}", place.base);
                    // The registry's own words count, not that it speaks no TLS.
                    let told = matches!(err, Error::Refused { .. });
                    if told && place.domain == self.places[self.places.len() - 1].domain {
                        // What it speaks is known by now.
                        self.current.store(at, Ordering::Relaxed);
                        return Err(err);
                    }
                    failure = Some(err);
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::Request("there is no registry to ask".to_owned())))
    }

    fn request_at(&self, place: &Place, call: &Call<'_>, tell: &mut dyn FnMut(u64) -> bool) -> Result<Answer> {
        let whole = call.at.contains("://");
        let text = if whole { call.at.to_owned() } else { format!("{}{}", place.base, call.at) };
        let uri: Uri = text.parse().map_err(|_| Error::Request(format!("{text} is no address")))?;
        // An upload's address is the registry's to choose; another host's is none that needs to know who asks.
        let own = !whole || text.strip_prefix(&place.base).is_some_and(|rest| rest.starts_with('/'));
        let scope = if call.at == "/v2/" { "" } else { &self.scope };
        let mut renewed = false;
        loop {
            let mut headers = HeaderMap::new();
            for (name, text) in call.headers {
                let value = HeaderValue::from_str(text).map_err(|_| Error::Request(format!("bad header {text}")))?;
                headers.insert(name, value);
            }
            let proof = place.proof.header().filter(|_| own);
            if let Some(proof) = &proof {
                headers.insert(header::AUTHORIZATION, proof.clone());
            }
            let (method, domain, body) = (call.method.clone(), place.domain.clone(), call.body.clone());
            let answer = self.http.ask_telling(Ask { method, uri: uri.clone(), headers, body, domain }, tell)?;
            if answer.status == StatusCode::UNAUTHORIZED
                && own
                && !renewed
                && place.proof.renew(&self.http, &place.domain, &answer.headers, scope, proof.as_ref())?
            {
                renewed = true;
                continue;
            }
            if answer.status.is_success() {
                return Ok(answer);
            }
            return Err(refusal(answer));
        }
    }
}

/// Where a registry itself is asked, without its mirrors.
fn own_places(http: &Http, domain: &str, credentials: &Credentials) -> Vec<Place> {
    let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
    let schemes: &[&str] = if http.config().is_insecure(domain) { &["https", "http"] } else { &["https"] };
    let place = |scheme: &&str| {
        let proof = Proof::new(credentials.clone());
        Place { base: format!("{scheme}://{host}"), domain: domain.to_owned(), proof }
    };
    schemes.iter().map(place).collect()
}

/// A request to a registry.
pub(super) struct Call<'a> {
    pub method: Method,
    /// A path, or the whole address that the registry gave.
    pub at: &'a str,
    pub headers: &'a [(HeaderName, &'a str)],
    pub body: Payload,
}

impl<'a> Call<'a> {
    /// One without a body.
    pub fn new(method: Method, at: &'a str, headers: &'a [(HeaderName, &'a str)]) -> Self {
        Self { method, at, headers, body: Payload::none() }
    }
}

/// How long to wait before the next try.
pub fn delay(err: &Error, tries: u32) -> Duration {
    match err {
        Error::Refused { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds),
        _ => Duration::from_millis(250 << tries.min(5)),
    }
}

/// The path of the next page out of `</v2/…>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (place, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    let uri: Uri = place.parse().ok()?;
    uri.path_and_query().map(ToString::to_string).filter(|path| path.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_tags_are_linked() {
        let next = |link: &str| next_page(link);
        assert_eq!(next("</v2/a/tags/list?last=b&n=1>; rel=\"next\"").as_deref(), Some("/v2/a/tags/list?last=b&n=1"));
        assert_eq!(next("<https://r.example/v2/x?n=1>; rel=\"next\"").as_deref(), Some("/v2/x?n=1"));
        for odd in ["", "<>; rel=\"next\"", "</x>; rel=\"prev\"", "/x; rel=next"] {
            assert_eq!(next(odd), None, "{odd}");
        }
    }
}
