//! Speaks with registries: finds their endpoints, proves who asks, fetches manifests and blobs. Knows no store.
//!
//! ```text
//! client       a repository: manifests, blobs, tags, by the registry's own rules and errors
//! upload       what is brought to one
//! search       what a registry has, where it tells that
//! auth         challenges and tokens; credentials
//! refusal      what it says when it says no
//! fetch        a file at any address
//! http         one request and its answer: connections, redirects
//! payload      what a request has for a body
//! proxy        a proxy on the way
//! basic        names and passwords as proofs
//! tls          whom to trust
//! config       config.toml, and what the environment says
//! error
//! ```
//!
//! # Why a client of our own
//!
//! `oci-client` was weighed. It takes off our hands the requests' paths and the tokens, which are few lines; it brings
//! reqwest with a hundred crates, reads manifests into its own types, does not resume blobs, and leaves retries, the
//! registry's own words in errors and credentials' refreshing in the middle of a pull to its caller. hyper is here anyway,
//! so with rustls (`ring`: the other provider needs cmake) the whole rest is this room.
//!
//! The engine is synchronous, and so is this room for its callers: one thread with a runtime of its own moves the bytes
//! of all connections, and whoever reads waits ([`http::Http`]). It is started when somebody pulls, as trust stores and
//! configuration are read then: an API process that does not pull has none of it. When the client of a pull leaves, all
//! that waits ends at once.
//!
//! Names are looked up by the C library's resolver, which is linked statically: the `files` and `dns` sources of
//! nsswitch.conf are in it, others are asked if the host has them for the same version.

pub mod auth;
mod basic;
pub mod client;
pub mod config;
pub mod error;
pub mod fetch;
pub mod http;
pub mod payload;
mod proxy;
mod refusal;
pub mod search;
pub mod tls;
pub mod upload;

pub use auth::Credentials;
pub use client::Repository;
pub use config::Config;
pub use error::{Error, Result};
