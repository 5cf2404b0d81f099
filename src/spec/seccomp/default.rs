//! Docker's default profile (as of version 28): what an ordinary program needs, and nothing that reaches beyond its
//! container. What more a container may do follows from its capabilities.

use std::borrow::Cow;

use oci_spec::runtime::{Arch, LinuxSeccompAction, LinuxSeccompOperator};

use super::profile::{Comparison, Filter, Machine, Profile, Rule};

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// The clone(2) flags that make namespaces, but for the time namespace, which is no flag of clone(2).
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;

/// Allowed in every container.
const ALWAYS: &str = "\
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown \
    chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 \
    clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 dup3 \
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd \
    eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark \
    fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock \
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex \
    futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu \
    getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer \
    getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 \
    getrlimit getrusage getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents \
    io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr \
    listxattrat llistxattr lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier \
    memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect \
    mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 \
    mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep \
    newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect \
    poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 \
    pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 \
    recvmsg remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir \
    rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity \
    sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 \
    sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop \
    semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area \
    set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid \
    setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid \
    setsockopt setuid setuid32 setxattr setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 \
    sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat \
    sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime \
    timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime \
    timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime \
    utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed with a capability.
const WITH: &[(&str, &str)] = &[
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr \
         lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree perf_event_open quotactl \
         quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    ("CAP_SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    ("CAP_SYS_TIME", "clock_settime clock_settime64 settimeofday stime"),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    ("CAP_SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
    ("CAP_PERFMON", "perf_event_open"),
];

/// Allowed on some architectures.
const ON: &[(&[&str], &str)] = &[
    (&["ppc64le"], "swapcontext sync_file_range2"),
    (&["arm", "arm64"], "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2"),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (&["s390", "s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Values of personality(2): Linux, 32-bit Linux, their two variants for old uname(2), and the question.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

fn words(text: &'static str) -> Vec<Cow<'static, str>> {
    text.split_ascii_whitespace().map(Cow::Borrowed).collect()
}

fn allow(names: &'static str) -> Rule {
    Rule { names: words(names), action: LinuxSeccompAction::ScmpActAllow, ..Rule::default() }
}

fn allow_if(names: &'static str, index: usize, value: u64, op: LinuxSeccompOperator) -> Rule {
    Rule { args: vec![Comparison { index, value, value_two: 0, op }], ..allow(names) }
}

fn machine(architecture: Arch, others: &[Arch]) -> Machine {
    Machine { architecture, sub_architectures: others.to_vec() }
}

/// The whole profile, for every machine.
pub fn profile() -> Profile {
    use LinuxSeccompOperator::{ScmpCmpEq, ScmpCmpGt, ScmpCmpLt, ScmpCmpMaskedEq};
    let admin = || Filter { caps: words("CAP_SYS_ADMIN"), ..Filter::default() };
    let mut syscalls = vec![allow(ALWAYS)];
    // Since then seccomp sees what a traced process's tracer made of its call.
    syscalls.push(Rule {
        includes: Filter { min_kernel: Some((4, 8)), ..Filter::default() },
        ..allow("process_vm_readv process_vm_writev ptrace")
    });
    // All families but the kernel's cryptography and virtual machines' sockets. Only one condition an argument holds in
    // a rule, so it takes three of them.
    syscalls.push(allow_if("socket", 0, AF_ALG, ScmpCmpLt));
    syscalls.push(allow_if("socket", 0, AF_ALG + 1, ScmpCmpEq));
    syscalls.push(allow_if("socket", 0, AF_VSOCK, ScmpCmpGt));
    syscalls.extend(PERSONALITIES.map(|value| allow_if("personality", 0, value, ScmpCmpEq)));
    syscalls.extend(ON.iter().map(|(arches, names)| Rule {
        includes: Filter { arches: arches.iter().map(|arch| Cow::Borrowed(*arch)).collect(), ..Filter::default() },
        ..allow(names)
    }));
    syscalls.extend(
        WITH.iter()
            .map(|(cap, names)| Rule { includes: Filter { caps: words(cap), ..Filter::default() }, ..allow(names) }),
    );
    // On s390 the first two arguments of clone(2) change places.
    syscalls.push(Rule {
        excludes: Filter { arches: words("s390 s390x"), ..admin() },
        ..allow_if("clone", 0, NAMESPACE_FLAGS, ScmpCmpMaskedEq)
    });
    syscalls.push(Rule {
        includes: Filter { arches: words("s390 s390x"), ..Filter::default() },
        excludes: admin(),
        ..allow_if("clone", 1, NAMESPACE_FLAGS, ScmpCmpMaskedEq)
    });
    // Its flags are behind a pointer; C libraries use clone(2) when they hear that there is no clone3(2).
    syscalls.push(Rule {
        names: words("clone3"),
        action: LinuxSeccompAction::ScmpActErrno,
        errno_ret: Some(ENOSYS),
        excludes: admin(),
        ..Rule::default()
    });
    Profile {
        default_action: Some(LinuxSeccompAction::ScmpActErrno),
        default_errno_ret: Some(EPERM),
        arch_map: vec![
            machine(Arch::ScmpArchX86_64, &[Arch::ScmpArchX86, Arch::ScmpArchX32]),
            machine(Arch::ScmpArchAarch64, &[Arch::ScmpArchArm]),
            machine(Arch::ScmpArchS390x, &[Arch::ScmpArchS390]),
            machine(Arch::ScmpArchRiscv64, &[]),
        ],
        syscalls,
        ..Profile::default()
    }
}
