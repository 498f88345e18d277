//! Events as Server-Sent Events, to the byte. Pure: from an event to bytes.
//!
//! Promise: whatever a guest writes, a client reads back the same text, and cannot be made to see an event that the
//! guest did not write. (Line breaks arrive as LF: the format knows no other.)

use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use rookery_core::{Chunk, Event, Item, Outcome, RunId};

use crate::last_event::Ids;
use crate::payload;
use crate::problem::Problem;

/// A comment, which clients ignore: it keeps links open that would be cut when idle.
pub(crate) const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Appends one event of this run.
pub(crate) fn encode(event: &Event, run: RunId, ids: Ids, out: &mut BytesMut) {
    if let Some(name) = name(&event.item) {
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_slice(b"\n");
    }
    id(event.id, run, ids, out);
    // Always with its space, since clients drop one and the text may start with another.
    out.put_slice(b"\ndata: ");
    match &event.item {
        Item::Chunk(Chunk::Text(text)) => data(text.as_bytes(), out),
        Item::Chunk(chunk) => payload::infallible(payload::write(chunk, &mut Lines(out))),
        Item::Outcome(outcome) => payload::infallible(end(outcome, run, &mut Lines(out))),
    }
    out.put_slice(b"\n\n");
}

/// The type of an event; text has the default one.
fn name(item: &Item) -> Option<&str> {
    match item {
        Item::Chunk(Chunk::Text(_)) => None,
        Item::Chunk(chunk) => Some(payload::name(chunk)),
        Item::Outcome(Outcome::Done) => Some("done"),
        Item::Outcome(Outcome::Failed(_) | Outcome::Cancelled(_)) => Some("error"),
    }
}

fn end(outcome: &Outcome, run: RunId, out: &mut Lines<'_>) -> io::Result<()> {
    match Problem::of_outcome(outcome) {
        None => write!(out, "{{\"run\":\"{run}\"}}"),
        Some(problem) => Ok(serde_json::to_writer(out, &problem.of(run))?),
    }
}

/// Appends what names an event, and is none itself: a client takes note of the id, and sees nothing.
pub(crate) fn mark(seen: u64, run: RunId, ids: Ids, out: &mut BytesMut) {
    id(seen, run, ids, out);
    out.put_slice(b"\n\n");
}

fn id(number: u64, run: RunId, ids: Ids, out: &mut BytesMut) {
    out.put_slice(b"id: ");
    if let Ids::RunAndNumber { .. } = ids {
        payload::infallible(write!(out.writer(), "{run}/"));
    }
    decimal(number, out);
}

/// Appends a number. By hand, since it is written for every chunk and formatting takes longer than all the rest.
fn decimal(mut number: u64, out: &mut BytesMut) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] += (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[first..]);
}

/// Appends text, going on with a new `data` line where a client would see a line end: at CR LF, at LF, and at a CR
/// alone.
fn data(text: &[u8], out: &mut BytesMut) {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        out.put_slice(&rest[..end]);
        out.put_slice(b"\ndata: ");
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    out.put_slice(rest);
}

