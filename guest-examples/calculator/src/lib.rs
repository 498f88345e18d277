//! An agent with a tool: the model asks it to add two numbers, and says what it makes of the sum.
//!
//! The same agent is there in JavaScript (`calculator-js`) and in Python (`calculator-py`).

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::model::{self, Error, Message, Part, Request, Tool};
use rookery::agent::output::Refusal;
use rookery::agent::types::{Chunk, ToolCall, ToolResult};
use serde_json::Value;

/// How often the model is asked for one answer at most; one that never stops using its tool would cost without end.
const TURNS: usize = 8;

struct Calculator;

impl Guest for Calculator {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let messages = vec![Message::User(vec![Part::Text(prompt.text)])];
        let mut request = Request { messages, tools: vec![add()], settings: vec![] };
        for _ in 0..TURNS {
            let answer = reply.forward(model::chat(None, &request)?).await?;
            if answer.message.tool_calls.is_empty() {
                return Ok(());
            }
            let results: Vec<_> = answer.message.tool_calls.iter().map(answered).collect();
            request.messages.push(Message::Assistant(answer.message));
            for result in results {
                reply.write(&Chunk::ToolResult(result.clone()))?;
                request.messages.push(Message::Tool(result));
            }
        }
        Err(Failure::Failed(format!(
            "asked {TURNS} times, the model still wants its tool; ask for less at once"
        )))
    }
}

/// What the model is told of the tool.
fn add() -> Tool {
    Tool {
        name: "add".into(),
        description: "Adds two numbers.".into(),
        parameters: r#"{
            "type": "object",
            "properties": { "a": { "type": "number" }, "b": { "type": "number" } },
            "required": ["a", "b"]
        }"#
        .into(),
    }
}

/// Does what the model asked for. What is wrong with it is for the model to read, and to mend.
fn answered(call: &ToolCall) -> ToolResult {
    let answer = match &*call.name {
        "add" => sum(&call.arguments).ok_or("`a` and `b` have to be numbers"),
        _ => Err("there is only the tool `add`"),
    };
    let is_error = answer.is_err();
    let content = answer.unwrap_or_else(|wrong| Value::from(wrong).to_string());
    ToolResult { id: call.id.clone(), content, is_error }
}

fn sum(arguments: &str) -> Option<String> {
    let numbers: Value = serde_json::from_str(arguments).ok()?;
    let sum = numbers["a"].as_f64()? + numbers["b"].as_f64()?;
    sum.is_finite().then(|| sum.to_string())
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) | Error::OverBudget(why) => Self::Unavailable(why),
            Error::Rejected(why) | Error::NotGranted(why) => Self::Failed(why),
            Error::Cancelled => Self::Failed("the run is over".into()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(format!("what the tool answered was not taken: {}", refusal.name()))
    }
}

export!(Calculator);
