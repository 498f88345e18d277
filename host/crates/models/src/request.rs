//! What a model is asked: the words of `wit/model.wit` as types.

use crate::estimate_tokens;

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The tools that there are.
    pub tools: Vec<Tool>,
    /// How to answer; each setting once at most.
    pub settings: Vec<Setting>,
}

/// What a picture has in tokens, as far as anybody can say without looking at it: what most providers count for one of
/// a thousand pixels a side.
const PICTURE: u64 = 1_000;

impl Request {
    /// About how many tokens it has; see [`estimate_tokens`].
    pub fn estimated_tokens(&self) -> u64 {
        let calls = |calls: &[ToolCall]| {
            calls.iter().map(|call| call.name.len() + call.arguments.len()).sum::<usize>()
        };
        let (mut bytes, mut pictures) = (0, 0);
        for message in &self.messages {
            bytes += match message {
                Message::System(text) | Message::Tool { content: text, .. } => text.len(),
                Message::Assistant(said) => said.text.len() + calls(&said.tool_calls),
                Message::User(parts) => {
                    let texts =
                        parts.iter().map(|part| if let Part::Text(text) = part { text.len() } else { 0 });
                    pictures += parts.iter().filter(|part| !matches!(part, Part::Text(_))).count() as u64;
                    texts.sum()
                }
            };
        }
        let tools =
            self.tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.len());
        bytes += tools.sum::<usize>();
        estimate_tokens(bytes) + pictures * PICTURE
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// How the model is to behave.
    System(String),
    /// What a user says.
    User(Vec<Part>),
    /// What the model said.
    Assistant(Assistant),
    /// What a tool answered.
    Tool {
        /// The id of the call that this answers.
        id: String,
        /// The answer: any text.
        content: String,
        /// Whether the tool failed.
        is_error: bool,
    },
}

/// A part of what a user says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture at a URL.
    ImageUrl(String),
    /// A picture here.
    Image {
        /// Its media type, such as `image/png`.
        media_type: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// What a model said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assistant {
    /// Its words.
    pub text: String,
    /// The tools that it asked for.
    pub tool_calls: Vec<ToolCall>,
    /// What the provider wants to see again with this message.
    pub state: Option<String>,
}

/// A tool that a model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// Names the call.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Its arguments, complete, as one JSON value.
    pub arguments: String,
}

/// A tool that a model may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments.
    pub parameters: String,
}

/// Whether a model has to use a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolChoice {
    /// As it likes.
    Auto,
    /// None of them.
    Never,
    /// One of them, or several.
    Required,
    /// This one.
    Named(String),
}

/// What may be said about how to answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// The most tokens that the answer may have.
    MaxTokens(u32),
    /// How freely words are chosen.
    Temperature(f32),
    /// Only the likeliest words, up to this sum of probabilities.
    TopP(f32),
    /// The answer ends before any of these texts.
    Stop(Vec<String>),
    /// Whether tools have to be used.
    ToolChoice(ToolChoice),
    /// The answer's text is JSON of this form.
    Schema {
        /// A name for the form.
        name: String,
        /// Its JSON schema.
        json: String,
    },
    /// Whatever else the provider understands: one JSON object.
    Extra(String),
}
