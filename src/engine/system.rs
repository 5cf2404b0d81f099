//! Facts about the host and the whole engine.
