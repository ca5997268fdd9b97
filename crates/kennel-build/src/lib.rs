//! Build row in, store paths out.
//!
//! `kennel-build run <id>` claims a row, fetches the commit, reads its `kennel.toml`, has Nix build
//! every output and writes down what came of it. `kennel-build settle <id>` writes the end of a
//! build whose program could not. What a build evaluates was written by strangers, so git and Nix
//! run confined to their own project's files; see [`confine`].
//!
//! Nothing here opens state.db, starts a unit, or decides what is built next.

mod cache;
mod confine;
mod confined;
mod directories;
mod git;
mod git_trouble;
mod job_log;
mod leash;
mod manifest_blob;
mod memory;
mod mirror;
mod nix;
mod nix_error;
mod objects;
mod output_log;
mod plain_text;
mod remote;
mod run;
mod say;
mod settle;
mod system;
mod tidy;
mod verdict;

pub use confine::{ConfineError, Fence, confine};
pub use confined::Confined;
pub use directories::Directories;
pub use leash::Leash;
pub use mirror::{FetchError, Found, Mirror, Wanted};
pub use remote::{AskError, Remote};
pub use run::{RunError, Runner};
pub use settle::{SettleError, settle};
pub use tidy::{TidyError, tidy};
pub use verdict::{EXIT_WAITS, Ending, Marks, Verdict};
