//! Everything that differs by API version, each difference one named function.

use std::fmt;

use super::error::ApiError;
use super::types::containers::Inspect;
use super::types::images::{ImageConfig, ImageInspect, ImageSummary};
use crate::model::filters::Filters;

/// A version of Docker's API, `1.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u16);

/// The oldest version that is served.
pub const OLDEST: ApiVersion = ApiVersion(24);
/// What is advertised, and what a path without a version means: the newest whose shapes are all right.
pub const ADVERTISED: ApiVersion = ApiVersion(51);
/// The newest version that is accepted: clients exist that send it without asking.
pub const NEWEST: ApiVersion = ApiVersion(55);

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

/// From 1.42 on a stream that interleaves stdout and stderr says so in its content type.
pub fn names_multiplexed_streams(version: ApiVersion) -> bool {
    version >= ApiVersion(42)
}

/// Up to 1.51 events repeat three of their fields under their names of before API 1.22.
pub fn legacy_event_fields(version: ApiVersion) -> bool {
    version < ApiVersion(52)
}

/// Before 1.25 the security options of `info` are bare names: `seccomp`, not `name=seccomp,profile=builtin`.
pub fn bare_security_options(version: ApiVersion) -> bool {
    version < ApiVersion(25)
}

/// Up to 1.50 `info` says whether bridged packets pass the host's firewall.
pub fn info_bridge_fields(version: ApiVersion) -> bool {
    version < ApiVersion(50)
}

/// From 1.42 on `system/df` reports only the kinds that `type` names.
pub fn usage_by_type(version: ApiVersion) -> bool {
    version >= ApiVersion(42)
}

/// Up to 1.51 an inspection repeats the addresses in the default network beside the list of networks.
pub fn container_inspect(version: ApiVersion, mut inspect: Inspect) -> Inspect {
    if version >= ApiVersion(52) {
        inspect.network_settings.flat = None;
    }
    inspect
}

/// Before 1.25 the name of the images to list is a parameter of its own, not a filter.
pub fn images_name_filter(version: ApiVersion, filters: Filters, name: String) -> Filters {
    match name.is_empty() || version >= ApiVersion(25) {
        true => filters,
        false => filters.and("reference", name),
    }
}

/// Before 1.44 images repeat their size as `VirtualSize`; before 1.43 one without a name is called `<none>:<none>`;
/// before 1.48 there is no descriptor.
pub fn image_summary(version: ApiVersion, mut image: ImageSummary) -> ImageSummary {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(43) && image.repo_tags.is_empty() && image.repo_digests.is_empty() {
        image.repo_tags.push("<none>:<none>".to_owned());
        image.repo_digests.push("<none>@<none>".to_owned());
    }
    image
}

/// Before 1.44 images repeat their size as `VirtualSize`; before 1.50 their configuration has all of a container's
/// fields; before 1.48 there is no descriptor; before 1.44 the missing time of creation is Go's zero.
pub fn image_inspect(version: ApiVersion, mut image: ImageInspect) -> ImageInspect {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(44) {
        image.created.get_or_insert_with(|| crate::model::time::NEVER.to_owned());
    }
    if version >= ApiVersion(50)
        && let Some(ImageConfig::Full(config)) = image.config
    {
        image.config = Some(ImageConfig::Portable(Box::new((*config).into())));
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_paths() {
        let ok = |path| negotiate(path).expect("accepted");
        assert_eq!(ok("/_ping"), (ADVERTISED, "/_ping"));
        assert_eq!(ok("/v1.24/_ping"), (ApiVersion(24), "/_ping"));
        assert_eq!(ok("/v1.55/a/b"), (ApiVersion(55), "/a/b"));
        assert_eq!(ok("/vabc/_ping"), (ADVERTISED, "/vabc/_ping"));
        assert_eq!(ok("/v1.44"), (ADVERTISED, "/v1.44"));
        assert_eq!(ok("/volumes/x"), (ADVERTISED, "/volumes/x"));
        for (path, message) in [
            (
                "/v1.12/_ping",
                "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client \
                 to a newer version",
            ),
            ("/v1.56/_ping", "client version 1.56 is too new. Maximum supported API version is 1.55"),
            ("/v2.0/_ping", "client version 2.0 is too new. Maximum supported API version is 1.55"),
        ] {
            assert_eq!(negotiate(path).expect_err("refused").message(), message);
        }
        assert!(negotiate("/v1/_ping").is_err());
        assert!(negotiate("/v../_ping").is_err());
    }
}
