//! Directory trees of any depth and width.
//!
//! What a container or an image leaves on disk is hostile: 7,000 levels are a loop in its shell, and longer than any
//! path. So a walk keeps its place on the heap (a name for each level), few descriptors ([`Descent`]), and of a wide
//! directory only one buffer of names at a time. It follows no link, crosses into no other mount, and stands a tree that
//! changes meanwhile: what vanished is passed over.

mod descent;
mod remove;
mod size;
mod walk;

pub use descent::{Descent, open_directory};
pub use remove::{remove, remove_at, remove_contents};
pub use size::size;
pub use walk::{Visitor, stat_at, walk};

#[cfg(test)]
mod tests;
