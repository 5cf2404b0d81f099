//! System call filters: compiled once, then loaded from a file.
//!
//! To compile Docker's profile for the three ABIs of an x86-64 machine takes libseccomp five times as long as all the
//! rest of a start. What comes out depends on the profile alone, so it is kept in the run directory, by the profile's
//! digest: the next reboot, and with it the next kernel, starts afresh.
//!
//! In front of libseccomp's program stands a short one for system calls that are newer than the library: those that the
//! profile names get what it says, and others "no such system call" in place of "not permitted". C libraries try new
//! calls first and go on with an older one only if they hear the former.

use std::fs;
use std::path::Path;

use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};
use sha2::{Digest, Sha256};

use super::StartError;
use crate::model::ids;
use crate::state::atomic::{self, Durability};
use crate::sys::seccomp::{self, INSTRUCTION};

/// To be changed when the same profile is to become another program.
const EDITION: &[u8] = b"1";
/// The first number that libseccomp 2.5.4, the oldest that we link, does not know. From 424 on every architecture has the
/// same numbers.
const NEW: u32 = 451;
/// Names from there on.
const NEW_NAMES: [&str; 20] = [
    "cachestat",
    "fchmodat2",
    "map_shadow_stack",
    "futex_wake",
    "futex_wait",
    "futex_requeue",
    "statmount",
    "listmount",
    "lsm_get_self_attr",
    "lsm_set_self_attr",
    "lsm_list_modules",
    "mseal",
    "setxattrat",
    "getxattrat",
    "listxattrat",
    "removexattrat",
    "open_tree_attr",
    "file_getattr",
    "file_setattr",
    "listns",
];
/// Above all numbers: what the x32 ABI adds to them.
const X32: u32 = 0x4000_0000;
const ENOSYS: u32 = 38;

/// A filter that can be loaded.
#[derive(Debug)]
pub(super) struct Filter {
    program: Vec<u8>,
    flags: u32,
}

impl Filter {
    /// Takes the filter from `cache`, or compiles it and leaves it there.
    ///
    /// # Errors
    /// What the profile asks for is not supported.
    pub(super) fn prepare(profile: &LinuxSeccomp, cache: &Path) -> Result<Self, StartError> {
        let text = serde_json::to_vec(profile).map_err(|err| StartError::other(err.to_string()))?;
        let digest = Sha256::new().chain_update(EDITION).chain_update(&text).finalize();
        let file = cache.join(ids::hex(&digest));
        let flags = flags(profile);
        if let Ok(program) = fs::read(&file)
            && !program.is_empty()
            && program.len().is_multiple_of(INSTRUCTION)
        {
            return Ok(Self { program, flags });
        }
        let program = compile(profile)?;
        // A cache that cannot be written costs time only.
        let _ = fs::create_dir_all(cache);
        let _ = atomic::write(&file, &program, Durability::Process);
        Ok(Self { program, flags })
    }

    /// Filters this process's system calls from now on.
    ///
    /// # Errors
    /// Not permitted.
    pub(super) fn load(&self) -> Result<(), StartError> {
        seccomp::load(&self.program, self.flags).map_err(StartError::at("cannot filter system calls"))
    }
}

fn flags(profile: &LinuxSeccomp) -> u32 {
    let flag = |flag: &LinuxSeccompFilterFlag| match flag {
        // The process has one thread.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => 1 << 1,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => 1 << 2,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 1 << 5,
    };
    profile.flags().iter().flatten().map(flag).fold(0, std::ops::BitOr::bitor)
}

fn compile(profile: &LinuxSeccomp) -> Result<Vec<u8>, StartError> {
    let mut program = for_new_calls(profile);
    let fail = |err: libseccomp::error::SeccompError| StartError::other(format!("invalid seccomp profile: {err}"));
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut context = ScmpFilterContext::new(default).map_err(fail)?;
    for arch in profile.architectures().iter().flatten() {
        context.add_arch(architecture(*arch)?).map_err(fail)?;
    }
    for rule in profile.syscalls().iter().flatten() {
        let action = action(rule.action(), rule.errno_ret())?;
        if action == default {
            continue;
        }
        for name in rule.names() {
            // What the library does not know, this architecture does not have, or is new.
            let Ok(call) = ScmpSyscall::from_name(name) else { continue };
            for comparisons in alternatives(rule) {
                context.add_rule_conditional(action, call, &comparisons).map_err(fail)?;
            }
        }
    }
    program.extend(export(&context)?);
    Ok(program)
}

