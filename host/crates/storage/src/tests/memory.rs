use std::sync::mpsc::channel;
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};

use super::*;
use crate::SqlError;
use crate::sql::READING;

const TOO_MUCH: &str = "a statement may use 64 MiB of memory";

fn is_too_much<T>(result: &Result<T, SqlError>) -> bool {
    matches!(result, Err(SqlError::Storage(StorageError::OutOfBounds(text))) if text == TOO_MUCH)
}

/// An agent that has committed something, with tables of all kinds.
fn new() -> (House, Storage) {
    let house = House::new();
    let mut storage = house.agent("alice");
    for statement in [
        "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, n INTEGER UNIQUE)",
        "CREATE INDEX by_text ON notes (text, n)",
        "CREATE TABLE log (what, at)",
        "CREATE TABLE child (of REFERENCES notes ON DELETE CASCADE, text)",
        "CREATE TRIGGER logged AFTER UPDATE ON notes BEGIN INSERT INTO log VALUES (old.text, new.text); END",
        "CREATE TABLE spare (a PRIMARY KEY, b REFERENCES notes ON DELETE SET NULL, c)",
        "CREATE VIEW spares AS SELECT a, b, c FROM spare",
        "CREATE VIRTUAL TABLE unused USING fts5 (text)",
        "CREATE VIEW long AS SELECT id, text || text AS twice FROM notes WHERE length(text) > 9",
        "CREATE VIRTUAL TABLE search USING fts5 (text)",
        "CREATE VIRTUAL TABLE boxes USING rtree (id, x1, x2)",
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
         INSERT INTO notes SELECT i, printf('%.*c', 1000, 'x') || i, i FROM n",
        "INSERT INTO child SELECT id, zeroblob(5000) FROM notes",
        "INSERT INTO search SELECT 'the quick fox ' || id || ' jumps over ' || id * id FROM notes",
        "INSERT INTO boxes SELECT id, id, id + 1 FROM notes",
        "INSERT INTO spare SELECT id, id, text FROM notes",
        "INSERT INTO unused SELECT text FROM search",
    ] {
        storage.execute(statement, &[]).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    storage.commit().unwrap();
    (house, storage)
}

fn check(house: &House, mut storage: Storage) {
    storage.close().unwrap();
    let connection = rookery_sqlite::open(house.path("alice")).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    connection.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)", ()).unwrap();
}

/// Everything that there is, in short.
fn state(storage: &mut Storage) -> Vec<Vec<Value>> {
    let all = "SELECT (SELECT count(*) || ':' || sum(id) || ':' || sum(length(text)) || ':' || total(n) FROM notes), \
               (SELECT count(*) || ':' || total(length(what)) FROM log), \
               (SELECT count(*) || ':' || total(length(text)) FROM child), \
               (SELECT count(*) || ':' || sum(length(text)) FROM search), (SELECT count(*) FROM boxes), \
               (SELECT count(*) FROM search WHERE search MATCH 'fox'), \
               (SELECT group_concat(name || coalesce(sql, '')) FROM sqlite_schema)";
    storage.query(all, &[]).unwrap().next(1)
}

/// What a statement finds or changes.
fn run(
    storage: &mut Storage,
    statement: &str,
    parameters: &[Value],
) -> Result<(u64, Vec<Vec<Value>>), SqlError> {
    if ["SELECT", "WITH", "VALUES"].iter().any(|word| statement.starts_with(word))
        || statement.contains("RETURNING")
    {
        return storage.query(statement, parameters).map(|mut rows| (0, rows.next(usize::MAX)));
    }
    storage.execute(statement, parameters).map(|changed| (changed, Vec::new()))
}

