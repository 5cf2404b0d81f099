//! Searches a registry, where that can be done: by `/v1/search`, all that is left of a protocol of before 2015.

use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::auth::Credentials;
use super::client::Repository;
use super::http::Http;
use super::{Error, Result};

/// Largest answer in bytes.
const MAX_ANSWER: u64 = 4 << 20;

/// A repository that was found.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Found {
    /// Its name as people are shown it.
    pub name: String,
    /// In words.
    pub description: Option<String>,
    /// How many people like it.
    pub star_count: i64,
    /// Whether the registry's owner vouches for it.
    pub is_official: bool,
}

/// Asks a registry, by its domain, for repositories that fit a term.
///
/// # Errors
/// The registry's; it cannot be searched.
pub fn search(http: Arc<Http>, domain: &str, credentials: Credentials, term: &str, limit: u32) -> Result<Vec<Found>> {
    #[derive(Deserialize)]
    struct Page {
        results: Option<Vec<Found>>,
    }
    let index = if domain == "docker.io" { "index.docker.io" } else { domain };
    let registry = Repository::whole(http, index, &credentials);
    let path = format!("/v1/search?q={}&n={limit}", utf8_percent_encode(term, NON_ALPHANUMERIC));
    let ask = || {
        let answer = registry.get(&path, "application/json")?;
        answer.body.all(MAX_ANSWER).map_err(|source| registry.failed(&path, source))
    };
    let bytes = registry.patiently(ask).map_err(|err| match err {
        Error::Refused { status: 404, .. } => Error::Invalid(format!(
            "unexpected status code 404: the registry {domain} cannot be searched, it has no /v1/search"
        )),
        other => other,
    })?;
    let page: Page = serde_json::from_slice(&bytes)
        .map_err(|err| Error::Invalid(format!("error decoding registry search results: {err}")))?;
    Ok(page.results.unwrap_or_default())
}
