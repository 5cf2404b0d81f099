//! Everything that differs by API version, each difference one named function.

use super::error::ApiError;
use super::types::containers::{Inspect, Summary};
use super::types::images::{ContainerOnly, ImageConfig, ImageInspect, ImageSummary};
use super::types::networks::CreateNetwork;
use super::version::ApiVersion;
use crate::engine::containers::CreateRequest;
use crate::engine::networks::is_predefined;
use crate::model::config::ContainerConfig;
use crate::model::filters::Filters;
use crate::model::ids::short;
use crate::model::mount::Mount;
use crate::model::networking::{EndpointSettings, NetworkingConfig};

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

/// Before 1.46 the platform of a push is passed over: clients sent one that meant nothing.
pub fn pushes_for_platform(version: ApiVersion) -> bool {
    version >= ApiVersion(46)
}

/// From 1.42 on `system/df` reports only the kinds that `type` names.
pub fn usage_by_type(version: ApiVersion) -> bool {
    version >= ApiVersion(42)
}

/// What `system/df` tells.
#[derive(Debug, Clone, Copy)]
pub struct UsageShape {
    /// What there is of each kind, all in lists of their own.
    pub lists: bool,
    /// Sums of each kind.
    pub sums: bool,
    /// The lists beside their sums.
    pub items: bool,
}

/// From 1.52 on `system/df` tells sums, with lists if it is asked for them; the lists of before are there as well unless
/// it is.
pub fn usage_shape(version: ApiVersion, verbose: bool) -> UsageShape {
    let sums = version >= ApiVersion(52);
    UsageShape { lists: !(sums && verbose), sums, items: verbose }
}

/// Up to 1.51 an inspection repeats the addresses in the default network beside the list of networks; before 1.45 the
/// aliases in the user's own networks have the container's short id and its host name among them.
pub fn container_inspect(version: ApiVersion, mut inspect: Inspect) -> Inspect {
    if version < ApiVersion(45) {
        let own = [short(&inspect.id).to_owned(), inspect.config.hostname.clone()];
        let networks = inspect.network_settings.networks.iter_mut().filter(|(name, _)| !is_predefined(name));
        for (_, settings) in networks {
            let aliases = settings.aliases.get_or_insert_default();
            for name in &own {
                if !name.is_empty() && !aliases.contains(name) {
                    aliases.push(name.clone());
                }
            }
        }
    }
    if version >= ApiVersion(52) {
        inspect.network_settings.flat = None;
    }
    inspect
}

/// What older versions meant by a creation, in today's terms: gives warnings. In dockerd's order.
///
/// # Errors
/// 400 for what a version does not know and would mislead.
pub fn create_request(version: ApiVersion, request: &mut CreateRequest) -> Result<Vec<String>, ApiError> {
    create_defaults(version, request);
    create_mounts(version, request)?;
    create_networks(version, &mut request.networking)?;
    let mut warnings = Vec::new();
    warnings.extend(volume_driver(version, request));
    warnings.extend(container_mac_address(version, request)?);
    warnings.extend(interface_sysctls(version, request)?);
    Ok(warnings)
}

/// The default network has a name; before 1.25 the client removes; before 1.40 IPC namespaces are shareable; before 1.42
/// there is no size of a console, before 1.43 no annotations, before 1.44 no interval at the start.
fn create_defaults(version: ApiVersion, request: &mut CreateRequest) {
    let host = &mut request.host_config;
    if matches!(host.network_mode.as_str(), "" | "default") {
        host.network_mode = "bridge".to_owned();
        let endpoints = &mut request.networking.endpoints_config;
        if let Some(endpoint) = endpoints.remove("default") {
            endpoints.insert("bridge".to_owned(), endpoint);
        }
    }
    if version < ApiVersion(25) {
        host.auto_remove = false;
    }
    if version < ApiVersion(40) {
        host.kernel_memory_tcp = 0;
        if host.ipc_mode.is_empty() {
            host.ipc_mode = "shareable".to_owned();
        }
    }
    if version < ApiVersion(42) {
        host.console_size = [0, 0];
    }
    if version < ApiVersion(43) {
        host.annotations = None;
    }
    if version < ApiVersion(44) {
        if let Some(check) = &mut request.config.healthcheck {
            check.start_interval = 0;
        }
        request.read_only_non_recursive = true;
    }
}

