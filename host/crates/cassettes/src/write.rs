//! An exchange as a cassette's text.

use std::fmt::{self, Write as _};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::HeaderMap;

use crate::exchange::{Ended, Exchange, Response};
use crate::json;
use crate::quote::quote;

/// Base64 is broken into lines of so many characters, so that no editor has to show one of megabytes.
const LINE: usize = 100;

/// What stands above the first exchange.
pub(crate) fn opening(agent: &str) -> String {
    format!(
        "# What {agent} asked over HTTP and what it was answered. It may be edited; `rookery dev --replay` reads it.\n\
         # Times are milliseconds: `at` since the recording began, `after` since the request, in a response since its head.\n"
    )
}

impl fmt::Display for Exchange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n[[exchange]]\nat = {}", self.at)?;
        writeln!(out, "method = {}", quote(self.method.as_str()))?;
        writeln!(out, "url = {}", quote(&self.url))?;
        lines(out, "headers", &self.headers)?;
        match std::str::from_utf8(&self.body) {
            Ok("") => {}
            Ok(text) if json::document(&self.body).is_some() => {
                writeln!(out, "json = {}", quote(&json::laid_out(text)))?;
            }
            _ => writeln!(out, "{}", bytes(&self.body))?,
        }
        writeln!(out, "after = {}", self.after)?;
        if self.ended != Ended::Whole {
            writeln!(out, "ended = {}", quote(&name(self.ended)))?;
        }
        if !self.detail.is_empty() {
            writeln!(out, "detail = {}", quote(&self.detail))?;
        }
        self.response.iter().try_for_each(|response| write!(out, "{response}"))
    }
}

impl fmt::Display for Response {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n[exchange.response]\nstatus = {}", self.status.as_u16())?;
        lines(out, "headers", &self.headers)?;
        if !self.frames.is_empty() {
            writeln!(out, "frames = [")?;
            for (at, piece) in self.pieces() {
                writeln!(out, "  {{ at = {at}, {} }},", bytes(&piece))?;
            }
            writeln!(out, "]")?;
        }
        self.trailers.iter().try_for_each(|trailers| lines(out, "trailers", trailers))?;
        writeln!(out, "until = {}", self.until)
    }
}

/// The kebab-case name that reading knows it by.
fn name(ended: Ended) -> String {
    serde_json::to_value(ended).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn lines(out: &mut fmt::Formatter<'_>, key: &str, headers: &HeaderMap) -> fmt::Result {
    if headers.is_empty() && key != "trailers" {
        return Ok(());
    }
    writeln!(out, "{key} = [")?;
    for (name, value) in headers {
        writeln!(out, "  {},", quote(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))))?;
    }
    writeln!(out, "]")
}

/// `text = …` or `base64 = …`.
fn bytes(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return format!("text = {}", quote(text));
    }
    let encoded = BASE64_STANDARD.encode(bytes);
    if encoded.len() <= LINE {
        return format!("base64 = \"{encoded}\"");
    }
    let mut broken = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for line in encoded.as_bytes().chunks(LINE) {
        // Writing to a string cannot fail.
        let _ = writeln!(broken, "{}", String::from_utf8_lossy(line));
    }
    format!("base64 = '''\n{broken}'''")
}
