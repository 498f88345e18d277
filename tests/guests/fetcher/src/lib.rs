//! Sends one request with wasi:http 0.3 and says what came of it. The prompt is a URL, or a word and a URL.

wit_bindgen::generate!({
    inline: "
        package test:fetcher;
        world fetcher {
            include rookery:agent/plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.3.0;
        }
    ",
    path: "../../../wit",
    generate_all,
});

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::types::Chunk;
use wasi::clocks::monotonic_clock::wait_for;
use wasi::http::client;
use wasi::http::types::{ErrorCode, Fields, Method, Request, RequestOptions, Response, Scheme};
use wit_bindgen::rt::async_support::StreamResult;

struct Fetcher;

impl Guest for Fetcher {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let (how, url) = prompt.text.split_once(' ').unwrap_or(("get", &prompt.text));
        let result = match how {
            "get" => fetch(url, None, None, &reply).await,
            "spoof" => fetch(url, Some(("authorization", "Bearer forged")), None, &reply).await,
            "post" => fetch(url, None, Some(vec![b'x'; 1 << 20]), &reply).await,
            "leave" => leave(url, &reply).await,
            "open" => open(url, &reply).await,
            other => return Err(Failure::Rejected(format!("no way to fetch: {other}"))),
        };
        if let Err(error) = result {
            say(&reply, &format!("{error:?}"));
        }
        Ok(())
    }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

async fn fetch(
    url: &str,
    header: Option<(&str, &str)>,
    body: Option<Vec<u8>>,
    reply: &Reply,
) -> Result<(), ErrorCode> {
    let response = send(url, header, body).await?;
    say(reply, &format!("{}\n", response.get_status_code()));
    let (_, taken) = wit_future::new(|| Ok(()));
    let (mut body, trailers) = Response::consume_body(response, taken);
    loop {
        let (result, bytes) = body.read(Vec::with_capacity(16 * 1024)).await;
        if !bytes.is_empty() {
            say(reply, &String::from_utf8_lossy(&bytes));
        }
        if matches!(result, StreamResult::Dropped) {
            break;
        }
    }
    trailers.await.map(drop)
}

/// Opens a response, and returns without having closed it.
async fn leave(url: &str, reply: &Reply) -> Result<(), ErrorCode> {
    std::mem::forget(send(url, None, None).await?);
    say(reply, "left it open");
    Ok(())
}

/// Opens a response, reads nothing of it, and never returns.
async fn open(url: &str, reply: &Reply) -> Result<(), ErrorCode> {
    let _response = send(url, None, None).await?;
    say(reply, "open");
    wait_for(u64::MAX).await;
    Ok(())
}

async fn send(url: &str, header: Option<(&str, &str)>, body: Option<Vec<u8>>) -> Result<Response, ErrorCode> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let headers: Vec<_> =
        header.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    let headers =
        Fields::from_list(&headers).map_err(|error| ErrorCode::InternalError(Some(format!("{error:?}"))))?;
    let (_, no_trailers) = wit_future::new(|| Ok(None));
    let (mut contents, sent) = wit_stream::new();
    let method = if body.is_some() { Method::Post } else { Method::Get };
    let options = RequestOptions::new();
    let (request, _) = Request::new(headers, body.is_some().then_some(sent), no_trailers, Some(options));
    let _ = request.set_method(&method);
    let _ = request.set_scheme(Some(&scheme));
    let _ = request.set_authority(Some(authority));
    let _ = request.set_path_with_query(Some(path));
    if let Some(body) = body {
        wit_bindgen::spawn_local(async move {
            contents.write_all(body).await;
        });
    }
    client::send(request).await
}

export!(Fetcher);
