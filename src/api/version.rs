//! Versions of Docker's API: which there are, and the one in a request's path. What differs between them is told in
//! [`super::compat`].

use std::fmt;

use super::error::ApiError;

/// A version of Docker's API, `1.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u16);

/// The oldest version that is served.
pub const OLDEST: ApiVersion = ApiVersion(24);
/// What is advertised, and what a path without a version means: the newest whose shapes are all right.
pub const ADVERTISED: ApiVersion = ApiVersion(51);
/// The newest version that is accepted: clients exist that send it without asking.
pub const NEWEST: ApiVersion = ApiVersion(56);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// Splits `/v1.44/containers/json` into version and path. A first segment that is not `v` and digits and points
/// belongs to the path, as in dockerd.
///
/// # Errors
/// 400 with dockerd's words for a version that is too old or too new.
pub fn negotiate(path: &str) -> Result<(ApiVersion, &str), ApiError> {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/')?;
        let text = &rest[..end];
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits.then(|| (text, &rest[end..]))
    });
    let Some((text, rest)) = versioned else { return Ok((ADVERTISED, path)) };
    // Compared number by number; a missing or unreadable one counts as zero.
    let mut numbers = text.split('.').map(|number| number.parse::<u64>().unwrap_or(u64::from(!number.is_empty())));
    let asked = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if asked < (1, u64::from(OLDEST.0)) {
        return Err(ApiError::bad_request(format!(
            "client version {text} is too old. Minimum supported API version is {OLDEST}, please upgrade your client \
             to a newer version"
        )));
    }
    let minor = u16::try_from(asked.1).unwrap_or(u16::MAX);
    if asked.0 > 1 || minor > NEWEST.0 || (minor == NEWEST.0 && numbers.any(|number| number > 0)) {
        return Err(ApiError::bad_request(format!(
            "client version {text} is too new. Maximum supported API version is {NEWEST}"
        )));
    }
    Ok((ApiVersion(minor), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_paths() {
        let ok = |path| negotiate(path).expect("accepted");
        assert_eq!(ok("/_ping"), (ADVERTISED, "/_ping"));
        assert_eq!(ok("/v1.24/_ping"), (ApiVersion(24), "/_ping"));
        assert_eq!(ok("/v1.56/a/b"), (ApiVersion(56), "/a/b"));
        assert_eq!(ok("/vabc/_ping"), (ADVERTISED, "/vabc/_ping"));
        assert_eq!(ok("/v1.44"), (ADVERTISED, "/v1.44"));
        assert_eq!(ok("/volumes/x"), (ADVERTISED, "/volumes/x"));
        for (path, message) in [
            (
                "/v1.12/_ping",
                "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client \
                 to a newer version",
            ),
            ("/v1.57/_ping", "client version 1.57 is too new. Maximum supported API version is 1.56"),
            ("/v2.0/_ping", "client version 2.0 is too new. Maximum supported API version is 1.56"),
        ] {
            assert_eq!(negotiate(path).expect_err("refused").message(), message);
        }
        assert!(negotiate("/v1/_ping").is_err());
        assert!(negotiate("/v../_ping").is_err());
    }
}
