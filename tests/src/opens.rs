//! Which files of a folder are opened, and how often: counted by Linux itself, whoever opens them.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// A folder that is watched from now on.
pub struct Opens(OwnedFd);

impl Opens {
    /// Watches this folder, and none below it.
    pub fn of(folder: &Path) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, folder, WatchFlags::OPEN).unwrap();
        Self(watch)
    }

    /// How often each file was opened until now.
    ///
    /// # Panics
    ///
    /// When there were more opens than Linux counts for one watcher, 16,384 unless it is told otherwise.
    pub fn counted(self) -> BTreeMap<String, usize> {
        let mut room = [MaybeUninit::uninit(); 4_096];
        let mut reader = Reader::new(self.0, &mut room);
        let mut opens = BTreeMap::new();
        loop {
            match reader.next() {
                Ok(open) => {
                    assert!(
                        !open.events().contains(ReadFlags::QUEUE_OVERFLOW),
                        "more opens than can be counted"
                    );
                    let Some(name) = open.file_name() else { continue };
                    *opens.entry(name.to_str().unwrap().to_owned()).or_default() += 1;
                }
                Err(Errno::WOULDBLOCK) => return opens,
                Err(error) => panic!("{error}"),
            }
        }
    }
}
