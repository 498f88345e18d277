//! Writes every kind of chunk, and says what it was told and given.

wit_bindgen::generate!({ path: "../../../wit", world: "rookery:agent/plugin", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::{Chunk, NamedData, Origin, ToolCall, ToolResult, Usage};
use wasi::config::store;

struct Talker;

impl Guest for Talker {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let (about, rest) = prompt.text.split_once(' ').unwrap_or((&prompt.text, ""));
        let text = match about {
            "kinds" => return kinds(&reply),
            "say" => rest.to_owned(),
            "config" => format!("{:?}", store::get(rest)),
            "config-all" => {
                let mut all = store::get_all().unwrap_or_default();
                all.sort();
                format!("{all:?}")
            }
            "body" => prompt.body.unwrap_or_else(|| "none".into()),
            "run" => prompt.run,
            "origin" => match prompt.origin {
                Origin::Client(Some(_)) => "a client with an address".into(),
                other => format!("{other:?}"),
            },
            "env" => format!(
                "{:?} {:?}",
                std::env::vars().collect::<Vec<_>>(),
                std::env::args().collect::<Vec<_>>()
            ),
            "file" => format!("{:?}", std::fs::read_to_string(rest).map_err(|error| error.kind())),
            "connect" => {
                format!("{:?}", std::net::TcpStream::connect(rest).map(drop).map_err(|error| error.kind()))
            }
            "print" => {
                println!("{rest}");
                eprintln!("{rest}");
                "printed".into()
            }
            other => return Err(Failure::Rejected(format!("nothing to say about {other}"))),
        };
        let _ = reply.write(&Chunk::Text(text));
        Ok(())
    }
}

fn kinds(reply: &Reply) -> Result<(), Failure> {
    let chunks = [
        Chunk::Reasoning("let me see".into()),
        Chunk::Data(NamedData { name: "progress".into(), json: r#"{"percent":50}"#.into() }),
        Chunk::ToolCall(ToolCall { id: "1".into(), name: "add".into(), arguments: "[1,2]".into() }),
        Chunk::ToolResult(ToolResult { id: "1".into(), content: "3".into(), is_error: false }),
        Chunk::Text("it is 3".into()),
        Chunk::Usage(Usage { model: "m".into(), input_tokens: 3, output_tokens: 4 }),
    ];
    for chunk in chunks {
        reply.write(&chunk).map_err(|refusal| Failure::Failed(format!("{refusal:?}")))?;
    }
    Ok(())
}

export!(Talker);
