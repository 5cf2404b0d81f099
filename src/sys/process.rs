//! What /proc tells of processes, and small changes of one's own.

use std::fs;
use std::io;
use std::path::Path;

use super::namespaces;

/// When a process started, in clock ticks since boot: together with the boot id and the number it names a process
/// for ever.
///
/// # Errors
/// There is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    field(pid, 22)
}

/// The present moment as [`start_time`] counts: a process that is started from now on has no smaller one.
pub fn ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // USER_HZ, in which /proc counts, is 100 on every architecture that there are containers on.
    now.tv_sec.unsigned_abs() * 100 + now.tv_nsec.unsigned_abs() / 10_000_000
}

/// Whole seconds since a process with this [`start_time`] began, whatever became of the clock meanwhile.
pub fn seconds_since(start: u64) -> u64 {
    ticks().saturating_sub(start) / 100
}

/// This process's children, as the kernel lists them; its zombies are among them.
pub fn children() -> Vec<i32> {
    match fs::read_to_string("/proc/thread-self/children") {
        Ok(text) => text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect(),
        // A kernel without CONFIG_PROC_CHILDREN.
        Err(_) => {
            let own = i32::try_from(std::process::id()).ok();
            let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            pids.filter(|pid| parent(*pid).ok() == own).collect()
        }
    }
}

/// What /proc/PID/stat says after the command's name: the third field and those that follow. The name stands in
/// parentheses and may hold anything, so its end is looked for from behind.
fn stat(pid: i32) -> io::Result<String> {
    let mut text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let end = text.rfind(')').map_or(text.len(), |end| end + 1);
    Ok(text.split_off(end))
}

/// Whether a process has ended and only waits for its parent to take notice.
pub fn is_zombie(pid: i32) -> bool {
    stat(pid).is_ok_and(|fields| fields.trim_start().starts_with('Z'))
}

/// Whether a process still runs its program: the one that was started then, not another that has its number by now. One
/// that is on its way out does not: it will do nothing more, whatever it still has open.
pub fn lives(pid: i32, start: u64) -> bool {
    stat(pid).is_ok_and(|text| start_if_living(&text) == Some(start))
}

/// When a process was started that has not begun to end, by the fields of its stat from the third on.
fn start_if_living(text: &str) -> Option<u64> {
    /// A task that is ending (proc(5), field 9; the kernel's include/linux/sched.h).
    const PF_EXITING: u64 = 0x4;
    let mut fields = text.split_ascii_whitespace();
    let dead = fields.next().is_none_or(|state| matches!(state, "Z" | "X" | "x"));
    let mut number = |skipped: usize| fields.nth(skipped)?.parse::<u64>().ok();
    // Fields 9 and 22, counted from the fourth on.
    let (flags, started) = (number(5), number(12));
    started.filter(|_| !dead && flags.is_some_and(|flags| flags & PF_EXITING == 0))
}

/// A process's `/proc/PID/stat`, kept open: it tells of that process wherever the reader has gone since, to another view
/// of /proc for one.
#[derive(Debug)]
pub struct Watched(fs::File);

impl Watched {
    /// Opens it.
    ///
    /// # Errors
    /// There is no such process.
    pub fn open(pid: i32) -> io::Result<Self> {
        Ok(Self(fs::File::open(format!("/proc/{pid}/stat"))?))
    }

    /// As [`lives`], of the process that was there when this was opened.
    pub fn lives(&self) -> bool {
        let mut buffer = [0; 4096];
        let read = std::os::unix::fs::FileExt::read_at(&self.0, &mut buffer, 0);
        let text = read.map(|len| String::from_utf8_lossy(&buffer[..len]).into_owned()).unwrap_or_default();
        text.rfind(')').is_some_and(|end| start_if_living(&text[end + 1..]).is_some())
    }
}

