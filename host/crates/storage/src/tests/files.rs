use rookery_core::Durability;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::*;
use crate::{FileError, SqlError};

fn keep(house: &House, name: &str, key: &str, value: &[u8]) {
    let mut storage = house.agent(name);
    storage.set(key, value).unwrap();
    storage.commit().unwrap();
    storage.close().unwrap();
}

fn get(house: &House, name: &str, key: &str) -> Option<Vec<u8>> {
    house.agent(name).get(key).unwrap()
}

/// Changes an exported file as only somebody who is not the host can.
fn tamper(path: &Path, statements: &str) {
    let connection = rookery_sqlite::open(path).unwrap();
    let off = rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE;
    connection.set_db_config(off, false).unwrap();
    connection.execute_batch(statements).unwrap();
    connection.close().unwrap();
}

#[test]
fn an_agent_can_be_taken_out_and_brought_in_under_another_name() {
    let house = House::new();
    let mut storage = house.agent("chat/Alice");
    storage.execute("CREATE TABLE notes (text)", &[]).unwrap();
    storage.execute("INSERT INTO notes VALUES ('hello')", &[]).unwrap();
    storage.execute("PRAGMA user_version = 3", &[]).unwrap();
    storage.set("a", b"1").unwrap();
    storage.commit().unwrap();
    storage.set("a", b"not committed").unwrap();
    let out = house.folder.path().join("out.db");
    house.databases.export(&agent("chat/Alice"), &out).unwrap();
    assert_eq!(files(house.folder.path()), ["agents", "out.db"]);
    let again = house.databases.export(&agent("chat/Alice"), &out).unwrap_err();
    assert!(matches!(&again, FileError::Exists(path) if path == &out), "{again}");

    let other = House::new();
    other.databases.import(&agent("notes/bob"), &out).unwrap();
    assert_eq!(files(&other.folder.path().join("agents/notes")), ["bob.db"]);
    let mut bob = other.agent("notes/bob");
    assert_eq!(bob.get("a"), Ok(Some(b"1".into())));
    assert_eq!(bob.query("SELECT text FROM notes", &[]).unwrap().next(9), [[text("hello")]]);
    assert_eq!(bob.query("PRAGMA user_version", &[]).unwrap().next(9), [[Value::Integer(3)]]);
    bob.set("b", b"2").unwrap();
    bob.commit().unwrap();
    assert!(matches!(other.databases.import(&agent("notes/bob"), &out), Err(FileError::Taken(_))));
    assert_eq!(bob.get("b"), Ok(Some(b"2".into())));
}

#[test]
fn an_agent_can_be_taken_out_to_a_file_that_is_named_without_its_folder() {
    let house = House::new();
    keep(&house, "alice", "a", b"1");
    // It is where the tests are run, and goes with this.
    let name = format!("taken-out-{}.db", std::process::id());
    let out = tempfile::TempPath::try_from_path(&name).unwrap();
    house.databases.export(&agent("alice"), Path::new(&name)).unwrap();
    house.databases.import(&agent("bob"), Path::new(&name)).unwrap();
    assert_eq!(get(&house, "bob", "a"), Some(b"1".into()));
    assert!(!Path::new(&format!("{name}.part")).exists());
    drop(out);
}

#[test]
fn a_copy_is_of_one_moment_while_the_agent_goes_on_writing() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.execute("CREATE TABLE pairs (a, b, filler)", &[]).unwrap();
    for _ in 0..40 {
        storage.execute("INSERT INTO pairs VALUES (0, 0, zeroblob(100000))", &[]).unwrap();
    }
    storage.commit().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut n = 0;
            while !done.load(Ordering::Relaxed) {
                n += 1;
                storage.execute("UPDATE pairs SET a = ?", &[Value::Integer(n)]).unwrap();
                storage.execute("UPDATE pairs SET b = a, filler = zeroblob(50000 + a % 50000)", &[]).unwrap();
                storage.commit().unwrap();
            }
            (storage, n)
        });
        for copy in 0..5 {
            let out = house.folder.path().join(format!("{copy}.db"));
            house.databases.export(&agent("alice"), &out).unwrap();
            let copy = rookery_sqlite::open(&out).unwrap();
            let row =
                copy.query_row("SELECT count(*), count(DISTINCT a), min(a = b) FROM pairs", (), |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?))
                });
            assert_eq!(row, Ok((40, 1, true)));
        }
        done.store(true, Ordering::Relaxed);
        let (mut storage, written) = writer.join().unwrap();
        assert!(written > 1, "it went on meanwhile");
        storage.close().unwrap();
    });
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
}

