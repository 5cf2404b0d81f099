//! Legacy links: another container under a name of this one's choosing.

use serde::{Deserialize, Serialize};

/// A link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other container, as the creator calls it.
    pub container: String,
    /// Its name for this one.
    pub alias: String,
}

/// Reads `container[:alias]`, and what an inspection shows of one: `/container:/own/alias`.
///
/// # Errors
/// Docker's text for what is no link.
pub fn parse(text: &str) -> Result<Link, String> {
    if text.is_empty() {
        return Err("empty string specified for links".to_owned());
    }
    let (container, alias) = match text.split(':').collect::<Vec<_>>()[..] {
        [container] => (container, container),
        [container, alias] => match container.strip_prefix('/') {
            Some(bare) => (bare, alias.rsplit('/').next().unwrap_or_default()),
            None => (container, alias),
        },
        _ => return Err(format!("bad format for links: {text}")),
    };
    Ok(Link { container: container.to_owned(), alias: alias.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (text, container, alias) in [("db", "db", "db"), ("db:d", "db", "d"), ("/db:/web/d", "db", "d")] {
            let link = parse(text).expect("a link");
            assert_eq!((link.container.as_str(), link.alias.as_str()), (container, alias));
        }
        assert!(parse("").is_err() && parse("a:b:c").is_err());
    }
}
