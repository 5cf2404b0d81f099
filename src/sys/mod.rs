//! The only room with `unsafe`: what the kernel offers, as safe functions.

pub mod epoll;
pub mod fdpass;
pub mod memory;
pub mod pty;
pub mod spawn;
