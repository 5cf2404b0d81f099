//! The process that a container or an exec session begins with.

use std::path::PathBuf;
use std::str::FromStr;

use oci_spec::runtime::{
    Capabilities, LinuxCapabilities, LinuxCapabilitiesBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType,
    Process, Spec, User as OciUser, UserBuilder,
};

use super::capabilities::CapSet;
use super::security::Security;
use super::{Error, Input, User};
use crate::model::host_config::Ulimit;
use crate::state::exec::ExecRecord;

/// Marks a specification whose program is [`INIT`]: no file of the container's, but this program, by descriptor.
pub const OWN_INIT: &str = "pierless.init";
/// What a container's own init is called, if it has one that is not its program.
pub const INIT: &str = "/sbin/docker-init";
/// How many files a process may have open, soft and hard, where nobody asks for other limits: systemd's default. A lower
/// hard limit of the launcher's stays.
const FILES: (u64, u64) = (1024, 524_288);
/// How willingly the kernel ends a container's processes where there is no root: as a user's services, below whose score a
/// process that one of them has started could not go. So it is the same from wherever a container is launched.
const OOM_SCORE: i32 = 200;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The container's.
pub(super) fn build(input: &Input<'_>, caps: CapSet, security: &Security) -> Result<Process, Error> {
    let (record, config, host) = (input.record, &input.record.config, &input.record.host_config);
    let mut args = Vec::with_capacity(record.args.len() + 3);
    if host.init == Some(true) {
        args.extend([INIT.to_owned(), "--".to_owned()]);
    }
    args.push(record.path.clone());
    args.extend(record.args.iter().cloned());

    let mut env = vec![PATH.to_owned()];
    if !config.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", config.hostname));
    }
    if config.tty {
        env.push("TERM=xterm".to_owned());
    }
    override_env(&mut env, config.env.iter().flatten());

    let mut process = Process::default();
    process.set_args(Some(args));
    common(&mut process, env, &config.working_dir, config.tty, input.user);
    process.set_capabilities(Some(capabilities(caps, input.user.uid)));
    process.set_no_new_privileges(security.no_new_privileges.then_some(true));
    let mut limits = host.ulimits.iter().flatten().map(rlimit).collect::<Result<Vec<_>, _>>()?;
    if !limits.iter().any(|limit| limit.typ() == PosixRlimitType::RlimitNofile) {
        limits.push(limit(PosixRlimitType::RlimitNofile, FILES.0, FILES.1));
    }
    process.set_rlimits(Some(limits));
    let score = i32::try_from(host.oom_score_adj).map_err(|_| Error("invalid OomScoreAdj".to_owned()))?;
    let unasked = if input.host.rootless { OOM_SCORE } else { 0 };
    process.set_oom_score_adj(Some(if score == 0 { unasked } else { score }));
    Ok(process)
}

/// An exec session's, in the container that `container` describes.
///
/// # Errors
/// None now; a session that asks for what its container cannot give.
pub fn exec(container: &Spec, session: &ExecRecord, user: &User) -> Result<Process, Error> {
    let of_container = container.process().clone().unwrap_or_default();
    let mut env = of_container.env().clone().unwrap_or_default();
    if session.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    // The container's user need not be the session's.
    if !session.user.is_empty() {
        env.retain(|entry| !entry.starts_with("HOME="));
    }
    override_env(&mut env, &session.env);
    let dir = match session.working_dir.as_str() {
        "" => of_container.cwd().to_string_lossy().into_owned(),
        dir => dir.to_owned(),
    };
    let bounding = of_container.capabilities().as_ref().and_then(|caps| caps.bounding().as_ref());
    let caps = if session.privileged { CapSet::ALL } else { CapSet::from_oci(bounding) };
    let mut process = Process::default();
    process.set_args(Some(session.cmd.clone()));
    common(&mut process, env, &dir, session.tty, user);
    process.set_capabilities(Some(capabilities(caps, user.uid)));
    process.set_no_new_privileges(of_container.no_new_privileges());
    process.set_rlimits(of_container.rlimits().clone());
    process.set_oom_score_adj(of_container.oom_score_adj());
    Ok(process)
}

fn common(process: &mut Process, mut env: Vec<String>, dir: &str, tty: bool, user: &User) {
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    process.set_env(Some(env));
    process.set_cwd(PathBuf::from(if dir.is_empty() { "/" } else { dir }));
    process.set_terminal(Some(tty));
    process.set_user(oci_user(user));
}

fn oci_user(user: &User) -> OciUser {
    let builder = UserBuilder::default().uid(user.uid).gid(user.gid).additional_gids(user.groups.clone());
    builder.build().expect("every field has a default")
}

