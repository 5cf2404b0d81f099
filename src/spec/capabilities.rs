//! Capabilities: names, Docker's default set, and what `CapAdd` and `CapDrop` make of it.

use std::str::FromStr;

use oci_spec::runtime::{Capabilities, Capability};

use super::Error;

/// The kernel's names in the kernel's order: the position is the number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of capabilities: one bit each, as the kernel shows them in /proc.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    /// Every capability that there is.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);
    /// What Docker gives a container that asks for nothing.
    pub const DOCKER: Self = Self(0xa804_25fb);

    /// Whether it has the one with this name, with `CAP_` before it or not.
    pub fn has(self, name: &str) -> bool {
        number(name).is_some_and(|number| self.0 & (1 << number) != 0)
    }

    /// All of it but the one with this name.
    pub fn without(self, name: &str) -> Self {
        Self(self.0 & !number(name).map_or(0, |number| 1 << number))
    }

    /// Whether a name is a capability's, or `ALL`.
    pub fn is_known(name: &str) -> bool {
        name.eq_ignore_ascii_case("ALL") || number(name).is_some()
    }

    /// What a container gets.
    ///
    /// # Errors
    /// A name that is no capability's.
    pub fn asked(add: &[String], drop: &[String], privileged: bool) -> Result<Self, Error> {
        let (add, all) = parse(add)?;
        let (drop, none) = parse(drop)?;
        Ok(if privileged {
            Self::ALL
        } else if all {
            // Everything, but what is taken away by name.
            Self(Self::ALL.0 & !drop)
        } else if none {
            Self(add)
        } else {
            Self((Self::DOCKER.0 & !drop) | add)
        })
    }

    /// As the OCI specification has it.
    pub fn to_oci(self) -> Capabilities {
        let of = |(number, name): (usize, &&str)| {
            (self.0 & (1 << number) != 0).then(|| Capability::from_str(name).ok()).flatten()
        };
        NAMES.iter().enumerate().filter_map(of).collect()
    }

    /// From the OCI specification; none: the empty set.
    pub fn from_oci(set: Option<&Capabilities>) -> Self {
        let bit = |capability: &Capability| number(&capability.to_string()).map_or(0, |number| 1 << number);
        Self(set.into_iter().flatten().map(bit).fold(0, std::ops::BitOr::bitor))
    }
}

fn number(name: &str) -> Option<usize> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|known| *known == bare)
}

/// The named ones, and whether `ALL` is among the names.
fn parse(names: &[String]) -> Result<(u64, bool), Error> {
    let mut bits = 0;
    let mut all = false;
    for name in names {
        if name.eq_ignore_ascii_case("ALL") {
            all = true;
        } else {
            let number = number(name).ok_or_else(|| {
                let upper = name.to_ascii_uppercase();
                let prefix = if upper.starts_with("CAP_") { "" } else { "CAP_" };
                Error(format!("invalid capability: unknown capability: \"{prefix}{upper}\""))
            })?;
            bits |= 1 << number;
        }
    }
    Ok((bits, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(add: &[&str], drop: &[&str]) -> CapSet {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        CapSet::asked(&own(add), &own(drop), false).expect("known names")
    }

    #[test]
    fn docker_has_fourteen() {
        assert_eq!(CapSet::DOCKER.0.count_ones(), 14);
        for name in ["CHOWN", "MKNOD", "NET_RAW", "AUDIT_WRITE", "CAP_SETFCAP", "sys_chroot"] {
            assert!(CapSet::DOCKER.has(name), "{name}");
        }
        assert!(!CapSet::DOCKER.has("SYS_ADMIN"));
    }

    #[test]
    fn adds_and_drops() {
        assert_eq!(asked(&[], &[]), CapSet::DOCKER);
        assert_eq!(asked(&[], &["ALL"]), CapSet(0));
        assert_eq!(asked(&["CAP_CHOWN"], &["all"]), CapSet(1));
        assert!(asked(&["sys_admin"], &[]).has("SYS_ADMIN"));
        assert!(!asked(&[], &["CAP_MKNOD"]).has("MKNOD"));
        assert_eq!(asked(&["ALL"], &["CHOWN"]), CapSet(CapSet::ALL.0 & !1));
        assert!(CapSet::asked(&["BEER".to_owned()], &[], false).is_err());
    }

    #[test]
    fn every_one_survives_oci() {
        assert_eq!(CapSet::from_oci(Some(&CapSet::ALL.to_oci())), CapSet::ALL);
        assert_eq!(CapSet::from_oci(None), CapSet(0));
    }
}
