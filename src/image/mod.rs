//! Images on disk: references, archives, blobs, layers.
//!
//! ```text
//! images/blobs/sha256/<hex>          configurations, manifests, layer archives, each exactly as it arrived
//! images/layers/<chain>/diff/        a layer unpacked; <chain> is the hash of it and all layers below it
//! images/layers/<chain>/layer.json   what it is
//! images/meta/<hex>.json             an image; <hex> is its configuration's hash, which is also its id
//! images/refs/<name>                 a name: the id of its image, the name itself, and what it means to a registry
//! images/tmp/<random>/               what somebody is making; theirs for as long as they hold `lock` in it
//! images/partial/<hex>               a blob that is being pulled, or was: whoever goes on with it holds a lock on it
//! images/lock                        exclusive to commit and to delete, shared to begin to use an image
//! images/unreadable/                 records that could not be read, for people
//! images/swept-in-boot               the boot in which the store was last gone through as a whole
//! ```
//!
//! Everything is made in `tmp` and moved to its place by rename(2) under the lock, names last: a killed process leaves
//! nothing that anybody could see, and the next one removes its directory. Before anything is moved to its place, all that
//! was written is synced, once; then the directories, the record and the names are: so what is there is whole, also after
//! a loss of power ([`publish`]). What is found damaged all the same counts as absent and is replaced by a load; a record
//! that cannot be read is set aside ([`Store::set_aside`]). Layers are shared between images and are
//! unpacked without any lock: two who unpack the same one do work in vain, but neither waits. What no image and no
//! container refers to is found by reading their records, not by counters that could be wrong ([`garbage`]).
//!
//! Digests must never change by passing through: manifests and indexes are kept as blobs, to the byte. A name has a
//! *target*, the manifest or index that a registry means by it; an image has all *manifests* that it came with, each with
//! the blobs that it names, for as long as the image is there; an index stays while a name means it. What repository an
//! image is known in by which digest its names with a digest say ([`refs`]). An index may have several images that are
//! here: the name means one of them, and the others go with it ([`variants`]).
//!
//! A layer's files belong to ids of the user's namespace, so each remembers by which maps it was unpacked, and is unpacked
//! anew from its blob where these have changed ([`ids`], [`renew`]).
//!
//! What is given away, pushed or saved, is what arrived ([`tree`]): layers in the form in which they came, for all blobs that
//! an image's manifests name stay. Only an image that came without a manifest gets one made up, from its layers as they are
//! here, and always the same one, so that what it was pushed as once is found to be there the next time. For that, layers
//! which came so and are packed in a way that no manifest can name are kept unpacked ([`layers::nameable`]).

pub mod archive;
pub mod attestations;
pub mod chain;
pub mod changes;
pub mod check;
pub mod compress;
pub mod config;
pub mod disk;
pub mod entries;
pub mod error;
pub mod find;
pub mod flatten;
pub mod garbage;
pub mod ids;
pub mod import;
pub mod layers;
pub mod load;
pub mod manifest;
pub mod meta;
pub mod outcome;
pub mod pax;
pub mod plans;
pub mod platform;
pub mod publish;
pub mod pull;
pub mod push;
pub mod refs;
pub mod renew;
pub mod save;
pub mod side_by_side;
pub mod spool;
pub mod staging;
pub mod store;
pub mod tree;
pub mod unpack;
pub mod variants;

pub use error::{Error, Result};
pub use find::{Image, resolve};
pub use store::Store;
