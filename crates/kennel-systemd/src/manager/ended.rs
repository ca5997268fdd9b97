//! How a service's main process ended, in words that a person knows.

const OUT_OF_MEMORY: &str = "oom-kill";

/// How a process ended, from systemd's word for it and the codes of waitid(2). `memory_max` is the
/// unit's `MemoryMax=` in bytes.
pub(super) fn ended(result: &str, code: i32, status: i32, memory_max: u64) -> String {
    if result == OUT_OF_MEMORY {
        return out_of_memory(memory_max);
    }
    match (code, status) {
        (0, _) => "it has not ended".to_owned(),
        // systemd's own exit statuses (systemd.exec(5), "Process exit codes").
        (1, 203) => "the program could not be executed".to_owned(),
        (1, 217) => "its user could not be made".to_owned(),
        (1, 226) => "its sandbox could not be made".to_owned(),
        (1, 238) => "its state directory could not be made".to_owned(),
        (1, status) => format!("it exited with status {status}"),
        (2 | 3, signal) => format!("it was killed by signal {signal}"),
        (code, status) => format!("it ended with code {code}, status {status}"),
    }
}

/// How a process ended after which systemd has started another, of which its word alone is left.
pub(super) fn before(result: &str, memory_max: u64) -> String {
    match result {
        OUT_OF_MEMORY => out_of_memory(memory_max),
        other => format!("it ended with `{other}`, and systemd has started it again"),
    }
}

fn out_of_memory(memory_max: u64) -> String {
    let most = in_units(memory_max);
    format!("out of memory: the kernel ended it, it may use {most} (memory_max)")
}

fn in_units(bytes: u64) -> String {
    const UNITS: &[(u32, char)] = &[(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    if bytes == u64::MAX {
        return "what the host has".to_owned();
    }
    let whole = UNITS.iter().find(|(bits, _)| bytes > 0 && bytes.is_multiple_of(1 << bits));
    whole.map_or_else(|| bytes.to_string(), |(bits, unit)| format!("{}{unit}", bytes >> bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_names_the_limit() {
        assert_eq!(
            ended("oom-kill", 2, 9, 48 << 20),
            "out of memory: the kernel ended it, it may use 48M (memory_max)"
        );
        assert_eq!(before("oom-kill", 48 << 20), ended("oom-kill", 2, 9, 48 << 20));
        assert_eq!(ended("signal", 2, 9, 48 << 20), "it was killed by signal 9");
        assert_eq!(in_units(2 << 30), "2G");
        assert_eq!(in_units((2 << 30) + 1), "2147483649");
        assert_eq!(in_units(u64::MAX), "what the host has");
    }
}