#[test]
fn a_fork_begins_where_the_first_one_was_and_goes_its_own_way() {
    let house = House::new();
    let mut first = house.agent("chat/first");
    first.set("a", b"1").unwrap();
    first.commit().unwrap();
    house.databases.fork(&agent("chat/first"), &agent("other/second")).unwrap();
    first.set("a", b"2").unwrap();
    first.commit().unwrap();
    assert_eq!(get(&house, "other/second", "a"), Some(b"1".into()));
    keep(&house, "other/second", "a", b"3");
    assert_eq!(first.get("a"), Ok(Some(b"2".into())));
    let taken = house.databases.fork(&agent("chat/first"), &agent("other/second")).unwrap_err();
    assert_eq!(taken.to_string(), "agent `other/second` keeps something already");
    let missing = house.databases.fork(&agent("chat/none"), &agent("chat/new")).unwrap_err();
    assert!(matches!(missing, FileError::Missing(_)), "{missing}");
    let out = house.folder.path().join("out.db");
    assert!(matches!(house.databases.export(&agent("chat/none"), &out), Err(FileError::Missing(_))));
    assert!(!out.exists() && !house.databases.exists(&agent("chat/new")));
}

#[test]
fn the_folder_of_a_plugin_goes_with_its_last_agent_and_with_no_other() {
    let house = House::new();
    keep(&house, "alice", "a", b"1");
    keep(&house, "bob", "b", b"2");
    keep(&house, "notes/alice", "a", b"1");
    let agents = house.folder.path().join("agents");
    assert!(house.databases.remove(&agent("alice")).unwrap());
    assert_eq!(files(&agents.join("chat")), ["bob.db"]);
    // What is nobody's file is not removed with those that are.
    std::fs::write(agents.join("notes/README"), "mine").unwrap();
    assert!(house.databases.remove(&agent("notes/alice")).unwrap());
    assert_eq!(files(&agents.join("notes")), ["README"]);
    assert!(house.databases.remove(&agent("bob")).unwrap());
    assert!(!agents.join("chat").exists());
}

#[test]
fn what_is_not_brought_in_leaves_no_folder_behind_and_what_is_not_taken_out_leaves_the_one_that_was_there() {
    let house = House::new();
    let (agents, out) = (house.folder.path().join("agents"), house.folder.path().join("out"));
    std::fs::create_dir(&out).unwrap();
    let notes = out.join("notes.db");
    std::fs::write(&notes, "my notes\n".repeat(1000)).unwrap();
    assert!(house.databases.import(&agent("chat/alice"), &notes).is_err());
    assert!(house.databases.fork(&agent("chat/none"), &agent("chat/alice")).is_err());
    assert!(!agents.join("chat").exists());
    std::fs::remove_file(&notes).unwrap();
    assert!(house.databases.export(&agent("chat/none"), &notes).is_err());
    assert!(out.exists(), "it is somebody else's");
}

#[test]
fn an_agent_comes_to_be_whatever_is_removed_at_that_moment() {
    const ROUNDS: usize = 300;
    let house = House::new();
    let copy = house.folder.path().join("copy.db");
    keep(&house, "notes/carol", "a", b"1");
    house.databases.export(&agent("notes/carol"), &copy).unwrap();
    // Each of them is the last one again and again, while another one comes to be.
    std::thread::scope(|scope| {
        for name in ["alice", "bob"] {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    keep(&house, name, "a", b"1");
                    assert!(house.databases.remove(&agent(name)).unwrap());
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..ROUNDS / 10 {
                house.databases.import(&agent("carol"), &copy).unwrap();
                assert_eq!(get(&house, "carol", "a"), Some(b"1".into()));
                assert!(house.databases.remove(&agent("carol")).unwrap());
            }
        });
        scope.spawn(|| {
            for _ in 0..10 * ROUNDS {
                house.databases.list(None, None, 10).unwrap();
            }
        });
    });
    assert!(!house.folder.path().join("agents/chat").exists());
}

