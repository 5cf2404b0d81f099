//! Instructions of a Dockerfile that change an image's configuration, as `docker import --change` and commits give them.

use crate::model::config::{ContainerConfig, Empty, Healthcheck, Set};
use crate::model::{signal, time};

use super::{Error, Result};

/// The configuration that these instructions make, each one string such as `ENV A=b`.
///
/// # Errors
/// [`Error::Invalid`] for an unknown instruction or bad arguments.
pub fn apply(changes: &[String]) -> Result<ContainerConfig> {
    let mut config = ContainerConfig::default();
    let lines = changes.iter().flat_map(|change| change.lines()).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        one(&mut config, &word.to_ascii_uppercase(), rest.trim())?;
    }
    Ok(config)
}

fn one(config: &mut ContainerConfig, word: &str, rest: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::Invalid(format!("{word} {why}")));
    if rest.is_empty() && word != "CMD" && word != "ENTRYPOINT" {
        return refuse("requires at least one argument");
    }
    match word {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            let env = config.env.get_or_insert_default();
            for (name, value) in pairs(rest, word)? {
                env.retain(|have| have.split('=').next() != Some(&name));
                env.push(format!("{name}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest, word)?),
        "EXPOSE" => {
            let ports = config.exposed_ports.get_or_insert_default();
            for port in words(rest, word)? {
                expose(ports, &port)?;
            }
        }
        "VOLUME" => {
            let list = json_list(rest).map_or_else(|| words(rest, word), Ok)?;
            config.volumes.get_or_insert_default().extend(list.into_iter().map(|path| (path, Empty {})));
        }
        "USER" => config.user = rest.to_owned(),
        "WORKDIR" if rest.starts_with('/') => config.working_dir = rest.to_owned(),
        "WORKDIR" => config.working_dir = format!("{}/{rest}", config.working_dir.trim_end_matches('/')),
        "STOPSIGNAL" => match signal::parse(rest) {
            Some(_) => config.stop_signal = Some(rest.to_owned()),
            None => return Err(Error::Invalid(format!("invalid signal: {rest}"))),
        },
        "ONBUILD" => config.on_build.get_or_insert_default().push(rest.to_owned()),
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        _ => return Err(Error::Invalid(format!("{} is not a valid change command", word.to_ascii_uppercase()))),
    }
    Ok(())
}

fn json_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A list in JSON, else a line for the shell.
fn command(rest: &str) -> Vec<String> {
    json_list(rest).unwrap_or_else(|| match rest {
        "" => Vec::new(),
        line => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()],
    })
}

/// `a=b c="d e"`, or the old `a b`.
fn pairs(rest: &str, word: &str) -> Result<Vec<(String, String)>> {
    let list = words(rest, word)?;
    if let Some(first) = list.first()
        && !first.contains('=')
    {
        let value = rest.trim_start_matches(|c: char| !c.is_whitespace()).trim_start();
        if value.is_empty() {
            return Err(Error::Invalid(format!("{word} must have two arguments")));
        }
        return Ok(vec![(first.clone(), value.to_owned())]);
    }
    list.into_iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            Some(_) => Err(Error::Invalid(format!("{word} names can not be blank"))),
            None => {
                Err(Error::Invalid(format!("Syntax error - can't find = in {pair:?}. Must be of the form: name=value")))
            }
        })
        .collect()
}

/// Words as a shell splits them: quotes and backslashes.
fn words(rest: &str, word: &str) -> Result<Vec<String>> {
    let (mut all, mut current, mut inside, mut quote) = (Vec::new(), String::new(), false, None);
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                current.extend(chars.next());
                inside = true;
            }
            ('"' | '\'', None) => (quote, inside) = (Some(c), true),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => {
                if inside {
                    all.push(std::mem::take(&mut current));
                }
                inside = false;
            }
            (c, _) => {
                current.push(c);
                inside = true;
            }
        }
    }
    if quote.is_some() {
        return Err(Error::Invalid(format!("{word}: a quote is not closed")));
    }
    if inside {
        all.push(current);
    }
    Ok(all)
}

/// `80`, `80/udp`, `80-82/tcp`.
fn expose(ports: &mut Set, text: &str) -> Result<()> {
    let bad = || Error::Invalid(format!("invalid containerPort: {text}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(Error::Invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| bad())?;
    let last: u16 = last.parse().map_err(|_| bad())?;
    if last < first {
        return Err(bad());
    }
    ports.extend((first..=last).map(|port| (format!("{port}/{protocol}"), Empty {})));
    Ok(())
}

fn healthcheck(rest: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let bad = || Error::Invalid(format!("invalid HEALTHCHECK option --{option}"));
        let duration = || time::parse_duration(value).filter(|nanos| *nanos >= 0).ok_or_else(bad);
        match name {
            "interval" => check.interval = duration()?,
            "timeout" => check.timeout = duration()?,
            "start-period" => check.start_period = duration()?,
            "start-interval" => check.start_interval = duration()?,
            "retries" => check.retries = value.parse().map_err(|_| bad())?,
            _ => return Err(bad()),
        }
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    check.test = Some(match (kind.to_ascii_uppercase().as_str(), line.trim()) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", line) if !line.is_empty() => match json_list(line) {
            Some(list) => [vec!["CMD".to_owned()], list].concat(),
            None => vec!["CMD-SHELL".to_owned(), line.to_owned()],
        },
        _ => return Err(Error::Invalid(format!("invalid HEALTHCHECK {rest:?}"))),
    });
    Ok(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(changes: &[&str]) -> Result<ContainerConfig> {
        apply(&changes.iter().map(|change| (*change).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = of(&[
            "CMD [\"sh\", \"-c\"]",
            "entrypoint echo hi",
            "ENV A=b C=\"d e\"",
            "ENV old some value",
            "ENV A=z",
            "EXPOSE 80 53/udp 90-91",
            "VOLUME /a /b",
            "LABEL x=y",
            "WORKDIR /srv",
            "WORKDIR sub",
            "USER 1:2",
            "STOPSIGNAL SIGINT",
            "HEALTHCHECK --interval=5s --retries=2 CMD true",
        ])
        .expect("valid");
        assert_eq!(config.cmd.expect("cmd"), ["sh", "-c"]);
        assert_eq!(config.entrypoint.expect("entrypoint"), ["/bin/sh", "-c", "echo hi"]);
        assert_eq!(config.env.expect("env"), ["C=d e", "old=some value", "A=z"]);
        let ports = config.exposed_ports.expect("ports");
        assert_eq!(ports.keys().collect::<Vec<_>>(), ["53/udp", "80/tcp", "90/tcp", "91/tcp"]);
        assert_eq!(config.volumes.expect("volumes").len(), 2);
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/srv/sub", "1:2"));
        assert_eq!(config.healthcheck.expect("check").test.expect("test"), ["CMD-SHELL", "true"]);
    }

    #[test]
    fn others_are_refused() {
        for bad in ["FROM x", "RUN true", "ENV A", "ENV \"A=b", "EXPOSE x", "EXPOSE 9-8", "USER", "HEALTHCHECK MAYBE"] {
            assert!(matches!(of(&[bad]), Err(Error::Invalid(_))), "{bad}");
        }
    }
}
