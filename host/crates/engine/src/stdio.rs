//! A guest's stdout and stderr: lines in the host's log, under the agent's name.
//!
//! Bounded by: [`LINE`] bytes a line; a longer one is logged in pieces. Writing never waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use rookery_core::AgentId;
use rookery_leaks::Mask;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2;

use crate::leaks::Leaks;

/// The longest piece that is logged at once. Long enough for a backtrace's line, short enough that a guest which never
/// ends its line holds little.
const LINE: usize = 4 * 1024;

/// One of a guest's two output streams.
#[derive(Clone)]
pub(crate) struct Lines {
    agent: AgentId,
    stream: &'static str,
    leaks: Leaks,
    begun: Arc<Mutex<Begun>>,
}

/// A line that has begun.
struct Begun {
    bytes: Vec<u8>,
    /// Over pieces of a line: a value may lie across them.
    mask: Mask,
}

impl Lines {
    pub(crate) fn new(agent: AgentId, stream: &'static str, leaks: &Leaks) -> Self {
        let begun = Begun { bytes: Vec::new(), mask: leaks.stream() };
        Self { agent, stream, leaks: leaks.clone(), begun: Arc::new(Mutex::new(begun)) }
    }

    fn write(&self, bytes: &[u8]) {
        let mut begun = self.begun();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(LINE) {
                begun.bytes.extend_from_slice(piece);
                if begun.bytes.ends_with(b"\n") || begun.bytes.len() >= LINE {
                    self.log(&mut begun);
                }
            }
        }
    }

    fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logs what there is of a line.
    fn log(&self, begun: &mut Begun) {
        let bytes = std::mem::take(&mut begun.bytes);
        let pushed = begun.mask.push(String::from_utf8_lossy(&bytes).into_owned());
        self.leaks.tell(&pushed.hits);
        let mut line = pushed.text;
        if bytes.len() < LINE || bytes.ends_with(b"\n") {
            line.push_str(&begun.mask.finish());
        }
        // Control characters could forge other lines, or move a terminal's cursor.
        let line: String = line
            .trim_end()
            .chars()
            .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
            .collect();
        if !line.is_empty() {
            tracing::info!(target: "guest", agent = %self.agent, stream = self.stream, "{line}");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if Arc::strong_count(&self.begun) == 1 {
            self.log(&mut self.begun());
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // Said again for WASI 0.2, whose default would move every write through a task of its own.
    fn p2_stream(&self) -> Box<dyn p2::OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl p2::OutputStream for Lines {
    fn write(&mut self, bytes: bytes::Bytes) -> p2::StreamResult<()> {
        Lines::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> p2::StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> p2::StreamResult<usize> {
        Ok(LINE)
    }
}

#[wasmtime_wasi::async_trait]
impl p2::Pollable for Lines {
    async fn ready(&mut self) {}
}

#[cfg(test)]
mod tests {
    use rookery_leaks::Guard;

    use super::*;

    fn begun(writes: &[&[u8]]) -> Vec<u8> {
        let agent = AgentId { plugin: "p".parse().unwrap(), name: "n".parse().unwrap() };
        let lines = Lines::new(agent.clone(), "stdout", &Leaks::new(Guard::none(), agent));
        for bytes in writes {
            lines.write(bytes);
        }
        lines.begun().bytes.clone()
    }

    #[test]
    fn only_the_line_that_has_begun_is_kept() {
        assert_eq!(begun(&[b"one\ntw", b"o\nthr", b"ee"]), b"three");
        assert_eq!(begun(&[b"all\n"]), b"");
    }

    #[test]
    fn a_line_without_an_end_is_not_kept_for_ever() {
        assert!(begun(&[&vec![b'x'; 10 * LINE + 17]]).len() <= LINE);
    }
}