#[test]
fn a_statement_takes_no_more_memory_than_it_may_and_leaves_what_was_before() {
    let (house, mut storage) = new();
    storage.set("a", b"1").unwrap();
    let before = state(&mut storage);
    let endless = "WITH RECURSIVE big (x) AS MATERIALIZED (SELECT printf('%.*c', 1000000, 'x')), \
                   n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)";
    for rest in [
        "SELECT * FROM n, big ORDER BY i",
        "SELECT count(DISTINCT x || i) FROM n, big",
        "SELECT length(json_group_array(x)) FROM n, big",
        "SELECT json_group_object(i, x) FROM n, big",
        "SELECT max(x) OVER (ORDER BY i ROWS BETWEEN 9 PRECEDING AND UNBOUNDED FOLLOWING) FROM n, big",
        ", bomb (b) AS (VALUES (zeroblob(100000)) UNION SELECT randomblob(100000) FROM bomb) SELECT count(*) FROM bomb",
        "INSERT INTO log (what) SELECT x FROM n, big ORDER BY i RETURNING 1",
        // It writes at once, and what it finds is held until it is done.
        "INSERT INTO log (what) SELECT zeroblob(100) FROM n RETURNING hex(randomblob(200000))",
    ] {
        let ran = storage.query(&format!("{endless} {rest}"), &[]);
        let found_too_much = matches!(&ran, Err(error) if error.to_string().contains("8 MiB"));
        assert!(is_too_much(&ran) || (found_too_much && rest.contains("zeroblob(100)")), "{rest}: {ran:?}");
        assert_eq!(storage.get("a"), Ok(Some(b"1".into())), "{rest}");
        assert!(state(&mut storage) == before, "{rest}");
    }
    storage.commit().unwrap();
    // What is written to the file is no memory, be it more than that.
    let many = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100) \
                INSERT INTO log (what) SELECT zeroblob(1000000) FROM n";
    assert_eq!(storage.execute(many, &[]), Ok(100));
    assert_eq!(storage.execute("UPDATE log SET what = 1", &[]), Ok(100));
    storage.commit().unwrap();
    check(&house, storage);
}

#[test]
fn a_query_that_needs_too_much_memory_undoes_nothing_not_even_what_could_not_be_written_again() {
    let (_house, mut storage) = new();
    storage.set("large", &vec![1; 2 * MIB]).unwrap();
    storage.execute("INSERT INTO log (what) VALUES (random())", &[]).unwrap();
    let before = state(&mut storage);
    let sort = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i, text FROM n, notes ORDER BY -i";
    assert!(is_too_much(&storage.query(sort, &[])));
    assert!(state(&mut storage) == before);
    storage.commit().unwrap();
    assert_eq!(storage.get("large"), Ok(Some(vec![1; 2 * MIB])));
}

#[test]
fn one_step_that_takes_more_memory_than_it_may_is_refused() {
    let (_house, mut storage) = new();
    for (function, count) in
        [("json_array", 64), ("json_array", 120), ("jsonb_array", 120), ("json_insert", 1)]
    {
        let arguments = match function {
            "json_insert" => "'[1]', '$[#]', x".into(),
            _ => vec!["x"; count].join(", "),
        };
        let statement = format!(
            "SELECT length({function}({arguments})) FROM (SELECT replace(printf('%.*c', 2000000, 'x'), 'x', char(1)) AS x)"
        );
        storage.set("a", b"2").unwrap();
        let ran = storage.query(&statement, &[]);
        let row = matches!(&ran, Err(error) if error.to_string() == "a row is at most 2 MiB");
        assert!(
            if count > 1 { is_too_much(&ran) || function == "jsonb_array" && row } else { row },
            "{statement}: {ran:?}"
        );
        assert_eq!(storage.get("a"), Ok(Some(b"2".into())));
    }
}

