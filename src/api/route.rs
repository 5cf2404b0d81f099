//! What a line of the route table is: a method, a pattern, and a handler whose types are erased.

use std::marker::PhantomData;
use std::pin::Pin;

use http::Method;

use super::cx::Cx;
use super::error::ApiError;
use super::extract::{Call, FromCall};
use super::operation::Operation;
use super::reply::{IntoOutcome, Outcome};
use super::version::ApiVersion;

/// One operation.
pub struct Route {
    /// Its method; HEAD is one of its own.
    pub method: Method,
    /// Its path: `{id}` matches one segment, `{name:.*}` one or more.
    pub pattern: &'static str,
    /// The API version that introduced it; served in older ones too, as dockerd does.
    pub since: ApiVersion,
    /// The resource.
    pub tag: &'static str,
    /// One line for the document.
    pub summary: &'static str,
    /// Statuses of documented failures besides 400 and 500.
    pub failures: &'static [u16],
    /// Names of documented headers of the response.
    pub headers: &'static [&'static str],
    /// What serves it.
    pub endpoint: &'static dyn Endpoint,
}

/// A table: `tag "Resource";` and then lines of
/// `METHOD "pattern" since MINOR "Summary" => handler [, fails [status, …]] [, headers ["Name", …]];`.
macro_rules! routes {
    (tag $tag:literal; $(
        $method:ident $pattern:literal since $since:literal $summary:literal => $handler:expr
        $(, fails [$($failure:literal),*])? $(, headers [$($header:literal),*])?;
    )*) => {
        /// The requests of this resource.
        pub static ROUTES: &[$crate::api::route::Route] = &[$($crate::api::route::Route {
            method: http::Method::$method,
            pattern: $pattern,
            since: $crate::api::version::ApiVersion($since),
            tag: $tag,
            summary: $summary,
            failures: &[$($($failure),*)?],
            headers: &[$($($header),*)?],
            endpoint: &$crate::api::route::Typed { handler: $handler, args: std::marker::PhantomData },
        }),*];
    };
}
pub(crate) use routes;

/// The future of a request.
pub type Answer = Pin<Box<dyn Future<Output = Result<Outcome, ApiError>> + Send>>;

/// A handler whose types are erased.
pub trait Endpoint: Sync {
    /// Extracts, and calls the handler.
    fn call(&self, call: Call) -> Answer;
    /// Adds parameters, bodies and replies to the document.
    fn describe(&self, op: &mut Operation<'_>);
}

/// A handler with its types.
pub struct Typed<F, A> {
    /// The function.
    pub handler: F,
    /// The types of its arguments and result.
    pub args: PhantomData<fn() -> A>,
}

impl<F: Handler<A>, A> Endpoint for Typed<F, A> {
    fn call(&self, call: Call) -> Answer {
        self.handler.call(call)
    }

    fn describe(&self, op: &mut Operation<'_>) {
        F::describe(op);
    }
}

/// An async function of [`Cx`] and up to four extractors.
pub trait Handler<A>: Copy + Send + Sync + 'static {
    /// Extracts, and calls it.
    fn call(self, call: Call) -> Answer;
    /// Adds its types to the document.
    fn describe(op: &mut Operation<'_>);
}

macro_rules! handler {
    ($($arg:ident)*) => {
        impl<F, Fut, R, $($arg,)*> Handler<(R, $($arg,)*)> for F
        where
            F: Fn(Cx, $($arg),*) -> Fut + Copy + Send + Sync + 'static,
            Fut: Future<Output = Result<R, ApiError>> + Send + 'static,
            R: IntoOutcome,
            $($arg: FromCall + 'static,)*
        {
            #[allow(non_snake_case, unused_mut)]
            fn call(self, mut call: Call) -> Answer {
                Box::pin(async move {
                    $(let $arg = $arg::from_call(&mut call).await?;)*
                    let answer = self(call.cx, $($arg),*);
                    Ok(answer.await?.into_outcome())
                })
            }

            fn describe(op: &mut Operation<'_>) {
                $($arg::describe(op);)*
                R::describe(op);
            }
        }
    };
}
handler!();
handler!(A);
handler!(A B);
handler!(A B C);
handler!(A B C D);

/// Matches a path with a pattern that has at most one `{name:.*}`.
pub fn matches(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (mut pattern, mut path) = (pattern, path);
    let mut params = Vec::new();
    let mut tail = Vec::new();
    loop {
        let (want, more_pattern) = split_first(pattern)?;
        if let Some(name) = want.strip_prefix('{').and_then(|want| want.strip_suffix(":.*}")) {
            // The rest is matched from the end; what remains is the name.
            let (mut back, mut rest) = (more_pattern, path);
            while let Some((head, want)) = split_last(back) {
                let (before, have) = split_last(rest)?;
                match_segment(want, have, &mut tail)?;
                (back, rest) = (head, before);
            }
            let name_found = rest.strip_prefix('/').filter(|found| !found.is_empty())?;
            params.push((name.to_owned(), name_found.to_owned()));
            tail.reverse();
            params.append(&mut tail);
            return Some(params);
        }
        let (have, more_path) = split_first(path)?;
        match_segment(want, have, &mut params)?;
        match (more_pattern.is_empty(), more_path.is_empty()) {
            (true, true) => return Some(params),
            (false, false) => (pattern, path) = (more_pattern, more_path),
            _ => return None,
        }
    }
}

fn match_segment(want: &str, have: &str, params: &mut Vec<(String, String)>) -> Option<()> {
    match want.strip_prefix('{').and_then(|want| want.strip_suffix('}')) {
        Some(name) if !have.is_empty() => {
            params.push((name.to_owned(), have.to_owned()));
            Some(())
        }
        Some(_) => None,
        None => (want == have).then_some(()),
    }
}

/// `/a/b` into `a` and `/b`.
fn split_first(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix('/')?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// `/a/b` into `/a` and `b`.
fn split_last(path: &str) -> Option<(&str, &str)> {
    let at = path.rfind('/')?;
    Some((&path[..at], &path[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pattern: &str, path: &str) -> Option<Vec<String>> {
        matches(pattern, path).map(|params| params.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn names_with_slashes_and_suffixes() {
        let found = |path| params("/images/{name:.*}/json", path);
        assert_eq!(found("/images/busybox/json"), Some(vec!["name=busybox".into()]));
        assert_eq!(found("/images/a.b:5000/c/d:e/json"), Some(vec!["name=a.b:5000/c/d:e".into()]));
        assert_eq!(found("/images/json/json"), Some(vec!["name=json".into()]));
        assert_eq!(found("/images/json"), None);
        assert_eq!(found("/images/busybox/history"), None);
        assert_eq!(params("/images/{name:.*}", "/images/a/b"), Some(vec!["name=a/b".into()]));
        assert_eq!(params("/images/{name:.*}", "/images/"), None);
        assert_eq!(params("/x/{name:.*}/y/{id}", "/x/a/b/y/7"), Some(vec!["name=a/b".into(), "id=7".into()]));
    }

    #[test]
    fn segments() {
        assert_eq!(params("/containers/{id}/json", "/containers/7/json"), Some(vec!["id=7".into()]));
        assert_eq!(params("/containers/{id}/json", "/containers//json"), None);
        assert_eq!(params("/containers/{id}", "/containers/7/json"), None);
        assert_eq!(params("/_ping", "/_ping"), Some(vec![]));
        assert_eq!(params("/_ping", "/_ping/"), None);
        assert_eq!(params("/_ping", ""), None);
    }
}