#[test]
fn what_is_removed_is_gone_and_the_name_is_free() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("a", b"1").unwrap();
    storage.commit().unwrap();
    // As after a crash: the log is left behind, and must not be taken for the next one's.
    std::mem::forget(storage);
    assert!(files(&house.folder.path().join("agents/chat")).len() > 1);
    assert!(house.databases.remove(&agent("alice")).unwrap());
    assert!(!house.folder.path().join("agents/chat").exists());
    assert!(!house.databases.remove(&agent("alice")).unwrap());
    assert!(!house.databases.remove(&agent("never/there")).unwrap());
    assert_eq!(get(&house, "alice", "a"), None);
    keep(&house, "alice", "b", b"2");
    assert_eq!((get(&house, "alice", "a"), get(&house, "alice", "b")), (None, Some(b"2".into())));
}

#[test]
fn the_log_of_a_file_that_is_no_more_is_not_taken_for_the_next_ones() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("a", b"1").unwrap();
    storage.commit().unwrap();
    std::mem::forget(storage);
    std::fs::remove_file(house.path("alice")).unwrap();
    assert_eq!(get(&house, "alice", "a"), None);
    keep(&house, "alice", "b", b"2");
    assert_eq!((get(&house, "alice", "a"), get(&house, "alice", "b")), (None, Some(b"2".into())));
}

