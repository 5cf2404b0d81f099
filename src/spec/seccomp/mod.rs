//! Which system calls a container may make: Docker's profile format, and what one becomes for one container on one
//! machine.

mod default;
mod profile;

use std::borrow::Cow;

use oci_spec::runtime::{Arch, LinuxSeccomp, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSyscall};

use profile::{Comparison, Filter, Profile, Rule};

use super::Error;
use super::capabilities::CapSet;

/// The profile for a container that asks for none.
pub fn default_profile(caps: CapSet, kernel: (u32, u32)) -> LinuxSeccomp {
    select(default::profile(), caps, kernel).expect("our own profile has a default action")
}

/// The profile that a container asks for by its text.
///
/// # Errors
/// It is not one.
pub fn custom_profile(text: &str, caps: CapSet, kernel: (u32, u32)) -> Result<LinuxSeccomp, Error> {
    let profile: Profile =
        serde_json::from_str(text).map_err(|err| Error(format!("Decoding seccomp profile failed: {err}")))?;
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(Error("both 'architectures' and 'archMap' are specified in the seccomp profile".to_owned()));
    }
    if !profile.listener_path.is_empty() {
        return Err(Error("seccomp listeners are not supported".to_owned()));
    }
    select(profile, caps, kernel)
}

/// Leaves of a profile what applies.
fn select(profile: Profile, caps: CapSet, kernel: (u32, u32)) -> Result<LinuxSeccomp, Error> {
    let mut seccomp = LinuxSeccomp::default();
    let action = profile.default_action.ok_or_else(|| Error("seccomp profile has no defaultAction".to_owned()))?;
    seccomp.set_default_action(action);
    seccomp.set_default_errno_ret(profile.default_errno_ret);
    let (own, _) = machine();
    let mut architectures = profile.architectures;
    for entry in profile.arch_map {
        if entry.architecture == own {
            architectures.push(entry.architecture);
            architectures.extend(entry.sub_architectures);
            break;
        }
    }
    seccomp.set_architectures((!architectures.is_empty()).then_some(architectures));
    seccomp.set_flags((!profile.flags.is_empty()).then_some(profile.flags));
    let mut rules = Vec::with_capacity(profile.syscalls.len());
    for rule in profile.syscalls {
        if !rule.applies(caps, kernel) {
            continue;
        }
        if !rule.name.is_empty() && !rule.names.is_empty() {
            return Err(Error("'name' and 'names' were both specified in the seccomp profile".to_owned()));
        }
        let mut call = LinuxSyscall::default();
        let names = rule.names.into_iter().chain(Some(rule.name).filter(|name| !name.is_empty()));
        call.set_names(names.map(Cow::into_owned).collect());
        call.set_action(rule.action);
        call.set_errno_ret(rule.errno_ret);
        let args: Vec<LinuxSeccompArg> = rule.args.into_iter().map(Comparison::to_oci).collect();
        call.set_args((!args.is_empty()).then_some(args));
        rules.push(call);
    }
    seccomp.set_syscalls(Some(rules));
    Ok(seccomp)
}

impl Comparison {
    fn to_oci(self) -> LinuxSeccompArg {
        let builder = LinuxSeccompArgBuilder::default().index(self.index).value(self.value).op(self.op);
        builder.value_two(self.value_two).build().expect("every field is given")
    }
}

impl Rule {
    fn applies(&self, caps: CapSet, kernel: (u32, u32)) -> bool {
        let (_, own) = machine();
        let Filter { caps: with, arches, min_kernel } = &self.includes;
        let included = (arches.is_empty() || arches.iter().any(|arch| arch == own))
            && with.iter().all(|cap| caps.has(cap))
            && min_kernel.is_none_or(|version| kernel >= version);
        let Filter { caps: without, arches, min_kernel } = &self.excludes;
        let excluded = arches.iter().any(|arch| arch == own)
            || without.iter().any(|cap| caps.has(cap))
            || min_kernel.is_some_and(|version| kernel >= version);
        included && !excluded
    }
}

/// This machine, as OCI and as Docker call it.
fn machine() -> (Arch, &'static str) {
    match std::env::consts::ARCH {
        "x86_64" => (Arch::ScmpArchX86_64, "amd64"),
        "aarch64" => (Arch::ScmpArchAarch64, "arm64"),
        "riscv64" => (Arch::ScmpArchRiscv64, "riscv64"),
        "s390x" => (Arch::ScmpArchS390x, "s390x"),
        "powerpc64" => (Arch::ScmpArchPpc64le, "ppc64le"),
        _ => (Arch::ScmpArchNative, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::LinuxSeccompAction;

    const KERNEL: (u32, u32) = (6, 1);

    fn rules<'a>(seccomp: &'a LinuxSeccomp, name: &str) -> Vec<&'a LinuxSyscall> {
        let named = |rule: &&LinuxSyscall| rule.names().iter().any(|other| other == name);
        seccomp.syscalls().iter().flatten().filter(named).collect()
    }

    #[test]
    fn the_default_follows_capabilities() {
        let plain = default_profile(CapSet::DOCKER, KERNEL);
        assert_eq!(plain.default_action(), LinuxSeccompAction::ScmpActErrno);
        assert!(rules(&plain, "mount").is_empty());
        assert!(rules(&plain, "io_uring_setup").is_empty());
        assert_eq!(rules(&plain, "clone3")[0].errno_ret(), Some(38));
        assert_eq!(rules(&plain, "clone")[0].args().as_ref().map(Vec::len), Some(1));
        assert_eq!(rules(&plain, "chroot").len(), 1);
        assert_eq!(rules(&plain, "personality").len(), 5);
        assert_eq!(rules(&plain, "ptrace").len(), 1);
        let admin = default_profile(CapSet::ALL, KERNEL);
        assert_eq!(rules(&admin, "mount").len(), 1);
        assert_eq!(rules(&admin, "clone3")[0].action(), LinuxSeccompAction::ScmpActAllow);
        assert!(rules(&default_profile(CapSet::DOCKER, (4, 7)), "ptrace").is_empty());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn other_abis_of_the_machine_are_filtered_too() {
        let archs = default_profile(CapSet::DOCKER, KERNEL).architectures().clone().expect("listed");
        assert_eq!(archs, [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]);
    }

    #[test]
    fn a_profile_of_ones_own() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":null,"syscalls":[
            {"name":"chmod","action":"SCMP_ACT_ERRNO","args":null},
            {"names":["chown"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["CAP_SYS_ADMIN"]},"excludes":{}},
            {"names":["mknod"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"includes":{"minKernel":"9.9"}}]}"#;
        let seccomp = custom_profile(text, CapSet::DOCKER, KERNEL).expect("valid");
        assert_eq!(seccomp.syscalls().as_ref().map(Vec::len), Some(1));
        assert_eq!(rules(&seccomp, "chmod").len(), 1);
        assert!(custom_profile("{}", CapSet::DOCKER, KERNEL).is_err());
        assert!(custom_profile("nonsense", CapSet::DOCKER, KERNEL).is_err());
    }
}