/// One argument twice in a rule means either, as with runc; else all conditions have to hold.
fn alternatives(rule: &LinuxSyscall) -> Vec<Vec<ScmpArgCompare>> {
    let args = rule.args().as_deref().unwrap_or_default();
    let compare = |arg: &LinuxSeccompArg| {
        let index = u32::try_from(arg.index()).unwrap_or(u32::MAX);
        // OCI has the mask first and what is to be left second; the library's type has the mask in the operator.
        match arg.op() {
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                ScmpArgCompare::new(index, comparison(arg), arg.value_two().unwrap_or(0))
            }
            _ => ScmpArgCompare::new(index, comparison(arg), arg.value()),
        }
    };
    let twice = (1..args.len()).any(|i| args[..i].iter().any(|other| other.index() == args[i].index()));
    if twice { args.iter().map(|arg| vec![compare(arg)]).collect() } else { vec![args.iter().map(compare).collect()] }
}

fn comparison(arg: &LinuxSeccompArg) -> ScmpCompareOp {
    match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => ScmpCompareOp::NotEqual,
        LinuxSeccompOperator::ScmpCmpLt => ScmpCompareOp::Less,
        LinuxSeccompOperator::ScmpCmpLe => ScmpCompareOp::LessOrEqual,
        LinuxSeccompOperator::ScmpCmpEq => ScmpCompareOp::Equal,
        LinuxSeccompOperator::ScmpCmpGe => ScmpCompareOp::GreaterEqual,
        LinuxSeccompOperator::ScmpCmpGt => ScmpCompareOp::Greater,
        LinuxSeccompOperator::ScmpCmpMaskedEq => ScmpCompareOp::MaskedEqual(arg.value()),
    }
}

fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, StartError> {
    use std::io::{Read, Seek};
    let fail = |err: std::io::Error| StartError::other(format!("seccomp: {err}"));
    let memory = rustix::fs::memfd_create("seccomp", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = fs::File::from(memory.map_err(|err| fail(err.into()))?);
    context.export_bpf(&file).map_err(|err| StartError::other(format!("seccomp: {err}")))?;
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(fail)?;
    Ok(bytes)
}

/// The program for calls that the library does not know; it goes on with the next instruction for all others.
fn for_new_calls(profile: &LinuxSeccomp) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const IF_EQUAL: u16 = 0x15;
    const IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    let native: u32 = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e,
        "aarch64" => 0xc000_00b7,
        "riscv64" => 0xc000_00f3,
        _ => return Vec::new(),
    };
    let mut cases = Vec::new();
    for rule in profile.syscalls().iter().flatten().filter(|rule| rule.args().is_none()) {
        for name in rule.names() {
            let Some(at) = NEW_NAMES.iter().position(|new| new == name) else { continue };
            let number = NEW + u32::try_from(at).unwrap_or_default();
            if !cases.iter().any(|(other, _)| *other == number) {
                cases.push((number, rule.action().as_u32(rule.errno_ret())));
            }
        }
    }
    let mut decided: Vec<(u16, u8, u8, u32)> = Vec::new();
    for (number, verdict) in cases {
        decided.extend([(IF_EQUAL, 0, 1, number), (RETURN, 0, 0, verdict)]);
    }
    if profile.default_action() == LinuxSeccompAction::ScmpActErrno {
        decided.push((RETURN, 0, 0, LinuxSeccompAction::ScmpActErrno.as_u32(Some(ENOSYS))));
    }
    // Jumps count the instructions that they leave out.
    let Ok(rest) = u8::try_from(decided.len() + 3) else { return Vec::new() };
    let mut program = vec![
        (LOAD, 0, 0, 4),
        (IF_EQUAL, 0, rest, native),
        (LOAD, 0, 0, 0),
        (IF_AT_LEAST, 0, rest - 2, NEW),
        (IF_AT_LEAST, rest - 3, 0, X32),
    ];
    program.extend(decided);
    let bytes = |(code, yes, no, operand): (u16, u8, u8, u32)| {
        let mut bytes = [0; INSTRUCTION];
        bytes[..2].copy_from_slice(&code.to_ne_bytes());
        (bytes[2], bytes[3]) = (yes, no);
        bytes[4..].copy_from_slice(&operand.to_ne_bytes());
        bytes
    };
    program.into_iter().flat_map(bytes).collect()
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<ScmpAction, StartError> {
    let errno = errno.unwrap_or(1);
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => ScmpAction::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => ScmpAction::KillProcess,
        LinuxSeccompAction::ScmpActTrap => ScmpAction::Trap,
        LinuxSeccompAction::ScmpActErrno => ScmpAction::Errno(i32::try_from(errno).unwrap_or(1)),
        LinuxSeccompAction::ScmpActTrace => ScmpAction::Trace(u16::try_from(errno).unwrap_or(1)),
        LinuxSeccompAction::ScmpActLog => ScmpAction::Log,
        LinuxSeccompAction::ScmpActAllow => ScmpAction::Allow,
        LinuxSeccompAction::ScmpActNotify => {
            return Err(StartError::other("invalid seccomp profile: SCMP_ACT_NOTIFY is not supported"));
        }
    })
}

