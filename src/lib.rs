//! pierless: Docker's API without the dock.
//!
//! A Docker-compatible HTTP API for one user, and the containers behind it. This page is the map: which processes
//! exist, which rooms the code has, and which way the arrows point.
//!
//! # Roles of the one executable
//!
//! | role | started by | lives | threads |
//! |---|---|---|---|
//! | `pierless serve` | systemd's socket, or `--socket PATH` | until idle | tokio, one thread and a blocking pool |
//! | `pierless monitor` | the engine, by spawning a sealed copy of its own executable | until its container has ended and its record is committed | one |
//! | `pierless holder` | whoever first needs the user's namespaces | until no pierless process needs them | one |
//! | `pierless way-out` | whoever starts the way out, as its parent | as long as the way out, or anybody who needs it | one |
//! | `docker-init` | a container with `--init`, as its first process | as long as its program | one |
//! | `pierless VERB` | a person | the verb | few |
//!
//! Every role but the holder enters the user's namespaces before any thread exists (see [`holder::enter`]): verbs and
//! monitors first thing in `main`, `serve` at its first engine call (see [`api::gate`]), so that a ping is quick. No
//! process is another's keeper: the API can be killed at any instant and no container notices.
//!
//! # Rooms and arrows: imports go down only
//!
//! ```text
//! role            picks the role from argv; no thread, no runtime before that
//! server          tokio, listenfd, hyper connections, idle exit
//! api             route table, version quirks, wire types, handlers by resource; knows HTTP, opens no file
//! cli             the native verbs; calls the engine as api does
//! engine          the verbs: create, start, stop, load …; joins the rooms below, owns ordering and rollback
//! image           references, archives, blobs and layers, unpack, pull, push
//! registry        speaks with registries: credentials, manifests, blobs; knows no store
//! monitor         run (the supervisor) | client (talks to one) | protocol (the messages)
//! network         networks, addresses, bridges, the way out, names and what is known of them
//! runtime         from a root file system and a plan to a running process
//! spec            pure: container record -> OCI runtime spec
//! holder          the user's namespaces: join, create, hold
//! cgroup          where containers are limited and ended
//! state           paths, locks, records, event log
//! model           ids, names, filters, times: pure types
//! sys             the only room with `unsafe`: namespaces, fd passing, mounts, pty, openat2
//! ```
//!
//! `tests/it/house.rs` holds the arrows between rooms, `tests/it/arrows.rs` those inside each.
//!
//! # The life of a container
//!
//! ```text
//! create   POST /containers/create  api::handlers::containers::create
//!          what was asked, made whole          engine::containers::create: Engine::create
//!          name reserved, record synced        state::names, state::store
//! start    POST /containers/ID/start           engine::containers::start: Engine::start
//!          a monitor is spawned and asked      monitor::client: start, launch
//!          it detaches, locks and listens      monitor::run::setup: main
//!          room for the end; a starter         monitor::run::life: Life::start
//!          addresses are leased                network::plan; network::etc
//!          record -> root, plan, joins         monitor::run::plan: prepare; spec: build
//!          ports of the host are taken         network::ports: open
//!          a network namespace, connected      network::attach
//!          namespaces, mounts, program         runtime::start: start
//!          its pid is committed, told          monitor::run::life: Life::started
//! streams  clients' sockets are handed over    engine::containers::attach -> monitor::run::attached
//! exit     the kernel tells its parent         monitor::run::children: reap -> Life::ended
//!          record, event, clean-up, answers    state::ending: commit_exit; monitor::run::files
//! wait     the monitor's answer, or the record  engine::containers::run: Run; wait: Waiter
//! lost     its monitor was killed: whoever     state::meaning says what is so,
//!          looks next finishes its work        engine::reconcile: Engine::settle does it
//! rm       a rename is the moment              engine::containers::remove; state::sweep what a kill left
//! ```
//!
//! # Words of the house
//!
//! | word | what it says |
//! |---|---|
//! | room | a module below the crate's root, with a rule of what it may name |
//! | monitor | a container's supervisor: conmon's and the shim's place, without their parents |
//! | starter | the monitor's short-lived child that makes the container's first process, or an exec session's |
//! | holder | the process that keeps the user's namespaces while no other does |
//! | door | the monitor's socket, and who is connected to it |
//! | hub | the user's network namespace with the bridges of all networks |
//! | way out | the process through which the hub reaches the world |
//! | orphan | a container whose monitor was killed |

mod api;
mod cgroup;
mod cli;
mod engine;
mod holder;
mod image;
mod model;
mod monitor;
mod network;
mod registry;
mod role;
mod runtime;
mod server;
mod spec;
mod state;
mod sys;

pub use api::openapi;
pub use role::main;
