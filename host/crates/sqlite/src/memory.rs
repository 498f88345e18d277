//! SQLite's allocator: Rust's, with the size of each block written before it.
#![allow(unsafe_code, reason = "SQLite asks for memory through pointers")]

use std::alloc::{self, Layout};
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use rusqlite::ffi;

use crate::bound::{give, take};

/// Before every block: how large it is, with this. SQLite wants what follows at a multiple of eight.
const HEADER: usize = 8;

/// With its header a block is a multiple of this, as allocators have them anyway; SQLite uses what is left over.
const STEP: usize = 16;

/// SQLite asks for no more at once (`SQLITE_MAX_ALLOCATION_SIZE`), so that all sizes are good for an `isize` and an `int`.
const MOST: usize = 0x7fff_feff;

/// Has SQLite take all its memory here, piece by piece as it needs it, and keep no statistics. Returns SQLite's word for how
/// that went: it does not do so where it is in use.
///
/// No other thread may use SQLite meanwhile for the first time.
pub(crate) fn install() -> c_int {
    let methods = ffi::sqlite3_mem_methods {
        xMalloc: Some(malloc),
        xFree: Some(free),
        xRealloc: Some(realloc),
        xSize: Some(size),
        xRoundup: Some(roundup),
        xInit: Some(init),
        xShutdown: Some(shutdown),
        pAppData: null_mut(),
    };
    const NONE: c_int = 0;
    // SAFETY: each option is followed by what SQLite's documentation of `sqlite3_config` says, which copies it. The
    // functions are safe to call from any thread, as they must be without the statistics.
    let went = unsafe {
        [
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods),
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_MEMSTATUS, NONE),
            // Without these two a connection takes 48 KB for what is small, and each of its databases 86 KB for pages, before
            // anything is asked for. Most agents need a third of it, and it is not faster.
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_LOOKASIDE, NONE, NONE),
            ffi::sqlite3_config(ffi::SQLITE_CONFIG_PAGECACHE, null_mut::<c_void>(), NONE, NONE),
        ]
    };
    went.into_iter().find(|code| *code != ffi::SQLITE_OK).unwrap_or(ffi::SQLITE_OK)
}

/// How large a block is, with its header, that holds so many bytes.
fn whole(bytes: c_int) -> Option<usize> {
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= MOST)?;
    Some((bytes + HEADER).next_multiple_of(STEP))
}

fn layout(whole: usize) -> Layout {
    // SAFETY: the alignment is a power of two, and a block is no larger than `MOST` and a little.
    unsafe { Layout::from_size_align_unchecked(whole, HEADER) }
}

/// Where the block begins of which SQLite knows this, and how large it is.
///
/// # Safety
///
/// It must come from [`handed_out`], and must not have been freed.
unsafe fn block(known: *mut c_void) -> (*mut u8, usize) {
    // SAFETY: there is a header before it, where a size was written.
    unsafe {
        let block = known.cast::<u8>().sub(HEADER);
        (block, block.cast::<usize>().read())
    }
}

/// What SQLite is to know of a block.
///
/// # Safety
///
/// The block must be its owner's, so large, and aligned to [`HEADER`].
unsafe fn handed_out(block: *mut u8, whole: usize) -> *mut c_void {
    // SAFETY: there is room for a header and more, and it is aligned for a size.
    unsafe {
        block.cast::<usize>().write(whole);
        block.add(HEADER).cast()
    }
}

unsafe extern "C" fn malloc(bytes: c_int) -> *mut c_void {
    let Some(whole) = whole(bytes) else { return null_mut() };
    if !take(whole) {
        return null_mut();
    }
    // SAFETY: it is larger than nothing; what comes of it is checked, and so large.
    unsafe {
        let block = alloc::alloc(layout(whole));
        if block.is_null() {
            give(whole);
            return null_mut();
        }
        handed_out(block, whole)
    }
}

unsafe extern "C" fn free(known: *mut c_void) {
    if known.is_null() {
        return;
    }
    // SAFETY: SQLite frees what it got from here, once; the layout is the one that it was made with.
    unsafe {
        let (block, whole) = block(known);
        give(whole);
        alloc::dealloc(block, layout(whole));
    }
}

unsafe extern "C" fn realloc(known: *mut c_void, bytes: c_int) -> *mut c_void {
    if known.is_null() {
        // SAFETY: it takes any number.
        return unsafe { malloc(bytes) };
    }
    let Some(whole) = whole(bytes) else { return null_mut() };
    // SAFETY: SQLite names what it got from here and has not freed; the layout is the one that it was made with. What
    // comes of it is checked, and so large; where it is nothing the old block stands.
    unsafe {
        let (block, before) = block(known);
        // Both are there for a moment where it has to be moved, and with large ones that is what counts.
        if !take(whole) {
            return if whole <= before { known } else { null_mut() };
        }
        let moved = alloc::realloc(block, layout(before), whole);
        if moved.is_null() {
            give(whole);
            return null_mut();
        }
        give(before);
        handed_out(moved, whole)
    }
}

unsafe extern "C" fn size(known: *mut c_void) -> c_int {
    if known.is_null() {
        return 0;
    }
    // SAFETY: SQLite names what it got from here and has not freed.
    let (_, whole) = unsafe { block(known) };
    (whole - HEADER) as c_int
}

unsafe extern "C" fn roundup(bytes: c_int) -> c_int {
    whole(bytes).map_or(0, |whole| (whole - HEADER) as c_int)
}

unsafe extern "C" fn init(_: *mut c_void) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn shutdown(_: *mut c_void) {}
