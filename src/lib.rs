//! pierless: Docker's API without the dock.
//!
//! A Docker-compatible HTTP API for one user, and the containers behind it. This page is the map: which processes
//! exist, which rooms the code has, and which way the arrows point.
//!
//! # Roles: one executable, four kinds of process
//!
//! | role | started by | lives | threads |
//! |---|---|---|---|
//! | `pierless serve` | systemd's socket, or `--socket PATH` | until idle | tokio, one thread and a blocking pool |
//! | `pierless monitor` | the engine, by spawning its own executable | until its container has ended and its record is committed | one |
//! | `pierless holder` | whoever first needs the user's namespaces | until no pierless process needs them | one |
//! | `pierless VERB` | a person | the verb | few |
//!
//! Every role but the holder enters the user's namespaces before any thread exists (see [`holder::enter`]): verbs and
//! monitors first thing in `main`, `serve` at its first engine call (see [`api::gate`]), so that a ping is quick. No
//! process is another's keeper: the API can be killed at any instant and no container notices.
//!
//! # Rooms and arrows: imports go down only
//!
//! ```text
//! main            picks the role from argv; no thread, no runtime before that
//! server          tokio, listenfd, hyper connections, idle exit
//! api             route table, version quirks, wire types, handlers by resource; knows HTTP, knows no file
//! cli             the native verbs; calls the engine as api does
//! engine          the verbs: create, start, stop, load …; joins the rooms below, owns ordering and rollback
//! image           references, archives, blobs and layers, unpack
//! monitor         run (the supervisor) | client (talks to one) | protocol (the messages)
//! runtime         from a root file system and a plan to a running process
//! spec            pure: container record -> OCI runtime spec
//! holder          the user's namespaces: join, create, hold
//! state           paths, locks, records, event log
//! model           ids, names, filters, times: pure types
//! sys             the only room with `unsafe`: namespaces, fd passing, mounts, pty, openat2
//! ```
//!
//! `tests/it/house.rs` reads the `use crate::` lines and holds them to this list.

pub mod api;
pub mod cli;
pub mod engine;
pub mod holder;
pub mod image;
pub mod model;
pub mod monitor;
pub mod runtime;
pub mod server;
pub mod spec;
pub mod state;
pub mod sys;
