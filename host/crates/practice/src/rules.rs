//! From a question to its answer: the rules of `rules.md` as a pure function.
//!
//! Promises: the same question has the same plan; tokens end between characters, and put together they are the
//! text.
//! Costs: the whole text of an answer is made before its first token is sent, at most 700 KB for `/tokens`.

use std::fmt::Write as _;
use std::time::Duration;

use axum::http::StatusCode;

/// What an answer may depend on.
pub(crate) struct Question<'a> {
    /// Text of the last user message; empty if there is none.
    pub(crate) prompt: &'a str,
    /// How many messages were sent.
    pub(crate) messages: usize,
    /// What tools answered to that prompt.
    pub(crate) told: &'a [String],
    /// The `Authorization` header.
    pub(crate) authorization: Option<&'a str>,
    /// The most tokens that the client wants.
    pub(crate) most_tokens: Option<usize>,
}

/// What is done about a question.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// Refused with this status.
    Fail(StatusCode),
    Answer(Answer),
}

/// All of `thoughts` is thought and all of `text` said, token by token, and then `ending` happens.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) thoughts: String,
    pub(crate) text: String,
    /// Tools that are asked for, if all was said.
    pub(crate) calls: Vec<Call>,
    /// How many tokens `thoughts` and `text` have.
    pub(crate) tokens: usize,
    /// The delay that the prompt asks for.
    pub(crate) delay: Option<Duration>,
    pub(crate) ending: Ending,
}

/// A tool that an answer asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: String,
    /// One JSON value.
    pub(crate) arguments: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Ending {
    /// All was said.
    #[default]
    Stop,
    /// The client wanted no more tokens.
    Length,
    Error,
    Cut,
    Stall,
}

/// Long enough for the longest stream that a test wants, and still made in a few milliseconds.
const MOST_TOKENS: u32 = 100_000;
const LONGEST_DELAY_MS: u32 = 60_000;
/// Longer words are sent in pieces, as real models do, so that text without spaces streams too.
const LONGEST_TOKEN: usize = 12;

/// The rules.
pub(crate) fn plan(question: &Question<'_>) -> Plan {
    let wishes = Wishes::read(question.prompt);
    if let Some(status) = wishes.fail {
        return Plan::Fail(status);
    }
    let mut calls = wishes.calls(question.messages);
    let mut text = match wishes.says {
        Says::Text if !calls.is_empty() && !question.told.is_empty() => {
            calls.clear(); // They were made and answered, and an agent that asks again is to come to an end.
            format!("The tool said: {}", question.told.join(" and "))
        }
        Says::Text if wishes.text.is_empty() && !calls.is_empty() => String::new(),
        Says::Text if wishes.text.is_empty() => "You said nothing.".to_owned(),
        Says::Text => format!("You said: {}", wishes.text),
        Says::Exactly(text) => text.to_owned(),
        Says::Tokens(count) => counted("t", count),
        Says::History if question.messages == 1 => "This conversation has 1 message.".to_owned(),
        Says::History => format!("This conversation has {} messages.", question.messages),
        Says::Whoami => format!("authorization: {}", masked(question.authorization)),
    };
    let whole = text.len();
    let mut tokens = keep(&mut text, question.most_tokens.unwrap_or(usize::MAX));
    let ending = match wishes.ending {
        Some((ending, after)) => {
            tokens = keep(&mut text, after);
            ending
        }
        None if text.len() < whole => Ending::Length,
        None => Ending::Stop,
    };
    if ending != Ending::Stop {
        calls.clear();
    }
    let thoughts = counted("h", wishes.thoughts);
    tokens += wishes.thoughts as usize;
    Plan::Answer(Answer { thoughts, text, calls, tokens, delay: wishes.delay, ending })
}

/// The first token of a text that is not empty: a word with the space before it, or a piece of one.
pub(crate) fn first_token(text: &str) -> &str {
    let mut in_word = false;
    for (count, (at, char)) in text.char_indices().enumerate() {
        if count == LONGEST_TOKEN || (in_word && char.is_whitespace()) {
            return &text[..at];
        }
        in_word |= !char.is_whitespace();
    }
    text
}

/// Shortens a text to its first `most` tokens and says how many it has then.
fn keep(text: &mut String, most: usize) -> usize {
    let (mut end, mut tokens) = (0, 0);
    while end < text.len() && tokens < most {
        end += first_token(&text[end..]).len();
        tokens += 1;
    }
    text.truncate(end);
    tokens
}