#[test]
fn whatever_memory_a_statement_is_refused_it_has_its_whole_effect_or_none() {
    let (house, mut storage) = new();
    let large = [Value::Text("y".repeat(200_000)), Value::Blob(vec![7; 100_000])];
    let none: &[Value] = &[];
    for (statement, parameters) in [
        ("SELECT id, text FROM notes", none),
        ("SELECT count(*), max(text) FROM notes GROUP BY n % 7 ORDER BY 2 DESC", none),
        ("SELECT group_concat(text, ',') FROM notes", none),
        ("SELECT json_group_array(text), json_group_object(id, n) FROM notes", none),
        (
            "SELECT json_extract(json_array(text, n, NULL), '$[0]'), json_set('{}', '$.a', text) FROM notes",
            none,
        ),
        (
            "SELECT key, value, fullkey FROM notes, json_tree(json_array(text, json_object('a', n))) WHERE notes.id < 9",
            none,
        ),
        ("SELECT DISTINCT substr(text, 500), hex(text), quote(text), upper(text) FROM notes", none),
        ("SELECT zeroblob(100000), format('%.*c', 50000, 'z'), CAST(zeroblob(3000) AS TEXT)", none),
        (
            "SELECT instr(text, '99'), replace(text, 'x', 'yz'), trim(text, 'x'), substr(text, 990) FROM notes",
            none,
        ),
        (
            "SELECT instr(zeroblob(9000), x'00'), replace(zeroblob(9000), 'x', 'y'), ltrim(zeroblob(90), 'x')",
            none,
        ),
        (
            "SELECT a.id, b.twice FROM notes AS a JOIN long AS b ON a.text < b.twice ORDER BY b.twice LIMIT 9",
            none,
        ),
        ("SELECT row_number() OVER (ORDER BY text DESC), lag(text) OVER (ORDER BY n) FROM notes", none),
        (
            "WITH RECURSIVE n (i, t) AS (SELECT 1, 'a' UNION ALL SELECT i + 1, t || i FROM n WHERE i < 99 ORDER BY 2) \
          SELECT sum(i), max(t) FROM n",
            none,
        ),
        (
            "SELECT highlight(search, 0, '[', ']'), bm25(search) FROM search WHERE search MATCH 'fox AND jum*' ORDER BY rank",
            none,
        ),
        ("SELECT id FROM boxes WHERE x1 > 20 AND x2 < 50", none),
        ("SELECT ?1 || 'a', ?2, length(?1), typeof(?2)", &large),
        (
            "SELECT id FROM notes UNION SELECT of FROM child EXCEPT SELECT n FROM notes WHERE n < 9 ORDER BY 1",
            none,
        ),
        (
            "SELECT CAST(text AS BLOB), CAST(n AS TEXT), n + 0.5, text LIKE '%9', text GLOB '*9' FROM notes",
            none,
        ),
        ("INSERT INTO notes (text, n) SELECT text || 'z', n + 1000 FROM notes", none),
        ("INSERT INTO notes (text, n) VALUES (?1, 1001), (?2, 1002) RETURNING id, text", &large),
        (
            "INSERT OR REPLACE INTO notes (id, text, n) SELECT id + 50, 'r' || text, n + 50 FROM notes ORDER BY text",
            none,
        ),
        ("UPDATE notes SET text = text || text, n = n + 5000", none),
        ("UPDATE child SET text = hex(text)", none),
        ("DELETE FROM notes WHERE id % 2", none),
        ("DELETE FROM notes RETURNING text", none),
        ("CREATE INDEX more ON notes (substr(text, 900), n DESC) WHERE n > 3", none),
        ("CREATE TABLE copy AS SELECT *, hex(text) AS h FROM notes", none),
        (
            "CREATE TABLE made (a PRIMARY KEY, b GENERATED ALWAYS AS (a || 'x') STORED, CHECK (a > 0)) WITHOUT ROWID",
            none,
        ),
        ("ALTER TABLE spare RENAME COLUMN c TO d", none),
        ("ALTER TABLE spare RENAME TO rest", none),
        ("ALTER TABLE log DROP COLUMN at", none),
        ("DROP TABLE spare", none),
        ("DROP TABLE unused", none),
        ("REINDEX notes", none),
        ("INSERT INTO search SELECT 'a word ' || text || ' fox ' || id FROM notes", none),
        ("UPDATE search SET text = text || ' again' WHERE rowid % 3 = 0", none),
        ("DELETE FROM search WHERE search MATCH 'quick'", none),
        ("INSERT INTO search (search) VALUES ('rebuild')", none),
        ("INSERT INTO search (search) VALUES ('optimize')", none),
        ("CREATE VIRTUAL TABLE other USING fts5 (a, b, prefix = '2 3')", none),
        ("INSERT INTO boxes SELECT id + 1000, id, id + 7 FROM notes", none),
        ("DELETE FROM boxes WHERE x1 > 30", none),
        ("UPDATE boxes SET x2 = x2 + 1", none),
    ] {
        storage.means = crate::sql::MEANS;
        let before = state(&mut storage);
        let expected =
            run(&mut storage, statement, parameters).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        let after = state(&mut storage);
        storage.rollback();
        assert!(state(&mut storage) == before, "{statement}");
        let (mut refusals, mut round) = (0, 0);
        for base in [0, READING] {
            let mut more = 500;
            loop {
                storage.set("a", b"1").unwrap();
                round += 1;
                if round % 2 == 0 {
                    storage.reading().unwrap().connection.flush_prepared_statement_cache();
                }
                storage.means.memory = base + more;
                let ran = run(&mut storage, statement, parameters);
                storage.means = crate::sql::MEANS;
                let held = storage.get("a");
                assert_eq!(held, Ok(Some(b"1".into())), "{statement}, {base} + {more}: {ran:?}");
                let done = ran.is_ok();
                match ran {
                    Ok(ran) => {
                        assert!(ran == expected, "{statement}, {base} + {more}");
                        assert!(state(&mut storage) == after, "{statement}, {base} + {more}");
                    }
                    ran => {
                        assert!(is_too_much(&ran), "{statement}, {base} + {more}: {ran:?}");
                        assert!(state(&mut storage) == before, "{statement}, {base} + {more}");
                        refusals += 1;
                    }
                }
                storage.rollback();
                if done || more > 8 * MIB {
                    break;
                }
                more += more / 8;
            }
        }
        assert!(refusals > 3, "{statement}");
    }
    check(&house, storage);
}

