//! Searches registries.

use crate::engine::Engine;
use crate::image::{Error, Result};
use crate::model::filters::{FilterError, Filters};
use crate::registry::http::Http;
use crate::registry::search::{Found, search};
use crate::registry::{Config, Credentials};

/// Results where nobody says how many.
const LIMIT: u32 = 25;

impl Engine {
    /// Repositories that fit a term: of the hub, or of the registry that the term begins with. `limit` 0: some.
    ///
    /// # Errors
    /// A filter or a limit that cannot be; the registry cannot be searched.
    pub fn search_images(
        &self,
        term: &str,
        limit: i64,
        filters: &Filters,
        credentials: Credentials,
    ) -> Result<Vec<Found>> {
        filters.allow(&["is-automated", "is-official", "stars"])?;
        let official = filters.flag("is-official")?;
        let mut stars = 0;
        for text in filters.get("stars") {
            let why =
                |err: std::num::ParseIntError| FilterError::Unfit("stars".to_owned(), text.clone(), err.to_string());
            stars = stars.max(text.parse::<i64>().map_err(why)?);
        }
        if term.contains("://") {
            let text = format!("invalid repository name: repository name ({term}) should not have a scheme");
            return Err(Error::Invalid(text));
        }
        let limit = match u32::try_from(limit) {
            Ok(0) => LIMIT,
            Ok(limit @ 1..=100) => limit,
            _ => return Err(Error::Invalid(format!("limit {limit} is outside the range of [1, 100]"))),
        };
        // Nothing is automated any more.
        if filters.flag("is-automated")? == Some(true) {
            return Ok(Vec::new());
        }
        let (domain, term) = match term.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => ("docker.io", term.strip_prefix("library/").unwrap_or(term)),
        };
        let http = Http::start(Config::load()?, None).map_err(Error::Read)?;
        let mut found = search(http, domain, credentials.completed(), term, limit)?;
        found.retain(|one| official.is_none_or(|want| one.is_official == want) && one.star_count >= stars);
        Ok(found)
    }
}
