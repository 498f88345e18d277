//! Streams shaped as the providers send them, with every oddity, cut at every byte.
//!
//! The words in them are made up; their forms are those of the providers' own documentation and servers.

use std::fmt::Write as _;

use rookery_models::{Assembly, Delta, Dialect, Error, Parser, Reason};

/// One line for each delta.
fn told(deltas: &[Delta]) -> String {
    deltas.iter().fold(String::new(), |mut told, delta| {
        let _ = match delta {
            Delta::Text(text) => writeln!(told, "text {text:?}"),
            Delta::Reasoning(thought) => writeln!(told, "reasoning {thought:?}"),
            Delta::ToolCall(call) => writeln!(told, "call {} {} {}", call.id, call.name, call.arguments),
            Delta::Usage(usage) => {
                writeln!(told, "usage {} {} {}", usage.model, usage.input_tokens, usage.output_tokens)
            }
            Delta::Ended(ending) => {
                let state = ending.state.as_deref().map_or(String::new(), |state| format!(" {state}"));
                writeln!(told, "ended {:?}{state}", ending.reason)
            }
            Delta::Failed(error) => writeln!(told, "failed {error}"),
        };
        told
    })
}

fn parsed(dialect: Dialect, pieces: &[&[u8]]) -> Vec<Delta> {
    let (mut parser, mut deltas) = (Parser::new(dialect, "asked-for", 40), Vec::new());
    for piece in pieces {
        parser.feed(piece, &mut deltas);
    }
    parser.finish(&mut deltas);
    deltas
}

fn check(dialect: Dialect, stream: &[u8], expected: &str) {
    let expected = expected.trim_start().lines().map(|line| format!("{}\n", line.trim())).collect::<String>();
    let deltas = parsed(dialect, &[stream]);
    assert_eq!(told(&deltas), expected);
    for at in 0..=stream.len() {
        let (begin, end) = stream.split_at(at);
        assert_eq!(parsed(dialect, &[begin, end]), deltas, "cut at {at}");
    }
    for size in 1..=7 {
        let pieces: Vec<_> = stream.chunks(size).collect();
        assert_eq!(parsed(dialect, &pieces), deltas, "in pieces of {size}");
    }
}

#[test]
fn openai_with_tools_obfuscation_and_usage_in_a_chunk_of_its_own() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/openai-tools.sse"),
        r#"text "Let"
        text " me sée 🪶"
        call call_9yWq get_weather {"city":"Zürich"}
        call call_Ab2c now {}
        usage gpt-5-mini-2025-08-07 82 41
        ended ToolCalls"#,
    );
}

#[test]
fn openai_with_a_refusal() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/openai-refusal.sse"),
        r#"text "I'm sorry,"
        text " I can't."
        usage gpt-5-mini-2025-08-07 11 7
        ended Refused"#,
    );
}

#[test]
fn openai_with_an_error_in_the_stream() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/openai-error.sse"),
        r#"text "Half"
        usage gpt-5-mini-2025-08-07 10 1
        failed the provider broke off, and said: The server had an error processing your request."#,
    );
}

#[test]
fn openrouter_with_comments_reasoning_and_line_ends_of_two_characters() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/openrouter-reasoning.sse"),
        r#"reasoning "Okay"
        reasoning ", \"so\""
        text "Hi"
        text "\n\nthere"
        usage deepseek/deepseek-r1 9 20
        ended Stop"#,
    );
}

#[test]
fn vllm_with_a_byte_order_mark_many_data_lines_carriage_returns_and_usage_everywhere() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/vllm-length.sse"),
        r#"reasoning "hm"
        text "Grüß"
        text " Gott"
        usage Qwen/Qwen3-8B 15 4
        ended Length"#,
    );
}

#[test]
fn ollama_with_whole_tool_calls_without_usage_and_without_done() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/ollama-tools-no-done.sse"),
        r#"call call_lq0 add {"a":1,"b":2}
        call call_2 now {"zone":"UTC"}
        usage llama3.2:3b 10 12
        ended ToolCalls"#,
    );
}

