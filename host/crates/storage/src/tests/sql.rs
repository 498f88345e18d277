use super::*;
use crate::{RESULT_BYTES, SqlError};

fn new() -> (House, Storage) {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage
        .execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, n REAL)", &[])
        .unwrap();
    (house, storage)
}

fn rows(storage: &mut Storage, statement: &str) -> Vec<Vec<Value>> {
    storage.query(statement, &[]).unwrap().next(usize::MAX)
}

#[test]
fn values_come_back_with_their_types() {
    let house = House::new();
    let mut storage = house.agent("alice");
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(0.1),
        text("é\0ü"),
        text(""),
        Value::Blob(vec![0, 255]),
        Value::Blob(vec![]),
    ];
    let mut rows =
        storage.query("SELECT ?1 AS a, ?2, ?3, ?4, ?5, ?6 \"x y\", ?7;  -- the end\n ;", &values).unwrap();
    assert_eq!(rows.columns(), ["a", "?2", "?3", "?4", "?5", "x y", "?7"]);
    assert_eq!(rows.next(9), [values.to_vec()]);
    assert_eq!(rows.next(9), Vec::<Vec<Value>>::new());
    assert!(files(&house.folder.path().join("agents")).is_empty(), "reading makes no file");
    let error = storage.query("SELECT CAST(x'ff' AS TEXT) AS broken", &[]).unwrap_err();
    assert!(matches!(&error, SqlError::Invalid(text) if text.contains("`broken` is not UTF-8")), "{error:?}");
}

#[test]
fn a_change_says_how_many_rows_and_returning_finds_them() {
    let (_house, mut storage) = new();
    let insert = "INSERT INTO notes (text) VALUES (?), (?)";
    assert_eq!(storage.execute(insert, &[text("a"), text("b")]), Ok(2));
    assert_eq!(storage.execute("UPDATE notes SET n = 1", &[]), Ok(2));
    assert_eq!(storage.execute("UPDATE notes SET n = 1 WHERE id = 9", &[]), Ok(0));
    assert_eq!(storage.execute("CREATE INDEX by_n ON notes (n)", &[]), Ok(0));
    assert_eq!(storage.execute("PRAGMA user_version = 7", &[]), Ok(0));
    assert_eq!(rows(&mut storage, "PRAGMA user_version"), [[Value::Integer(7)]]);
    assert_eq!(rows(&mut storage, "DELETE FROM notes WHERE text = 'a' RETURNING id"), [[Value::Integer(1)]]);
    assert_eq!(storage.execute("DELETE FROM notes RETURNING id", &[]), Ok(1));
    assert_eq!(storage.execute("CREATE TABLE copy AS SELECT 1", &[]), Ok(0));
    assert_eq!(storage.execute("CREATE VIRTUAL TABLE search USING fts5 (text)", &[]), Ok(0));
    assert_eq!(storage.execute("INSERT INTO search VALUES ('a b')", &[]), Ok(1));
    storage.commit().unwrap();
    storage.close().unwrap();
}

#[test]
fn what_was_found_does_not_change_any_more() {
    let (_house, mut storage) = new();
    storage.execute("INSERT INTO notes (text) VALUES ('a'), ('b'), ('c')", &[]).unwrap();
    let mut found = storage.query("SELECT text FROM notes ORDER BY id", &[]).unwrap();
    assert_eq!(found.next(0), Vec::<Vec<Value>>::new());
    assert_eq!(found.next(1), [[text("a")]]);
    storage.execute("DELETE FROM notes", &[]).unwrap();
    storage.rollback();
    drop(storage);
    assert_eq!(found.next(9), [[text("b")], [text("c")]]);
}

