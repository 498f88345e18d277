//! An answer on its way to whoever reads it: the guest, delta by delta, or the host itself, which takes it back from the
//! guest to forward it.
//!
//! Promises: what was read and not yet handed over stays here, so that an answer can be taken back in the middle; whatever
//! way it went, the whole of it is known in the end.

use std::any::{Any, TypeId};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rookery_models::{Assembly, Delta, Error, Whole};
use wasmtime::StoreContextMut;
use wasmtime::component::{Destination, StreamProducer, StreamResult, VecBuffer};

use crate::contract::model;
use crate::model::metered::Metered;
use crate::state::State;
use crate::tasks::Running;

/// See the module.
pub(crate) struct Flow {
    answer: Metered,
    run: Running,
    /// What has come and was not handed over.
    ready: VecDeque<Delta>,
    come: Vec<Delta>,
    whole: Assembly,
    /// Counted while it is open.
    _open: Arc<()>,
}

impl Flow {
    pub(crate) fn new(answer: Metered, run: Running, open: Arc<()>) -> Self {
        let (ready, come, whole) = Default::default();
        Self { answer, run, ready, come, whole, _open: open }
    }

    /// All that has come, at least one; none after the last.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut VecDeque<Delta>>> {
        if self.ready.is_empty() {
            let more = std::task::ready!(self.answer.poll(cx, &mut self.come));
            if !more {
                return Poll::Ready(None);
            }
            for delta in &self.come {
                self.whole.push(delta);
                match delta {
                    Delta::Failed(error) if self.answer.fell_silent() => {
                        self.run.output.written.reply().stalled(error.to_string());
                    }
                    Delta::Failed(error) => super::note(&self.run, error),
                    _ => {}
                }
            }
            self.ready.extend(self.come.drain(..));
        }
        Poll::Ready(Some(&mut self.ready))
    }

    /// What was said, all in all.
    pub(crate) fn whole(self) -> Result<Whole, Error> {
        self.whole.finish()
    }
}

impl StreamProducer<State> for Flow {
    type Item = model::Delta;
    type Buffer = VecBuffer<model::Delta>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let ready = match self.poll(cx) {
            Poll::Ready(Some(ready)) => ready,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        // Not more than there is room for: the engine would keep what is over, and lose it where the answer is taken back.
        let room = destination.remaining(&mut store).unwrap_or(usize::MAX).min(ready.len());
        let last = ready.range(..room).any(Delta::is_last);
        let items: Vec<_> = ready.drain(..room).map(Into::into).collect();
        if !items.is_empty() {
            destination.set_buffer(items.into());
        }
        Poll::Ready(Ok(if last { StreamResult::Dropped } else { StreamResult::Completed }))
    }

    fn try_into(me: Pin<Box<Self>>, ty: TypeId) -> Result<Box<dyn Any>, Pin<Box<Self>>> {
        if ty == TypeId::of::<Self>() { Ok(Pin::into_inner(me) as Box<dyn Any>) } else { Err(me) }
    }
}