/// Before 1.40, 1.42, 1.44, 1.45 and 1.48 mounts have fewer options; from 1.42 on those of another type are refused.
fn create_mounts(version: ApiVersion, request: &mut CreateRequest) -> Result<(), ApiError> {
    let bad = |text: String| Err(ApiError::bad_request(text));
    for mount in request.host_config.mounts.iter_mut().flatten() {
        let kind = mount.r#type.as_str();
        if let Some(options) = &mut mount.bind_options {
            options.non_recursive &= version >= ApiVersion(40);
            options.create_mountpoint &= version >= ApiVersion(42);
            if version < ApiVersion(44) && kind == "bind" && options.read_only_force_recursive {
                return bad("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer".to_owned());
            }
        }
        if version < ApiVersion(42) {
            mount.volume_options.take_if(|_| kind != "volume");
            mount.tmpfs_options.take_if(|_| kind != "tmpfs");
        } else {
            for (field, given, of) in [
                ("VolumeOptions", mount.volume_options.is_some(), "volume"),
                ("BindOptions", mount.bind_options.is_some(), "bind"),
                ("TmpfsOptions", mount.tmpfs_options.is_some(), "tmpfs"),
            ] {
                if given && kind != of {
                    return bad(format!("{field} must not be specified on mount type {kind:?}"));
                }
            }
        }
        if version < ApiVersion(45) && mount.volume_options.as_ref().is_some_and(|volume| !volume.subpath.is_empty()) {
            return bad("VolumeOptions.Subpath needs API v1.45 or newer".to_owned());
        }
        if version < ApiVersion(48) && kind == "image" {
            return bad("Mount type \"Image\" needs API v1.48 or newer".to_owned());
        }
    }
    Ok(())
}

