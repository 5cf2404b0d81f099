//! The verbs of containers.
//!
//! What a creation refuses, and why there, is told in `check/mod.rs`: all that can be known at the creation is checked
//! there, by concern, before anything is made; `spec` and the monitor only translate.

mod attach;
mod check;
mod create;
mod find;
mod list;
mod logs;
mod merge;
mod remove;
mod request;
mod root;
mod run;
mod start;
mod stop;
mod top;
mod wait;

pub(in crate::engine) use check::endpoint as check_endpoint;

pub use attach::{AttachOptions, Handover};
pub use list::{ListOptions, View};
pub use logs::{LogOptions, Logs, Round};
pub use request::{CheckedRequest, CreateRequest, Created};
pub use top::Top;
pub use wait::{Condition, Waiter};
