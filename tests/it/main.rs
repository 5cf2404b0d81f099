//! The integration tests: one executable, one isolated state directory and socket per test. `tests/run.sh` prepares
//! the machine and runs them as an unprivileged user.

#![allow(clippy::unwrap_used, missing_docs)]

mod contract;
mod create;
mod create_refused;
mod fixtures;
mod harness;
mod process;
mod pty;
mod raw;
mod registries;

mod activation;
mod archives;
mod arrows;
mod attach;
mod bad_input;
mod command_line;
mod context;
mod crash_points;
mod crowd;
mod depth;
mod docker_py;
mod dockerd;
mod exec;
mod full_disk;
mod fuzz;
mod golden;
mod home;
mod host_config;
mod hostile_images;
mod house;
mod http;
mod images;
mod kills;
mod lifecycle;
mod listing;
mod logs;
mod memory;
mod network;
mod orphans;
mod process_model;
mod program;
mod pull;
mod push;
mod races;
mod registry;
mod reset;
mod run;
mod security;
mod server;
mod store_check;
mod trust;
mod units;
mod unreadable;