#[test]
fn agents_are_listed_page_by_page_and_what_is_nobodys_is_left_out() {
    let house = House::new();
    let before = SystemTime::now() - Duration::from_secs(5);
    let all = ["chat/A", "chat/B", "chat/a", "chat/b.db", "notes/A", "notes/z"];
    for name in all {
        keep(&house, name, "a", &vec![1; 10_000]);
    }
    let folder = house.folder.path().join("agents");
    std::fs::write(folder.join("chat/readme.txt"), "hello").unwrap();
    std::fs::write(
        folder.join("chat/c.db"),
        "not a database, but as long as one is at the beginning: ".repeat(9),
    )
    .unwrap();
    std::fs::write(folder.join("chat/empty.db"), "").unwrap();
    rookery_sqlite::open(folder.join("chat/d.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    std::fs::create_dir_all(folder.join("chat/e.db")).unwrap();
    std::fs::create_dir_all(folder.join("Not-a-plugin")).unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    let list = |plugin: Option<&str>, after: Option<&str>, limit| {
        let plugin = plugin.map(|plugin| plugin.parse().unwrap());
        let page = house.databases.list(plugin.as_ref(), after.map(agent).as_ref(), limit).unwrap();
        page.iter().map(|kept| kept.agent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 100), all);
    assert_eq!(list(None, None, 2), all[..2]);
    assert_eq!(list(None, Some(all[1]), 3), all[2..5]);
    assert_eq!(list(None, Some("chat/zzz"), 3), all[4..]);
    assert_eq!(list(Some("notes"), None, 1), all[4..5]);
    assert_eq!(list(Some("notes"), Some("notes/z"), 1), Vec::<String>::new());
    assert_eq!((list(Some("none"), None, 1), list(None, None, 0)), (vec![], vec![]));
    let kept = &house.databases.list(None, None, 1).unwrap()[0];
    assert_eq!(kept.bytes, std::fs::metadata(house.path("chat/A")).unwrap().len());
    assert!(kept.modified > before);
}

#[test]
fn a_file_of_another_agent_is_not_taken_for_this_ones() {
    let house = House::new();
    keep(&house, "alice", "a", b"secret");
    std::fs::copy(house.path("alice"), house.path("bob")).unwrap();
    let mut bob = house.agent("bob");
    let Err(StorageError::Unavailable(text)) = bob.get("a") else { panic!() };
    assert!(!text.contains("alice") && !text.contains('/'), "{text}");
    assert!(matches!(bob.set("a", b""), Err(StorageError::Unavailable(_))));
}

#[test]
fn what_is_not_one_of_ours_is_not_brought_in() {
    let house = House::new();
    let mut storage = house.agent("alice");
    for n in 0..300 {
        storage.set(&format!("key {n}"), &[7; 1000]).unwrap();
    }
    storage.execute("CREATE TABLE notes (text)", &[]).unwrap();
    storage.commit().unwrap();
    storage.close().unwrap();
    let path = |name: &str| house.folder.path().join(name);
    let export = |name: &str| {
        house.databases.export(&agent("alice"), &path(name)).unwrap();
        path(name)
    };
    let schema = |name: &str, statements: &str| tamper(&export(name), statements);
    std::fs::write(path("text"), "my notes\n".repeat(1000)).unwrap();
    std::fs::write(path("empty"), "").unwrap();
    rookery_sqlite::open(path("foreign"))
        .unwrap()
        .execute_batch("CREATE TABLE rookery_keys (key, value)")
        .unwrap();
    schema("newer", "UPDATE rookery_agent SET format = 99");
    schema("nameless", "DELETE FROM rookery_agent");
    schema("misnamed", "UPDATE rookery_agent SET name = '../../x'");
    schema("trigger", "CREATE TRIGGER x AFTER INSERT ON rookery_keys BEGIN SELECT load_extension('x'); END");
    schema("view", "CREATE VIEW rookery_x AS SELECT 1");
    schema("index", "CREATE INDEX x ON rookery_keys (hex(value))");
    schema("replaced", "DROP TABLE rookery_keys; CREATE VIEW rookery_keys AS SELECT 1 AS key, 2 AS value");
    schema(
        "rewritten",
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = \
         'CREATE TABLE rookery_keys (key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL DEFAULT (random())) STRICT, WITHOUT ROWID' \
         WHERE name = 'rookery_keys'",
    );
    schema(
        "letters",
        "PRAGMA writable_schema = ON; INSERT INTO sqlite_schema VALUES ('view', 'x', 'x', 0, \
         CAST(x'435245415445205649455720782041532053454c454354203120415320ff' AS TEXT))",
    );
    let damaged = export("damaged");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0xa5);
    std::fs::write(&damaged, &bytes).unwrap();
    bytes.truncate(middle);
    std::fs::write(path("short"), &bytes).unwrap();
    let open = export("open");
    std::fs::write(crate::names::beside(&open, "-wal"), "log").unwrap();
    for (name, reason) in [
        ("text", "not a database"),
        ("empty", "not a file of rookery's agents"),
        ("foreign", "not a file of rookery's agents"),
        ("newer", "newer rookery"),
        ("nameless", "does not say whose it is"),
        ("misnamed", "does not say whose it is"),
        ("trigger", "`x`"),
        ("view", "`rookery_x`"),
        ("index", "`x`"),
        ("replaced", "`rookery_keys`"),
        ("rewritten", "`rookery_keys`"),
        ("letters", "not UTF-8"),
        ("damaged", "damaged"),
        ("short", "damaged"),
        ("open", "export it instead"),
        ("none", "cannot be used"),
    ] {
        let error = house.databases.import(&agent("new"), &path(name)).unwrap_err();
        assert!(error.to_string().contains(reason), "{name}: {error}");
        assert!(error.to_string().contains(path(name).to_str().unwrap()), "{name}: {error}");
        assert!(!house.databases.exists(&agent("new")));
    }
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
    house.databases.import(&agent("new"), &export("good")).unwrap();
}

#[test]
fn a_hostile_schema_harms_only_who_asks_for_it() {
    let house = House::new();
    keep(&house, "alice", "a", b"1");
    let out = house.folder.path().join("out.db");
    house.databases.export(&agent("alice"), &out).unwrap();
    let target = house.folder.path().join("written");
    tamper(
        &out,
        &format!(
            "CREATE TABLE notes (a DEFAULT (load_extension('x')), b CHECK (json_patch('{{}}', '{{}}') IS NOT NULL));
             CREATE VIEW evil AS SELECT load_extension('x'), writefile('{}', 'x');
             CREATE VIEW endless AS WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)
                 SELECT count(*) FROM n;
             CREATE TRIGGER bomb AFTER INSERT ON notes BEGIN
                 INSERT INTO notes (b) SELECT * FROM endless; END;
             CREATE INDEX odd ON notes (abs(a));",
            target.display()
        ),
    );
    house.databases.import(&agent("bob"), &out).unwrap();
    let mut bob = house.agent("bob");
    bob.means.time = Duration::from_millis(50);
    bob.set("a", b"2").unwrap();
    for statement in
        ["SELECT * FROM evil", "INSERT INTO notes (b) VALUES (1) RETURNING 1", "SELECT * FROM endless"]
    {
        let error = bob.query(statement, &[]).unwrap_err();
        assert!(
            matches!(error, SqlError::Denied(_) | SqlError::Invalid(_) | SqlError::TooSlow),
            "{statement}: {error:?}"
        );
    }
    assert_eq!(bob.get("a"), Ok(Some(b"2".into())));
    bob.commit().unwrap();
    assert!(!target.exists());
}