/// Takes JSON. Every value that a guest gave arrives in one piece, so that a CR LF of it is never torn apart.
struct Lines<'a>(&'a mut BytesMut);

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        data(bytes, self.0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rookery_core::{Code, Failure, Stop};

    use super::*;

    fn encoded(id: u64, item: Item) -> String {
        let run = "018f3f5e-0000-7000-8000-000000000001".parse().unwrap();
        let mut out = BytesMut::new();
        encode(&Event { id, item }, run, Ids::Number, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn chunk(chunk: Chunk) -> String {
        encoded(7, Item::Chunk(chunk))
    }

    /// What a client makes of one event: its type and its data, by the rules of the HTML standard.
    fn read(event: &str) -> (String, String) {
        let (mut kind, mut lines) = ("message".to_owned(), Vec::new());
        let body = event.strip_suffix("\n\n").expect("a blank line dispatches the event");
        for line in body.split('\n') {
            assert!(!line.is_empty(), "a blank line would dispatch early: {event:?}");
            assert!(!line.contains('\r'), "a lone CR ends a line too: {event:?}");
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => kind = value.to_owned(),
                "data" => lines.push(value),
                _ => assert_eq!(line, "id: 7"),
            }
        }
        (kind, lines.join("\n"))
    }

    #[test]
    fn hostile_text_is_read_back_as_the_same_text_and_nothing_else() {
        let hostile = [
            "",
            " ",
            "  leading spaces",
            "trailing \n",
            "\n",
            "\n\n",
            "\r",
            "\r\n",
            "\r\r\n\n",
            "\n\r",
            "a\rb\nc\r\nd",
            "event: done\ndata: x",
            "x\n\nevent: done\ndata: {}\n\n",
            "x\r\revent: error\rid: 99\r\r",
            ": comment",
            "data: data",
            "retry: 1",
            "\u{feff}mark",
            "nul\0",
            "\u{2028}\u{85}",
            "🦀",
        ];
        for text in hostile {
            let same = text.replace("\r\n", "\n").replace('\r', "\n");
            assert_eq!(read(&chunk(Chunk::Text(text.into()))), ("message".into(), same), "{text:?}");
            let (kind, data) = read(&chunk(Chunk::Reasoning(text.into())));
            let data: serde_json::Value = serde_json::from_str(&data).unwrap();
            assert_eq!((kind.as_str(), data["text"].as_str()), ("reasoning", Some(text)), "{text:?}");
        }
    }

    #[test]
    fn json_with_line_breaks_stays_one_value_of_one_event() {
        let json = "{\r\n  \"a\": [\r1,\n\n2]}";
        let expected: serde_json::Value = serde_json::from_str(json).unwrap();
        let (kind, data) = read(&chunk(Chunk::Data { name: "progress".into(), json: json.into() }));
        assert_eq!(kind, "progress");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap(), expected);
        let call = Chunk::ToolCall { id: "\n".into(), name: "\"".into(), arguments: json.into() };
        let (_, data) = read(&chunk(call));
        let data: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert_eq!(data, serde_json::json!({"id": "\n", "name": "\"", "arguments": expected}));
    }

    #[test]
    fn an_id_can_name_the_run_too_and_be_told_before_there_is_an_event() {
        let run = "018f3f5e-0000-7000-8000-000000000001".parse().unwrap();
        let (mut out, ids) = (BytesMut::new(), Ids::RunAndNumber { seen: 6 });
        mark(6, run, ids, &mut out);
        encode(&Event { id: 7, item: Item::Chunk(Chunk::Text("hi".into())) }, run, ids, &mut out);
        let expected = format!("id: {run}/6\n\nid: {run}/7\ndata: hi\n\n");
        assert_eq!(out, expected);
    }

    #[test]
    fn ids_are_plain_decimal_numbers() {
        for number in [0, 1, 9, 10, 1_234_567_890, u64::MAX] {
            let mut out = BytesMut::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }

    #[test]
    fn every_kind_of_event_looks_like_this() {
        let items = [
            Item::Chunk(Chunk::Text("Hello,\n world".into())),
            Item::Chunk(Chunk::Reasoning("why \"not\"".into())),
            Item::Chunk(Chunk::Data { name: "progress".into(), json: "{\"percent\":\n 50}".into() }),
            Item::Chunk(Chunk::ToolCall { id: "1".into(), name: "add".into(), arguments: "[1,2]".into() }),
            Item::Chunk(Chunk::ToolResult { id: "1".into(), content: "3".into(), is_error: false }),
            Item::Chunk(Chunk::Usage { model: "m".into(), input_tokens: 12, output_tokens: 3 }),
            Item::Outcome(Outcome::Done),
            Item::Outcome(Outcome::Failed(Failure::new(Code::Unavailable, "the model is away"))),
            Item::Outcome(Outcome::Cancelled(Stop::Returned)),
        ];
        let all: String = (1..).zip(items).map(|(id, item)| encoded(id, item)).collect();
        insta::assert_snapshot!(all, @r#"
        id: 1
        data: Hello,
        data:  world

        event: reasoning
        id: 2
        data: {"text":"why \"not\""}

        event: progress
        id: 3
        data: {"percent":
        data:  50}

        event: tool-call
        id: 4
        data: {"id":"1","name":"add","arguments":[1,2]}

        event: tool-result
        id: 5
        data: {"id":"1","content":3,"is_error":false}

        event: usage
        id: 6
        data: {"model":"m","input_tokens":12,"output_tokens":3}

        event: done
        id: 7
        data: {"run":"018f3f5e-0000-7000-8000-000000000001"}

        event: error
        id: 8
        data: {"title":"Service Unavailable","status":503,"code":"unavailable","detail":"the model is away","run":"018f3f5e-0000-7000-8000-000000000001"}

        event: error
        id: 9
        data: {"title":"Conflict","status":409,"code":"cancelled","detail":"the run was cancelled, and the agent stopped working on it","run":"018f3f5e-0000-7000-8000-000000000001","stop":"returned"}
        "#);
    }
}
