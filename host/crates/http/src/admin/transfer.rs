//! Agents' files on their way out and in, piece by piece.
//!
//! Promises: a copy that lacks its end does not look whole; what is sent is written to the disk as it comes.
//! Bounded by: [`PIECE`] of memory for each, the [`Scratch`] files there may be at a time, and the size that the keeper
//! gives for one that comes in.

use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use rookery_core::{ByteSize, Code, Failure, Span};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::admin::keeper::{KeeperError, Scratch};
use crate::problem::{Kind, Problem};

/// As much as is read at a time.
const PIECE: usize = 64 * 1024;

/// A file as the body of a response.
#[derive(Debug)]
pub(crate) struct Outgoing {
    file: File,
    left: u64,
    piece: Box<[u8]>,
    _scratch: Scratch,
}

impl Outgoing {
    pub(crate) async fn open(scratch: Scratch) -> Result<Self, Problem> {
        let open = async {
            let file = File::open(scratch.path()).await?;
            let left = file.metadata().await?.len();
            Ok((file, left))
        };
        let (file, left) = open.await.map_err(|error| on_disk(&error))?;
        Ok(Self { file, left, piece: vec![0; PIECE].into(), _scratch: scratch })
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = ReadBuf::new(&mut this.piece);
        if let Err(error) = ready!(Pin::new(&mut this.file).poll_read(cx, &mut piece)) {
            return Poll::Ready(Some(Err(error)));
        }
        let read = piece.filled();
        if read.is_empty() {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        this.left = this.left.saturating_sub(read.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(read)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Writes a body into a file of at most `limit` bytes. Every piece may take `patience` to come.
pub(crate) async fn receive<B>(
    body: &mut B,
    scratch: &Scratch,
    limit: u64,
    patience: Duration,
) -> Result<(), Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Display,
{
    if body.size_hint().lower() > limit {
        return Err(too_large(limit));
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(scratch.path()).await.map_err(|error| on_disk(&error))?;
    let mut left = limit;
    while let Some(frame) = timeout(patience, body.frame()).await.map_err(|_| silent(patience))? {
        let frame = frame
            .map_err(|error| Problem::new(Kind::BodyIncomplete, format!("the body broke off: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| too_large(limit))?;
        file.write_all(&bytes).await.map_err(|error| on_disk(&error))?;
    }
    file.flush().await.map_err(|error| on_disk(&error))
}

fn too_large(limit: u64) -> Problem {
    let limit = ByteSize(limit);
    let hint = "raise `storage` under [limits] in the plugin's sidecar for more";
    Problem::new(Kind::BodyTooLarge, format!("an agent of this plugin may keep {limit}; {hint}"))
}

fn silent(patience: Duration) -> Problem {
    Problem::new(
        Kind::BodyTimeout,
        format!("nothing of the body came for {}; send it faster", Span(patience)),
    )
}

fn on_disk(error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::StorageFull {
        return KeeperError::DiskFull.into();
    }
    tracing::error!("a copy of an agent cannot be written or read: {error}");
    let message = "the host cannot write or read a copy on its disk; its log says why";
    Failure::new(Code::Internal, message).into()
}