/// `NAME=value` replaces, `NAME` alone takes away.
fn override_env<'a>(env: &mut Vec<String>, with: impl IntoIterator<Item = &'a String>) {
    for entry in with {
        let (name, value) = entry.split_once('=').map_or((entry.as_str(), None), |(name, value)| (name, Some(value)));
        let same = |other: &String| other.split_once('=').is_some_and(|(other, _)| other == name);
        match (env.iter_mut().find(|other| same(other)), value) {
            (Some(place), Some(_)) => place.clone_from(entry),
            (None, Some(_)) => env.push(entry.clone()),
            (_, None) => env.retain(|other| !same(other)),
        }
    }
}

/// A user who is not root gets none but what programs with file capabilities may have: as after an execve(2).
fn capabilities(caps: CapSet, uid: u32) -> LinuxCapabilities {
    let none = Capabilities::new;
    let own = if uid == 0 { caps.to_oci() } else { none() };
    let builder = LinuxCapabilitiesBuilder::default().bounding(caps.to_oci()).effective(own.clone()).permitted(own);
    builder.inheritable(none()).ambient(none()).build().expect("every field is given")
}

fn rlimit(asked: &Ulimit) -> Result<PosixRlimit, Error> {
    let invalid = || Error(format!("invalid ulimit type: {}", asked.name));
    let kind =
        PosixRlimitType::from_str(&format!("RLIMIT_{}", asked.name.to_ascii_uppercase())).map_err(|_| invalid())?;
    // -1 means no limit, and u64::MAX is how the kernel says that.
    let (soft, hard) = (asked.soft as u64, asked.hard as u64);
    if soft > hard {
        return Err(Error(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")));
    }
    Ok(limit(kind, soft, hard))
}

fn limit(kind: PosixRlimitType, soft: u64, hard: u64) -> PosixRlimit {
    PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build().expect("every field is given")
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;

    #[test]
    fn environment() {
        let mut fixture = Fixture::default();
        fixture.record.config.hostname = "box".into();
        fixture.record.config.env = Some(vec!["PATH=/x".into(), "A=1".into(), "A=2".into(), "HOSTNAME".into()]);
        let spec = super::super::build(&fixture.input()).expect("spec");
        let process = spec.process().as_ref().expect("process");
        assert_eq!(process.env().as_deref().expect("env"), ["PATH=/x", "A=2", "HOME=/root"]);
        assert_eq!(process.cwd().as_path(), std::path::Path::new("/"));
    }

    #[test]
    fn init_runs_the_program() {
        let mut fixture = Fixture::default();
        fixture.record.host_config.init = Some(true);
        let spec = super::super::build(&fixture.input()).expect("spec");
        let args = spec.process().as_ref().expect("process").args().clone().expect("args");
        assert_eq!(args, [INIT, "--", "/bin/true"]);
    }

    #[test]
    fn sessions_inherit() {
        let mut fixture = Fixture::default();
        fixture.host.rootless = true;
        fixture.record.config.env = Some(vec!["A=1".into()]);
        fixture.record.config.working_dir = "/srv".into();
        let spec = super::super::build(&fixture.input()).expect("spec");
        let session =
            ExecRecord { cmd: vec!["id".into()], env: vec!["B=2".into()], tty: true, ..ExecRecord::default() };
        let user = User { uid: 33, gid: 33, groups: vec![], home: "/var/www".into() };
        let process = exec(&spec, &session, &user).expect("process");
        assert_eq!(process.cwd().as_path(), std::path::Path::new("/srv"));
        assert!(process.env().as_ref().expect("env").contains(&"TERM=xterm".to_owned()));
        let caps = process.capabilities().as_ref().expect("capabilities");
        assert_eq!(CapSet::from_oci(caps.bounding().as_ref()), CapSet::DOCKER);
        assert_eq!(CapSet::from_oci(caps.effective().as_ref()), CapSet(0));
        let session = ExecRecord { privileged: true, ..session };
        let process = exec(&spec, &session, &User::default()).expect("process");
        let caps = process.capabilities().as_ref().expect("capabilities");
        assert_eq!(CapSet::from_oci(caps.effective().as_ref()), CapSet::ALL);
    }

    #[test]
    fn limits() {
        let limit = |name: &str, soft, hard| rlimit(&Ulimit { name: name.into(), soft, hard });
        assert_eq!(limit("nofile", 10, -1).expect("limit").hard(), u64::MAX);
        assert!(limit("beer", 1, 1).is_err());
        assert!(limit("nofile", -1, 5).is_err());
    }
}
