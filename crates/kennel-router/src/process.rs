//! What the router's own process takes, as the kernel counts it (proc(5)).
//!
//! Read when somebody asks: it costs a few system calls, and nothing in between.

use std::fs;

/// Ticks of `/proc/self/stat` in a second: `USER_HZ`, which programs see on whatever kernel.
const TICKS: f64 = 100.0;

/// One process, now. What cannot be read is 0.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Process {
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) open_fds: u64,
    pub(crate) max_fds: u64,
}

impl Process {
    /// This one.
    pub(crate) fn look() -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}"));
        let mut process = Self::default();
        process.read_status(&read("status").unwrap_or_default());
        process.read_stat(&read("stat").unwrap_or_default());
        process.max_fds = most_descriptors(&read("limits").unwrap_or_default());
        // One of them is the look itself.
        let open = fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default();
        process.open_fds = (open as u64).saturating_sub(1);
        process
    }

    fn read_status(&mut self, text: &str) {
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let number = value.split_whitespace().next().and_then(|it| it.parse::<u64>().ok());
            match (key, number) {
                ("VmRSS", Some(kib)) => self.resident_bytes = kib << 10,
                ("VmSize", Some(kib)) => self.virtual_bytes = kib << 10,
                ("Threads", Some(count)) => self.threads = count,
                (_, _) => {}
            }
        }
    }

    fn read_stat(&mut self, text: &str) {
        // The program's name is in parentheses, and may have spaces and more of them.
        let Some((_, rest)) = text.rsplit_once(')') else { return };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|it| it.parse::<f64>().ok());
        // Fields 14 and 15, of which the third is the first one here.
        self.cpu_seconds = (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / TICKS;
    }
}

/// How many descriptors the process may have (`LimitNOFILE=`), by `/proc/self/limits`.
pub(crate) fn most_descriptors(limits: &str) -> u64 {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel() {
        let mut process = Process::default();
        process.read_status(
            "Name:\tkennel-router\nVmSize:\t   12000 kB\nVmRSS:\t    2900 kB\nThreads:\t3\n",
        );
        process.read_stat("7 (a) b (c) S 1 7 7 0 -1 4194560 500 0 0 0 150 250 0 0 20 0 3 0 100 0");
        assert_eq!(process.resident_bytes, 2900 << 10);
        assert_eq!((process.virtual_bytes, process.threads), (12000 << 10, 3));
        assert!((process.cpu_seconds - 4.0).abs() < f64::EPSILON);
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            65536                65536                files\n";
        assert_eq!(most_descriptors(limits), 65536);
        assert_eq!(most_descriptors(""), 1024);
    }

    #[test]
    fn this_process_has_figures() {
        let process = Process::look();
        assert!(process.resident_bytes > 0 && process.threads > 0, "{process:?}");
        assert!(process.open_fds > 2 && process.max_fds >= process.open_fds, "{process:?}");
    }
}