#[test]
fn everything_that_sqlite_can_do_within_a_database_is_allowed() {
    let (_house, mut storage) = new();
    for statement in [
        "INSERT INTO notes (text) VALUES ('the quick fox'), ('the lazy dog')",
        "CREATE VIEW short AS SELECT text FROM notes WHERE length(text) < 13",
        "CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT DEFAULT CURRENT_TIMESTAMP, what TEXT)",
        "CREATE TRIGGER logged AFTER INSERT ON notes BEGIN INSERT INTO log (what) VALUES (new.text); \
         UPDATE notes SET n = 1 WHERE id = new.id; END;",
        "INSERT INTO notes (text) VALUES ('third') ON CONFLICT (text) DO NOTHING",
        "ALTER TABLE notes ADD COLUMN more TEXT",
        "ALTER TABLE notes RENAME COLUMN more TO extra",
        "ALTER TABLE notes DROP COLUMN extra",
        "ALTER TABLE log RENAME TO history",
        "CREATE INDEX partly ON notes (upper(text)) WHERE n > 0",
        "ANALYZE",
        "ANALYZE notes",
        "REINDEX notes",
        "CREATE TABLE wordless (a PRIMARY KEY, b GENERATED ALWAYS AS (a || 'x') STORED) WITHOUT ROWID",
        "CREATE TABLE strict (a INT) STRICT",
        "CREATE VIRTUAL TABLE search USING fts5 (text, content = 'notes', content_rowid = 'id')",
        "INSERT INTO search (search) VALUES ('rebuild')",
        "INSERT INTO search (search) VALUES ('optimize')",
        "CREATE VIRTUAL TABLE words USING fts5vocab (search, row)",
        "CREATE VIRTUAL TABLE boxes USING rtree (id, x1, x2)",
        "INSERT INTO boxes VALUES (1, 0, 2)",
        "INSERT OR REPLACE INTO notes (id, text) VALUES (1, 'replaced')",
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 9) \
         INSERT INTO notes (text) SELECT 'n' || i FROM n",
        "UPDATE notes SET n = other.id FROM notes AS other WHERE other.id = notes.id",
        "DROP VIEW short",
        "DROP TRIGGER logged",
        "DROP TABLE history",
        "DROP INDEX partly",
        "DROP TABLE boxes",
        "REPLACE INTO notes (id, text) VALUES (2, 'x')",
    ] {
        storage.execute(statement, &[]).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    for statement in [
        "SELECT highlight(search, 0, '[', ']'), bm25(search) FROM search WHERE search MATCH 'quick OR lazy'",
        "SELECT * FROM words",
        "SELECT key, value FROM json_each('{\"a\": [1, 2]}')",
        "SELECT fullkey FROM json_tree('{\"a\": [1, 2]}')",
        "SELECT '{\"a\": {\"b\": 1}}' ->> '$.a.b', json_group_array(text), json_set('{}', '$.x', 1) FROM notes",
        "SELECT row_number() OVER (ORDER BY id), sum(id) OVER (ORDER BY id ROWS 2 PRECEDING) FROM notes",
        "SELECT id FROM notes UNION SELECT 3 EXCEPT SELECT 4 ORDER BY 1 LIMIT 3",
        "SELECT * FROM notes AS a LEFT JOIN notes AS b ON a.id = b.id + 1 WHERE a.text GLOB 'n*' OR a.text LIKE '%e%'",
        "SELECT name FROM sqlite_schema",
        "SELECT name FROM pragma_table_info('notes')",
        "PRAGMA table_info(notes)",
        "PRAGMA table_xinfo(notes)",
        "PRAGMA table_list",
        "PRAGMA index_list(notes)",
        "PRAGMA index_info(sqlite_autoindex_notes_1)",
        "PRAGMA foreign_key_list(notes)",
        "EXPLAIN QUERY PLAN SELECT * FROM notes",
        "VALUES (1), (2)",
        "SELECT last_insert_rowid(), changes(), datetime('now'), random(), hex(randomblob(4))",
        "SELECT format('%05.1f', 2), printf('%s', 'a'), concat_ws(',', 1, 2), unhex('ff'), substr('abc', 2), unixepoch()",
        "SELECT json_pretty('[1]'), json_pretty('{\"a\": [1]}', '    ')",
        "UPDATE notes SET n = 2 WHERE id = 1 RETURNING *",
    ] {
        storage.query(statement, &[]).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    storage.query("PRAGMA foreign_key_check", &[]).unwrap();
    storage.commit().unwrap();
}

#[test]
fn an_attack_is_denied_and_changes_nothing() {
    let (house, mut storage) = new();
    storage.set("key", b"value").unwrap();
    storage.execute("CREATE VIEW peek AS SELECT * FROM rookery_keys", &[]).unwrap();
    storage
        .execute("CREATE TRIGGER poke AFTER INSERT ON notes BEGIN DELETE FROM rookery_keys; END", &[])
        .unwrap();
    storage
        .execute(
            "CREATE VIRTUAL TABLE steal USING fts5 (value, content = 'rookery_keys', content_rowid = 'key')",
            &[],
        )
        .unwrap();
    storage.commit().unwrap();
    let out = house.folder.path().join("out.db").to_string_lossy().into_owned();
    for (statement, reason) in [
        (format!("ATTACH '{out}' AS other"), "ATTACH"),
        ("ATTACH ':memory:' AS other".into(), "ATTACH"),
        ("DETACH main".into(), "DETACH"),
        ("VACUUM".into(), "VACUUM"),
        (format!(" /* ; */ -- x\n;; vacuum INTO '{out}'"), "VACUUM"),
        ("BEGIN".into(), "transactions are the host's"),
        ("BEGIN EXCLUSIVE".into(), "transactions"),
        ("COMMIT".into(), "transactions"),
        ("END".into(), "transactions"),
        ("ROLLBACK".into(), "transactions"),
        ("SAVEPOINT one".into(), "transactions"),
        ("RELEASE one".into(), "transactions"),
        ("ROLLBACK TO one".into(), "transactions"),
        ("PRAGMA journal_mode = DELETE".into(), "PRAGMA journal_mode"),
        ("PRAGMA writable_schema = ON".into(), "PRAGMA writable_schema"),
        ("PRAGMA trusted_schema = ON".into(), "PRAGMA trusted_schema"),
        ("PRAGMA database_list".into(), "PRAGMA database_list"),
        ("PRAGMA hard_heap_limit = 1".into(), "PRAGMA hard_heap_limit"),
        ("PRAGMA temp_store_directory = '/'".into(), "PRAGMA temp_store_directory"),
        ("PRAGMA max_page_count = 1000000".into(), "PRAGMA max_page_count"),
        ("PRAGMA cache_size = 1000000".into(), "PRAGMA cache_size"),
        ("PRAGMA mmap_size = 1000000".into(), "PRAGMA mmap_size"),
        ("PRAGMA synchronous = OFF".into(), "PRAGMA synchronous"),
        ("PRAGMA foreign_keys = OFF".into(), "PRAGMA foreign_keys"),
        ("PRAGMA page_size = 512".into(), "PRAGMA page_size"),
        ("PRAGMA application_id = 0".into(), "PRAGMA application_id"),
        ("PRAGMA main.wal_checkpoint".into(), "PRAGMA wal_checkpoint"),
        ("PRAGMA function_list".into(), "PRAGMA function_list"),
        ("SELECT * FROM pragma_database_list".into(), "pragma_database_list"),
        ("SELECT * FROM pragma_compile_options".into(), "PRAGMA compile_options"),
        ("SELECT * FROM pragma_journal_mode".into(), "PRAGMA journal_mode"),
        ("SELECT load_extension('x')".into(), "load_extension"),
        ("SELECT sqlite_log(1, 'x')".into(), "sqlite_log"),
        ("SELECT fts3_tokenizer('simple')".into(), "fts3_tokenizer"),
        ("SELECT json_patch('{}', '{}')".into(), "json_patch"),
        ("CREATE TEMP TABLE t (a)".into(), "temporary tables"),
        ("CREATE TABLE temp.t (a)".into(), "temporary tables"),
        ("CREATE TEMP VIEW v AS SELECT 1".into(), "temporary tables"),
        ("CREATE TEMP TRIGGER t AFTER INSERT ON notes BEGIN SELECT 1; END".into(), "temporary tables"),
        ("CREATE VIRTUAL TABLE temp.s USING fts5 (a)".into(), "temporary tables"),
        ("CREATE VIRTUAL TABLE s USING fts3 (a)".into(), "`fts3`"),
        ("CREATE VIRTUAL TABLE s USING dbstat".into(), "`dbstat`"),
        ("SELECT * FROM dbstat".into(), "`dbstat`"),
        ("SELECT * FROM rookery_keys".into(), "`rookery_keys`"),
        ("SELECT count(*) FROM ROOKERY_KEYS".into(), "ROOKERY_KEYS"),
        ("SELECT (SELECT 1 FROM rookery_agent)".into(), "`rookery_agent`"),
        ("SELECT * FROM peek".into(), "`rookery_keys`"),
        ("INSERT INTO notes (text) VALUES ('x')".into(), "`rookery_keys`"),
        ("SELECT * FROM steal".into(), "`rookery_keys`"),
        ("INSERT INTO steal (steal) VALUES ('rebuild')".into(), "`rookery_keys`"),
        ("DELETE FROM rookery_keys".into(), "`rookery_keys`"),
        ("UPDATE rookery_agent SET name = 'bob'".into(), "`rookery_agent`"),
        ("DROP TABLE rookery_keys".into(), "`rookery_keys`"),
        ("ALTER TABLE rookery_keys RENAME TO mine".into(), "`rookery_keys`"),
        ("ALTER TABLE rookery_keys ADD COLUMN a".into(), "`rookery_keys`"),
        ("ALTER TABLE notes RENAME TO rookery_notes".into(), "`rookery_notes`"),
        ("CREATE TABLE Rookery_x (a)".into(), "`Rookery_x`"),
        ("CREATE TABLE rookery_x AS SELECT 1".into(), "`rookery_x`"),
        ("CREATE VIEW rookery_x AS SELECT 1".into(), "`rookery_x`"),
        ("CREATE INDEX rookery_x ON notes (text)".into(), "`rookery_x`"),
        ("CREATE INDEX x ON rookery_keys (value)".into(), "`rookery_keys`"),
        ("CREATE TRIGGER x AFTER DELETE ON rookery_keys BEGIN SELECT 1; END".into(), "`rookery_keys`"),
        ("CREATE TRIGGER rookery_x AFTER DELETE ON notes BEGIN SELECT 1; END".into(), "`rookery_x`"),
        ("CREATE VIRTUAL TABLE rookery_x USING fts5 (a)".into(), "`rookery_x`"),
        ("INSERT INTO sqlite_sequence VALUES ('x', 1)".into(), "`sqlite_sequence`"),
    ] {
        let query = storage.query(&statement, &[]).expect_err(&statement);
        let error = storage.execute(&statement, &[]).expect_err(&statement);
        for error in [&query, &error] {
            let right = matches!(error, SqlError::Denied(text) if text.contains(reason))
                || matches!((error, reason), (SqlError::Invalid(_), "`sqlite_sequence`"))
                || matches!(error, SqlError::Invalid(text) if text.contains("run it with"));
            assert!(right, "{statement}: {error:?}");
        }
        let denied = [&query, &error].iter().any(|error| matches!(error, SqlError::Denied(_)));
        assert!(denied || reason == "`sqlite_sequence`", "{statement}");
    }
    storage.commit().unwrap();
    assert_eq!(storage.get("key"), Ok(Some(b"value".into())));
    assert_eq!(rows(&mut storage, "SELECT count(*) FROM notes"), [[Value::Integer(0)]]);
    storage.close().unwrap();
    assert_eq!(files(house.folder.path()), ["agents"]);
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
}

#[test]
fn what_is_wrong_is_said_in_sqlites_words_and_without_a_path() {
    let (house, mut storage) = new();
    storage.execute("CREATE TABLE sequence (id INTEGER PRIMARY KEY AUTOINCREMENT)", &[]).unwrap();
    for (statement, reason) in [
        ("", "there is no statement"),
        (" -- nothing\n ; ", "there is no statement"),
        ("SELEKT 1", "near \"SELEKT\": syntax error"),
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELECT * FROM main.missing", "no such table: main.missing"),
        ("SELECT \"text\" FROM notes WHERE text = \"no such column\"", "no such column"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT ';'; SELECT 2", "one statement at a time"),
        ("SELECT 1; ;-- x\n; DELETE FROM notes", "one statement at a time"),
        ("SELECT 1 /*rookery*/", "contains no"),
        ("SELECT 1 \0 x", "byte 0"),
        ("SELECT ?", "has 1 parameters, not 0"),
        (&format!("SELECT max({})", ["1"; 128].join(", ")), "too many arguments on function max"),
        ("SELECT json('{')", "malformed JSON"),
        ("SELECT * FROM generate_series(1, 9)", "no such table"),
        ("SELECT regexp('a', 'b')", "no such function: regexp"),
        ("SELECT unhex('zz', 'z')", "unhex takes one text here"),
        ("SELECT readfile('/etc/passwd')", "no such function: readfile"),
        (
            "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x (a)')",
            "may not be modified",
        ),
        ("DROP TABLE sqlite_schema", "may not be dropped"),
        ("CREATE TABLE sqlite_x (a)", "reserved for internal use"),
        ("UPDATE search_data SET block = x'00'", "may not be modified"),
    ] {
        if statement.contains("search_data") {
            storage.execute("CREATE VIRTUAL TABLE search USING fts5 (a)", &[]).unwrap();
        }
        for error in
            [storage.query(statement, &[]).unwrap_err(), storage.execute(statement, &[]).unwrap_err()]
        {
            let SqlError::Invalid(text) = &error else { panic!("{statement}: {error:?}") };
            assert!(text.contains(reason) || text.contains("run it with"), "{statement}: {text}");
            assert!(!text.contains("at offset"), "the statement is not repeated: {text}");
            assert!(!text.contains(house.folder.path().to_str().unwrap()));
        }
    }
    let many = "SELECT 1;".repeat(11_000);
    assert_eq!(storage.query(&many, &[]), Err(SqlError::Invalid("one statement at a time".into())));
    let error = storage.execute("DELETE FROM sqlite_sequence", &[]).unwrap_err();
    assert_eq!(error, SqlError::Denied("the table `sqlite_sequence` is not the agent's".into()));
}

#[test]
fn a_constraint_is_named_and_foreign_keys_are_enforced() {
    let (_house, mut storage) = new();
    storage.execute("INSERT INTO notes (text) VALUES ('a')", &[]).unwrap();
    storage.execute("CREATE TABLE child (of REFERENCES notes)", &[]).unwrap();
    for (statement, reason) in [
        ("INSERT INTO notes (text) VALUES ('b'), ('a')", "UNIQUE constraint failed: notes.text"),
        ("INSERT OR FAIL INTO notes (text) VALUES ('b'), ('a')", "UNIQUE constraint failed: notes.text"),
        ("INSERT OR ROLLBACK INTO notes (text) VALUES ('b'), ('a')", "UNIQUE constraint failed: notes.text"),
        ("INSERT INTO notes (text) VALUES (NULL)", "NOT NULL constraint failed: notes.text"),
        ("INSERT INTO child VALUES (9)", "FOREIGN KEY constraint failed"),
    ] {
        assert_eq!(storage.execute(statement, &[]), Err(SqlError::Constraint(reason.into())), "{statement}");
        assert_eq!(rows(&mut storage, "SELECT text FROM notes"), [[text("a")]], "{statement}");
    }
    storage.commit().unwrap();
    assert_eq!(rows(&mut storage, "SELECT text FROM notes"), [[text("a")]]);
}

#[test]
fn a_deferred_constraint_fails_the_commit_and_nothing_is_kept() {
    let (_house, mut storage) = new();
    storage.execute("CREATE TABLE child (of REFERENCES notes DEFERRABLE INITIALLY DEFERRED)", &[]).unwrap();
    storage.commit().unwrap();
    storage.set("a", b"1").unwrap();
    storage.execute("INSERT INTO child VALUES (9)", &[]).unwrap();
    assert_eq!(storage.commit(), Err(SqlError::Constraint("FOREIGN KEY constraint failed".into())));
    assert_eq!(storage.get("a"), Ok(None));
    storage.set("a", b"2").unwrap();
    storage.commit().unwrap();
    assert_eq!(rows(&mut storage, "SELECT * FROM child"), Vec::<Vec<Value>>::new());
}

#[test]
fn the_bounds_of_a_statement_are_exact() {
    let (_house, mut storage) = new();
    let padded = |length: usize| format!("SELECT 1{}", " ".repeat(length - 9)) + ";";
    assert!(storage.query(&padded(100_000), &[]).is_ok());
    let error = storage.query(&padded(100_001), &[]).unwrap_err();
    assert_eq!(error.to_string(), "a statement has at most 100000 bytes, not 100001");
    let marks = |count: usize| format!("SELECT 1 WHERE 1 IN ({})", vec!["?"; count].join(","));
    let parameters = vec![Value::Integer(1); 1001];
    assert!(storage.query(&marks(1000), &parameters[..1000]).is_ok());
    let error = storage.query(&marks(1001), &parameters).unwrap_err();
    assert_eq!(error.to_string(), "a statement has at most 1000 parameters, not 1001");
    assert!(matches!(error, SqlError::Storage(StorageError::OutOfBounds(_))));
    assert!(matches!(storage.query("SELECT ?1001", &parameters), Err(SqlError::Storage(_))));
    let insert = "INSERT INTO notes (text, n) VALUES (?, 1)";
    assert_eq!(storage.execute(insert, &[text(&"x".repeat(2 * MIB))]), Ok(1));
    let error = storage.execute(insert, &[Value::Blob(vec![0; 2 * MIB + 1])]).unwrap_err();
    assert_eq!(error.to_string(), "a text or blob has at most 2097152 bytes (2 MiB), not 2097153");
    let found = storage.query("SELECT text FROM notes", &[]).unwrap();
    assert!(found.bytes() > 2 * MIB);
}

#[test]
fn what_a_query_finds_is_bounded_and_a_change_that_finds_more_is_undone() {
    let (_house, mut storage) = new();
    let series = |count: usize| {
        format!("WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count})")
    };
    // 24 for the row, 32 for the value, and beside them the name of the column.
    let count = (RESULT_BYTES - 25) / (24 + size_of::<Value>());
    assert_eq!(size_of::<Value>(), 32);
    let mut found = storage.query(&format!("{} SELECT i FROM n", series(count)), &[]).unwrap();
    assert_eq!(found.next(usize::MAX).len(), count);
    let mut fails = |statement: &str| match storage.query(statement, &[]) {
        Err(SqlError::Storage(StorageError::OutOfBounds(text))) => assert!(text.contains("8 MiB"), "{text}"),
        other => panic!("{other:?}"),
    };
    fails(&format!("{} SELECT i FROM n", series(count + 1)));
    fails("WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n");
    fails(&format!("{} SELECT zeroblob(2000000) FROM n", series(5)));
    fails(&format!(
        "{} INSERT INTO notes (text, n) SELECT i, 1 FROM n RETURNING zeroblob(100000)",
        series(90)
    ));
    assert_eq!(rows(&mut storage, "SELECT count(*) FROM notes"), [[Value::Integer(0)]]);
}

#[test]
fn many_rows_are_read_page_by_page_in_the_memory_of_a_page_also_while_they_are_changed() {
    const ALL: i64 = 1_000_000;
    let house = House::new();
    let mut alice = house.agent("alice");
    alice.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text)", &[]).unwrap();
    let many = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
                INSERT INTO notes SELECT ? + i, 'new' FROM n";
    for from in (0..ALL).step_by(100_000) {
        alice.execute(many, &[Value::Integer(from)]).unwrap();
        alice.commit().unwrap();
    }
    let all = alice.query("SELECT * FROM notes", &[]).unwrap_err();
    assert!(all.to_string().contains("page by page"), "{all}");
    let page = "SELECT id, text FROM notes WHERE id > ? ORDER BY id LIMIT 1000";
    let mut last = 0;
    loop {
        let mut rows = alice.query(page, &[Value::Integer(last)]).unwrap();
        assert!(rows.bytes() < 128 << 10, "{} bytes", rows.bytes());
        let found = rows.next(1000);
        let expected = (last + 1..=ALL).take(1000).map(|id| [Value::Integer(id), text("new")]);
        assert!(found.iter().eq(expected.collect::<Vec<_>>().iter()), "after {last}");
        if found.is_empty() {
            break;
        }
        last += 1000;
        if last % 100_000 == 0 {
            let seen = "UPDATE notes SET text = 'seen' WHERE id BETWEEN ?1 - 99999 AND ?1";
            assert_eq!(alice.execute(seen, &[Value::Integer(last)]), Ok(100_000));
            alice.commit().unwrap();
            while alice.rest().unwrap() {}
            assert_eq!(alice.rest(), Ok(false));
            assert!(!alice.is_open(), "also across a file that is closed meanwhile");
        }
    }
    assert_eq!(last, ALL);
}
