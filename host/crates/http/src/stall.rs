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
use tokio::time::{Sleep, sleep};

/// A connection with an eye on the clock.
#[derive(Debug)]
pub(crate) struct Stall<I> {
    io: I,
    write_stall: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
    opening: Opening,
}

/// How the connection begins. Until it is known whether a client speaks HTTP/1 or HTTP/2, neither protocol's own
/// timeouts count.
#[derive(Debug)]
enum Opening {
    Unknown { read: usize, timer: Pin<Box<Sleep>> },
    Known,
}

/// As many bytes as tell HTTP/2 from HTTP/1: those of `PRI * HTTP/2.0` and what follows it.
const PREFACE: usize = 24;

impl<I> Stall<I> {
    pub(crate) fn new(io: I, opening: Duration, write_stall: Duration) -> Self {
        let opening = Opening::Unknown { read: 0, timer: Box::pin(sleep(opening)) };
        Self { io, write_stall, stalled: None, opening }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        // Whoever is being answered has asked.
        self.opening = Opening::Known;
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.write_stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("the client takes nothing")))
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

    // Neither of these waits for the client: a TCP connection has nothing to flush, and is shut down at once.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

fn timed_out(why: &str) -> Error {
    Error::new(ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::Instant;

    use super::*;

    const OPENING: Duration = Duration::from_secs(30);
    const STALL: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up_after_the_stall_and_not_before() {
        let (mut client, io) = duplex(4);
        let mut server = Stall::new(io, OPENING, STALL);
        let began = Instant::now();
        let writing = tokio::spawn(async move { server.write_all(&[0; 12]).await });
        // It takes some just in time, so the wait begins again.
        sleep(STALL - Duration::from_secs(1)).await;
        client.read_exact(&mut [0; 4]).await.unwrap();
        let error = writing.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), STALL - Duration::from_secs(1) + STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_nothing_or_ever_so_slowly_is_given_up() {
        for bytes in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, io) = duplex(64);
            let mut server = Stall::new(io, OPENING, STALL);
            let began = Instant::now();
            tokio::spawn(async move {
                for byte in bytes {
                    client.write_all(&[*byte]).await.unwrap();
                    sleep(Duration::from_secs(1)).await;
                }
                sleep(2 * OPENING).await;
            });
            let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(began.elapsed(), OPENING);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_asked_may_wait_for_its_answer() {
        let (mut client, io) = duplex(64);
        let mut server = Stall::new(io, OPENING, STALL);
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        server.read_exact(&mut [0; 18]).await.unwrap();
        server.write_all(b"an answer").await.unwrap();
        let began = Instant::now();
        let reading = tokio::spawn(async move { server.read_to_end(&mut Vec::new()).await });
        sleep(10 * OPENING).await;
        drop(client);
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        assert_eq!(began.elapsed(), 10 * OPENING);
    }
}
