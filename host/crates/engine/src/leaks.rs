//! The leak guard around what a guest writes: the values that the host adds to its requests are masked in its runs' streams,
//! in the messages of their failures, and in the lines that it logs.
//!
//! Promises: every hit is an incident in the log, under the value's name; the value itself is in no log and no stream.
//! Chunks keep their order: what is held back of a text leaves before anything that was written after it.
//! Costs: nothing where nothing is injected.

use std::sync::{Arc, Mutex, PoisonError};

use rookery_agents::{Refusal, Reply};
use rookery_core::{AgentId, Chunk};
use rookery_leaks::{Guard, Hit, Mask};

/// A plugin's guard, for one of its agents.
#[derive(Clone)]
pub(crate) struct Leaks {
    guard: Guard,
    agent: AgentId,
}

impl Leaks {
    pub(crate) fn new(guard: Guard, agent: AgentId) -> Self {
        Self { guard, agent }
    }

    /// A text that is whole.
    pub(crate) fn mask(&self, text: String) -> String {
        if self.guard.is_empty() {
            return text;
        }
        let masked = self.guard.mask(&text);
        self.tell(&masked.hits);
        masked.text.into_owned()
    }

    /// A text that comes in pieces.
    pub(crate) fn stream(&self) -> Mask {
        self.guard.stream()
    }

    /// Tells of what was found.
    pub(crate) fn tell(&self, hits: &[Hit]) {
        for Hit { name, times, .. } in hits {
            tracing::warn!(
                agent = %self.agent, secret = %name, times,
                "the guest wrote a value that the host adds to its requests; it was masked"
            );
        }
    }

    /// Where a run writes.
    pub(crate) fn guarded(&self, reply: Reply) -> Guarded {
        let run = (!self.guard.is_empty()).then(|| {
            let (leaks, reply) = (self.clone(), reply.clone());
            let (text, reasoning) = (leaks.stream(), leaks.stream());
            Arc::new(Run { leaks, reply, masks: Mutex::new(Masks { text, reasoning }) })
        });
        Guarded { reply, run }
    }
}

/// A run's stream behind the guard. Clones share it.
#[derive(Clone)]
pub(crate) struct Guarded {
    reply: Reply,
    /// None where there is nothing to guard.
    run: Option<Arc<Run>>,
}

struct Run {
    leaks: Leaks,
    reply: Reply,
    masks: Mutex<Masks>,
}

struct Masks {
    text: Mask,
    reasoning: Mask,
}

impl Guarded {
    pub(crate) fn reply(&self) -> &Reply {
        &self.reply
    }

    pub(crate) fn write(&self, chunk: Chunk) -> Result<(), Refusal> {
        match &self.run {
            None => self.reply.write(chunk),
            Some(_) => self.write_all([chunk]),
        }
    }

    pub(crate) fn write_all(&self, chunks: impl IntoIterator<Item = Chunk>) -> Result<(), Refusal> {
        let Some(run) = &self.run else { return self.reply.write_all(chunks) };
        let mut masks = run.masks();
        let mut passed = Vec::new();
        chunks.into_iter().for_each(|chunk| masks.pass(&run.leaks, chunk, &mut passed));
        // Under the lock, so that what two writers write is in the order in which it was masked.
        self.reply.write_all(passed)
    }

    /// Lets out what is held back: nothing follows it.
    pub(crate) fn finish(&self) {
        if let Some(run) = &self.run {
            run.finish();
        }
    }
}

impl Run {
    fn masks(&self) -> std::sync::MutexGuard<'_, Masks> {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self) {
        let (mut masks, mut passed) = (self.masks(), Vec::new());
        masks.let_out(&mut passed);
        if !passed.is_empty() {
            // Refused where the run takes nothing any more.
            let _ = self.reply.write_all(passed);
        }
    }
}

impl Drop for Run {
    /// A guest that trapped has written it all the same.
    fn drop(&mut self) {
        self.finish();
    }
}

impl Masks {
    /// What of this chunk may leave now, after what has to leave before it.
    fn pass(&mut self, leaks: &Leaks, chunk: Chunk, passed: &mut Vec<Chunk>) {
        let masked = |mask: &mut Mask, text| {
            let pushed = mask.push(text);
            leaks.tell(&pushed.hits);
            pushed.text
        };
        match chunk {
            Chunk::Text(text) => {
                Self::rest(&mut self.reasoning, Chunk::Reasoning, passed);
                let empty = text.is_empty();
                let text = masked(&mut self.text, text);
                if empty || !text.is_empty() {
                    passed.push(Chunk::Text(text));
                }
            }
            Chunk::Reasoning(text) => {
                Self::rest(&mut self.text, Chunk::Text, passed);
                let empty = text.is_empty();
                let text = masked(&mut self.reasoning, text);
                if empty || !text.is_empty() {
                    passed.push(Chunk::Reasoning(text));
                }
            }
            whole => {
                self.let_out(passed);
                passed.push(match whole {
                    Chunk::Data { name, json } => Chunk::Data { name, json: leaks.mask(json) },
                    Chunk::ToolCall { id, name, arguments } => Chunk::ToolCall {
                        id: leaks.mask(id),
                        name: leaks.mask(name),
                        arguments: leaks.mask(arguments),
                    },
                    Chunk::ToolResult { id, content, is_error } => {
                        Chunk::ToolResult { id: leaks.mask(id), content: leaks.mask(content), is_error }
                    }
                    Chunk::Usage { model, input_tokens, output_tokens } => {
                        Chunk::Usage { model: leaks.mask(model), input_tokens, output_tokens }
                    }
                    text => text,
                });
            }
        }
    }

    fn let_out(&mut self, passed: &mut Vec<Chunk>) {
        Self::rest(&mut self.text, Chunk::Text, passed);
        Self::rest(&mut self.reasoning, Chunk::Reasoning, passed);
    }

    fn rest(mask: &mut Mask, chunk: fn(String) -> Chunk, passed: &mut Vec<Chunk>) {
        if mask.held() > 0 {
            passed.push(chunk(mask.finish()));
        }
    }
}
