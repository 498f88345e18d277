//! The contract in `wit/`, bound to Rust, and the host's side of its imports.

use wasmtime::component::{HasSelf, InstancePre, Linker};

use crate::state::State;

#[allow(missing_docs, reason = "generated; the WIT files are the documentation")]
mod generated {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        world: "rookery:agent/contract",
        imports: {
            default: trappable,
            "rookery:agent/output.[method]reply.write": store | trappable,
            "rookery:agent/output.[method]reply.forward": store | trappable,
            "rookery:agent/model.chat": store | trappable,
            "rookery:agent/model.embed": store | trappable,
            "rookery:agent/fetch.send": store | trappable,
        },
        exports: { default: async | store },
        with: {
            "rookery:agent/output.reply": crate::output::Output,
            "rookery:agent/sql.rows": rookery_storage::Rows,
        },
    });
}

#[allow(missing_docs, reason = "generated; the WIT files are the documentation")]
mod optional {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        inline: "
            package rookery:host;
            world lifecycle { export rookery:agent/lifecycle@0.1.0; }
        ",
        exports: { default: async | store },
    });
}

#[allow(missing_docs, reason = "generated; the WIT files are the documentation")]
mod waking {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        inline: "
            package rookery:host;
            world alarm { export rookery:agent/alarm@0.1.0; }
        ",
        imports: { default: trappable },
        exports: { default: async | store },
        with: {
            "rookery:agent/types": super::generated::rookery::agent::types,
            "rookery:agent/model": super::generated::rookery::agent::model,
            "rookery:agent/output": super::generated::rookery::agent::output,
        },
    });
}

pub(crate) use generated::rookery::agent::types;

use generated::rookery::agent::identity;
pub(crate) use generated::rookery::agent::{fetch, model, output, schedule, sql, storage};
pub(crate) use optional::LifecyclePre;
pub(crate) use waking::AlarmPre;
pub(crate) use waking::exports::rookery::agent::alarm::Ringing;

/// Links the contract's imports.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    identity::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    output::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    storage::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    sql::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    schedule::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    model::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    fetch::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// Checks that a component exports what every plugin must. An error says what it lacks.
pub(crate) fn check(pre: &InstancePre<State>) -> wasmtime::Result<()> {
    generated::ContractPre::new(pre.clone()).map(drop)
}

impl types::Host for State {}

impl identity::Host for State {
    fn agent(&mut self) -> wasmtime::Result<types::AgentId> {
        Ok((&self.agent).into())
    }
}

impl From<types::Chunk> for rookery_core::Chunk {
    fn from(chunk: types::Chunk) -> Self {
        match chunk {
            types::Chunk::Text(text) => Self::Text(text),
            types::Chunk::Reasoning(text) => Self::Reasoning(text),
            types::Chunk::Data(data) => Self::Data { name: data.name, json: data.json },
            types::Chunk::ToolCall(call) => {
                Self::ToolCall { id: call.id, name: call.name, arguments: call.arguments }
            }
            types::Chunk::ToolResult(result) => {
                Self::ToolResult { id: result.id, content: result.content, is_error: result.is_error }
            }
            types::Chunk::Usage(usage) => Self::Usage {
                model: usage.model,
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
            },
        }
    }
}

impl From<&rookery_core::AgentId> for types::AgentId {
    fn from(agent: &rookery_core::AgentId) -> Self {
        Self { plugin: agent.plugin.to_string(), name: agent.name.to_string() }
    }
}

impl From<rookery_core::Prompt> for types::Prompt {
    fn from(prompt: rookery_core::Prompt) -> Self {
        let origin = match prompt.origin {
            rookery_core::Origin::Client(address) => types::Origin::Client(address),
            rookery_core::Origin::Agent(agent) => types::Origin::Agent((&agent).into()),
            rookery_core::Origin::Schedule(name) => types::Origin::Schedule(name),
        };
        Self { run: prompt.run.to_string(), text: prompt.text, body: prompt.body, origin }
    }
}

impl From<types::Failure> for rookery_core::Failure {
    fn from(failure: types::Failure) -> Self {
        use rookery_core::Code;
        match failure {
            types::Failure::Rejected(message) => Self::new(Code::Rejected, message),
            types::Failure::Unavailable(message) => Self::new(Code::Unavailable, message),
            types::Failure::Failed(message) => Self::new(Code::Failed, message),
        }
    }
}
