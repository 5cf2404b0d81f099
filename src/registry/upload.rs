//! Brings blobs and manifests to a repository.
//!
//! A blob is sent in one piece, whose length is told, and then put away by its digest: that is what all registries
//! take. What broke off is gone on with where the registry says how much it has, else begun anew.

use std::fs::File;
use std::sync::Arc;

use http::{Method, StatusCode, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Call, Repository};
use super::http::{Answer, follow};
use super::payload::{Part, Payload};
use super::{Error, Result};

/// A blob to bring.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// `sha256:…`.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Its file.
    pub file: Arc<File>,
}

/// How far a blob is on its way.
#[derive(Debug, Default)]
pub struct Upload {
    /// Where the rest is to be sent; empty: nothing has begun.
    place: String,
    /// Whether something was.
    sent: bool,
}

impl Repository {
    /// Whether a blob is there already.
    ///
    /// # Errors
    /// The registry's.
    pub fn has_blob(&self, digest: &str) -> Result<bool> {
        let path = format!("/v2/{}/blobs/{digest}", self.path());
        match self.request(Call::new(Method::HEAD, &path, &[]), &mut |_| true) {
            Ok(_) => Ok(true),
            // An answer to this has no words: what it forbids is told in its own when something is sent.
            Err(Error::Refused { status, .. }) if (400..500).contains(&status) && status != 429 => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// Takes a blob over from another repository of the registry. False: it does not do so, and an upload has begun.
    ///
    /// # Errors
    /// The registry's.
    pub fn mount(&self, digest: &str, from: &str, upload: &mut Upload) -> Result<bool> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let query = format!("?mount={}&from={}", encode(digest), encode(from));
        let answer = self.begin(&query)?;
        if answer.status == StatusCode::CREATED {
            return Ok(true);
        }
        *upload = Upload { place: self.location(&answer)?, sent: false };
        Ok(false)
    }

    /// Sends a blob, or what is missing of it. Not tried again: another call goes on. `tell`: bytes so far; it says
    /// whether to go on.
    ///
    /// # Errors
    /// The registry's.
    pub fn send(&self, blob: &Outbound, upload: &mut Upload, tell: &mut dyn FnMut(u64) -> bool) -> Result<()> {
        let before = std::mem::take(upload);
        let known = match before.sent {
            false => Some((before.place, 0)).filter(|(place, _)| !place.is_empty()),
            true => self.progress_of(&before.place).filter(|(_, had)| *had <= blob.size),
        };
        let (mut place, had) = match known {
            Some(known) => known,
            None => (self.location(&self.begin("")?)?, 0),
        };
        *upload = Upload { place: place.clone(), sent: true };
        if had < blob.size {
            let range = format!("{had}-{}", blob.size - 1);
            let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CONTENT_RANGE, &range)];
            // Not all registries know a range; of a whole blob it says nothing.
            let headers = if had > 0 { &headers[..] } else { &headers[..1] };
            let part = Part::new(Arc::clone(&blob.file), had, blob.size - had);
            let body = Payload::Part(Arc::new(part));
            let call = Call { method: Method::PATCH, at: &place, headers, body };
            let sent = self.request(call, &mut |sent| tell(had + sent));
            let answer = sent.inspect_err(|err| upload.refused(err))?;
            place = self.location(&answer)?;
        }
        upload.place.clone_from(&place);
        let mark = if place.contains('?') { '&' } else { '?' };
        let digest = utf8_percent_encode(&blob.digest, NON_ALPHANUMERIC);
        let place = format!("{place}{mark}digest={digest}");
        let call = Call::new(Method::PUT, &place, &[(header::CONTENT_TYPE, "application/octet-stream")]);
        self.request(call, &mut |_| true).inspect_err(|err| upload.refused(err))?;
        Ok(())
    }

    /// Gives a manifest or an index a tag, or only its own digest.
    ///
    /// # Errors
    /// The registry's.
    pub fn put_manifest(&self, reference: &str, media_type: &str, bytes: &[u8]) -> Result<()> {
        let path = self.manifest_path(reference);
        self.patiently(|| {
            let body = Payload::Bytes(bytes.to_vec().into());
            let headers = [(header::CONTENT_TYPE, media_type)];
            self.request(Call { method: Method::PUT, at: &path, headers: &headers, body }, &mut |_| true).map(drop)
        })
    }

    fn begin(&self, query: &str) -> Result<Answer> {
        let path = format!("/v2/{}/blobs/uploads/{query}", self.path());
        self.request(Call::new(Method::POST, &path, &[]), &mut |_| true)
    }

    /// Where an upload goes on, and how many bytes of it are there. None: it is not known there any more.
    fn progress_of(&self, place: &str) -> Option<(String, u64)> {
        let answer = self.request(Call::new(Method::GET, place, &[]), &mut |_| true).ok()?;
        let range = answer.headers.get(header::RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        // Nothing and one byte are told alike.
        let had = if last == 0 { return None } else { last + 1 };
        let next = self.location(&answer).unwrap_or_else(|_| place.to_owned());
        Some((next, had))
    }

    fn location(&self, answer: &Answer) -> Result<String> {
        let base: Uri = self.current_base().parse().map_err(|_| Error::Request("bad address".to_owned()))?;
        let place = answer.headers.get(header::LOCATION).and_then(|place| follow(&base, place.to_str().ok()?));
        place
            .map(|place| place.to_string())
            .ok_or_else(|| Error::Invalid(format!("{}: it does not say where to upload to", self.current_base())))
    }
}

impl Upload {
    /// What a registry has refused, it does not go on with.
    fn refused(&mut self, err: &Error) {
        if matches!(err, Error::Refused { .. }) {
            *self = Self::default();
        }
    }
}
