//! What a connection is asked for beside its addresses: an interface's name, its parameters, further addresses.

use std::fs;
use std::net::IpAddr;

use super::error::{Error, Result};
use crate::model::networking::EndpointSettings;

/// The option of a connection that names its interface.
pub const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// The option that sets parameters of it, separated by commas, with `IFNAME` in its place.
pub const SYSCTLS: &str = "com.docker.network.endpoint.sysctls";

/// Such wishes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The interface's name.
    pub name: Option<String>,
    /// Link-local addresses.
    pub local: Vec<IpAddr>,
    /// What stands before and behind the interface's name in the path of a parameter, and its value.
    sysctls: Vec<(String, String, String)>,
}

impl Asked {
    /// Reads them.
    ///
    /// # Errors
    /// A name that is none of an interface; a parameter that is none.
    pub fn of(settings: &EndpointSettings) -> Result<Self> {
        let option = |name: &str| settings.driver_opts.as_ref().and_then(|options| options.get(name));
        let name = option(IFNAME).filter(|name| !name.is_empty());
        if let Some(name) = name.filter(|name| !is_name(name)) {
            return Err(Error::Invalid(format!("invalid interface name: {name:?}")));
        }
        let sysctls = option(SYSCTLS).into_iter().flat_map(|text| text.split(','));
        let local = settings.ipam_config.iter().flat_map(|ipam| ipam.link_local_ips.iter().flatten());
        Ok(Self {
            name: name.cloned(),
            local: local.filter_map(|text| text.parse().ok()).collect(),
            sysctls: sysctls.map(read).collect::<Result<_>>()?,
        })
    }

    /// Whether its interface is to have no IPv6.
    pub fn is_without_ipv6(&self) -> bool {
        let disables = |(_, parameter, value): &(String, String, String)| parameter == "disable_ipv6" && value == "1";
        self.sysctls.iter().any(disables)
    }

    /// Sets the parameters of an interface of the network namespace that this process is in.
    ///
    /// # Errors
    /// As dockerd has them: no such parameter, or not this value.
    pub fn set_sysctls(&self, interface: &str) -> Result<()> {
        for (before, parameter, value) in &self.sysctls {
            let path = format!("/proc/sys/{before}/{interface}/{parameter}");
            match fs::read_to_string(&path) {
                Err(_) => return Err(Error::Invalid(format!("{path} is not a sysctl file"))),
                Ok(now) if now.trim() == value => {}
                Ok(_) => fs::write(&path, value).map_err(Error::at(format!("unable to write to '{path}'")))?,
            }
        }
        Ok(())
    }
}

/// Reads `net.X.Y.IFNAME.Z=V`.
fn read(sysctl: &str) -> Result<(String, String, String)> {
    let (key, value) = sysctl
        .split_once('=')
        .ok_or_else(|| Error::Invalid(format!("expected sysctl '{sysctl}' to have format name=value")))?;
    let plain = |word: &&str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    match key.split('.').collect::<Vec<_>>()[..] {
        ["net", family, kind, "IFNAME" | "ifname", parameter] if [family, kind, parameter].iter().all(plain) => {
            Ok((format!("net/{family}/{kind}"), parameter.to_owned(), value.to_owned()))
        }
        _ => Err(Error::Invalid(format!("expected sysctl '{sysctl}' to have format net.X.Y.IFNAME.Z"))),
    }
}

/// What the kernel takes for an interface's name, and no name of all.
fn is_name(name: &str) -> bool {
    let fits = name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'));
    fits && name.len() < 16 && !matches!(name, "." | ".." | "lo" | "all" | "default")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let of = |name: &str, value: &str| {
            let options = [(name.to_owned(), value.to_owned())].into();
            Asked::of(&EndpointSettings { driver_opts: Some(options), ..EndpointSettings::default() })
        };
        let asked =
            of(SYSCTLS, "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.disable_ipv6=1").expect("fine");
        assert_eq!(asked.sysctls[0], ("net/ipv4/conf".into(), "log_martians".into(), "1".into()));
        assert!(asked.is_without_ipv6());
        assert_eq!(of(IFNAME, "web0").expect("fine").name.as_deref(), Some("web0"));
        for bad in ["net.ipv4.conf.IFNAME.x", "net.ipv4.conf.eth0.x=1", "net.ipv4.conf.IFNAME.../../x=1", "a=b"] {
            assert!(of(SYSCTLS, bad).is_err(), "{bad}");
        }
        for bad in ["lo", "a/b", "a b", "eth%d", "0123456789abcdef", ".."] {
            assert!(of(IFNAME, bad).is_err(), "{bad}");
        }
    }
}
