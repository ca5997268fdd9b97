//! What a failed fetch means. Git exits with 128 for nearly everything; only its words tell.

/// Why a fetch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The forge does not have the ref, or does not give the commit.
    NoSuchRef,
    /// The forge could not be reached or broke off. Trying again can help.
    Network,
    /// The forge answered, and does not let Kennel read the repository.
    Refused,
    /// Anything else; the mirror may be broken.
    Other,
}

/// Read in this order: git prints general words ("Could not read from remote repository") after
/// the particular ones.
const WORDS: [(Trouble, &[&str]); 3] = [
    (
        Trouble::NoSuchRef,
        &[
            "couldn't find remote ref",
            "not our ref",
            "Server does not allow request for unadvertised object",
            "no such remote ref",
        ],
    ),
    (
        Trouble::Refused,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied",
            "Host key verification failed",
            "returned error: 401",
            "returned error: 403",
            "returned error: 404",
            "not found",
            "does not appear to be a git repository",
            "dubious ownership",
            "transport '",
        ],
    ),
    (
        Trouble::Network,
        &[
            "Could not resolve host",
            "Couldn't resolve host",
            "Name or service not known",
            "Temporary failure in name resolution",
            "Failed to connect",
            "Could not connect",
            "Couldn't connect",
            "unable to connect",
            "Connection refused",
            "Connection reset",
            "Connection closed",
            "Connection timed out",
            "Network is unreachable",
            "No route to host",
            "timed out",
            "Operation too slow",
            "Empty reply from server",
            "Recv failure",
            "Send failure",
            "SSL_ERROR_SYSCALL",
            "TLS connection was non-properly terminated",
            "gnutls_handshake() failed",
            "RPC failed",
            "early EOF",
            "unexpected disconnect",
            "hung up unexpectedly",
            "returned error: 429",
            "returned error: 5",
            "kex_exchange_identification",
        ],
    ),
];

impl Trouble {
    /// What git's stderr says.
    pub(crate) fn of(stderr: &str) -> Self {
        WORDS
            .into_iter()
            .find(|(_, words)| words.iter().any(|word| stderr.contains(word)))
            .map_or(Self::Other, |(trouble, _)| trouble)
    }
}

/// The lines of git's stderr that say something, for people: at most four.
pub(crate) fn essence(stderr: &str) -> String {
    let says = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("hint:")
            && !line.starts_with("warning:")
            && !line.starts_with("Please make sure you have the correct access rights")
            && !line.starts_with("and the repository exists")
    };
    let lines: Vec<&str> = stderr.lines().map(str::trim_end).filter(says).take(4).collect();
    if lines.is_empty() { "git said nothing".into() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_real_gits() {
        for (stderr, trouble) in [
            ("fatal: couldn't find remote ref refs/heads/gone\n", Trouble::NoSuchRef),
            ("fatal: remote error: upload-pack: not our ref 1234\n", Trouble::NoSuchRef),
            (
                "fatal: '/srv/none.git' does not appear to be a git repository\nfatal: Could not read from remote repository.\n",
                Trouble::Refused,
            ),
            (
                "fatal: unable to access 'http://127.0.0.1:1/x/': Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server\n",
                Trouble::Network,
            ),
            (
                "fatal: unable to access 'https://nope.invalid/x/': Could not resolve host: nope.invalid\n",
                Trouble::Network,
            ),
            (
                "fatal: could not read Username for 'https://git.example.com': terminal prompts disabled\n",
                Trouble::Refused,
            ),
            (
                "remote: Repository not found.\nfatal: repository 'https://github.com/a/b/' not found\n",
                Trouble::Refused,
            ),
            (
                "ssh: connect to host example.com port 22: Connection timed out\r\nfatal: Could not read from remote repository.\n",
                Trouble::Network,
            ),
            (
                "git@example.com: Permission denied (publickey).\nfatal: Could not read from remote repository.\n",
                Trouble::Refused,
            ),
            (
                "error: RPC failed; curl 56 Recv failure: Connection reset by peer\nfatal: early EOF\n",
                Trouble::Network,
            ),
            (
                "fatal: unable to access 'https://x/': The requested URL returned error: 502\n",
                Trouble::Network,
            ),
            ("fatal: transport 'file' not allowed\n", Trouble::Refused),
            ("fatal: bad object refs/kennel/builds/1\n", Trouble::Other),
        ] {
            assert_eq!(Trouble::of(stderr), trouble, "{stderr}");
        }
    }

    #[test]
    fn essence_leaves_hints_out() {
        let stderr = "warning: something\nfatal: '/srv/none.git' does not appear to be a git repository\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        insta::assert_snapshot!(essence(stderr), @r"
        fatal: '/srv/none.git' does not appear to be a git repository
        fatal: Could not read from remote repository.
        ");
    }
}
