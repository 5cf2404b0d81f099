//! The verbs of containers.

mod attach;
mod create;
mod etc;
mod find;
mod list;
mod logs;
mod merge;
mod remove;
mod root;
mod start;
mod stop;
mod support;
mod top;
mod wait;

pub use attach::{AttachOptions, Handover};
pub use create::{CreateRequest, Created};
pub use list::{ListOptions, View};
pub use logs::{LogOptions, Logs, Round};
pub use top::Top;
pub use wait::{Condition, Exit, Waiter};