fn architecture(arch: Arch) -> Result<ScmpArch, StartError> {
    Ok(match arch {
        Arch::ScmpArchNative => ScmpArch::Native,
        Arch::ScmpArchX86 => ScmpArch::X86,
        Arch::ScmpArchX86_64 => ScmpArch::X8664,
        Arch::ScmpArchX32 => ScmpArch::X32,
        Arch::ScmpArchArm => ScmpArch::Arm,
        Arch::ScmpArchAarch64 => ScmpArch::Aarch64,
        Arch::ScmpArchMips => ScmpArch::Mips,
        Arch::ScmpArchMips64 => ScmpArch::Mips64,
        Arch::ScmpArchMips64n32 => ScmpArch::Mips64N32,
        Arch::ScmpArchMipsel => ScmpArch::Mipsel,
        Arch::ScmpArchMipsel64 => ScmpArch::Mipsel64,
        Arch::ScmpArchMipsel64n32 => ScmpArch::Mipsel64N32,
        Arch::ScmpArchPpc => ScmpArch::Ppc,
        Arch::ScmpArchPpc64 => ScmpArch::Ppc64,
        Arch::ScmpArchPpc64le => ScmpArch::Ppc64Le,
        Arch::ScmpArchS390 => ScmpArch::S390,
        Arch::ScmpArchS390x => ScmpArch::S390X,
        Arch::ScmpArchRiscv64 => ScmpArch::Riscv64,
        other => return Err(StartError::other(format!("invalid seccomp profile: architecture {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::capabilities::CapSet;
    use crate::spec::seccomp::default_profile;

    /// What the program for new calls says of one; none: the next program is asked.
    fn verdict(program: &[u8], arch: u32, number: u32) -> Option<u32> {
        let field =
            |at: usize, len| program.get(at * INSTRUCTION..).and_then(|rest| rest.get(..len)).map(<[u8]>::to_vec);
        let (mut at, mut loaded) = (0, 0);
        while let Some(bytes) = field(at, INSTRUCTION) {
            let operand = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let (yes, no) = (usize::from(bytes[2]), usize::from(bytes[3]));
            at += 1;
            match u16::from_ne_bytes([bytes[0], bytes[1]]) {
                0x20 => loaded = if operand == 4 { arch } else { number },
                0x15 => at += if loaded == operand { yes } else { no },
                0x35 => at += if loaded >= operand { yes } else { no },
                _ => return Some(operand),
            }
        }
        None
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn new_calls_are_allowed_or_missing() {
        const NATIVE: u32 = 0xc000_003e;
        const ALLOW: u32 = 0x7fff_0000;
        const MISSING: u32 = 0x0005_0000 + ENOSYS;
        let program = for_new_calls(&default_profile(CapSet::DOCKER, (6, 1)));
        let said = [450, 451, 452, 459, 462, 600, X32 + 452].map(|number| verdict(&program, NATIVE, number));
        assert_eq!(said, [None, Some(ALLOW), Some(ALLOW), Some(MISSING), Some(ALLOW), Some(MISSING), None]);
        assert_eq!(verdict(&program, 0x4000_0003, 452), None);
    }

    #[test]
    fn compiles_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let profile = default_profile(CapSet::DOCKER, (6, 1));
        let first = Filter::prepare(&profile, dir.path()).expect("compiled");
        assert_eq!(fs::read_dir(dir.path()).expect("cache").count(), 1);
        let second = Filter::prepare(&profile, dir.path()).expect("read");
        assert_eq!(first.program, second.program);
        Filter::prepare(&default_profile(CapSet::ALL, (6, 1)), dir.path()).expect("another");
        assert_eq!(fs::read_dir(dir.path()).expect("cache").count(), 2);
    }
}
