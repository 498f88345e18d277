//! A plugin's models and what it may spend on them: every call is counted, and ends where a budget does.
//!
//! Promise: what a call costs is counted in its run, its agent and its plugin, whatever becomes of it. By how much a budget may
//! be exceeded is said at [`Meter`]: here one `output` is what a model said between two looks at it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rookery_core::AgentName;
use rookery_models::{Answer, Delta, Embeddings, Error, Granted, ModelName, Request, Usage, estimate_tokens};
use rookery_usage::{Charge, Meter, Price, Refused};

use crate::tasks::Running;

/// What a plugin may ask and spend.
#[derive(Clone)]
pub struct Models {
    /// The models that it was granted.
    pub granted: Granted,
    /// What counts its calls, and keeps them within its budget.
    pub meter: Meter,
    /// What the models cost, as far as that is known.
    pub prices: Arc<BTreeMap<ModelName, Price>>,
}

/// An answer on its way, and what it costs.
pub(crate) struct Metered {
    /// None when it was ended because a budget is spent.
    answer: Option<Answer>,
    bill: Bill,
}

/// One call's.
struct Bill {
    charge: Charge,
    run: Running,
    /// What is known of it, for when it is ended before its provider says.
    estimate: Usage,
    /// Bytes of the answer.
    said: usize,
    settled: bool,
}

impl Models {
    /// The same for one of the plugin's agents, for the log.
    pub(crate) fn for_agent(&self, agent: &str) -> Self {
        Self { granted: self.granted.for_agent(agent), ..self.clone() }
    }

    pub(crate) fn chat(
        &self,
        agent: &AgentName,
        name: Option<&str>,
        request: Request,
        run: &Running,
    ) -> Result<Metered, Error> {
        let mut bill = self.bill(agent, name, request.estimated_tokens(), run)?;
        match self.granted.chat(name, request, run.ended.clone()) {
            Ok(answer) => Ok(Metered { answer: Some(answer), bill }),
            Err(error) => {
                bill.charge.usage(0, 0);
                Err(error)
            }
        }
    }

    pub(crate) async fn embed(
        &self,
        agent: &AgentName,
        name: Option<&str>,
        texts: Vec<String>,
        run: &Running,
    ) -> Result<Embeddings, Error> {
        let bytes: usize = texts.iter().map(String::len).sum();
        let mut bill = self.bill(agent, name, estimate_tokens(bytes), run)?;
        let embedding = match self.granted.embed(name, texts, run.ended.clone()) {
            Ok(embedding) => embedding.await,
            Err(error) => Err(error),
        };
        match &embedding {
            Ok(Embeddings { usage, .. }) => bill.charge.usage(usage.input_tokens, usage.output_tokens),
            Err(_) => bill.charge.usage(0, 0),
        }
        embedding
    }

    fn bill(&self, agent: &AgentName, name: Option<&str>, input: u64, run: &Running) -> Result<Bill, Error> {
        let name = self.granted.named(name)?;
        let price = self.prices.get(name).copied();
        let charge =
            self.meter.begin(agent, &run.spend, name.as_str(), price, input).map_err(
                |refused| match refused {
                    Refused::Over(over) => Error::OverBudget(over.to_string()),
                    Refused::Unpriced(unpriced) => {
                        Error::Rejected(format!("{unpriced}; {}", unpriced.hint()))
                    }
                },
            )?;
        let estimate = Usage { model: name.to_string(), input_tokens: input, output_tokens: 0 };
        Ok(Bill { charge, run: run.clone(), estimate, said: 0, settled: false })
    }
}

impl Metered {
    /// All that has come; see [`Answer::poll`]. The last delta says so where a budget is spent.
    pub(crate) fn poll(
        &mut self,
        cx: &mut std::task::Context<'_>,
        into: &mut Vec<Delta>,
    ) -> std::task::Poll<bool> {
        let Some(answer) = &mut self.answer else { return std::task::Poll::Ready(false) };
        let (before, more) = (into.len(), std::task::ready!(answer.poll(cx, into)));
        let come = into.get(before..).unwrap_or_default();
        if let Err(over) = self.bill.count(come)
            && !come.iter().any(Delta::is_last)
        {
            self.answer = None;
            into.push(Delta::Usage(self.bill.estimate.clone()));
            into.push(Delta::Failed(Error::OverBudget(over)));
        }
        std::task::Poll::Ready(more)
    }

    /// Whether it failed because the provider fell silent.
    pub(crate) fn fell_silent(&self) -> bool {
        self.answer.as_ref().is_some_and(Answer::fell_silent)
    }
}

impl Bill {
    /// Counts what has come. An error says which budget is spent.
    fn count(&mut self, come: &[Delta]) -> Result<(), String> {
        let before = estimate_tokens(self.said);
        for delta in come {
            self.said += match delta {
                Delta::Text(text) | Delta::Reasoning(text) => text.len(),
                Delta::ToolCall(call) => call.name.len() + call.arguments.len(),
                Delta::Usage(_) | Delta::Ended(_) | Delta::Failed(_) => 0,
            };
        }
        let said = estimate_tokens(self.said);
        self.estimate.output_tokens = said;
        let over = self.charge.output(said - before).map_err(|over| over.to_string());
        for delta in come {
            match delta {
                Delta::Usage(usage) => {
                    self.settled = true;
                    self.charge.usage(usage.input_tokens, usage.output_tokens);
                }
                // Nothing was said, and nothing of the question was read, as far as anybody knows.
                Delta::Failed(_) if !self.settled && self.said == 0 => self.charge.usage(0, 0),
                _ => {}
            }
        }
        if come.iter().any(Delta::is_last) {
            self.tell();
        }
        over
    }

    /// Tells the run what it has spent so far.
    fn tell(&self) {
        self.run.output.written.reply().spent(self.run.spend.read());
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.tell();
    }
}
