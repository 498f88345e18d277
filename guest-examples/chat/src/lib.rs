//! A conversation with a model: its words go on to the client as they come, and each agent remembers what was said, also
//! after it slept and the host was started again.

wit_bindgen::generate!({ path: "../../wit", world: "rookery:agent/plugin", generate_all });

mod memory;

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::model::{self, Error, Message, Part, Request};

struct Chat;

impl Guest for Chat {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let (mut messages, turn) = memory::remembered()?;
        messages.push(Message::User(vec![Part::Text(prompt.text.clone())]));

        let request = Request { messages, tools: vec![], settings: vec![] };
        let answer = reply.forward(model::chat(None, &request)?).await?;

        // Only what was answered becomes part of the conversation.
        memory::remember(turn, &prompt.text, &answer.message.text)
    }
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

export!(Chat);
