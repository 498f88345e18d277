//! What machine this is, as far as figures depend on it.

use std::fs::read_to_string;

/// One line: processor, cores, memory, kernel, and how busy it was when the bench began.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, Into::into);
    let processor = field("/proc/cpuinfo", "model name").unwrap_or("unknown processor".into());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok())
        .map_or("unknown memory".into(), |kib| format!("{} GiB", (kib + (1 << 19)) >> 20));
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or("unknown".into());
    let load = read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!("{processor}, {cores} cores, {memory}, kernel {}, load average {load}", kernel.trim())
}

/// The value of a `name : value` line.
fn field(file: &str, name: &str) -> Option<String> {
    let content = read_to_string(file).ok()?;
    let line = content.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim().to_owned())
}
