//! The real program, run on a host that is only files.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod builds;
#[cfg(test)]
mod extending;
#[cfg(test)]
mod going_back;
#[cfg(test)]
mod looking;
#[cfg(test)]
mod maintaining;
#[cfg(test)]
mod redeploying;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod status;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod tree;
#[cfg(test)]
mod wishes;
#[cfg(test)]
mod wishing;
