use rusqlite::Connection;
use rusqlite::types::Value as Held;

use super::*;
use crate::{functions, patterns};

/// What patterns and texts are made of: what has a meaning in one, letters of one byte to four, and what is no letter.
const PIECES: [&[u8]; 26] = [
    b"a",
    b"A",
    b"b",
    b"B",
    b"z",
    b"%",
    b"%",
    b"_",
    b"*",
    b"*",
    b"?",
    b"[",
    b"[",
    b"]",
    b"^",
    b"-",
    b"\\",
    "é".as_bytes(),
    "É".as_bytes(),
    "😀".as_bytes(),
    b"\0",
    b"\xc3",
    b"\xa9",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc1\x81",
];

fn made(random: &mut Random, longest: usize, pieces: usize) -> Held {
    let mut bytes = Vec::new();
    for _ in 0..random.below(longest) {
        bytes.extend_from_slice(PIECES[random.below(pieces)]);
    }
    match random.below(40) {
        0 => Held::Null,
        1 => Held::Integer(random.below(200) as i64 - 100),
        2 => Held::Real((random.below(2000) as f64 - 1000.0) * 10_f64.powi(random.below(40) as i32 - 20)),
        3 => Held::Blob(Vec::new()),
        _ => Held::Blob(bytes),
    }
}

/// What it comes to: an answer, nothing, or an error.
fn asked(connection: &Connection, statement: &str, parameters: &[Held]) -> Result<Option<i64>, String> {
    let mut statement = connection.prepare_cached(statement).unwrap();
    let found = statement.query_row(rusqlite::params_from_iter(parameters), |row| row.get(0));
    found.map_err(|error| error.to_string())
}

#[test]
fn like_and_glob_are_sqlites_to_the_letter() {
    let (sqlite, ours) =
        (rookery_sqlite::open_in_memory().unwrap(), rookery_sqlite::open_in_memory().unwrap());
    functions::replace(&ours).unwrap();
    patterns::replace(&ours).unwrap();
    let mut random = Random(11);
    let (mut matched, mut failed, mut none) = (0, 0, 0);
    for round in 0..60_000 {
        // With few of the pieces much matches.
        let pieces = [PIECES.len(), 8, 17][random.below(3)];
        let parameters =
            [made(&mut random, 9, pieces), made(&mut random, 14, pieces), made(&mut random, 3, pieces)];
        let text = |at: usize, as_text: bool| match parameters[at] {
            Held::Blob(_) if as_text => format!("CAST(?{} AS TEXT)", at + 1),
            _ => format!("?{}", at + 1),
        };
        let (first, second) = (text(0, random.below(9) > 0), text(1, random.below(9) > 0));
        let (statement, given) = match random.below(3) {
            0 => (format!("SELECT like({first}, {second}, {})", text(2, true)), 3),
            1 => (format!("SELECT like({first}, {second})"), 2),
            _ => (format!("SELECT glob({first}, {second})"), 2),
        };
        let expected = asked(&sqlite, &statement, &parameters[..given]);
        let found = asked(&ours, &statement, &parameters[..given]);
        assert_eq!(found, expected, "{round}: {statement}, {parameters:?}");
        match found {
            Ok(Some(1)) => matched += 1,
            Ok(None) => none += 1,
            Err(_) => failed += 1,
            Ok(_) => {}
        }
    }
    assert!(matched > 1500 && failed > 3000 && none > 1000, "{matched}, {failed}, {none}");
}

#[test]
fn a_pattern_may_be_as_long_as_sqlites() {
    let (_house, mut storage) = (House::new(), House::new().agent("alice"));
    for (length, fine) in [(50_000, true), (50_001, false)] {
        let pattern = [text(&"a".repeat(length))];
        for operator in ["LIKE", "GLOB"] {
            let ran = storage.query(&format!("SELECT ?1 {operator} ?1"), &pattern);
            match ran {
                Ok(mut rows) => assert!(fine && rows.next(1) == [[Value::Integer(1)]], "{operator}"),
                Err(error) => assert!(!fine && error.to_string().contains("too complex"), "{error}"),
            }
        }
    }
}
