//! A guest's stdout and stderr: lines in the host's log, under the agent's name.
//!
//! Bounded by: [`LINE`] bytes a line; a longer one is logged in pieces. Writing never waits.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use rookery_core::AgentId;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2;

/// The longest piece that is logged at once. Long enough for a backtrace's line, short enough that a guest which never
/// ends its line holds little.
const LINE: usize = 4 * 1024;

/// One of a guest's two output streams.
#[derive(Clone)]
pub(crate) struct Lines {
    agent: AgentId,
    stream: &'static str,
    begun: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(crate) fn new(agent: AgentId, stream: &'static str) -> Self {
        Self { agent, stream, begun: Arc::default() }
    }

    fn write(&self, bytes: &[u8]) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in piece.chunks(LINE) {
                begun.extend_from_slice(piece);
                if begun.ends_with(b"\n") || begun.len() >= LINE {
                    self.log(&begun);
                    begun.clear();
                }
            }
        }
    }

    fn log(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
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
            let begun = std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner));
            self.log(&begun);
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
    use super::*;

    fn begun(writes: &[&[u8]]) -> Vec<u8> {
        let agent = AgentId { plugin: "p".parse().unwrap(), name: "n".parse().unwrap() };
        let lines = Lines::new(agent, "stdout");
        for bytes in writes {
            lines.write(bytes);
        }
        lines.begun.lock().unwrap().clone()
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
