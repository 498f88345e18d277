//! Asks the models that it was granted, in every way there is.

wit_bindgen::generate!({ path: "../../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::model::{
    self, Answer, Assistant, ComingAnswer, Delta, Error, Message, Part, Request, Setting, Tool,
};
use rookery::agent::storage;
use rookery::agent::types::{Chunk, NamedData, ToolResult};
use wit_bindgen::rt::async_support::StreamResult;

struct Asker;

impl Guest for Asker {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let (how, text) = prompt.text.split_once(' ').unwrap_or((&prompt.text, ""));
        match how {
            // The host passes the answer on, and then it is told what was said.
            "forward" => {
                let answer = reply.forward(chat(text)?).await?;
                tell(&reply, &answer)
            }
            // The same, delta by delta.
            "loop" => {
                let mut answer = chat(text)?;
                read(&mut answer, usize::MAX, &reply).await
            }
            // In pieces of one delta.
            "one-by-one" => {
                let mut answer = chat(text)?;
                while let Some(delta) = answer.deltas.next().await {
                    pass_on(delta, &reply)?;
                }
                Ok(())
            }
            // A few deltas, and the host passes on the rest.
            "some" => {
                let (count, text) = text.split_once(' ').unwrap_or((text, ""));
                let mut answer = chat(text)?;
                read(&mut answer, count.parse().unwrap_or(1), &reply).await?;
                let answer = reply.forward(answer).await?;
                tell(&reply, &answer)
            }
            // Returns while the host still passes on.
            "forget" => {
                drop(reply.forward(chat(text)?));
                Ok(())
            }
            // Two answers at once.
            "both" => {
                let (one, other) = (reply.forward(chat(text)?), reply.forward(chat(text)?));
                let (one, other) = (one.await?, other.await?);
                let _ = reply.write(&Chunk::Text(format!("|{}|{}", one.message.text, other.message.text)));
                Ok(())
            }
            // Hears of the failure, and helps itself.
            "help" => {
                if let Err(error) = reply.forward(chat(text)?).await {
                    let _ = reply.write(&Chunk::Text(format!("instead of {error:?}")));
                }
                Ok(())
            }
            // Hears the first word, and no more.
            "drop" => {
                let mut answer = chat(text)?;
                answer.deltas.next().await;
                drop(answer);
                let _ = reply.write(&Chunk::Text("dropped".into()));
                Ok(())
            }
            // As many answers as it can get, of which it reads none.
            "hoard" => {
                let (mut held, mut refused) = (Vec::new(), String::new());
                while refused.is_empty() {
                    match chat(text) {
                        Ok(answer) => held.push(answer),
                        Err(error) => refused = format!("{} {error:?}", held.len()),
                    }
                }
                held.clear();
                let again = chat(text).is_ok();
                let _ = reply.write(&Chunk::Text(format!("{refused} {again}")));
                Ok(())
            }
            // A stream of its own cannot be forwarded.
            "own" => {
                let (mut sender, deltas) = wit_stream::new::<Delta>();
                let refused = reply.forward(ComingAnswer { deltas }).await;
                let (result, _) = sender.write(vec![Delta::Text("mine".into())]).await;
                let _ = reply.write(&Chunk::Text(format!("{refused:?} {result:?}")));
                Ok(())
            }
            // What is written before a question is kept, whatever comes then.
            "keep" => {
                storage::set("asked", text.as_bytes())
                    .map_err(|error| Failure::Failed(format!("{error:?}")))?;
                drop(reply.forward(chat("hello")?));
                storage::set("asked", b"after").map_err(|error| Failure::Failed(format!("{error:?}")))?;
                unreachable!("and traps")
            }
            "kept" => {
                let kept = storage::get("asked").ok().flatten().unwrap_or_default();
                let _ = reply.write(&Chunk::Text(String::from_utf8_lossy(&kept).into_owned()));
                Ok(())
            }
            "model" => {
                let (name, text) = text.split_once(' ').unwrap_or((text, ""));
                reply.forward(model::chat(Some(name), &request(text))?).await?;
                Ok(())
            }
            "extra" => {
                let mut request = request("hello");
                request.settings.push(Setting::Extra(text.into()));
                reply.forward(model::chat(None, &request)?).await?;
                Ok(())
            }
            "embed" => {
                let texts: Vec<_> = text.split(' ').map(String::from).collect();
                let embeddings = model::embed(None, &texts).await?;
                let sizes: Vec<_> = embeddings.vectors.iter().map(Vec::len).collect();
                let _ = reply.write(&Chunk::Text(format!("{sizes:?} {:?}", embeddings.usage)));
                Ok(())
            }
            "tools" => tools(text, &reply).await,
            other => Err(Failure::Rejected(format!("nothing is asked like {other}"))),
        }
    }
}

