//! The end-to-end suite: what Kennel promises, seen on a booted host from outside.
//!
//! One module per promise. `cargo test -p kennel-tests -- NAME` runs those with `NAME` in them.

mod access;
mod api;
mod cancel;
mod clock;
mod configuration;
mod cutover;
mod databases;
mod deletions;
mod doctor;
mod failures;
mod flood;
mod full_disk;
mod garbage;
mod hardening;
mod health;
mod host;
mod hostile;
mod idle;
mod isolation;
mod killed;
mod latest;
mod limits;
mod locked;
mod names;
mod nixos;
mod packages;
mod partial;
mod polkit;
mod poll;
mod protocols;
mod pull_requests;
mod push;
mod readme;
mod reboot;
mod reconcile;
mod redeploy;
mod release;
mod restart;
mod rollback;
mod router;
mod routing;
mod secrets;
mod sites;
mod sleep;
mod slices;
mod strategies;
mod sweep;
mod timers;
mod tls;
mod unchanged;
mod workers;

use std::process::ExitCode;

use kennel_tests::Suite;

fn main() -> ExitCode {
    Suite::default()
        .test("host::builds_run_in_the_sandbox", host::builds_run_in_the_sandbox)
        .test("push::first_push_serves", push::first_push_serves)
        .test("cutover::once_with_a_drain_of_30_s", cutover::once_with_a_drain_of_30_s)
        .test("cutover::twenty_with_a_drain_of_3_s", cutover::twenty_with_a_drain_of_3_s)
        .test("cutover::site_under_visitors", cutover::site_under_visitors)
        .test("sites::as_browsers_ask", sites::as_browsers_ask)
        .test("nixos::module_says_what_kennel_reads", nixos::module_says_what_kennel_reads)
        .test("nixos::module_says_what_to_write_instead", nixos::module_says_what_to_write_instead)
        .test("nixos::flake_has_all_outputs", nixos::flake_has_all_outputs)
        .test("routing::several_under_one_domain", routing::several_under_one_domain)
        .test("routing::all_below_a_domain", routing::all_below_a_domain)
        .test("router::limits_requests", router::limits_requests)
        .test(
            "protocols::h2c_and_the_end_of_a_websocket",
            protocols::h2c_and_the_end_of_a_websocket,
        )
        .test("api::cancels_builds", api::cancels_builds)
        .test("api::reads_through_a_wall", api::reads_through_a_wall)
        .test(
            "health::of_a_service_that_stops_answering",
            health::of_a_service_that_stops_answering,
        )
        .test("redeploy::of_what_serves", redeploy::of_what_serves)
        .test(
            "redeploy::of_a_build_whose_cause_has_gone",
            redeploy::of_a_build_whose_cause_has_gone,
        )
        .test("release::runs_once_before_traffic", release::runs_once_before_traffic)
        .test("rollback::pinned", rollback::pinned)
        .test("strategies::one_after_the_other", strategies::one_after_the_other)
        .test("workers::from_first_to_last", workers::from_first_to_last)
        .test("workers::in_a_services_place", workers::in_a_services_place)
        .test("timers::of_one_program_of_several", timers::of_one_program_of_several)
        .test("unchanged::keeps_its_process", unchanged::keeps_its_process)
        .test("secrets::reach_their_services", secrets::reach_their_services)
        .test("failures::never_healthy", failures::never_healthy)
        .test("failures::exits_at_once", failures::exits_at_once)
        .test("failures::without_a_program", failures::without_a_program)
        .test("failures::listening_elsewhere", failures::listening_elsewhere)
        .test("failures::on_a_first_push", failures::on_a_first_push)
        .test("partial::two_of_three_are_deployed", partial::two_of_three_are_deployed)
        .test("flood::of_pushes_ends_with_the_newest", flood::of_pushes_ends_with_the_newest)
        .test("hostile::printing", hostile::printing)
        .test("hostile::services", hostile::services)
        .test("hostile::into_the_background", hostile::into_the_background)
        .test("latest::comes_after_a_slow_one", latest::comes_after_a_slow_one)
        .test("latest::goes_where_the_branch_goes", latest::goes_where_the_branch_goes)
        .test("latest::ends_what_is_being_built", latest::ends_what_is_being_built)
        .test("pull_requests::live_on_forgejo", pull_requests::live_on_forgejo)
        .test("pull_requests::live_on_gitea", pull_requests::live_on_gitea)
        .test("pull_requests::live_on_github", pull_requests::live_on_github)
        .test("pull_requests::of_strangers_wait", pull_requests::of_strangers_wait)
        .test(
            "pull_requests::of_strangers_get_no_secrets",
            pull_requests::of_strangers_get_no_secrets,
        )
        .test(
            "pull_requests::and_branches_of_their_names_never_meet",
            pull_requests::and_branches_of_their_names_never_meet,
        )
        .test("pull_requests::pings_are_answered", pull_requests::pings_are_answered)
        .test("sweep::ends_what_nobody_uses", sweep::ends_what_nobody_uses)
        .test("sweep::forgets_what_is_long_over", sweep::forgets_what_is_long_over)
        .test("poll::untold", poll::untold)
        .test("poll::unreachable", poll::unreachable)
        .test("deletions::as_forgejo_says_it", deletions::as_forgejo_says_it)
        .test("deletions::as_gitea_says_it", deletions::as_gitea_says_it)
        .test("deletions::as_github_says_it", deletions::as_github_says_it)
        .test("deletions::while_it_builds", deletions::while_it_builds)
        .test("deletions::while_its_deployment_starts", deletions::while_its_deployment_starts)
        .test("deletions::while_older_ones_drain", deletions::while_older_ones_drain)
        .test("deletions::at_once", deletions::at_once)
        .test("isolation::other_projects_cannot_be_read", isolation::other_projects_cannot_be_read)
        .test("names::that_look_alike_never_meet", names::that_look_alike_never_meet)
        .test("names::over_the_limits_are_refused", names::over_the_limits_are_refused)
        .test("configuration::check_explains_mistakes", configuration::check_explains_mistakes)
        .test(
            "configuration::bad_manifests_fail_the_build",
            configuration::bad_manifests_fail_the_build,
        )
        .test(
            "configuration::without_a_secret_nobody_is_heard",
            configuration::without_a_secret_nobody_is_heard,
        )
        .test(
            "configuration::a_broken_project_waits_for_its_repair",
            configuration::a_broken_project_waits_for_its_repair,
        )
        .test("hardening::shipped_units_are_valid", hardening::shipped_units_are_valid)
        .test("hardening::programs_are_confined", hardening::programs_are_confined)
        .test("hardening::users_are_kept_apart", hardening::users_are_kept_apart)
        .test(
            "hardening::deployed_services_are_confined",
            hardening::deployed_services_are_confined,
        )
        .test(
            "polkit::the_dispatcher_starts_and_stops_jobs",
            polkit::the_dispatcher_starts_and_stops_jobs,
        )
        .test("polkit::nobody_else_starts_anything", polkit::nobody_else_starts_anything)
        .test_alone(
            "configuration::a_large_secret_spins_nothing",
            configuration::a_large_secret_spins_nothing,
        )
        .test_alone(
            "configuration::a_broken_host_waits_for_its_repair",
            configuration::a_broken_host_waits_for_its_repair,
        )
        .test_alone("idle::only_the_router_stays", idle::only_the_router_stays)
        .test_alone(
            "configuration::started_jobs_wait_for_a_repair",
            configuration::started_jobs_wait_for_a_repair,
        )
        .test_alone(
            "failures::port_taken_by_another_program",
            failures::port_taken_by_another_program,
        )
        .test_alone("hostile::ringing", hostile::ringing)
        .test_alone("hostile::senders", hostile::senders)
        .test_alone("hostile::printing_a_gigabyte", hostile::printing_a_gigabyte)
        .test_of_machine("readme::demo", readme::demo)
        .test_timed("hostile::builds", hostile::builds)
        .test_timed(
            "flood::of_pushes_is_taken_in_two_seconds",
            flood::of_pushes_is_taken_in_two_seconds,
        )
        .test_timed("rollback::without_nix_and_forge", rollback::without_nix_and_forge)
        .test_timed("restart::under_visitors", restart::under_visitors)
        .test_timed("cancel::by_stopping_its_unit", cancel::by_stopping_its_unit)
        .test_timed("cancel::by_kennelctl", cancel::by_kennelctl)
        .test_from_nothing("packages::of_debian", packages::of_debian)
        .test_on_nixos("nixos::from_push_to_page", nixos::LAID_OUT, nixos::from_push_to_page)
        .test_alone("killed::anywhere", killed::anywhere)
        .test_alone("killed::held_up_while_others_work", killed::held_up_while_others_work)
        .test_alone("clock::set_back_an_hour", clock::set_back_an_hour)
        .test_alone("locked::by_another_writer", locked::by_another_writer)
        .test_alone("locked::each_by_itself", locked::each_by_itself)
        .test_alone("full_disk::under_the_databases", full_disk::under_the_databases)
        .test_alone("tls::with_the_operators_certificate", tls::with_the_operators_certificate)
        .test_alone("tls::from_an_authority", tls::from_an_authority)
        .test_alone("router::writes_an_access_log", router::writes_an_access_log)
        .test_alone("access::closed_until_it_is_opened", access::closed_until_it_is_opened)
        .test_alone("access::previews_ask_for_a_password", access::previews_ask_for_a_password)
        .test_from_nothing("tls::one_wildcard_by_dns", tls::one_wildcard_by_dns)
        // They repair the whole host, and with it what others have broken on purpose.
        .test_alone("slices::of_a_project_and_its_branches", slices::of_a_project_and_its_branches)
        .test_alone("timers::from_first_to_last", timers::from_first_to_last)
        .test_alone("reconcile::beside_a_deployment", reconcile::beside_a_deployment)
        .test_alone("reconcile::whatever_is_broken", reconcile::whatever_is_broken)
        .test_alone("garbage::collected_all_the_while", garbage::collected_all_the_while)
        .test_alone("sleep::until_somebody_comes", sleep::until_somebody_comes)
        .test_alone("cancel::while_it_probes", cancel::while_it_probes)
        .test_alone("cancel::before_its_turn", cancel::before_its_turn)
        .test_alone("databases::of_each_branch", databases::of_each_branch)
        .test_alone("doctor::sees_it_and_says_what_helps", doctor::sees_it_and_says_what_helps)
        .test_alone(
            "secrets::stay_secret_and_survive_a_reboot",
            secrets::stay_secret_and_survive_a_reboot,
        )
        .test_alone("reboot::at_rest", reboot::at_rest)
        .test_alone("reboot::with_a_broken_configuration", reboot::with_a_broken_configuration)
        .test_alone("reboot::in_the_middle_of_a_build", reboot::in_the_middle_of_a_build)
        .test_alone("reboot::in_the_middle_of_a_deployment", reboot::in_the_middle_of_a_deployment)
        .test_on_vm("limits::of_services", limits::of_services)
        .test_on_vm("limits::of_builds", limits::of_builds)
        .test_on_vm("limits::of_slices", limits::of_slices)
        .test_on_vm("limits::of_addresses", limits::of_addresses)
        .test_on_vm(
            "limits::builds_leave_room_for_visitors",
            limits::builds_leave_room_for_visitors,
        )
        .main()
}
