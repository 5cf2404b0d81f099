//! The route table: which requests exist. Static; the OpenAPI document is made of it.

use http::Method;

use super::handlers;
use super::route::{Route, matches};

/// All tables, by resource. Where two patterns match, the first wins.
pub static TABLES: &[&[Route]] = &[
    handlers::system::ROUTES,
    handlers::usage::ROUTES,
    handlers::containers::ROUTES,
    handlers::exec::ROUTES,
    handlers::archives::ROUTES,
    handlers::images::ROUTES,
    handlers::networks::ROUTES,
    handlers::push::ROUTES,
    handlers::registry::ROUTES,
    handlers::cluster::ROUTES,
];

/// The route of a request and what its parameters matched. `path` is decoded and has no version.
pub fn find(method: &Method, path: &str) -> Option<(&'static Route, Vec<(String, String)>)> {
    TABLES
        .iter()
        .flat_map(|table| table.iter())
        .filter(|route| route.method == *method)
        .find_map(|route| matches(route.pattern, path).map(|params| (route, params)))
}
