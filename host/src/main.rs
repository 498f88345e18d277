//! The `rookery` program.

/// Events are made on one thread and let go on another, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the crate has no name for: after how many milliseconds the system has
/// memory back that nothing uses.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Memory follows what is live: with the second that is mimalloc's default a host that was never quiet kept 70 MiB more.
/// `MIMALLOC_PURGE_DELAY` in the environment counts instead, where it is set.
const MILLISECONDS: std::ffi::c_long = 10;

fn main() -> std::process::ExitCode {
    give_back_soon();
    rookery::command::main()
}

/// Sets how soon the system has memory back.
fn give_back_soon() {
    #[allow(unsafe_code, reason = "the allocator's options have no safe way")]
    // SAFETY: it sets a number that is looked at later; no other thread is there yet that could look.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, MILLISECONDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_number_is_still_the_one_of_the_delay() {
        #[allow(unsafe_code, reason = "the allocator's options have no safe way")]
        // SAFETY: it reads a number.
        let default = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(default, 1000, "mimalloc's default, which no option near it has");
    }
}
