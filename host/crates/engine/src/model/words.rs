//! The contract's words for models, and the host's own.

use rookery_models::{
    Assistant, Delta, Embeddings, Ending, Error, Message, Part, Reason, Request, Setting, Tool, ToolCall,
    ToolChoice, Usage, Whole,
};

use crate::contract::{model, types};

impl From<model::Request> for Request {
    fn from(request: model::Request) -> Self {
        Self { messages: all(request.messages), tools: all(request.tools), settings: all(request.settings) }
    }
}

impl From<model::Message> for Message {
    fn from(message: model::Message) -> Self {
        match message {
            model::Message::System(text) => Self::System(text),
            model::Message::User(parts) => Self::User(all(parts)),
            model::Message::Assistant(said) => Self::Assistant(Assistant {
                text: said.text,
                tool_calls: all(said.tool_calls),
                state: said.state,
            }),
            model::Message::Tool(types::ToolResult { id, content, is_error }) => {
                Self::Tool { id, content, is_error }
            }
        }
    }
}

impl From<model::Part> for Part {
    fn from(part: model::Part) -> Self {
        match part {
            model::Part::Text(text) => Self::Text(text),
            model::Part::Image(model::Image::Url(url)) => Self::ImageUrl(url),
            model::Part::Image(model::Image::Inline((media_type, bytes))) => {
                Self::Image { media_type, bytes }
            }
        }
    }
}

impl From<model::Tool> for Tool {
    fn from(tool: model::Tool) -> Self {
        Self { name: tool.name, description: tool.description, parameters: tool.parameters }
    }
}

impl From<model::Setting> for Setting {
    fn from(setting: model::Setting) -> Self {
        match setting {
            model::Setting::MaxTokens(most) => Self::MaxTokens(most),
            model::Setting::Temperature(temperature) => Self::Temperature(temperature),
            model::Setting::TopP(sum) => Self::TopP(sum),
            model::Setting::Stop(texts) => Self::Stop(texts),
            model::Setting::ToolChoice(choice) => Self::ToolChoice(match choice {
                model::ToolChoice::Auto => ToolChoice::Auto,
                model::ToolChoice::Never => ToolChoice::Never,
                model::ToolChoice::Required => ToolChoice::Required,
                model::ToolChoice::Named(name) => ToolChoice::Named(name),
            }),
            model::Setting::Schema(schema) => Self::Schema { name: schema.name, json: schema.json },
            model::Setting::Extra(json) => Self::Extra(json),
        }
    }
}

impl From<types::ToolCall> for ToolCall {
    fn from(call: types::ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments: call.arguments }
    }
}

impl From<ToolCall> for types::ToolCall {
    fn from(call: ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments: call.arguments }
    }
}

impl From<Delta> for model::Delta {
    fn from(delta: Delta) -> Self {
        match delta {
            Delta::Text(text) => Self::Text(text),
            Delta::Reasoning(text) => Self::Reasoning(text),
            Delta::ToolCall(call) => Self::ToolCall(call.into()),
            Delta::Usage(usage) => Self::Usage(usage.into()),
            Delta::Ended(Ending { reason, state }) => {
                Self::Ended(model::Ending { reason: reason.into(), state })
            }
            Delta::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl From<Usage> for types::Usage {
    fn from(usage: Usage) -> Self {
        Self { model: usage.model, input_tokens: usage.input_tokens, output_tokens: usage.output_tokens }
    }
}

impl From<Reason> for model::Reason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Stop => Self::Stop,
            Reason::Length => Self::Length,
            Reason::ToolCalls => Self::ToolCalls,
            Reason::Refused => Self::Refused,
            Reason::Other(word) => Self::Other(word),
        }
    }
}

impl From<Whole> for model::Answer {
    fn from(whole: Whole) -> Self {
        let Assistant { text, tool_calls, state } = whole.message;
        Self {
            message: model::Assistant { text, tool_calls: all(tool_calls), state },
            reasoning: whole.reasoning,
            reason: whole.reason.into(),
            usage: whole.usage.into(),
        }
    }
}

impl From<Embeddings> for model::Embeddings {
    fn from(embeddings: Embeddings) -> Self {
        Self { vectors: embeddings.vectors, usage: embeddings.usage.into() }
    }
}

impl From<Error> for model::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NotGranted(why) => Self::NotGranted(why),
            Error::OverBudget(why) => Self::OverBudget(why),
            Error::Rejected(why) => Self::Rejected(why),
            Error::Unavailable(why) => Self::Unavailable(why),
            Error::Cancelled => Self::Cancelled,
        }
    }
}

fn all<A, B: From<A>>(from: Vec<A>) -> Vec<B> {
    from.into_iter().map(Into::into).collect()
}