/// `t1 t2 t3 …`
fn counted(letter: &str, count: u32) -> String {
    let mut text = String::new();
    for n in 1..=count {
        let space = if n == 1 { "" } else { " " };
        let _ = write!(text, "{space}{letter}{n}");
    }
    text
}

/// Enough of a key to tell which one it was.
fn masked(authorization: Option<&str>) -> String {
    let Some(value) = authorization else { return "none".to_owned() };
    let (scheme, key) = match value.split_once(' ') {
        Some((scheme, key)) => (format!("{scheme} "), key),
        None => (String::new(), value),
    };
    let last_four = key.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    format!("{scheme}****{}", &key[last_four..])
}

/// A prompt taken apart: what its directives want, and the text around them.
#[derive(Default)]
struct Wishes<'a> {
    text: String,
    says: Says<'a>,
    /// How many tokens are thought first.
    thoughts: u32,
    /// Names and arguments of tools.
    tools: Vec<(&'a str, &'a str)>,
    delay: Option<Duration>,
    fail: Option<StatusCode>,
    /// The ending, and after how many tokens.
    ending: Option<(Ending, usize)>,
}

#[derive(Default)]
enum Says<'a> {
    #[default]
    Text,
    Exactly(&'a str),
    Tokens(u32),
    History,
    Whoami,
}

impl<'a> Wishes<'a> {
    fn read(prompt: &'a str) -> Self {
        let mut wishes = Self::default();
        let mut rest = prompt;
        while let Some((space, word, after)) = split_word(rest) {
            rest = match wishes.obey(word, after) {
                Some(after) => after,
                None => {
                    wishes.text.push_str(if wishes.text.is_empty() { "" } else { space });
                    wishes.text.push_str(word);
                    after
                }
            };
        }
        wishes
    }

    /// The calls of the tools, each with an id of its own in the whole conversation.
    fn calls(&self, messages: usize) -> Vec<Call> {
        let call = |(n, (name, arguments)): (usize, &(&str, &str))| Call {
            id: format!("call_{messages}_{n}"),
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
        };
        (1..).zip(&self.tools).map(call).collect()
    }