/// The parent's process id.
///
/// # Errors
/// There is no such process.
pub fn parent(pid: i32) -> io::Result<i32> {
    i32::try_from(field(pid, 4)?).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A numeric field of /proc/PID/stat, counted as in proc(5); from the fourth on.
fn field(pid: i32, number: usize) -> io::Result<u64> {
    let field = stat(pid)?.split_ascii_whitespace().nth(number - 3).and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Names this boot of the machine.
///
/// # Errors
/// /proc is not there.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// The ids of all processes that this one sees.
pub fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The processes in the same pid namespace as this one, in this process's numbers, ascending.
///
/// # Errors
/// There is no such process.
pub fn in_pid_namespace_of(pid: i32) -> io::Result<Vec<i32>> {
    let wanted = namespaces::identity(&pid.to_string(), "pid")?;
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        // A process that ends meanwhile, or one of another user, is in no container of this one.
        if namespaces::identity(name, "pid").is_ok_and(|identity| identity == wanted) {
            pids.extend(name.parse::<i32>());
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// Sets how willingly the kernel ends this process, and those it starts, for lack of memory. To a value below its own a
/// process without privileges cannot set it; the nearest possible one is set then.
///
/// # Errors
/// Those of /proc.
pub fn set_oom_score_adj(value: i64) -> io::Result<()> {
    let path = "/proc/self/oom_score_adj";
    match fs::write(path, value.to_string()) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            let current: i64 = fs::read_to_string(path)?.trim().parse().unwrap_or(0);
            if value < current { Ok(()) } else { Err(err) }
        }
        other => other,
    }
}

/// Puts aside what a launcher may have chosen for its own processes, so that it makes no difference who launches this
/// one: the umask is 022, no signal is ignored or blocked but SIGPIPE, which Rust ignores, and SIGXFSZ, see
/// [`no_size_signal`]; as many files may be open as the hard limit says, the other limits that could end this process are
/// as high, and the priority is 0 where it may be raised to that.
#[allow(unsafe_code)]
pub fn usual_context() {
    use nix::libc;
    use rustix::process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit};
    usual_umask();
    for signal in (1..=64).filter(|signal| ![libc::SIGPIPE, libc::SIGXFSZ].contains(signal)) {
        // SAFETY: restores the default action; no handler is installed. SIGKILL and the like cannot be changed.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    for resource in [Resource::Nofile, Resource::Fsize, Resource::Cpu, Resource::As, Resource::Data] {
        let limit = getrlimit(resource);
        if limit.current != limit.maximum {
            let _ = setrlimit(resource, Rlimit { current: limit.maximum, ..limit });
        }
    }
    let _ = setpriority_process(None, 0);
}

/// From now on a write that a limit on the size of files refuses is an error, like one to a full disk, and no end of this
/// process. Programs of containers get the signal's default action back with all others.
#[allow(unsafe_code)]
pub fn no_size_signal() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the signal is ignored; no handler is installed.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
}

/// Sets the umask to 022.
pub fn usual_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
}

/// Sets the name that ps(1) shows in its short form; at most 15 bytes.
pub fn set_name(name: &std::ffi::CStr) {
    let _ = rustix::thread::set_name(name);
}

/// Sets a resource limit of this process; what is above its hard limit and cannot be raised is lowered to that.
///
/// # Errors
/// A name that is no limit's: [`io::ErrorKind::InvalidInput`]; those of prlimit(2).
pub fn set_rlimit(name: &str, soft: u64, hard: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let resource = match name.to_ascii_lowercase().trim_start_matches("rlimit_") {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "rttime" => Resource::Rttime,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    // Infinity is the absence of a limit.
    let limit = |value: u64| (value != u64::MAX).then_some(value);
    match setrlimit(resource, Rlimit { current: limit(soft), maximum: limit(hard) }) {
        Err(rustix::io::Errno::PERM) => {
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let clamped = Rlimit { current: limit(soft.min(most)), maximum: limit(hard.min(most)) };
            Ok(setrlimit(resource, clamped)?)
        }
        other => Ok(other?),
    }
}

/// Sets this process's user, group and further groups, for good.
///
/// # Errors
/// An id that is not mapped in the user namespace, or groups where setting them is denied.
#[allow(unsafe_code)]
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    use nix::libc;
    let check = |result: libc::c_long| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let denied = || fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "deny");
    // By system call: the C library would tell its other threads, and the caller has none.
    // SAFETY: the length and the pointer describe `groups`, which the kernel only reads.
    match check(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }) {
        // In a single-id namespace nobody may change groups, and there are no others to have.
        Err(err) if err.raw_os_error() == Some(libc::EPERM) && groups.iter().all(|group| *group == gid) && denied() => {
        }
        other => other?,
    }
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// From now on, until it becomes another program, no process without privileges over this one may look into it: not by
/// `/proc`, and not by tracing it.
///
/// # Errors
/// Those of prctl(2).
pub fn set_not_dumpable() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?)
}

/// Marks every descriptor from `first` on to be closed by exec.
///
/// # Errors
/// A kernel before 5.11.
#[allow(unsafe_code)]
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    use nix::libc;
    // SAFETY: integers only; nothing is closed before exec, so no descriptor that somebody owns becomes invalid.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives this process and those that it will start a session keyring of their own: the keys of the login session are
