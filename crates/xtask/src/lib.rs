//! What stands outside of a Kennel host: the machine that boots it, the forge that pushes to it,
//! the visitors that load it.
//!
//! A library beside the `xtask` program because the end-to-end suite and the demo do the same
//! things. Nothing here reaches into the product: programs are files to install, and everything
//! else goes through the doors that an operator, a forge and a browser have.
// It speaks to a terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

pub mod base;
pub mod checkout;
pub mod forge;
pub mod host;
pub mod http;
pub mod interrupt;
pub mod kennel;
pub mod load;
pub mod manual;
pub mod needs;
pub mod netns;
pub mod package;
pub mod process;
pub mod product;
pub mod project;
pub mod resident;
pub mod sources;