fn request(text: &str) -> Request {
    let messages = vec![Message::User(vec![Part::Text(text.into())])];
    Request { messages, tools: vec![], settings: vec![] }
}

fn chat(text: &str) -> Result<ComingAnswer, Error> {
    model::chat(None, &request(text))
}

/// Passes on deltas until there were so many, or no more.
async fn read(answer: &mut ComingAnswer, most: usize, reply: &Reply) -> Result<(), Failure> {
    let mut passed = 0;
    while passed < most {
        let (result, deltas) = answer.deltas.read(Vec::with_capacity(most.min(256) - passed.min(255))).await;
        passed += deltas.len();
        for delta in deltas {
            pass_on(delta, reply)?;
        }
        if result == StreamResult::Dropped {
            break;
        }
    }
    Ok(())
}

fn pass_on(delta: Delta, reply: &Reply) -> Result<(), Failure> {
    let chunk = match delta {
        Delta::Text(text) => Chunk::Text(text),
        Delta::Reasoning(text) => Chunk::Reasoning(text),
        Delta::ToolCall(call) => Chunk::ToolCall(call),
        Delta::Usage(usage) => Chunk::Usage(usage),
        Delta::Ended(_) => return Ok(()),
        Delta::Failed(error) => return Err(error.into()),
    };
    reply.write(&chunk).map_err(|refusal| Failure::Failed(format!("{refusal:?}")))
}

/// Says what it was told of an answer.
fn tell(reply: &Reply, answer: &Answer) -> Result<(), Failure> {
    let json = serde_json::json!({
        "text": answer.message.text,
        "reasoning": answer.reasoning,
        "tools": answer.message.tool_calls.len(),
        "reason": format!("{:?}", answer.reason),
        "input": answer.usage.input_tokens,
        "output": answer.usage.output_tokens,
    });
    let data = NamedData { name: "answer".into(), json: json.to_string() };
    reply.write(&Chunk::Data(data)).map_err(|refusal| Failure::Failed(format!("{refusal:?}")))
}

/// Has the model add numbers with a tool, until it has nothing more to add.
async fn tools(text: &str, reply: &Reply) -> Result<(), Failure> {
    let parameters = r#"{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"number"}}}"#;
    let add =
        Tool { name: "add".into(), description: "Adds two numbers.".into(), parameters: parameters.into() };
    let mut request = Request { tools: vec![add], ..request(text) };
    loop {
        let answer = reply.forward(model::chat(None, &request)?).await?;
        let Assistant { tool_calls, .. } = &answer.message;
        if tool_calls.is_empty() {
            return Ok(());
        }
        let results: Vec<_> = tool_calls.iter().map(|call| added(&call.id, &call.arguments)).collect();
        request.messages.push(Message::Assistant(answer.message));
        for result in results {
            let _ = reply.write(&Chunk::ToolResult(result.clone()));
            request.messages.push(Message::Tool(result));
        }
    }
}

fn added(id: &str, arguments: &str) -> ToolResult {
    let numbers: serde_json::Value = serde_json::from_str(arguments).unwrap_or_default();
    let sum = numbers["a"].as_f64().zip(numbers["b"].as_f64()).map(|(a, b)| a + b);
    let content = sum.map_or("\"two numbers are needed\"".into(), |sum| sum.to_string());
    ToolResult { id: id.into(), content, is_error: sum.is_none() }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(why) | Error::OverBudget(why) => Self::Unavailable(why),
            Error::Rejected(why) => Self::Rejected(why),
            Error::NotGranted(why) => Self::Failed(why),
            Error::Cancelled => Self::Failed("the run is over".into()),
        }
    }
}

export!(Asker);
