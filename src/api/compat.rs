//! Everything that differs by API version, each difference one named function.

use super::types::containers::{Inspect, Summary};
use super::types::images::{ContainerOnly, ImageConfig, ImageInspect, ImageSummary};
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

/// Before 1.44 images repeat their size as `VirtualSize`; before 1.43 an empty list of names is null, and one without
/// any name is called `<none>:<none>`; before 1.48 there is no descriptor.
pub fn image_summary(version: ApiVersion, mut image: ImageSummary) -> ImageSummary {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(43) {
        for names in [&mut image.repo_tags, &mut image.repo_digests] {
            names.take_if(|names| names.is_empty());
        }
        if image.repo_tags.is_none() && image.repo_digests.is_none() {
            image.repo_tags = Some(vec!["<none>:<none>".to_owned()]);
            image.repo_digests = Some(vec!["<none>@<none>".to_owned()]);
        }
    }
    image
}

/// Before 1.44 images repeat their size as `VirtualSize`; before 1.50 their configuration has all of a container's
/// fields; before 1.48 there is no descriptor; before 1.45 there is the configuration of the container that an image
/// was made of; before 1.44 the missing time of creation is Go's zero.
pub fn image_inspect(version: ApiVersion, mut image: ImageInspect) -> ImageInspect {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(44) {
        image.created.get_or_insert_with(|| crate::model::time::NEVER.to_owned());
    }
    let container_only = (version < ApiVersion(50)).then(ContainerOnly::default);
    if version < ApiVersion(45) {
        image.container_config = Some(ImageConfig { container_only: container_only.clone(), ..ImageConfig::default() });
    }
    if let Some(config) = &mut image.config {
        config.container_only = container_only;
    }
    image
}

/// In `system/df` an image's empty list of names is null in all versions; before 1.44 it repeats its size, too.
pub fn image_usage(version: ApiVersion, mut image: ImageSummary) -> ImageSummary {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    image.descriptor = None;
    for names in [&mut image.repo_tags, &mut image.repo_digests] {
        names.take_if(|names| names.is_empty());
    }
    image
}

/// Before 1.51 a list of images does not count their containers.
pub fn counts_containers_of_images(version: ApiVersion) -> bool {
    version >= ApiVersion(51)
}

/// From 1.49 on an image can be inspected for a platform.
pub fn inspects_image_for_platform(version: ApiVersion) -> bool {
    version >= ApiVersion(49)
}

/// From 1.48 on an image's history can be asked for a platform.
pub fn history_for_platform(version: ApiVersion) -> bool {
    version >= ApiVersion(48)
}

/// Before 1.46 a list does not tell annotations.
pub fn container_summary(version: ApiVersion, mut summary: Summary) -> Summary {
    if version < ApiVersion(46) {
        summary.host_config.annotations = None;
    }
    summary
}

/// Before 1.40 a container whose creator does not say can share its IPC namespace with others.
pub fn default_ipc_mode(version: ApiVersion) -> &'static str {
    if version < ApiVersion(40) { "shareable" } else { "private" }
}