/// Before 1.44 a container is created in one network; before 1.48 none goes before others.
fn create_networks(version: ApiVersion, networking: &mut NetworkingConfig) -> Result<(), ApiError> {
    let endpoints = &mut networking.endpoints_config;
    if version < ApiVersion(44) && endpoints.len() > 1 {
        let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
        return Err(ApiError::bad_request(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    if version < ApiVersion(48) {
        endpoints.values_mut().flatten().for_each(|endpoint| endpoint.gw_priority = 0);
    }
    Ok(())
}

/// Before 1.48 a network cannot be without IPv4.
pub fn create_network(version: ApiVersion, body: &mut CreateNetwork) {
    if version < ApiVersion(48) {
        body.enable_ipv4 = None;
    }
}

/// Before 1.48 no connection goes before others; before 1.54 one of a container that exists has no hardware address of
/// its own choice.
pub fn connection(version: ApiVersion, mut settings: EndpointSettings) -> EndpointSettings {
    if version < ApiVersion(48) {
        settings.gw_priority = 0;
    }
    if version < ApiVersion(54) {
        settings.mac_address.clear();
    }
    settings
}

/// From 1.48 on a volume driver for the whole container is not for mount objects, which is told.
fn volume_driver(version: ApiVersion, request: &CreateRequest) -> Option<String> {
    let host = &request.host_config;
    let own = |mount: &Mount| {
        let driver = mount.volume_options.as_ref().and_then(|options| options.driver_config.as_ref());
        driver.is_some_and(|driver| !driver.name.is_empty())
    };
    let ambiguous = host.mounts.iter().flatten().any(|mount| mount.r#type == "volume" && !own(mount));
    (version >= ApiVersion(48) && !host.volume_driver.is_empty() && ambiguous).then(|| {
        "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use \
         '--mount type=volume,volume-driver=...' instead"
            .to_owned()
    })
}

/// Before 1.44 the hardware address is the container's; from then on it is the connection's, and told to be so.
fn container_mac_address(version: ApiVersion, request: &mut CreateRequest) -> Result<Option<String>, ApiError> {
    let asked = request.config.mac_address.take().filter(|address| !address.is_empty());
    let own_network = !matches!(request.host_config.network_mode.as_str(), "host" | "none")
        && !request.host_config.network_mode.starts_with("container:");
    let Some(address) = asked else {
        if version < ApiVersion(44) {
            let endpoints = request.networking.endpoints_config.values_mut().flatten();
            endpoints.for_each(|endpoint| endpoint.mac_address.clear());
        }
        return Ok(None);
    };
    if version < ApiVersion(44) {
        if !own_network {
            return Err(ApiError::bad_request("conflicting options: mac-address and the network mode"));
        }
        main_endpoint(version, request, "")?.mac_address = address;
        return Ok(None);
    }
    if own_network {
        let endpoint =
            main_endpoint(version, request, "unable to migrate container-wide MAC address to a specific network: ")?;
        if endpoint.mac_address.is_empty() {
            endpoint.mac_address = address;
        } else if endpoint.mac_address != address {
            return Err(ApiError::bad_request(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or \
                 be left empty",
            ));
        }
    }
    let text =
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";
    Ok(Some(text.to_owned()))
}

const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Up to 1.47 a parameter of `eth0` is the main connection's; from then on it must be given with that.
fn interface_sysctls(version: ApiVersion, request: &mut CreateRequest) -> Result<Option<String>, ApiError> {
    let mode = &request.host_config.network_mode;
    if mode == "host" || mode.starts_with("container:") {
        return Ok(None);
    }
    let (mut moved, mut settings) = (Vec::new(), Vec::new());
    for (key, value) in request.host_config.sysctls.iter().flatten() {
        let parts: Vec<&str> = key.splitn(5, '.').collect();
        let ["net", family, kind, interface, name] = parts[..] else { continue };
        if !interface.starts_with("eth") {
            continue;
        }
        if version > ApiVersion(47) {
            return Err(ApiError::bad_request(format!(
                "interface specific sysctl setting {key:?} must be supplied using driver option '{SYSCTLS}'"
            )));
        }
        if interface != "eth0" {
            return Err(ApiError::bad_request(format!(
                "unable to determine network endpoint for sysctl {key}, use driver option '{SYSCTLS}' to set \
                 per-interface sysctls"
            )));
        }
        moved.push(key.clone());
        settings.push(format!("net.{family}.{kind}.IFNAME.{name}={value}"));
    }
    if moved.is_empty() {
        return Ok(None);
    }
    let mut option = settings.join(",");
    let warning = format!("Migrated sysctl {:?} to DriverOpts{{{SYSCTLS:?}:{option:?}}}.", moved.join(","));
    let context = format!("unable to find a network for sysctl {}: ", moved[0]);
    let options = main_endpoint(version, request, &context)?.driver_opts.get_or_insert_default();
    if let Some(own) = options.get(SYSCTLS) {
        option = format!("{option},{own}");
    }
    options.insert(SYSCTLS.to_owned(), option);
    request.host_config.sysctls.iter_mut().for_each(|sysctls| sysctls.retain(|key, _| !moved.contains(key)));
    Ok(Some(warning))
}

/// The connection to the network that the mode names. Before 1.44 the only one, whatever it is called.
fn main_endpoint<'a>(
    version: ApiVersion,
    request: &'a mut CreateRequest,
    context: &str,
) -> Result<&'a mut EndpointSettings, ApiError> {
    let endpoints = &mut request.networking.endpoints_config;
    let mut name = request.host_config.network_mode.clone();
    if version < ApiVersion(44) {
        name = endpoints.keys().next().cloned().unwrap_or(name);
    }
    if !endpoints.is_empty() && !endpoints.contains_key(&name) {
        return Err(ApiError::bad_request(format!(
            "{context}HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"
        )));
    }
    Ok(endpoints.entry(name).or_default().get_or_insert_default())
}

/// Before 1.41 the platform of a container to create is not looked at.
pub fn create_platform(version: ApiVersion, platform: String) -> String {
    if version < ApiVersion(41) { String::new() } else { platform }
}

/// Before 1.25 the name of the images to list is a parameter of its own, not a filter.
pub fn images_name_filter(version: ApiVersion, filters: Filters, name: String) -> Filters {
    match name.is_empty() || version >= ApiVersion(25) {
        true => filters,
        false => filters.and("reference", name),
    }
}

/// Before 1.44 images repeat their size as `VirtualSize`; before 1.43 an empty list of names is null, and one without
/// any name is called `<none>:<none>`; before 1.48 there is no descriptor; before 1.51 containers are not counted.
pub fn image_summary(version: ApiVersion, mut image: ImageSummary) -> ImageSummary {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(51) {
        image.containers = -1;
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
/// was made of; before 1.44 the missing time of creation is Go's zero; before 1.53 nobody tells where it came from. From
/// 1.52 on what is empty is left out.
pub fn image_inspect(version: ApiVersion, mut image: ImageInspect) -> ImageInspect {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(48) {
        image.descriptor = None;
    }
    if version < ApiVersion(44) {
        image.created.get_or_insert_with(|| crate::model::time::NEVER.to_owned());
    }
    if version < ApiVersion(53) {
        image.identity = None;
    }
    if version >= ApiVersion(52) {
        for text in [&mut image.parent, &mut image.comment, &mut image.docker_version, &mut image.author] {
            text.take_if(|text| text.is_empty());
        }
        if let Some(config) = &mut image.config {
            config.portable.leave_out_empty();
        }
    }
    let container_only = (version < ApiVersion(50)).then(ContainerOnly::default);
    if version < ApiVersion(45) {
        let portable = ContainerConfig::default().into();
        image.container_config = Some(ImageConfig { container_only: container_only.clone(), portable });
    }
    if let Some(config) = &mut image.config {
        config.container_only = container_only;
    }
    image
}

/// In `system/df` an image's empty list of names is null in all versions; before 1.44 it repeats its size, too; before
/// 1.52 there is no descriptor.
pub fn image_usage(version: ApiVersion, mut image: ImageSummary) -> ImageSummary {
    image.virtual_size = (version < ApiVersion(44)).then_some(image.size);
    if version < ApiVersion(52) {
        image.descriptor = None;
    }
    for names in [&mut image.repo_tags, &mut image.repo_digests] {
        names.take_if(|names| names.is_empty());
    }
    image
}

/// What a list of images can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct ImagesList {
    /// How much of each others have, too.
    pub shared_size: bool,
    /// All manifests.
    pub manifests: bool,
    /// Where each came from.
    pub identity: bool,
}

/// From 1.42, 1.47 and 1.54 on a list of images can be asked for more.
pub fn images_list_features(version: ApiVersion) -> ImagesList {
    let since = |number| version >= ApiVersion(number);
    ImagesList { shared_size: since(42), manifests: since(47), identity: since(54) }
}

/// From 1.48 on an inspection can tell all manifests.
pub fn inspects_manifests(version: ApiVersion) -> bool {
    version >= ApiVersion(48)
}

/// From 1.50 on single machines' images of several can be removed.
pub fn removes_platforms(version: ApiVersion) -> bool {
    version >= ApiVersion(50)
}

/// From 1.49 on an image can be inspected for a platform.
pub fn inspects_image_for_platform(version: ApiVersion) -> bool {
    version >= ApiVersion(49)
}

/// From 1.48 on an image's history can be asked for a platform.
pub fn history_for_platform(version: ApiVersion) -> bool {
    version >= ApiVersion(48)
}

/// Before 1.48 archives are saved and loaded for whatever platforms are there; before 1.52 for one of them.
///
/// # Errors
/// 400 for several where a version knows one.
pub fn archive_platforms(version: ApiVersion, platforms: Vec<String>) -> Result<Vec<String>, ApiError> {
    if version < ApiVersion(48) {
        return Ok(Vec::new());
    }
    if version < ApiVersion(52) && platforms.len() > 1 {
        return Err(ApiError::bad_request(
            "multiple platform parameters are not supported in this API version; use API version 1.52 or later",
        ));
    }
    Ok(platforms)
}

/// Before 1.46 a list does not tell annotations.
pub fn container_summary(version: ApiVersion, mut summary: Summary) -> Summary {
    if version < ApiVersion(46) {
        summary.host_config.annotations = None;
    }
    summary
}