    /// If the word is a directive whose argument fits, notes what it wants and returns what follows it.
    fn obey(&mut self, word: &str, after: &'a str) -> Option<&'a str> {
        let number = |least: u32, most: u32| {
            let (_, word, after) = split_word(after)?;
            let number = word.parse().ok().filter(|number| (least..=most).contains(number))?;
            Some((number, after))
        };
        let mut end_after = |ending| {
            let (tokens, after) = number(0, MOST_TOKENS)?;
            self.ending = Some((ending, tokens as usize));
            Some(after)
        };
        Some(match word {
            "/echo" => {
                let mut text = after.chars();
                text.next(); // the space that ends the word
                self.says = Says::Exactly(text.as_str());
                ""
            }
            "/tokens" => {
                let (count, after) = number(0, MOST_TOKENS)?;
                self.says = Says::Tokens(count);
                after
            }
            "/history" => {
                self.says = Says::History;
                after
            }
            "/whoami" => {
                self.says = Says::Whoami;
                after
            }
            "/delay" => {
                let (ms, after) = number(0, LONGEST_DELAY_MS)?;
                self.delay = Some(Duration::from_millis(ms.into()));
                after
            }
            "/fail" => {
                let (status, after) = number(400, 599)?;
                self.fail = StatusCode::from_u16(status.try_into().ok()?).ok();
                after
            }
            "/think" => {
                let (count, after) = number(0, MOST_TOKENS)?;
                self.thoughts = count;
                after
            }
            "/tool" => {
                let (_, name, after) = split_word(after)?;
                let (arguments, after) = split_json(after)?;
                self.tools.push((name, arguments));
                after
            }
            "/error" => end_after(Ending::Error)?,
            "/cut" => end_after(Ending::Cut)?,
            "/stall" => end_after(Ending::Stall)?,
            _ => return None,
        })
    }
}

/// The next word, with what stands before and after it. Nothing if only space is left.
fn split_word(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find(|char: char| !char.is_whitespace())?;
    let (space, text) = text.split_at(start);
    let (word, after) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    Some((space, word, after))
}

/// The JSON value that a text begins with, and what stands after it.
fn split_json(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    values.next()?.ok()?;
    let (value, after) = text.split_at(values.byte_offset());
    (after.is_empty() || after.starts_with(char::is_whitespace)).then_some((value.trim(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(prompt: &str) -> Question<'_> {
        Question { prompt, messages: 3, told: &[], authorization: None, most_tokens: None }
    }

    fn answer(question: &Question<'_>) -> Answer {
        match plan(question) {
            Plan::Answer(answer) => answer,
            Plan::Fail(status) => panic!("failed with {status}: {}", question.prompt),
        }
    }

    fn tokens(mut text: &str) -> Vec<&str> {
        let mut tokens = Vec::new();
        while !text.is_empty() {
            tokens.push(first_token(text));
            text = &text[first_token(text).len()..];
        }
        tokens
    }

    #[test]
    fn a_prompt_has_the_answer_that_the_rules_give() {
        for (prompt, text, ending, delay) in [
            ("hello", "You said: hello", Ending::Stop, None),
            ("  two\n lines  ", "You said: two\n lines", Ending::Stop, None),
            ("", "You said nothing.", Ending::Stop, None),
            (" \n", "You said nothing.", Ending::Stop, None),
            ("/delay 5", "You said nothing.", Ending::Stop, Some(5)),
            ("say /delay 5 this", "You said: say this", Ending::Stop, Some(5)),
            ("/delay 5 /delay 0 hi", "You said: hi", Ending::Stop, Some(0)),
            ("/echo", "", Ending::Stop, None),
            ("/echo  a  b /cut 1 ", " a  b /cut 1 ", Ending::Stop, None),
            ("/echo\nline", "line", Ending::Stop, None),
            ("ignored /delay 7 /echo hi", "hi", Ending::Stop, Some(7)),
            ("/tokens 3", "t1 t2 t3", Ending::Stop, None),
            ("/tokens 0", "", Ending::Stop, None),
            ("/tokens 9 /tokens 2 and text", "t1 t2", Ending::Stop, None),
            ("/history", "This conversation has 3 messages.", Ending::Stop, None),
            ("/tokens 3 /history", "This conversation has 3 messages.", Ending::Stop, None),
            ("/whoami", "authorization: none", Ending::Stop, None),
            ("/tokens 9 /delay 1 /cut 2", "t1 t2", Ending::Cut, Some(1)),
            ("/stall 0 hello", "", Ending::Stall, None),
            ("/error 2 hello", "You said:", Ending::Error, None),
            ("/cut 9 /error 1 /tokens 5", "t1", Ending::Error, None),
            ("/cut 100 hello", "You said: hello", Ending::Cut, None),
            // What is not a directive with a fitting argument is text.
            ("/unknown 3", "You said: /unknown 3", Ending::Stop, None),
            ("/tokens", "You said: /tokens", Ending::Stop, None),
            ("/tokens many", "You said: /tokens many", Ending::Stop, None),
            ("/tokens 100001", "You said: /tokens 100001", Ending::Stop, None),
            ("/tokens -1", "You said: /tokens -1", Ending::Stop, None),
            ("/delay 60001", "You said: /delay 60001", Ending::Stop, None),
            ("/fail 200", "You said: /fail 200", Ending::Stop, None),
            ("/fail 65965", "You said: /fail 65965", Ending::Stop, None),
            ("/fail /tokens 2", "t1 t2", Ending::Stop, None),
            ("and/or /Tokens 3", "You said: and/or /Tokens 3", Ending::Stop, None),
        ] {
            let answer = answer(&question(prompt));
            let expected = Answer {
                text: text.to_owned(),
                tokens: tokens(text).len(),
                delay: delay.map(Duration::from_millis),
                ending,
                ..Answer::default()
            };
            assert_eq!(answer, expected, "{prompt:?}");
        }
    }

    #[test]
    fn tools_are_asked_for_after_what_is_said() {
        for (prompt, text, calls) in [
            (r#"/tool add {"x": [1, 2]}"#, "", &[("add", r#"{"x": [1, 2]}"#)][..]),
            ("/tool a {} /tool b {}\nhi", "You said: hi", &[("a", "{}"), ("b", "{}")]),
            ("/tool a {} /tokens 2", "t1 t2", &[("a", "{}")]),
            ("/tool a {} /tokens 9 /cut 2", "t1 t2", &[]),
            ("/tool a {", "You said: /tool a {", &[]),
            ("/tool a {}x", "You said: /tool a {}x", &[]),
            ("/tool a", "You said: /tool a", &[]),
        ] {
            let answer = answer(&question(prompt));
            let made: Vec<_> =
                answer.calls.iter().map(|call| (call.name.as_str(), call.arguments.as_str())).collect();
            assert_eq!((answer.text.as_str(), &made[..]), (text, calls), "{prompt:?}");
            assert!(answer.calls.iter().zip(1..).all(|(call, n)| call.id == format!("call_3_{n}")));
        }
    }

    #[test]
    fn what_tools_have_answered_is_repeated_and_not_asked_again() {
        let told = ["3".to_owned(), "4".to_owned()];
        let told = Question { told: &told, ..question("/tool add {}") };
        let answer = answer(&told);
        assert_eq!((answer.text.as_str(), answer.calls.len()), ("The tool said: 3 and 4", 0));
    }

    #[test]
    fn thoughts_come_before_the_answer_and_are_counted_with_it() {
        let answer = answer(&question("/think 3 /tokens 2"));
        assert_eq!((answer.thoughts.as_str(), answer.text.as_str(), answer.tokens), ("h1 h2 h3", "t1 t2", 5));
    }

    #[test]
    fn a_failure_comes_before_any_answer() {
        for (prompt, status) in [
            ("/fail 429", StatusCode::TOO_MANY_REQUESTS),
            ("/tokens 3 /fail 500 hello", StatusCode::INTERNAL_SERVER_ERROR),
            ("/fail 500 /fail 503", StatusCode::SERVICE_UNAVAILABLE),
            ("/fail 401 /cut 2", StatusCode::UNAUTHORIZED),
        ] {
            assert_eq!(plan(&question(prompt)), Plan::Fail(status), "{prompt:?}");
        }
    }

    #[test]
    fn a_failure_after_echo_is_only_text() {
        assert_eq!(answer(&question("/echo /fail 500")).text, "/fail 500");
    }

    #[test]
    fn a_client_gets_no_more_tokens_than_it_wants() {
        for (prompt, most, text, ending) in [
            ("/tokens 5", 4, "t1 t2 t3 t4", Ending::Length),
            ("/tokens 5", 5, "t1 t2 t3 t4 t5", Ending::Stop),
            ("/tokens 5 /cut 4", 2, "t1 t2", Ending::Cut),
            ("/tokens 5 /cut 2", 4, "t1 t2", Ending::Cut),
        ] {
            let answer = answer(&Question { most_tokens: Some(most), ..question(prompt) });
            assert_eq!((answer.text.as_str(), answer.ending), (text, ending), "{prompt:?}, {most}");
        }
    }

    #[test]
    fn a_key_is_known_by_its_last_four_characters() {
        for (authorization, shown) in [
            ("Bearer sk-practice-1234", "authorization: Bearer ****1234"),
            ("sk-1234", "authorization: ****1234"),
            ("Bearer 12", "authorization: Bearer ****12"),
            ("Bearer schlüssel-äöü€", "authorization: Bearer ****äöü€"),
            ("", "authorization: ****"),
        ] {
            let question = Question { authorization: Some(authorization), ..question("/whoami") };
            assert_eq!(answer(&question).text, shown);
        }
    }

    #[test]
    fn one_message_is_not_called_messages() {
        let question = Question { messages: 1, ..question("/history") };
        assert_eq!(answer(&question).text, "This conversation has 1 message.");
    }

    #[test]
    fn the_longest_answer_has_exactly_as_many_tokens_as_asked_for() {
        let answer = answer(&question("/tokens 100000"));
        assert_eq!(answer.tokens, 100_000);
        assert!(answer.text.ends_with(" t99999 t100000"));
    }

    #[test]
    fn tokens_are_words_with_the_space_before_them_in_pieces_of_twelve_characters() {
        for (text, expected) in [
            ("You said: hello", vec!["You", " said:", " hello"]),
            (" a\n\nb ", vec![" a", "\n\nb", " "]),
            ("abcdefghijklmnop", vec!["abcdefghijkl", "mnop"]),
            ("äöüäöüäöüäöüß", vec!["äöüäöüäöüäöü", "ß"]),
            ("🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀 é", vec!["🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀", "🦀", " é"]),
        ] {
            assert_eq!(tokens(text), expected);
        }
    }

    #[test]
    fn every_directive_is_on_the_page() {
        for directive in [
            "echo TEXT",
            "tokens N",
            "history",
            "whoami",
            "delay MS",
            "fail STATUS",
            "think N",
            "tool NAME JSON",
            "error N",
            "cut N",
            "stall N",
        ] {
            assert!(crate::RULES.contains(&format!("| `/{directive}` |")), "{directive}");
        }
    }
}
