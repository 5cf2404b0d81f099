//! Memory that is given back: a large buffer that costs nothing at rest, and the allocator's spare pages.
//!
//! A monitor lives as long as its container and is counted fifty at a time, so what it keeps at rest is a budget.
#![allow(unsafe_code)]

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A private mapping whose pages exist only from their first use until [`Buffer::release`].
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
}

impl Buffer {
    /// Reserves `len` bytes, zeroed, no page of it allocated yet.
    pub fn new(len: usize) -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Gives every page back; the contents read as zero afterwards.
    pub fn release(&mut self) {
        // SAFETY: the range is this mapping's own, and `&mut` says that nobody reads it now. An error leaves the pages.
        let _ = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.len, Advice::LinuxDontNeed) };
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is `len` initialised (zeroed) bytes, owned by `self` until drop.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes the access unique.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, unmapped once, and no borrow of it can outlive `self`.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Tells the allocator to have one arena for all threads: one for each would keep what the busiest moment of each
/// thread needed. To be called before there are threads.
pub fn one_arena() {
    use nix::libc;
    // SAFETY: mallopt only sets the allocator's parameters; the process is single-threaded here.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Tells the allocator to be small: one arena, no spare at the top, larger blocks as mappings of their own.
pub fn thrifty_allocator() {
    use nix::libc;
    one_arena();
    // SAFETY: mallopt only sets the allocator's parameters; the process is single-threaded here.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 16 * 1024);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 32 * 1024);
    }
}

/// Gives back what a process that will wait for long does not need meanwhile: the allocator's free pages, the stack below
/// the caller, and its hold on the program's pages, of which waiting takes a few again.
pub fn rest() {
    trim();
    release_stack();
    release_program();
}

/// Below the stack's end the kernel keeps a gap of a megabyte, so nothing else is in reach.
fn release_stack() {
    const PAGE: usize = 4096;
    const REACH: usize = 128 * 1024;
    let here = 0_u8;
    // Two pages for what this function calls.
    let top = (std::ptr::from_ref(&here).addr() & !(PAGE - 1)) - 2 * PAGE;
    // SAFETY: what is below the stack pointer, but for the pages left out above, is nobody's. An error leaves the pages.
    let _ = unsafe { rustix::mm::madvise((top - REACH) as *mut _, REACH, Advice::LinuxDontNeed) };
}

/// The program stays in the page cache for all its processes.
fn release_program() {
    unsafe extern "C" {
        // Made by the linker: where the program's file is mapped, and where its code ends.
        static __executable_start: u8;
        static etext: u8;
    }
    let (start, end) = (&raw const __executable_start, &raw const etext);
    let length = end.addr().saturating_sub(start.addr());
    // SAFETY: code and constants are mapped from the file and never written, so they come back as they are when they are
    // next touched. An error leaves the pages.
    let _ = unsafe { rustix::mm::madvise(start.cast_mut().cast(), length, Advice::LinuxDontNeed) };
}

/// Gives the allocator's free pages back to the kernel.
pub fn trim() {
    // SAFETY: malloc_trim touches only memory that the allocator knows to be free.
    unsafe { nix::libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_at_rest_goes_on() {
        let text = String::from("kept");
        for _ in 0..2 {
            rest();
            assert_eq!(text, "kept");
        }
    }

    #[test]
    fn released_pages_read_as_zero() {
        let mut buffer = Buffer::new(1 << 16).expect("map");
        buffer.fill(7);
        assert_eq!(buffer[65535], 7);
        buffer.release();
        assert_eq!(buffer[65535], 0);
    }
}
