//! Fetches in every way there is. The prompt is a word, a URL, and what else the word wants.

wit_bindgen::generate!({ path: "../../../wit", world: "rookery:agent/plugin", generate_all });

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use exports::rookery::agent::handler::{Failure, Guest, Prompt, Reply};
use rookery::agent::fetch::{self, Body, Error, Request, Response, Timeouts};
use rookery::agent::storage;
use rookery::agent::types::Chunk;
use wit_bindgen::rt::async_support::{StreamReader, StreamResult, StreamWriter};

thread_local! {
    /// What work said that was left over.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Fetch;

impl Guest for Fetch {
    async fn handle(prompt: Prompt, reply: Reply) -> Result<(), Failure> {
        let mut words = prompt.text.split(' ');
        let (how, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let rest: Vec<_> = words.collect();
        match &how[..] {
            // The response, and how it ended.
            "get" => tell(fetch::send(get(url)).await, &reply).await,
            // With a method of its own, and a header.
            "as" => {
                let headers = match rest[1..] {
                    [name, value] => vec![(name.to_owned(), value.to_owned())],
                    _ => vec![],
                };
                tell(fetch::send(Request { method: rest[0].into(), headers, ..get(url) }).await, &reply).await
            }
            "post" => {
                let body = Body::Text(rest.join(" "));
                tell(fetch::send(post(url, body)).await, &reply).await
            }
            "upload" => {
                let (mut writer, stream) = wit_stream::new();
                let sent = fetch::send(post(url, Body::Streamed(stream)));
                for word in &rest {
                    writer.write_all(word.as_bytes().to_vec()).await;
                }
                drop(writer);
                tell(sent.await, &reply).await
            }
            // Fails where the response is not whole.
            "insist" => {
                let response = fetch::send(get(url)).await.map_err(failed)?;
                response.body.collect().await;
                return response.ended.await.map_err(failed);
            }
            "hurry" => {
                let timeouts = Timeouts { connect: None, first_byte: Some(50), between_bytes: Some(50) };
                tell(fetch::send(Request { timeouts: Some(timeouts), ..get(url) }).await, &reply).await
            }
            "echo" => echo(url, rest[0].parse().unwrap_or_default(), &reply).await?,
            // Says how much it has written, after each piece.
            "pour" => {
                let (mut writer, stream) = wit_stream::new();
                let sent = fetch::send(post(url, Body::Streamed(stream)));
                let mut written = 0;
                while writer.write_all(vec![b'x'; 64 * 1024]).await.is_empty() {
                    written += 1;
                    say(&reply, &format!("{written}\n"));
                }
                say(&reply, &format!("poured\n{}", ending(sent.await.map(drop))));
            }
            "pass" => {
                let response = fetch::send(get(url)).await.map_err(failed)?;
                let passed = fetch::send(post(rest[0], Body::Streamed(response.body))).await;
                say(&reply, &format!("{}\n", ending(response.ended.await)));
                tell(passed, &reply).await;
            }
            // Looks before it reads, and gives up a read.
            "look" => {
                let mut response = fetch::send(get(url)).await.map_err(failed)?;
                let given_up = {
                    let mut read = pin!(response.body.read(Vec::with_capacity(16)));
                    poll_fn(|cx| Poll::Ready(drop(read.as_mut().poll(cx)))).await;
                    read.cancel()
                };
                say(&reply, &format!("{given_up:?}\n"));
                let (seen, nothing) = response.body.read(Vec::new()).await;
                say(&reply, &format!("{seen:?} {}\n", nothing.len()));
                let (read, piece) = response.body.read(Vec::with_capacity(3)).await;
                say(&reply, &format!("{read:?} {}\n", String::from_utf8_lossy(&piece)));
                tell(Ok(response), &reply).await;
            }
            // Opens a response, reads nothing, and says so.
            "open" => {
                let response = fetch::send(get(url)).await.map_err(failed)?;
                say(&reply, "open");
                say(&reply, &ending(response.ended.await));
            }
            "leave" => {
                std::mem::forget(fetch::send(get(url)).await);
                say(&reply, "left");
            }
            "later" => {
                let (first, url) = (fetch::send(get(url)), url.to_owned());
                wit_bindgen::spawn_local(async move {
                    let first = ending(first.await.map(drop));
                    let (mut writer, stream) = wit_stream::new();
                    let second = ending(fetch::send(post(&url, Body::Streamed(stream))).await.map(drop));
                    let unread = writer.write_all(b"nobody reads".to_vec()).await.len();
                    SAID.set(format!("{first}, {second}, {unread}"));
                });
            }
            "said" => say(&reply, &SAID.with_borrow(String::clone)),
            "drop" => dropping(url, &reply).await?,
            "trap" => {
                let (mut writer, stream) = wit_stream::new();
                let sent = fetch::send(post(url, Body::Streamed(stream)));
                writer.write_all(b"half of it".to_vec()).await;
                // The server has it, so there is room for more, and what is written next does not have to wait.
                let _response = sent.await.map_err(failed)?;
                let kept = |value: &str| {
                    storage::set("kept", value.as_bytes())
                        .map_err(|error| Failure::Failed(format!("{error:?}")))
                };
                kept("before")?;
                let mut write = pin!(writer.write(b".".to_vec()));
                let _ = write.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                kept("after")?;
                unreachable!("and traps")
            }
            "kept" => {
                let kept = storage::get("kept").ok().flatten().unwrap_or_default();
                say(&reply, &String::from_utf8_lossy(&kept));
            }
            other => return Err(Failure::Rejected(format!("nothing is fetched like {other}"))),
        }
        Ok(())
    }
}

fn get(url: &str) -> Request {
    Request { method: "GET".into(), url: url.into(), headers: vec![], body: None, timeouts: None }
}

fn post(url: &str, body: Body) -> Request {
    Request { method: "POST".into(), body: Some(body), ..get(url) }
}

fn say(reply: &Reply, text: &str) {
    let _ = reply.write(&Chunk::Text(text.into()));
}

fn ending(ended: Result<(), Error>) -> String {
    match ended {
        Ok(()) => "whole".into(),
        Err(error) => format!("{error:?}"),
    }
}

fn failed(error: Error) -> Failure {
    Failure::Failed(format!("{error:?}"))
}

/// Says what came, piece by piece.
async fn tell(response: Result<Response, Error>, reply: &Reply) {
    let mut response = match response {
        Ok(response) => response,
        Err(error) => return say(reply, &format!("{error:?}")),
    };
    say(reply, &format!("{}\n", response.status));
    for (name, value) in response.headers {
        say(reply, &format!("{name}: {value}\n"));
    }
    loop {
        let (result, piece) = response.body.read(Vec::with_capacity(16 * 1024)).await;
        say(reply, &String::from_utf8_lossy(&piece));
        if matches!(result, StreamResult::Dropped) {
            break;
        }
    }
    say(reply, &format!("\n{}", ending(response.ended.await)));
}

/// Sends so many bytes that no two places have in common, and compares what comes back while it sends.
async fn echo(url: &str, count: usize, reply: &Reply) -> Result<(), Failure> {
    let (writer, stream) = wit_stream::new();
    let sent = fetch::send(post(url, Body::Streamed(stream)));
    wit_bindgen::spawn_local(write(writer, count));
    let response = sent.await.map_err(failed)?;
    let read = compare(response.body, count).await;
    say(reply, &format!("{read} {}", ending(response.ended.await)));
    Ok(())
}

async fn write(mut writer: StreamWriter<u8>, count: usize) {
    let (mut bytes, mut sizes) = (numbers(1), numbers(2));
    let mut left = count;
    while left > 0 {
        let size = left.min(sizes.next().unwrap_or_default() as usize * 700 + 1);
        writer.write_all(bytes.by_ref().take(size).collect()).await;
        left -= size;
    }
}

async fn compare(mut body: StreamReader<u8>, count: usize) -> String {
    let (mut expected, mut sizes) = (numbers(1), numbers(3));
    let mut read = 0;
    loop {
        let room = sizes.next().unwrap_or_default() as usize * 300;
        let (result, piece) = body.read(Vec::with_capacity(room)).await;
        if !piece.iter().copied().eq(expected.by_ref().take(piece.len())) {
            return format!("another byte after {read}");
        }
        read += piece.len();
        if matches!(result, StreamResult::Dropped) {
            return if read == count { "the same".into() } else { format!("{read} of {count}") };
        }
    }
}

/// The same bytes for the same seed, without a period that would hide a piece in the wrong place.
fn numbers(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

/// Lets go of things in every order.
async fn dropping(url: &str, reply: &Reply) -> Result<(), Failure> {
    for round in 0..10 {
        let (mut writer, stream) = wit_stream::new();
        let sent = fetch::send(post(url, Body::Streamed(stream)));
        let (mut refused, stream) = wit_stream::new();
        drop(fetch::send(post("no URL", Body::Streamed(stream))));
        let unread = refused.write_all(b"unread".to_vec()).await;
        assert_eq!(unread.len(), 6);
        match round {
            0 => drop((sent, writer)),
            1 => drop((writer, sent)),
            2 => {
                drop(sent);
                while writer.write_all(vec![0; 100_000]).await.is_empty() {}
            }
            3 => {
                writer.write_all(b"some".to_vec()).await;
                drop(sent);
            }
            _ => {
                writer.write_all(b"some".to_vec()).await;
                let Response { mut body, ended, .. } = sent.await.map_err(failed)?;
                match round {
                    4 => drop((writer, ended, body)),
                    5 => drop((body, writer, ended)),
                    6 => {
                        drop(body);
                        assert!(matches!(ended.await, Err(Error::Cancelled)));
                        // What is dropped ends the upload too.
                        while writer.write_all(vec![0; 100_000]).await.is_empty() {}
                    }
                    7 => {
                        body.next().await;
                        drop(writer);
                        drop(ended);
                        body.collect().await;
                    }
                    8 => {
                        drop(writer);
                        assert_eq!(body.collect().await, b"some");
                        assert!(ended.await.is_ok());
                    }
                    _ => {
                        body.next().await;
                        let mut read = pin!(body.read(Vec::with_capacity(9)));
                        poll_fn(|cx| Poll::Ready(drop(read.as_mut().poll(cx)))).await;
                    }
                }
            }
        }
    }
    say(reply, "dropped all");
    Ok(())
}

export!(Fetch);