#[test]
fn what_one_agents_statement_takes_is_not_anothers() {
    /// Begins, takes 59 MiB, and has them at its end.
    const LARGE: &str = "WITH RECURSIVE n (i) AS (SELECT begin() UNION ALL SELECT i + 1 FROM n WHERE i < 58), \
         held AS MATERIALIZED (SELECT randomblob(1000000) FROM n) SELECT count(*) + end() FROM held";
    type Meet = Box<dyn Fn() + Send>;
    let house = House::new();
    let agent = |name: &str, begin: Meet, end: Meet| {
        let mut storage = house.agent(name);
        storage.means.time = Duration::from_secs(60);
        storage.set("a", b"1").unwrap();
        let connection = &storage.reading().unwrap().connection;
        let called = |meet: Meet, value: i64| {
            move |_: &mut Context<'_>| {
                meet();
                Ok(value)
            }
        };
        let flags = FunctionFlags::SQLITE_UTF8;
        connection.create_scalar_function("begin", 0, flags, called(begin, 1)).unwrap();
        connection.create_scalar_function("end", 0, flags, called(end, 0)).unwrap();
        storage
    };
    // She begins; he begins, and has taken it all; she takes it all and ends; he ends. Who fails meets nobody any more, and
    // then nobody waits for that one.
    let ((begun, hers), (taken, his), (ended, she)) = (channel(), channel(), channel());
    let begin = move || {
        let _ = (begun.send(()), his.recv());
    };
    let end = move || {
        let _ = (taken.send(()), she.recv());
    };
    let mut alice = agent("alice", Box::new(begin), Box::new(|| {}));
    let mut bob = agent("bob", Box::new(|| {}), Box::new(end));
    let found = Ok(vec![vec![Value::Integer(58)]]);
    std::thread::scope(|scope| {
        let alice = scope.spawn(move || {
            let ran = alice.query(LARGE, &[]).map(|mut rows| rows.next(1));
            let _ = ended.send(());
            ran
        });
        hers.recv().unwrap();
        let ran = bob.query(LARGE, &[]).map(|mut rows| rows.next(1));
        drop(bob);
        assert_eq!((alice.join().unwrap(), ran), (found.clone(), found));
    });
    let mut carol = agent("carol", Box::new(|| {}), Box::new(|| {}));
    carol.means.memory = 58 * MIB;
    assert!(is_too_much(&carol.query(LARGE, &[])), "so much it takes");
}

#[test]
fn a_short_statement_that_takes_much_memory_is_not_kept_prepared() {
    let (_house, mut storage) = new();
    let column = format!("max({})", ["random()"; 100].join(","));
    storage.execute(&format!("CREATE VIEW large AS SELECT {}", vec![column; 80].join(", ")), &[]).unwrap();
    let (small, large) = ("SELECT random()", "SELECT * FROM large AS a, large AS b, large AS c");
    for (statement, kept) in [(small, true), (large, false)] {
        storage.query(statement, &[]).unwrap();
        let database = storage.reading().unwrap();
        let ran = crate::sql::run(database, statement, &[], crate::sql::MEANS).unwrap();
        assert_eq!(!ran.findings.afresh, kept, "{statement}");
    }
}
