//! How a service's main process ended, in words that a person knows.

/// How a process ended, from the codes of waitid(2).
pub(super) fn ended(code: i32, status: i32) -> String {
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