#[test]
fn a_file_that_is_damaged_while_it_is_here_is_unavailable_and_never_more() {
    let house = House::new();
    let mut storage = house.agent("alice");
    for n in 0..300 {
        storage.set(&format!("key {n}"), &[7; 1000]).unwrap();
    }
    storage.commit().unwrap();
    storage.close().unwrap();
    let whole = std::fs::read(house.path("alice")).unwrap();
    let mut random = Random(5);
    for _ in 0..100 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random.below(40) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        bytes.truncate(bytes.len() - random.below(2) * random.below(bytes.len()));
        std::fs::write(house.path("alice"), &bytes).unwrap();
        let mut storage = house.agent("alice");
        for n in 0..30 {
            let key = format!("key {}", n * 10);
            let typed = |error: &StorageError| match error {
                StorageError::Unavailable(text) => assert!(!text.contains('/'), "{text}"),
                StorageError::Full => {}
                other => panic!("{other:?}"),
            };
            let _ = storage.get(&key).inspect_err(typed);
            let _ = storage.set(&key, &[1; 3000]).inspect_err(typed);
            let _ = storage.delete("key 7").inspect_err(typed);
        }
        let _ = storage.query("SELECT * FROM sqlite_schema", &[]);
        let _ = storage.commit();
        let _ = storage.close();
        let _ = crate::database::forget(&house.path("alice"));
    }
}

#[test]
fn nobody_else_can_look_into_what_agents_keep() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("a", b"1").unwrap();
    storage.commit().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = house.folder.path().join("agents");
        assert_eq!((mode(&folder), mode(&folder.join("chat"))), (0o700, 0o700));
        for file in files(&folder.join("chat")) {
            assert_eq!(mode(&folder.join("chat").join(&file)), 0o600, "{file}");
        }
    }
}

#[test]
fn a_database_is_set_up_as_it_should_be() {
    for (durability, synchronous) in [(Durability::Normal, 1), (Durability::Full, 2)] {
        let house = House::new();
        let databases = Databases::open(house.folder.path().join("agents"), durability).unwrap();
        let mut storage = databases.agent(&agent("alice"), PLENTY);
        storage.set("a", b"1").unwrap();
        storage.commit().unwrap();
        let connection = &storage.reading().unwrap().connection;
        let number =
            |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("synchronous"), synchronous);
        let rest =
            ["auto_vacuum", "temp_store", "trusted_schema", "foreign_keys", "cell_size_check", "cache_size"];
        assert_eq!(rest.map(number), [2, 2, 0, 1, 1, -2048]);
        assert_eq!(number("max_page_count"), (PLENTY / 4096) as i64);
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        storage.close().unwrap();
    }
}

#[test]
fn a_making_that_was_cut_off_leaves_nothing_in_the_way() {
    let house = House::new();
    let folder = house.folder.path().join("agents/chat");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("alice.db"), "").unwrap();
    std::fs::write(folder.join("alice.db.part"), "half").unwrap();
    std::fs::write(folder.join("alice.db-wal"), "an old log").unwrap();
    assert_eq!(get(&house, "alice", "a"), None);
    keep(&house, "alice", "a", b"1");
    assert_eq!((get(&house, "alice", "a"), files(&folder)), (Some(b"1".into()), vec!["alice.db".into()]));
}

#[test]
fn what_an_agent_keeps_can_go_from_thread_to_thread() {
    fn sendable<T: Send + 'static>(_: &T) {}
    let house = House::new();
    sendable(&house.agent("alice"));
    sendable(&house.databases);
}
