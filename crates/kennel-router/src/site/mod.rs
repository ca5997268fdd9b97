//! Static sites: a folder of the Nix store, answered from an index made once.
//!
//! The store never changes below a path, so a request is one look into a map: no path is put
//! together from what a client sent, and no link is followed while serving.

mod coding;
mod condition;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod lasting;
mod packer;
mod path;
mod reply;
mod rules;
mod serving;
mod shelf;

pub(crate) use file::FileBody;
pub(crate) use index::Site;
pub(crate) use serving::{Former, Serving};
pub(crate) use shelf::Shelf;