#[test]
fn llama_cpp_with_an_error_in_a_field_of_that_name() {
    check(
        Dialect::OpenAi,
        include_bytes!("fixtures/llama-cpp-error.sse"),
        r#"text "So"
        usage gpt-3.5-turbo 10 1
        failed the provider broke off, and said: context shift is disabled"#,
    );
}

#[test]
fn anthropic_with_thinking_and_tools() {
    check(
        Dialect::Anthropic,
        include_bytes!("fixtures/anthropic-thinking-tools.sse"),
        r#"reasoning "They ask for "
        reasoning "the “weather”."
        text "Let me"
        text " look 🪶"
        call toolu_01T1x1 get_weather {"city": "Zürich"}
        call toolu_02 now {}
        usage claude-sonnet-4-5-20250929 600 89
        ended ToolCalls [{"type":"thinking","thinking":"They ask for the “weather”.","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky=="},{"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix/LafPsn4a"}]"#,
    );
}

#[test]
fn anthropic_with_an_error_in_the_stream() {
    check(
        Dialect::Anthropic,
        include_bytes!("fixtures/anthropic-error.sse"),
        r#"text "Half"
        usage claude-sonnet-4-5-20250929 9 1
        failed the provider broke off, and said: Overloaded"#,
    );
}

#[test]
fn anthropic_with_a_tool_of_its_own_citations_and_events_that_nobody_knows() {
    check(
        Dialect::Anthropic,
        include_bytes!("fixtures/anthropic-server-tool.sse"),
        r#"text "It "
        text "is."
        usage claude-sonnet-4-5-20250929 2679 510
        ended Other("pause_turn")"#,
    );
}

#[test]
fn anthropic_cut_by_its_length_in_a_tool_and_by_the_connection_after_that() {
    check(
        Dialect::Anthropic,
        include_bytes!("fixtures/anthropic-max-tokens-no-stop.sse"),
        r#"text "Writing"
        usage claude-sonnet-4-5-20250929 30 64
        ended Length"#,
    );
}

#[test]
fn a_stream_that_is_cut_before_its_reason_never_looks_whole() {
    for (dialect, stream, reason) in [
        (
            Dialect::OpenAi,
            &include_bytes!("fixtures/openai-tools.sse")[..],
            "\"finish_reason\":\"tool_calls\"",
        ),
        (
            Dialect::Anthropic,
            &include_bytes!("fixtures/anthropic-thinking-tools.sse")[..],
            "\"stop_reason\": \"tool_use\"",
        ),
    ] {
        let at =
            stream.windows(reason.len()).position(|window| window == reason.as_bytes()).expect("a reason");
        for cut in 0..at {
            let deltas = parsed(dialect, &[&stream[..cut]]);
            assert!(matches!(deltas.last(), Some(Delta::Failed(Error::Unavailable(_)))), "cut at {cut}");
            assert!(!deltas.iter().any(|delta| matches!(delta, Delta::Ended(_))), "cut at {cut}");
        }
        let mut whole = Assembly::default();
        parsed(dialect, &[stream]).iter().for_each(|delta| whole.push(delta));
        let whole = whole.finish().expect("whole");
        assert_eq!((whole.message.tool_calls.len(), whole.reason), (2, Reason::ToolCalls));
    }
}

#[test]
fn a_thought_that_nobody_signed_is_not_sent_back() {
    let start = r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"hm"}}"#;
    let end = r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let deltas = parsed(Dialect::Anthropic, &[format!("{start}\n\n{end}\n\n").as_bytes()]);
    assert_eq!(told(&deltas), "reasoning \"hm\"\nusage asked-for 10 1\nended Stop\n");
}

#[test]
fn nothing_is_spent_where_nothing_was_said() {
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        let deltas = parsed(dialect, &[b": nothing\n\n"]);
        assert!(matches!(&deltas[..], [Delta::Failed(Error::Unavailable(_))]), "{deltas:?}");
    }
}
