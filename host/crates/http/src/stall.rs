//! A connection that gives up on a client that has stopped taking part.
//!
//! Promises: a client that takes no byte for `write_stall` while bytes wait for it is disconnected; so is one that
//! does not begin its first request within `opening`.
//! Costs: nothing while bytes flow; the timer runs only while a write waits.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A connection with an eye on the clock.
#[derive(Debug)]
pub(crate) struct Stall<I> {
    io: I,
    write_stall: Duration,
    writing: Wait,
    opening: Opening,
}

#[derive(Debug)]
enum Wait {
    Not,
    /// The timer of an earlier wait is kept for the next one.
    Over(Pin<Box<Sleep>>),
    For(Pin<Box<Sleep>>),
}

/// How the connection begins. Until it is known whether a client speaks HTTP/1 or HTTP/2, neither protocol's own
/// timeouts count.
#[derive(Debug)]
enum Opening {
    Unknown { read: usize, timer: Pin<Box<Sleep>> },
    Known,
}

/// The bytes that tell HTTP/2 from HTTP/1: `PRI * HTTP/2.0` and what follows it.
const PREFACE: usize = 24;

impl<I> Stall<I> {
    pub(crate) fn new(io: I, opening: Duration, write_stall: Duration) -> Self {
        let opening = Opening::Unknown { read: 0, timer: Box::pin(sleep(opening)) };
        Self { io, write_stall, writing: Wait::Not, opening }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        // Who is answered has said enough.
        self.opening = Opening::Known;
        let wait = std::mem::replace(&mut self.writing, Wait::Not);
        let mut timer = match (wait, written.is_ready()) {
            (Wait::Not, true) => return written,
            (Wait::Over(timer) | Wait::For(timer), true) => {
                self.writing = Wait::Over(timer);
                return written;
            }
            (Wait::Not, false) => Box::pin(sleep(self.write_stall)),
            (Wait::Over(mut timer), false) => {
                timer.as_mut().reset(Instant::now() + self.write_stall);
                timer
            }
            (Wait::For(timer), false) => timer,
        };
        let stalled = timer.as_mut().poll(cx).is_ready();
        self.writing = Wait::For(timer);
        if stalled { Poll::Ready(Err(timed_out("the client takes nothing"))) } else { Poll::Pending }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Stall<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let polled = Pin::new(&mut this.io).poll_read(cx, into);
        let Opening::Unknown { read, timer } = &mut this.opening else { return polled };
        if polled.is_pending() {
            ready!(timer.as_mut().poll(cx));
            return Poll::Ready(Err(timed_out("the client asks nothing")));
        }
        *read += into.filled().len() - before;
        if *read >= PREFACE {
            this.opening = Opening::Known;
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Stall<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watch(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bytes);
        this.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.watch(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        this.watch(cx, polled)
    }
}

fn timed_out(why: &str) -> Error {
    Error::new(ErrorKind::TimedOut, why)
}
