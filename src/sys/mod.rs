//! The only room with `unsafe`: what the kernel offers, as safe functions.

pub mod epoll;
pub mod fdpass;
pub mod inotify;
pub mod kernel;
pub mod memory;
pub mod mountinfo;
pub mod mounts;
pub mod namespaces;
pub mod netlink;
pub mod openat2;
pub mod pidfd;
pub mod poll;
pub mod process;
pub mod pty;
pub mod regular;
pub mod seccomp;
pub mod sockets;
pub mod spawn;
pub mod tree;
