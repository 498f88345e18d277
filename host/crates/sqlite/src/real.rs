//! How SQLite writes a number.
#![allow(unsafe_code, reason = "SQLite's own way to write a number takes a place to write to")]

use rusqlite::ffi;

/// No number takes more, with its sign, its point, its exponent and an end.
const LONGEST: usize = 40;

/// A number as SQLite has it as a text: `1.0e+16`, and not as Rust would write it.
pub fn written(real: f64) -> String {
    let mut place = [0_u8; LONGEST];
    // SAFETY: there is room for so many bytes, the last of them for the end, and the number is what the format asks for.
    unsafe {
        ffi::sqlite3_snprintf(LONGEST as i32, place.as_mut_ptr().cast(), c"%!.17g".as_ptr(), real);
    }
    place.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}
