//! A log line is one line, whatever a stranger put into it: control characters and invisible direction marks are
//! written as escapes, in both formats, so that nobody can forge a line or drive an operator's terminal.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::config::{Common, LogFormat};

/// Writes this process' log to standard error from now on. `service` stands in every line. In a process with
/// several services, as in tests, the first one wins.
pub fn init(common: &Common, service: &'static str) {
    let subscriber = subscriber(common.log_format, &common.log_filter, service, std::io::stderr);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        for warning in &common.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// The same with any writer.
fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    service: &'static str,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // The filter was checked with the other settings; tests may pass anything.
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(writer);
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Json => {
            let inner = tracing_subscriber::fmt::format().json().flatten_event(true).with_span_list(false);
            Box::new(
                registry.with(layer.fmt_fields(JsonFields::new()).event_format(JsonLine { service, inner })),
            )
        }
        LogFormat::Human => {
            let inner = tracing_subscriber::fmt::format().with_ansi(false);
            Box::new(registry.with(layer.event_format(HumanLine { service, inner })))
        }
    }
}

struct JsonLine {
    service: &'static str,
    inner: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        let fields = line.strip_prefix('{').ok_or(fmt::Error)?;
        write!(writer, r#"{{"service":"{}","#, self.service)?;
        write_escaped(&mut writer, fields)
    }
}

struct HumanLine {
    service: &'static str,
    inner: Format,
}

impl<S, N> FormatEvent<S, N> for HumanLine
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.inner.format_event(ctx, Writer::new(&mut line), event)?;
        write!(writer, "{} ", self.service)?;
        write_escaped(&mut writer, &line)
    }
}

/// Writes a line, its end and nothing else that is not visible. The escapes are JSON's, so JSON stays JSON.
fn write_escaped(writer: &mut Writer<'_>, line: &str) -> fmt::Result {
    for c in line.strip_suffix('\n').unwrap_or(line).chars() {
        if is_unsafe(c) {
            write!(writer, "\\u{:04x}", u32::from(c))?;
        } else {
            writer.write_char(c)?;
        }
    }
    writer.write_char('\n')
}

/// Control characters, line and paragraph separators, and the marks that reorder text.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while writing").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, act: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(format, "info", "api", move || writer.clone()), act);
        let bytes = page.0.lock().expect("no panic while writing").clone();
        String::from_utf8(bytes).expect("log lines are UTF-8")
    }

    const NASTY: &str = "x\r\n2026-01-01 INFO forged \u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{2028}\0y";

    fn say_nasty() {
        let span = tracing::info_span!("request", request_id = NASTY);
        let _inside = span.enter();
        tracing::info!(path = NASTY, debugged = ?NASTY, "got {NASTY}");
    }

    #[test]
    fn s37_control_characters_cannot_forge_a_line() {
        for format in [LogFormat::Json, LogFormat::Human] {
            let text = logged(format, say_nasty);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n'));
            assert!(!text.trim_end_matches('\n').chars().any(is_unsafe), "{text:?}");
            assert!(text.contains("forged"), "{text:?}");
        }
    }

    #[test]
    fn s37_json_lines_stay_json_and_keep_their_fields() {
        let text = logged(LogFormat::Json, say_nasty);
        let line: serde_json::Value = serde_json::from_str(&text).expect("a JSON object");
        assert_eq!(line["service"], "api");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["path"], NASTY);
        assert_eq!(line["span"]["name"], "request");
        assert_eq!(line["span"]["request_id"], NASTY);
    }

    #[test]
    fn human_lines_name_the_service_and_the_level() {
        let text = logged(LogFormat::Human, || {
            tracing::info!(room = 7, "opened");
            tracing::debug!("not this");
        });
        assert!(
            text.starts_with("api ") && text.contains("INFO") && text.ends_with("opened room=7\n"),
            "{text}"
        );
    }
}
