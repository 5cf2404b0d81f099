//! Shell patterns as Go's `path.Match` has them: `*` and `?` do not match a slash, `[a-z]` and `[^a]` are classes.

/// Whether the whole text matches; none if the pattern is malformed.
pub fn matches(pattern: &str, text: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    check(&pattern)?;
    Some(here(&pattern, &text))
}

fn here(pattern: &[char], text: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return text.is_empty() };
    match first {
        '*' => (0..=text.len()).take_while(|at| !text[..*at].contains(&'/')).any(|at| here(rest, &text[at..])),
        '?' => matches!(text.split_first(), Some((c, after)) if *c != '/' && here(rest, after)),
        '[' => match (text.split_first(), class(rest)) {
            (Some((c, after)), Some((set, rest))) => set.has(*c) && here(rest, after),
            _ => false,
        },
        '\\' => match (rest.split_first(), text.split_first()) {
            (Some((want, rest)), Some((c, after))) => want == c && here(rest, after),
            _ => false,
        },
        want => matches!(text.split_first(), Some((c, after)) if c == want && here(rest, after)),
    }
}

struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Set {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.negated
    }
}

/// A class and what follows it; none if it is malformed.
fn class(pattern: &[char]) -> Option<(Set, &[char])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some(('^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        let (c, after) = rest.split_first()?;
        if *c == ']' && !ranges.is_empty() {
            return Some((Set { negated, ranges }, after));
        }
        let (low, after) = member(rest)?;
        let (high, after) = match after.split_first() {
            Some(('-', after)) => member(after)?,
            _ => (low, after),
        };
        ranges.push((low, high));
        rest = after;
    }
}

fn member(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern.split_first()? {
        ('\\', rest) => rest.split_first().map(|(c, rest)| (*c, rest)),
        ('-' | ']', _) => None,
        (c, rest) => Some((*c, rest)),
    }
}

fn check(pattern: &[char]) -> Option<()> {
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            '[' => class(after)?.1,
            '\\' => after.split_first()?.1,
            _ => after,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn as_go_does() {
        for (pattern, text, want) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox:1", true),
            ("*", "a/b", false),
            ("*/b", "a/b", true),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*", "a*", true),
            ("a*b*c", "axxbyyc", true),
        ] {
            assert_eq!(matches(pattern, text), Some(want), "{pattern} {text}");
        }
        for bad in ["[", "[]", "a\\", "[a-]"] {
            assert_eq!(matches(bad, "a"), None, "{bad}");
        }
    }
}
