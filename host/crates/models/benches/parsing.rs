//! How many deltas a core parses in a second, of streams as the providers send them: 16 KiB pieces, as they wait in a
//! response when a provider is faster than its reader.
//!
//! `cargo bench -p rookery-models`

use std::hint::black_box;
use std::io::Write as _;
use std::time::Duration;

use rookery_models::{Delta, Dialect, Parser};
use tokio::time::Instant;

const DELTAS: usize = 100_000;
const PIECE: usize = 16 * 1024;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    for (name, dialect, stream) in
        [("OpenAI", Dialect::OpenAi, openai()), ("Anthropic", Dialect::Anthropic, anthropic())]
    {
        let mut best = Duration::MAX;
        let mut deltas = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            let mut parser = Parser::new(dialect, "m", 0);
            let mut count = 0;
            for piece in stream.chunks(PIECE) {
                parser.feed(piece, &mut deltas);
                count += deltas.iter().filter(|delta| matches!(delta, Delta::Text(_))).count();
                black_box(&deltas);
                deltas.clear();
            }
            assert_eq!(count, DELTAS);
            best = best.min(begun.elapsed());
        }
        let seconds = best.as_secs_f64();
        let (deltas, megabytes) = (DELTAS as f64 / seconds, stream.len() as f64 / seconds / 1e6);
        writeln!(out, "{name}: {:.2} million deltas/s, {megabytes:.0} MB/s", deltas / 1e6)?;
    }
    Ok(())
}

fn openai() -> Vec<u8> {
    let head = r#"data: {"id":"chatcmpl-CeR2Zq8fXh1vXoYb3mJ5","object":"chat.completion.chunk","created":1763981000,"model":"gpt-5-mini-2025-08-07","service_tier":"default","system_fingerprint":null,"choices":[{"index":0,"delta":"#;
    let tail = r#","logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"k3Jd8s"}"#;
    let mut stream = String::new();
    for n in 0..DELTAS {
        stream += &format!("{head}{{\"content\":\" word{}\"}}{tail}\n\n", n % 97);
    }
    stream +=
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    stream.into_bytes()
}

fn anthropic() -> Vec<u8> {
    let mut stream = String::new();
    for n in 0..DELTAS {
        let delta = format!(r#"{{"type":"text_delta","text":" word{}"}}"#, n % 97);
        let data = format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}      }}"#);
        stream += &format!("event: content_block_delta\ndata: {data}\n\n");
    }
    stream += "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    stream += "data: {\"type\":\"message_stop\"}\n\n";
    stream.into_bytes()
}
