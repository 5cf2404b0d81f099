//! Capabilities and security options. What they mean is `spec`'s: it reads them without anything of the host.

use super::refusal::{invalid, refuse};
use crate::engine::Result;
use crate::model::host_config::HostConfig;
use crate::spec::capabilities::CapSet;
use crate::spec::security::Security;

pub(super) fn capabilities(host: &HostConfig) -> Result<()> {
    for (field, names) in [("CapAdd", &host.cap_add), ("CapDrop", &host.cap_drop)] {
        if let Some(name) = names.iter().flatten().find(|name| !CapSet::is_known(name)) {
            let upper = name.to_ascii_uppercase();
            let prefix = if upper.starts_with("CAP_") { "" } else { "CAP_" };
            return refuse(format!("invalid {field}: unknown capability: \"{prefix}{upper}\""));
        }
    }
    Ok(())
}

pub(super) fn options(host: &HostConfig) -> Result<()> {
    Security::parse(host.security_opt.as_deref().unwrap_or_default()).map(drop).map_err(|err| invalid(err.0))
}
