//! Sends one GET with wasi:http 0.2, as components from elsewhere do, and says what came of it.

wit_bindgen::generate!({ path: "../../../wit", world: "rookery:agent/contract", generate_all });

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::Chunk;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};

struct Fetcher;

impl Guest for Fetcher {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        if let Err(error) = fetch(&prompt.text, &reply) {
            say(&reply, &format!("{error:?}"));
        }
        Ok(())
    }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

fn fetch(url: &str, reply: &Reply) -> Result<(), ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    let coming = outgoing_handler::handle(request, None)?;
    // WASI 0.2 knows no awaiting: this holds the whole instance until the response is there.
    coming.subscribe().block();
    let response = match coming.get() {
        Some(Ok(response)) => response?,
        _ => return Err(ErrorCode::InternalError(None)),
    };
    say(reply, &format!("{}\n", response.status()));
    let body = response.consume().map_err(|()| ErrorCode::InternalError(None))?;
    let stream = body.stream().map_err(|()| ErrorCode::InternalError(None))?;
    while let Ok(bytes) = stream.blocking_read(16 * 1024) {
        say(reply, &String::from_utf8_lossy(&bytes));
    }
    Ok(())
}

export!(Fetcher);
