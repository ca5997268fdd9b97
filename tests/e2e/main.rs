//! The end-to-end suite: what Kennel promises, seen on a booted host from outside.
//!
//! One module per promise. `cargo test -p kennel-tests -- NAME` runs those with `NAME` in them.

mod host;
mod push;
mod reboot;

use std::process::ExitCode;

use kennel_tests::Suite;

fn main() -> ExitCode {
    Suite::default()
        .test("host::builds_run_in_the_sandbox", host::builds_run_in_the_sandbox)
        .test("push::first_push_serves", push::first_push_serves)
        .test_alone("reboot::at_rest", reboot::at_rest)
        .test_alone("reboot::in_the_middle_of_a_build", reboot::in_the_middle_of_a_build)
        .test_alone("reboot::in_the_middle_of_a_deployment", reboot::in_the_middle_of_a_deployment)
        .main()
}
