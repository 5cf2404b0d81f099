//! Loading a system call filter.
#![allow(unsafe_code)]

use std::io;

use nix::libc;

/// The bytes of one BPF instruction: code, two jumps, an operand.
pub const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// Filters this thread's system calls by a BPF program from now on and for ever. `flags` as `SECCOMP_FILTER_FLAG_*`.
///
/// # Errors
/// Neither `CAP_SYS_ADMIN` nor `no_new_privs`; a program that the kernel refuses.
pub fn load(program: &[u8], flags: u32) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .chunks_exact(INSTRUCTION)
        .map(|bytes| libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: `program` points to `len` instructions, all alive during the call; the kernel copies and checks them.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