/// no business of a container's. Without effect where there are no keyrings, or no room for one more.
#[allow(unsafe_code)]
pub fn leave_session_keyring() {
    use nix::libc;
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: for this operation the pointer is a name or null; nothing is written.
    unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
}

/// Gives up all capabilities, and what the next program would get for being root's.
///
/// # Errors
/// Not permitted.
pub fn drop_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
    let bits = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits)?;
    let none = CapabilitySet::empty();
    Ok(rustix::thread::set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// Becomes another program.
///
/// # Errors
/// Those of execve(2), if it returns at all; an argument with a NUL byte.
pub fn execute(program: &Path, args: &[String], env: &[String]) -> io::Error {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    let strings =
        |list: &[String]| list.iter().map(|text| CString::new(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let parts = (CString::new(program.as_os_str().as_bytes()), strings(args), strings(env));
    let (Ok(program), Ok(args), Ok(env)) = parts else { return io::ErrorKind::InvalidInput.into() };
    match nix::unistd::execve(&program, &args, &env) {
        Ok(never) => match never {},
        Err(err) => err.into(),
    }
}

/// Where [`execute_descriptor`] leaves the program's own descriptor.
pub const OWN_DESCRIPTOR: i32 = 3;

/// Becomes the program that is open, which keeps it open as [`OWN_DESCRIPTOR`]. What was open there is closed.
#[allow(unsafe_code)]
pub fn execute_descriptor(program: fs::File, args: &[String], env: &[String]) -> io::Error {
    use nix::libc;
    use std::ffi::CString;
    use std::os::fd::{AsRawFd, IntoRawFd};
    let strings =
        |list: &[String]| list.iter().map(|text| CString::new(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let (Ok(args), Ok(env)) = (strings(args), strings(env)) else { return io::ErrorKind::InvalidInput.into() };
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (args, env) = (pointers(&args), pointers(&env));
    // SAFETY: whoever owns the descriptor there learns of it no more, for this process ends: in the program, or with an
    // error after which its callers only print. Both lists are terminated and outlive the call.
    unsafe {
        match program.as_raw_fd() {
            OWN_DESCRIPTOR => {
                libc::fcntl(program.into_raw_fd(), libc::F_SETFD, 0);
            }
            fd => {
                libc::dup2(fd, OWN_DESCRIPTOR);
            }
        }
        libc::syscall(
            libc::SYS_execveat,
            OWN_DESCRIPTOR,
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Takes over [`OWN_DESCRIPTOR`]; none if there is nothing.
#[allow(unsafe_code)]
pub fn own_descriptor() -> Option<std::os::fd::OwnedFd> {
    use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
    // SAFETY: only looked at, as one that may be closed; the kernel says so then.
    rustix::io::fcntl_getfd(unsafe { BorrowedFd::borrow_raw(OWN_DESCRIPTOR) }).ok()?;
    // SAFETY: called first thing in `main`, when nothing in this process owns a descriptor yet.
    Some(unsafe { OwnedFd::from_raw_fd(OWN_DESCRIPTOR) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let me = i32::try_from(std::process::id()).expect("pid");
        assert!(start_time(me).expect("start time") > 0);
        assert_eq!(parent(me).expect("parent").unsigned_abs(), std::os::unix::process::parent_id());
        assert_eq!(boot_id().expect("boot id").len(), 36);
        assert!(in_pid_namespace_of(me).expect("processes").contains(&me));
        assert!(start_time(i32::MAX).is_err());
        let before = ticks();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("pid");
        let start = start_time(pid).expect("start time");
        assert!(before <= start && start <= ticks());
        // Those of this thread; it has started no other.
        assert_eq!(children(), [pid]);
        child.kill().and_then(|()| child.wait()).expect("end");
        assert!(!is_zombie(me));
        let mut ended = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().expect("child");
        let said = std::io::Read::read(&mut ended.stdout.take().expect("pipe"), &mut [0; 1]);
        assert_eq!(said.expect("end of its output"), 0);
        let child = i32::try_from(ended.id()).expect("pid");
        while !is_zombie(child) {
            std::thread::yield_now();
        }
        ended.wait().expect("end");
        assert!(!is_zombie(child));
    }

    #[test]
    fn unknown_limits_are_refused() {
        assert!(set_rlimit("beer", 1, 1).is_err());
    }
}
