//! `SecurityOpt`, and which of /proc and /sys a container does not see.

use super::Error;
use crate::model::log::go_bool;

/// Hidden, as of Docker 29.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Which system calls are filtered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Filter {
    /// By Docker's profile.
    #[default]
    Default,
    /// Not at all.
    Unconfined,
    /// By this profile, its text.
    Profile(String),
}

/// What `SecurityOpt` asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Security {
    /// Which system calls are filtered.
    pub filter: Filter,
    /// No program gives more privileges than its caller has.
    pub no_new_privileges: bool,
    /// Nothing of /proc and /sys is hidden or read-only.
    pub all_paths: bool,
}

impl Security {
    /// Reads the options; those for security modules that are not there are accepted where they change nothing.
    ///
    /// # Errors
    /// An option that is none.
    pub fn parse(options: &[String]) -> Result<Self, Error> {
        let mut security = Self::default();
        for option in options {
            // Without a value; `systempaths` is dockerd's client's, which sends what it means in place of it.
            match option.as_str() {
                "no-new-privileges" => {
                    security.no_new_privileges = true;
                    continue;
                }
                "disable" => continue,
                _ => {}
            }
            let (name, value) = option
                .split_once('=')
                .or_else(|| option.split_once(':'))
                .ok_or_else(|| Error(format!("invalid --security-opt 1: {option:?}")))?;
            let unknown = || Error(format!("invalid --security-opt 2: {option:?}"));
            match (name, value) {
                ("no-new-privileges", text) => security.no_new_privileges = go_bool(text).ok_or_else(unknown)?,
                ("seccomp", "unconfined") => security.filter = Filter::Unconfined,
                ("seccomp", "builtin" | "default") => security.filter = Filter::Default,
                ("seccomp", text) if !text.is_empty() => security.filter = Filter::Profile(text.to_owned()),
                ("systempaths", "unconfined") => security.all_paths = true,
                ("label", _) | ("apparmor", "unconfined" | "docker-default") | ("writable-cgroups", "false") => {}
                ("apparmor", _) => return Err(Error(format!("AppArmor profiles are not supported: {option:?}"))),
                _ => return Err(unknown()),
            }
        }
        Ok(security)
    }
}

/// Docker's list, or the asked one.
pub fn masked(asked: Option<&Vec<String>>) -> Vec<String> {
    asked.cloned().unwrap_or_else(|| MASKED.map(str::to_owned).to_vec())
}

/// Docker's list, or the asked one.
pub fn read_only(asked: Option<&Vec<String>>) -> Vec<String> {
    asked.cloned().unwrap_or_else(|| READ_ONLY.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let parse = |options: &[&str]| Security::parse(&options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&[]).expect("none"), Security::default());
        assert!(parse(&["no-new-privileges"]).expect("bare").no_new_privileges);
        assert!(!parse(&["no-new-privileges:false"]).expect("with colon").no_new_privileges);
        assert_eq!(parse(&["seccomp=unconfined"]).expect("filter").filter, Filter::Unconfined);
        assert_eq!(parse(&["seccomp={\"a\":1}"]).expect("filter").filter, Filter::Profile("{\"a\":1}".into()));
        assert!(parse(&["systempaths=unconfined", "label=disable"]).expect("paths").all_paths);
        for bad in ["beer", "seccomp", "no-new-privileges=maybe", "apparmor=mine"] {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
