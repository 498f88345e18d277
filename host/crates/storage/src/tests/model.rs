//! Random lives of an agent's keys against a reference that is only a map.

use std::collections::BTreeMap;

use super::*;
use crate::{Entry, Order, Range, SqlError};

type Map = BTreeMap<String, Vec<u8>>;

struct World {
    random: Random,
    house: House,
    storage: Storage,
    committed: Map,
    current: Map,
}

#[test]
fn any_life_of_an_agent_reads_as_the_reference_says() {
    for seed in 0..10 {
        let house = House::new();
        let storage = house.agent("alice");
        let (committed, current) = (Map::new(), Map::new());
        let mut world = World { random: Random(seed), house, storage, committed, current };
        for _ in 0..400 {
            world.step();
        }
        world.commit();
        world.reopen();
        world.compare();
    }
}

impl World {
    fn step(&mut self) {
        match self.random.below(100) {
            0..30 => {
                let (key, value) = (self.key(), self.value());
                self.storage.set(&key, &value).unwrap();
                self.current.insert(key, value);
            }
            30..40 => {
                let key = self.key();
                let there = self.current.remove(&key).is_some();
                assert_eq!(self.storage.delete(&key), Ok(there));
            }
            40..50 => {
                let count = self.random.below(9);
                let entries: Vec<_> =
                    (0..count).map(|_| Entry { key: self.key(), value: self.value() }).collect();
                self.storage.set_many(&entries).unwrap();
                self.current.extend(entries.into_iter().map(|entry| (entry.key, entry.value)));
            }
            50..55 => {
                let keys: Vec<_> = (0..self.random.below(5)).map(|_| self.key()).collect();
                let there = keys.iter().filter(|key| self.current.remove(*key).is_some()).count();
                assert_eq!(self.storage.delete_many(&keys), Ok(there as u32));
            }
            55..65 => {
                let key = self.key();
                assert_eq!(self.storage.get(&key), Ok(self.current.get(&key).cloned()));
            }
            65..75 => self.page(),
            75..85 => self.commit(),
            85..90 => {
                self.storage.rollback();
                self.current.clone_from(&self.committed);
            }
            90..93 => self.fail(),
            93..95 => self.rest(),
            95..97 => self.reopen(),
            _ => self.crash(),
        }
    }

    /// Something that SQLite undoes the whole transaction for.
    fn fail(&mut self) {
        let make = "CREATE TABLE IF NOT EXISTS one (a UNIQUE)";
        self.storage.execute(make, &[]).unwrap();
        let error = self.storage.execute("INSERT OR ROLLBACK INTO one VALUES (1), (1)", &[]).unwrap_err();
        assert!(matches!(error, SqlError::Constraint(_)));
        self.compare();
    }

    fn commit(&mut self) {
        self.storage.commit().unwrap();
        self.committed.clone_from(&self.current);
    }

    fn rest(&mut self) {
        for _ in 0..2 {
            while self.storage.rest().unwrap() {}
        }
        assert!(self.storage.is_writing() || !self.storage.is_open());
    }

    fn reopen(&mut self) {
        let mut old = std::mem::replace(&mut self.storage, self.house.agent("alice"));
        if self.random.below(2) == 0 {
            old.close().unwrap()
        } else {
            drop(old)
        }
        self.current.clone_from(&self.committed);
    }

    /// The files as they are, in another folder.
    fn crash(&mut self) {
        let house = House::new();
        let folder = house.folder.path().join("agents/chat");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["alice.db", "alice.db-wal"] {
            let from = self.house.folder.path().join("agents/chat").join(name);
            if from.exists() {
                std::fs::copy(from, folder.join(name)).unwrap();
            }
        }
        self.storage = house.agent("alice");
        self.house = house;
        self.current.clone_from(&self.committed);
        self.compare();
    }

    fn page(&mut self) {
        let prefix = ["", "a", "a/", "zz"][self.random.below(4)];
        let after = (self.random.below(2) == 0).then(|| self.key());
        let order = [Order::Ascending, Order::Descending][self.random.below(2)];
        let limit = 1 + self.random.below(8) as u32;
        let mut expected: Vec<_> = self.current.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        if order == Order::Descending {
            expected.reverse();
        }
        expected.retain(|(key, _)| match (&after, order) {
            (None, _) => true,
            (Some(after), Order::Ascending) => *key > after,
            (Some(after), Order::Descending) => *key < after,
        });
        let page = self.storage.list(&Range { prefix: prefix.into(), after, order, limit }).unwrap();
        assert_eq!(page.more, expected.len() > limit as usize);
        let found: Vec<_> = page.entries.iter().map(|entry| (&entry.key, &entry.value)).collect();
        assert_eq!(found, expected[..expected.len().min(limit as usize)]);
    }

    fn compare(&mut self) {
        let all = Range { prefix: String::new(), after: None, order: Order::Ascending, limit: 1000 };
        let found = self.storage.list(&all).unwrap().entries;
        let found: Map = found.into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert!(found == self.current, "{:?} and not {:?}", found.keys(), self.current.keys());
    }

    fn key(&mut self) -> String {
        let length = 1 + self.random.below(3);
        (0..length).map(|_| ["a", "b", "/", "é", "\0"][self.random.below(5)]).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        let length = [0, 10, 1_000, 20_000][self.random.below(4)];
        vec![self.random.below(256) as u8; length]
    }
}
