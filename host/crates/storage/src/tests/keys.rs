use super::*;
use crate::{Entry, Order, Range};

fn range(prefix: &str, after: Option<&str>, order: Order, limit: u32) -> Range {
    Range { prefix: prefix.into(), after: after.map(Into::into), order, limit }
}

fn listed(storage: &mut Storage, range: &Range) -> (Vec<String>, bool) {
    let page = storage.list(range).unwrap();
    (page.entries.into_iter().map(|entry| entry.key).collect(), page.more)
}

fn entry(key: &str, value: &[u8]) -> Entry {
    Entry { key: key.into(), value: value.into() }
}

fn names(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).into()).collect()
}

#[test]
fn reading_makes_no_file_and_finds_nothing() {
    let house = House::new();
    let mut storage = house.agent("alice");
    assert_eq!(storage.get("a"), Ok(None));
    assert_eq!(storage.get_many(&names(&["a", "b"])), Ok(vec![None, None]));
    assert_eq!(listed(&mut storage, &range("", None, Order::Ascending, 9)), (vec![], false));
    assert_eq!((storage.delete("a"), storage.delete_many(&names(&["a", "b"]))), (Ok(false), Ok(0)));
    assert_eq!(storage.set_many(&[]), Ok(()));
    storage.commit().unwrap();
    storage.close().unwrap();
    assert!(files(&house.folder.path().join("agents")).is_empty());
    assert!(!house.databases.exists(&agent("alice")));
}

#[test]
fn what_is_committed_is_there_again_and_nothing_but_one_file() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("a", b"1").unwrap();
    storage.set("a", b"2").unwrap();
    storage.set("empty", b"").unwrap();
    assert_eq!(storage.get("a"), Ok(Some(b"2".into())));
    storage.commit().unwrap();
    storage.close().unwrap();
    assert_eq!(files(&house.folder.path().join("agents/chat")), ["alice.db"]);
    let mut storage = house.agent("alice");
    assert_eq!(
        storage.get_many(&names(&["a", "none", "empty"])),
        Ok(vec![Some(b"2".into()), None, Some(vec![])])
    );
}

#[test]
fn what_is_not_committed_is_gone_however_it_ends() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("kept", b"1").unwrap();
    storage.commit().unwrap();
    storage.set("kept", b"2").unwrap();
    storage.rollback();
    assert_eq!(storage.get("kept"), Ok(Some(b"1".into())));
    storage.set("kept", b"3").unwrap();
    drop(storage);
    let mut storage = house.agent("alice");
    assert_eq!(storage.get("kept"), Ok(Some(b"1".into())));
    storage.delete("kept").unwrap();
    storage.close().unwrap();
    assert_eq!(house.agent("alice").get("kept"), Ok(Some(b"1".into())));
}

#[test]
fn after_a_crash_what_was_committed_is_there_and_nothing_else() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set("a", b"1").unwrap();
    storage.commit().unwrap();
    storage.set("a", &vec![7; 3 * MIB / 2]).unwrap();
    storage.set("b", &vec![7; 3 * MIB / 2]).unwrap();
    storage.set("c", &vec![7; 3 * MIB / 2]).unwrap();
    // A copy of the files is what a crash leaves. By now there are pages in the log that were not committed.
    let crashed = House::new();
    let folder = crashed.folder.path().join("agents/chat");
    std::fs::create_dir(&folder).unwrap();
    for ending in ["", "-wal"] {
        let from = crate::names::beside(&house.path("alice"), ending);
        std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
    assert!(std::fs::metadata(folder.join("alice.db-wal")).unwrap().len() > MIB as u64);
    let mut again = crashed.agent("alice");
    assert_eq!(again.get_many(&names(&["a", "b"])), Ok(vec![Some(b"1".into()), None]));
    again.close().unwrap();
    assert_eq!(files(&folder), ["alice.db"]);
}

#[test]
fn agents_do_not_see_each_other() {
    let house = House::new();
    for (name, value) in [("chat/a", b"1"), ("chat/A", b"2"), ("notes/a", b"3")] {
        let mut storage = house.agent(name);
        assert_eq!(storage.get("key"), Ok(None));
        storage.set("key", value).unwrap();
        storage.commit().unwrap();
    }
    assert_eq!(house.agent("chat/a").get("key"), Ok(Some(b"1".into())));
}

