//! Connections that their readers help along.
//!
//! hyper gives a connection a task of its own, which on HTTP/1 hands a response over one frame at a time, and waits until it
//! was taken. A model says every word in a frame of its own, so each word would take two turns of the scheduler. Here a
//! reader that finds nothing polls the connection itself, in its own turn, and so has all that has come at once.
//!
//! Promises: a connection goes on whether or not anybody reads. It wakes its own task and nobody else, whoever polled it last.
//! Nobody waits while another polls it.
//! Ends when: the connection does.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Response, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::rt::{Executor, Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// Runs connections.
#[derive(Clone)]
pub(crate) struct Lines;

impl Executor<BoxFuture<'static, ()>> for Lines {
    fn execute(&self, connection: BoxFuture<'static, ()>) {
        let running = Mutex::new(Some(Running { connection, task: Waker::noop().clone() }));
        let line = Arc::new(Line { running, missed: AtomicBool::new(false) });
        tokio::spawn(poll_fn(move |cx| line.turn(cx)));
    }
}

/// A connection under way.
pub(crate) struct Line {
    /// None when it has ended.
    running: Mutex<Option<Running>>,
    /// Its task had a turn while a reader polled, and needs another.
    missed: AtomicBool,
}

struct Running {
    connection: BoxFuture<'static, ()>,
    task: Waker,
}

thread_local! {
    /// The line that is being polled on this thread: what its connection reads from learns so whose it is.
    static POLLED: RefCell<Option<Weak<Line>>> = const { RefCell::new(None) };
}

impl Line {
    /// A turn of the connection's own task.
    fn turn(self: &Arc<Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(polled) = self.poll(Some(cx.waker())) {
            return polled;
        }
        // Who polls it now looks here when done; or has been, and then it is free.
        self.missed.store(true, Ordering::SeqCst);
        self.poll(Some(cx.waker())).unwrap_or(Poll::Pending)
    }

    /// A turn that a reader gives it. False where there is nothing to be had from it.
    fn help(self: &Arc<Self>) -> bool {
        let polled = self.poll(None);
        if polled.is_some()
            && self.missed.swap(false, Ordering::SeqCst)
            && let Ok(running) = self.running.try_lock()
            && let Some(running) = &*running
        {
            running.task.wake_by_ref();
        }
        polled.is_some()
    }

    /// None where somebody else polls it right now.
    fn poll(self: &Arc<Self>, task: Option<&Waker>) -> Option<Poll<()>> {
        let mut running = match self.running.try_lock() {
            Ok(running) => running,
            Err(TryLockError::WouldBlock) => return None,
            // It panicked, which its task has told; it is over.
            Err(TryLockError::Poisoned(_)) => return Some(Poll::Ready(())),
        };
        let Some(Running { connection, task: own }) = &mut *running else { return Some(Poll::Ready(())) };
        if let Some(task) = task {
            own.clone_from(task);
        }
        let own = own.clone();
        let before = POLLED.replace(Some(Arc::downgrade(self)));
        let polled = connection.as_mut().poll(&mut Context::from_waker(&own));
        POLLED.set(before);
        if polled.is_ready() {
            *running = None;
            own.wake();
        }
        Some(polled)
    }
}

/// Whose an open socket is; empty until its connection has been polled.
type Owner = Arc<OnceLock<Weak<Line>>>;

/// A socket that knows the line which reads from it.
pub(crate) struct Wire<T> {
    io: T,
    owner: Owner,
}

impl<T> Wire<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, owner: Owner::default() }
    }
}

impl<T: Connection> Connection for Wire<T> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.owner.clone())
    }
}

impl<T: Read + Unpin> Read for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.owner.get().is_none()
            && let Some(line) = POLLED.with_borrow(Clone::clone)
        {
            let _ = self.owner.set(line);
        }
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: Write + Unpin> Write for Wire<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }
}

/// A response's body whose reader helps its connection along.
pub(crate) struct Helped<B> {
    body: B,
    /// None on HTTP/2, where what has come is there, and where the connection has ended.
    line: Option<Arc<Line>>,
}

/// The body of a response that came over a [`Wire`].
pub(crate) fn helped<B>(response: Response<B>) -> Response<Helped<B>> {
    let owner = response.extensions().get::<Owner>().filter(|_| response.version() < Version::HTTP_2);
    let line = owner.and_then(|owner| owner.get()).and_then(Weak::upgrade);
    response.map(|body| Helped { body, line })
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Helped<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &self.line {
            Some(line) if polled.is_pending() && line.help() => Pin::new(&mut self.body).poll_frame(cx),
            _ => polled,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
