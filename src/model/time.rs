//! Moments as nanoseconds since 1970, and the ways in which Docker writes and reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};

/// Nanoseconds since 1970-01-01 00:00 UTC.
pub type Nanos = i64;

/// What Docker writes for a moment that has not been: the zero of Go's time.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

/// Now.
pub fn now() -> Nanos {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with nanoseconds, trailing zeros cut as Go does; zero is [`NEVER`].
pub fn rfc3339(nanos: Nanos) -> String {
    if nanos == 0 {
        return NEVER.to_owned();
    }
    let text = DateTime::<Utc>::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true);
    let Some((head, fraction)) = text.trim_end_matches('Z').rsplit_once('.') else {
        return text;
    };
    match fraction.trim_end_matches('0') {
        "" => format!("{head}Z"),
        digits => format!("{head}.{digits}Z"),
    }
}

/// Reads RFC 3339, with or without a zone, time, or fraction; without a zone it is UTC.
pub fn parse_rfc3339(text: &str) -> Option<Nanos> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return time.timestamp_nanos_opt();
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];
    let naive = formats.iter().find_map(|format| chrono::NaiveDateTime::parse_from_str(text, format).ok());
    let naive = naive.or_else(|| {
        chrono::NaiveDate::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)
    });
    naive?.and_utc().timestamp_nanos_opt()
}

/// Reads a moment of a request: `1700000000`, `1700000000.000000001`, RFC 3339, or a Go duration before now (`10m`).
pub fn parse_moment(text: &str, now: Nanos) -> Option<Nanos> {
    parse_unix(text).or_else(|| parse_rfc3339(text)).or_else(|| now.checked_sub(parse_duration(text)?))
}

fn parse_unix(text: &str) -> Option<Nanos> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9.9}").parse().ok()?;
    seconds.checked_mul(SECOND)?.checked_add(nanos)
}

/// Reads a Go duration such as `1h30m`, `500ms`, `1.5s`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<Nanos> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..unit_len] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[unit_len..];
    }
    (total < i64::MAX as f64).then(|| if negative { -(total as Nanos) } else { total as Nanos })
}

/// A length of time as Docker tells people, `About a minute`, from nanoseconds.
pub fn human_duration(nanos: Nanos) -> String {
    let seconds = nanos / SECOND;
    let (minutes, hours) = (seconds / 60, (nanos as f64 / 3600e9).round() as i64);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_does() {
        assert_eq!(rfc3339(0), NEVER);
        assert_eq!(rfc3339(1_700_000_000 * SECOND), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(1_700_000_000 * SECOND + 120_000_000), "2023-11-14T22:13:20.12Z");
    }

    #[test]
    fn reads_what_clients_send() {
        let t = 1_700_000_000 * SECOND;
        for text in [
            "1700000000",
            "1700000000.000000000",
            "2023-11-14T22:13:20Z",
            "2023-11-14T23:13:20+01:00",
            "2023-11-14T22:13:20",
        ] {
            assert_eq!(parse_moment(text, 0), Some(t), "{text}");
        }
        assert_eq!(parse_moment("1.5", 0), Some(1_500_000_000));
        assert_eq!(parse_moment("1h30m", 6000 * SECOND), Some(600 * SECOND));
        assert_eq!(parse_moment("never", 0), None);
        assert_eq!(parse_moment("-9223372036s", SECOND), None);
        assert_eq!(parse_duration("500ms"), Some(500_000_000));
        assert_eq!(parse_duration("5 apples"), None);
    }

    #[test]
    fn people_read_words() {
        assert_eq!(human_duration(0), "Less than a second");
        assert_eq!(human_duration(-3600 * SECOND), "Less than a second", "the clock was set back");
        assert_eq!(human_duration(61 * SECOND), "About a minute");
        assert_eq!(human_duration(3 * 3600 * SECOND), "3 hours");
        assert_eq!(human_duration(24 * 3 * 3600 * SECOND), "3 days");
    }
}