#[test]
fn keys_are_listed_in_the_order_of_their_bytes_page_by_page() {
    let house = House::new();
    let mut storage = house.agent("alice");
    let all = ["a", "a\0", "a/", "a/1", "a/2", "a/é", "a/\u{10ffff}", "a0", "b", "é"];
    for key in all.iter().rev() {
        storage.set(key, key.as_bytes()).unwrap();
    }
    let every = names(&all);
    let reversed: Vec<_> = every.iter().rev().cloned().collect();
    let (up, down) = (Order::Ascending, Order::Descending);
    let mut list = |prefix, after, order, limit| listed(&mut storage, &range(prefix, after, order, limit));
    assert_eq!(list("", None, up, 1000), (every.clone(), false));
    assert_eq!(list("", None, down, 1000), (reversed, false));
    assert_eq!(list("", None, up, 10), (every.clone(), false));
    assert_eq!(list("", None, up, 9), (every[..9].to_vec(), true));
    assert_eq!(list("a/", None, up, 9), (names(&["a/", "a/1", "a/2", "a/é", "a/\u{10ffff}"]), false));
    assert_eq!(list("a/", Some("a/1"), up, 2), (names(&["a/2", "a/é"]), true));
    assert_eq!(list("a/", Some("a/2"), down, 9), (names(&["a/1", "a/"]), false));
    assert_eq!(list("a/", Some("0"), up, 1), (names(&["a/"]), true));
    assert_eq!(list("a/", Some("b"), up, 9), (vec![], false));
    assert_eq!(list("a/", Some("z"), down, 1), (names(&["a/\u{10ffff}"]), true));
    assert_eq!(list("", Some("a"), up, 1), (names(&["a\0"]), true));
    assert_eq!(list("", Some(""), down, 9), (vec![], false));
    assert_eq!(list("a/1/", None, up, 9), (vec![], false));
}

#[test]
fn a_page_of_values_is_at_most_four_mib() {
    let house = House::new();
    let mut storage = house.agent("alice");
    for key in ["a", "b", "c"] {
        storage.set(key, &vec![0; 2 * MIB]).unwrap();
    }
    let (up, down) = (Order::Ascending, Order::Descending);
    assert_eq!(listed(&mut storage, &range("", None, up, 1000)), (names(&["a", "b"]), true));
    assert_eq!(listed(&mut storage, &range("", Some("b"), up, 1000)), (names(&["c"]), false));
    storage.set("b", &vec![0; 2 * MIB - 1]).unwrap();
    storage.set("c", b"x").unwrap();
    assert_eq!(listed(&mut storage, &range("", None, up, 3)), (names(&["a", "b", "c"]), false));
    assert_eq!(listed(&mut storage, &range("", None, down, 3)), (names(&["c", "b", "a"]), false));
    assert!(storage.get_many(&names(&["a", "b", "c"])).is_ok());
    assert!(out_of_bounds(storage.get_many(&names(&["a", "b", "c", "c"]))).contains("4 MiB"));
}

#[test]
fn every_bound_is_exact_and_says_which_it_is() {
    let house = House::new();
    let mut storage = house.agent("alice");
    let (longest, longer) = ("k".repeat(1024), "k".repeat(1025));
    let (largest, larger) = (vec![1; 2 * MIB], vec![1; 2 * MIB + 1]);
    storage.set(&longest, &largest).unwrap();
    assert_eq!(storage.get(&longest), Ok(Some(largest)));
    for key in ["", &longer] {
        let all = [
            out_of_bounds(storage.get(key)),
            out_of_bounds(storage.get_many(&names(&["a", key]))),
            out_of_bounds(storage.set(key, b"")),
            out_of_bounds(storage.set_many(&[entry("a", b""), entry(key, b"")])),
            out_of_bounds(storage.delete(key)),
            out_of_bounds(storage.delete_many(&names(&["a", key]))),
        ];
        for text in all {
            assert_eq!(text, format!("a key has 1 to 1024 bytes, not {}", key.len()));
        }
    }
    assert!(out_of_bounds(storage.set("a", &larger)).contains("2 MiB"));
    assert!(out_of_bounds(storage.set_many(&[entry("a", b""), entry("b", &larger)])).contains("2 MiB"));
    assert_eq!(storage.get("a"), Ok(None), "none of them");

    let keys: Vec<_> = (0..129).map(|n| format!("n{n}")).collect();
    let entries: Vec<_> = keys.iter().map(|key| entry(key, b"v")).collect();
    storage.set_many(&entries[..128]).unwrap();
    assert!(storage.get_many(&keys[..128]).unwrap().iter().all(Option::is_some));
    assert_eq!(storage.delete_many(&keys[..128]), Ok(128));
    for text in [
        out_of_bounds(storage.set_many(&entries)),
        out_of_bounds(storage.get_many(&keys)),
        out_of_bounds(storage.delete_many(&keys)),
    ] {
        assert_eq!(text, "at most 128 keys at a time, not 129");
    }
    for limit in [0, 1001] {
        let text = out_of_bounds(storage.list(&range("", None, Order::Ascending, limit)));
        assert_eq!(text, format!("a page has 1 to 1000 entries, not {limit}"));
    }
    assert!(storage.list(&range(&longest, Some(&longest), Order::Ascending, 1000)).is_ok());
    for (prefix, after) in [(longer.as_str(), None), ("", Some(longer.as_str()))] {
        out_of_bounds(storage.list(&range(prefix, after, Order::Descending, 1)));
    }
}

#[test]
fn of_a_key_that_is_named_twice_the_last_value_counts_and_it_is_deleted_once() {
    let house = House::new();
    let mut storage = house.agent("alice");
    storage.set_many(&[entry("a", b"1"), entry("b", b"2"), entry("a", b"3")]).unwrap();
    assert_eq!(storage.get("a"), Ok(Some(b"3".into())));
    assert_eq!(storage.delete_many(&names(&["a", "none", "a", "b"])), Ok(2));
    assert_eq!((storage.delete("a"), storage.get("b")), (Ok(false), Ok(None)));
}
