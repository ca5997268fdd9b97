//! The builder with real git and the real kernel.

#[cfg(test)]
mod confined;
#[cfg(test)]
mod mirror;
#[cfg(test)]
mod run;

#[cfg(test)]
const PROGRAM: &str = env!("CARGO_BIN_EXE_kennel-build");

/// Whether the kernel cannot confine anything; says by name which test is skipped then.
#[cfg(test)]
fn no_landlock(test: &str) -> bool {
    let probe = std::process::Command::new(PROGRAM).args(["confined", "--", "true"]).output();
    let without = !probe.unwrap().status.success();
    if without {
        println!("skipped: {test}: this kernel has no Landlock");
    }
    without
}
