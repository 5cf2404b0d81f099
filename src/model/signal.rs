//! Signals as Docker's clients write them.

/// A signal's number.
pub type Signal = i32;

const NAMES: &[(&str, Signal)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first real-time signal that programs see: the C library keeps two for itself.
const RTMIN: Signal = 34;
const RTMAX: Signal = 64;

/// SIGKILL.
pub const KILL: Signal = 9;
/// SIGTERM.
pub const TERM: Signal = 15;

/// Reads `9`, `KILL`, `SIGKILL`, `sigkill`, `RTMIN+3`, `RTMAX-1`; none if it is no signal.
pub fn parse(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<Signal>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    // Each half of them has names of its own.
    let real_time = |rest: &str, base: Signal, sign: Signal| match rest {
        "" => Some(base),
        _ => rest.get(1..)?.parse().ok().filter(|offset| (1..=15).contains(offset)).map(|offset| base + sign * offset),
    };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => real_time(rest, RTMIN, 1),
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => real_time(rest, RTMAX, -1),
        _ => None,
    }?;
    (RTMIN..=RTMAX).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings() {
        for (text, number) in
            [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "NOPE", "SIG", "RTMIN+99", "RTMAX-20", "-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
