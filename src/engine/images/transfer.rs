//! What is to be pulled or pushed.

use crate::image::platform::Platform;
use crate::image::{Error, Result};
use crate::model::reference::{Reference, is_tag};
use crate::registry::Credentials;

/// What to pull or to push, and for whom.
#[derive(Debug, Clone, Default)]
pub struct TransferRequest {
    /// The image's name.
    pub name: String,
    /// A tag or a digest instead of the name's own; empty: that one, or all tags where it has none.
    pub tag: String,
    /// The machine whose image is meant; none: to pull, this one's; to push, all that the name means.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Credentials,
}

impl TransferRequest {
    /// The name that is meant, with a tag or a digest, or neither.
    ///
    /// # Errors
    /// It can be none.
    pub fn wanted(&self) -> Result<Reference> {
        wanted(&self.name, &self.tag)
    }
}

/// The name to pull or push: a digest makes a tag meaningless.
pub(super) fn wanted(name: &str, tag: &str) -> Result<Reference> {
    let name = Reference::parse(name)?;
    let name = match tag {
        "" => name,
        digest if digest.contains(':') => name.with_digest(digest)?,
        tag if is_tag(tag) && name.digest().is_none() => name.with_tag(tag)?,
        tag if is_tag(tag) => name,
        _ => return Err(Error::Invalid("invalid tag format".to_owned())),
    };
    match name.digest().map(str::to_owned) {
        Some(digest) => Ok(name.with_digest(&digest)?),
        None => Ok(name),
    }
}
