//! Everything that differs by API version, each difference one named function.

use super::types::containers::Inspect;
use super::types::images::{ImageConfig, ImageInspect, ImageSummary};
use super::version::ApiVersion;
use crate::model::filters::Filters;

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
