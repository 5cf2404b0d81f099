//! Log lines on stderr. Under journald each begins with its priority, as `<6>`.

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// Begins logging. `levels` is `off`, `error`, `warn`, `info`, `debug` or `trace`, or such levels by room, as
/// `info,pierless::api=debug`.
///
/// # Errors
/// An unknown level.
pub fn init(levels: &str) -> Result<(), String> {
    let targets: Targets = levels.parse().map_err(|err| format!("log level {levels:?}: {err}"))?;
    // Set by systemd when stderr goes to the journal.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal();
    let logger = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(Plain { journal })
        .finish()
        .with(targets);
    // A second call, in tests, changes nothing.
    let _ = tracing::subscriber::set_global_default(logger);
    Ok(())
}

struct Plain {
    journal: bool,
}

impl<S, N> FormatEvent<S, N> for Plain
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if self.journal {
            let priority = match level {
                Level::ERROR => 3,
                Level::WARN => 4,
                Level::INFO => 6,
                _ => 7,
            };
            write!(out, "<{priority}>")?;
        } else {
            write!(out, "pierless: {}: ", level.as_str().to_ascii_lowercase())?;
        }
        for span in ctx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            write!(out, "{}", span.name())?;
            if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(out, "{{{fields}}}")?;
            }
            out.write_str(": ")?;
        }
        ctx.format_fields(out.by_ref(), event)?;
        writeln!(out)
    }
}
