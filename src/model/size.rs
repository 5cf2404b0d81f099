//! Sizes as Docker's options write them: `10m`, `1.5kB`, `64 MiB`, `100`.

/// What the unit's letters count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// 1000: sizes of files.
    Decimal,
    /// 1024: sizes of memory.
    Binary,
}

/// Reads a size in bytes. A unit is a letter of `kmgtp`, with `b` or `ib` after it, in any case.
///
/// # Errors
/// Docker's text for what is no size.
pub fn parse(text: &str, base: Base) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
    let digits = text[..=last].strip_suffix(' ').unwrap_or(&text[..=last]);
    let suffix = text[last + 1..].to_ascii_lowercase();
    let number: f64 = digits.parse().map_err(|_| format!("strconv.ParseFloat: parsing {digits:?}: invalid syntax"))?;
    if !(number.is_finite() && number >= 0.0) {
        return Err(invalid());
    }
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    let power = match suffix.as_str() {
        "" | "b" => 0,
        other => {
            let unit = other.chars().next().and_then(|c| "kmgtp".find(c)).ok_or_else(bad_suffix)?;
            if !matches!(&other[1..], "" | "b" | "ib") {
                return Err(bad_suffix());
            }
            unit as i32 + 1
        }
    };
    let unit: f64 = match base {
        Base::Decimal => 1000.0,
        Base::Binary => 1024.0,
    };
    Ok((number * unit.powi(power)) as u64)
}

/// A size for people, by four digits at most: `1.235MB`, `512B`.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 1000.0 && unit < UNITS.len() - 1 {
        number /= 1000.0;
        unit += 1;
    }
    let decimals = match number {
        n if n >= 1000.0 => 0,
        n if n >= 100.0 => 1,
        n if n >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{number:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234_567, "1.235MB"),
            (45_600_000, "45.6MB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(human_size(bytes), want);
        }
    }

    #[test]
    fn notations() {
        for (text, decimal, binary) in [
            ("0", 0, 0),
            ("100", 100, 100),
            ("10m", 10_000_000, 10 << 20),
            ("1.5KB", 1500, 1536),
            ("2 GiB", 2_000_000_000, 2 << 30),
            ("7b", 7, 7),
        ] {
            assert_eq!(parse(text, Base::Decimal), Ok(decimal), "{text}");
            assert_eq!(parse(text, Base::Binary), Ok(binary), "{text}");
        }
        for (text, error) in [
            ("x", "invalid size: 'x'"),
            ("", "invalid size: ''"),
            ("-1", "invalid size: '-1'"),
            ("1x", "invalid suffix: 'x'"),
            ("1mx", "invalid suffix: 'mx'"),
            ("1bb", "invalid suffix: 'bb'"),
            ("1é", "invalid suffix: 'é'"),
            ("1.2.3", "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax"),
        ] {
            assert_eq!(parse(text, Base::Binary), Err(error.to_owned()));
        }
    }

    #[test]
    fn no_text_panics() {
        crate::model::every_text("1.k é-b", 5, &mut |text| drop(parse(text, Base::Binary)));
    }
}
