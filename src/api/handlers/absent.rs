//! What Docker's API has and this engine does not have yet: said out loud. Not in the document.

use http::Method;

use crate::api::error::ApiError;
use crate::model::ErrorKind;

/// First segments of paths, and what they are about.
const ABSENT: &[(&str, &str)] = &[
    ("build", "building images"),
    ("commit", "committing containers"),
    ("containers", "this operation on containers"),
    ("exec", "this operation on exec sessions"),
    ("grpc", "BuildKit"),
    ("images", "this operation on images"),
    ("session", "BuildKit"),
    ("volumes", "volumes"),
];

/// Second segments that exist below a name, by first segment: other paths do not exist in Docker's API either.
const OPERATIONS: &[(&str, &[&str])] = &[
    ("containers", &["archive", "changes", "export", "pause", "stats", "unpause", "update", "ws"]),
    ("images", &["get", "prune"]),
    ("exec", &[]),
];

/// The failure for a request that no route matches.
pub fn failure(method: &Method, path: &str) -> ApiError {
    let mut segments = path.split('/').skip(1);
    let first = segments.next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let is_used = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE].contains(method);
    let known = ABSENT.iter().find(|(name, _)| *name == first).filter(|_| is_used);
    let exists = match OPERATIONS.iter().find(|(name, _)| *name == first) {
        Some((_, operations)) => operations.contains(&last),
        None => true,
    };
    match known.filter(|_| exists) {
        Some((_, what)) => ApiError::new(ErrorKind::NotImplemented, format!("pierless does not support {what} yet")),
        None => ApiError::page_not_found(),
    }
}
