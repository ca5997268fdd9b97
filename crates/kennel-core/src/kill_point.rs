//! The named moments of a push's life at which a test may kill the program that passes them.
//!
//! Only in test builds (feature `kill-points`): what is shipped knows none of these names. Here is
//! which moments there are, and which of them stands for each arrow of the two state machines; to
//! pass one is `kennel_systemd::kill_point!`.

use std::fmt;

use crate::{BuildEvent, BuildState, DeploymentEvent, DeploymentState};

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A moment between two instructions, after what its sentence says and before anything else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum KillPoint {
            $($(#[doc = $doc])+ $name,)+
        }

        impl KillPoint {
            /// Every point, in the order in which a push comes by.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in a test's file and in the journal.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

points! {
    /// kennel-webhook has verified and understood a delivery.
    DeliveryVerified,
    /// The inbox row is on disk; nobody has rung, and the sender has no answer.
    InboxRowCommitted,
    /// The bell has rung; the sender has no answer.
    BellRung,

    /// kennel-dispatch has read an inbox row that nobody has taken.
    EventRead,
    /// The build's row is there, and queued ones that it supersedes are ended; running ones are not.
    BuildQueued,
    /// A running build's row says that a newer one supersedes it; its unit runs.
    SupersessionWritten,
    /// A build's row says that somebody wants its end; its unit runs.
    CancellationWritten,
    /// Deployments' rows say that they shall end; nothing was stopped.
    TeardownMarked,
    /// What an inbox row means is written; the row itself says that nobody has taken it.
    EventDecided,
    /// systemd is about to be asked for a build.
    BuildChosen,
    /// A build or deployment whose unit vanished without a word is queued again, or ended.
    LossWritten,
    /// One deployment of a finished build has its row; others may be missing.
    DeploymentMade,
    /// All deployments of a build have their rows; the build says that they have none.
    DeploymentsMade,
    /// A deployment that was being brought up is superseded by one that waits.
    NewerPreferred,
    /// systemd is about to be asked for a deployment.
    DeploymentChosen,
    /// systemd is about to be asked for a teardown.
    TeardownChosen,

    /// kennel-build has claimed its row.
    BuildClaimed,
    /// The commit is in the mirror.
    CommitFetched,
    /// The outputs have their rows.
    OutputsPlanned,
    /// An output's row says that it is being built.
    OutputBegun,
    /// Nix has made an output and its GC root; the row does not know.
    OutputLinked,
    /// An output's row has its store path.
    OutputBuilt,
    /// All outputs are done; the build's row says that it is being built.
    OutputsDone,
    /// The build's row has its end; nobody has rung.
    BuildEnded,
    /// The bell has rung; what only a running build needs is still there.
    BuildTold,
    /// `ExecStopPost=` has found a row without an end.
    BuildUnsettled,
    /// `ExecStopPost=` has left the row with its end, or queued again; nothing was removed.
    BuildSettled,
    /// What the build does not need any more is removed; its row does not say so.
    BuildSwept,

    /// kennel-deploy has claimed its row.
    DeploymentClaimed,
    /// The deployment has a GC root of its own, and the build still has one.
    RootMade,
    /// The custom domain, if it asks for one, is its own.
    DomainClaimed,
    /// A preview database is the branch's by its row; the server was not asked.
    DatabaseAllocated,
    /// The server has emptied or made it; the row does not say so.
    DatabaseMade,
    /// The row has a port; nobody listens there.
    PortReserved,
    /// There is an environment file and no unit file.
    EnvWritten,
    /// There is a unit file, and nothing was started.
    UnitWritten,
    /// The row says that the version of before gives way; the table does not.
    HoldWritten,
    /// Visitors wait; the version of before runs.
    VisitorsHeld,
    /// The version of before is stopped; nothing was started.
    WayGiven,
    /// systemd has started the unit; nobody has asked whether it is healthy.
    UnitStarted,
    /// It has answered that it is healthy.
    Healthy,
    /// The site's link leads to the new version.
    SiteLinked,
    /// The row says that the route table shall have it; the table does not.
    Routed,
    /// The table has it; the router was not told.
    TableWritten,
    /// The router has the table; the row says `starting`.
    TableLoaded,
    /// Only the deployment's own GC root is left.
    RootTakenOver,
    /// The rows say who serves and who drains; there is no timer.
    Activated,
    /// The timer that ends the drain is there.
    DrainTimed,
    /// The row says that the one of before serves the same; its GC root is there.
    FoundUnchanged,
    /// The row says that it failed; what was made is still there.
    FailureWritten,
    /// `ExecStopPost=` has found a row that says `starting`.
    DeploymentUnsettled,
    /// `ExecStopPost=` has written what becomes of the row; nobody has rung.
    DeploymentSettled,

    /// kennel-deploy has begun to bring about an end.
    EndBegun,
    /// The route table does not lead to it, and the router knows.
    RoutesWithdrawn,
    /// No timer will end its drain.
    TimerStopped,
    /// The unit is down; its files are there.
    UnitStopped,
    /// What had given way to it is started again; visitors wait.
    WentOn,
    /// The state directory is gone.
    StateRemoved,
    /// The unit file and the environment file are gone.
    FilesRemoved,
    /// The branch's preview database is gone from its server; the row is there.
    DatabaseDropped,
    /// The site's link is gone, or leads to the version that serves.
    SiteUnlinked,
    /// No GC root is left.
    RootsReleased,
    /// The slices that nothing runs in are stopped; the row says `tearing_down`.
    SlicesStopped,
    /// The row says that nothing is left; nobody has rung.
    TornDown,
    /// A version that is older than those that are kept is let go, and its row does not say so.
    OldReleased,
    /// The row says that it can come back; nobody has rung.
    Retired,

    /// kennel-restore has made the files of one deployment.
    RestoreWritten,
    /// kennel-restore has removed what has no row.
    StrangersRemoved,
    /// kennel-restore has published the routes.
    RestorePublished,
    /// kennel-restore has asked for the start of one deployment.
    RestoreStarted,
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// For every arrow of a build, the points at which it has just been taken.
pub const BUILD_ARROWS: &[(BuildState, BuildEvent, &[KillPoint])] = {
    use BuildEvent as On;
    use BuildState as Is;
    use KillPoint as At;
    &[
        (Is::WaitingForApproval, On::Approved, &[At::EventDecided]),
        (Is::WaitingForApproval, On::Cancelled, &[At::CancellationWritten]),
        (Is::WaitingForApproval, On::Superseded, &[At::BuildQueued]),
        (Is::Queued, On::Claimed, &[At::BuildClaimed]),
        (Is::Queued, On::Cancelled, &[At::CancellationWritten]),
        (Is::Queued, On::Superseded, &[At::BuildQueued]),
        (Is::Building, On::Succeeded, &[At::BuildEnded]),
        (Is::Building, On::PartlyFailed, &[At::BuildEnded]),
        (Is::Building, On::Failed, &[At::BuildEnded, At::BuildSettled]),
        (Is::Building, On::Interrupted, &[At::BuildSettled, At::LossWritten]),
        (Is::Building, On::Cancelled, &[At::BuildEnded, At::BuildSettled]),
        (Is::Building, On::Superseded, &[At::BuildEnded, At::BuildSettled]),
    ]
};

/// For every arrow of a deployment, the points at which it has just been taken.
pub const DEPLOYMENT_ARROWS: &[(DeploymentState, DeploymentEvent, &[KillPoint])] = {
    use DeploymentEvent as On;
    use DeploymentState as Is;
    use KillPoint as At;
    &[
        (Is::Pending, On::Claimed, &[At::DeploymentClaimed]),
        (Is::Pending, On::Failed, &[At::FailureWritten]),
        (Is::Pending, On::Cancelled, &[At::DeploymentsMade]),
        (Is::Pending, On::Superseded, &[At::DeploymentMade, At::NewerPreferred]),
        (Is::Pending, On::TearDown, &[At::TeardownMarked]),
        (Is::Starting, On::Activated, &[At::Activated]),
        (Is::Starting, On::Failed, &[At::FailureWritten, At::DeploymentSettled]),
        (Is::Starting, On::Interrupted, &[At::DeploymentSettled, At::LossWritten]),
        (Is::Starting, On::Cancelled, &[At::DeploymentSettled]),
        (Is::Starting, On::Superseded, &[At::NewerPreferred]),
        (Is::Starting, On::Unchanged, &[At::FoundUnchanged]),
        (Is::Starting, On::TearDown, &[At::TeardownMarked]),
        (Is::Active, On::Replaced, &[At::Activated]),
        (Is::Active, On::TearDown, &[At::TeardownMarked]),
        (Is::Draining, On::Retired, &[At::Retired]),
        (Is::Draining, On::TearDown, &[At::TeardownMarked]),
        (Is::Retired, On::TearDown, &[At::TeardownMarked]),
        (Is::Retired, On::TornDown, &[At::TornDown]),
        (Is::TearingDown, On::TornDown, &[At::TornDown]),
        (Is::Failed, On::TearDown, &[At::TeardownMarked]),
        (Is::Superseded, On::TearDown, &[At::TeardownMarked]),
        (Is::Unchanged, On::TearDown, &[At::TeardownMarked]),
        (Is::Cancelled, On::TearDown, &[At::TeardownMarked]),
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Debug;

    use super::*;

    /// What a table lacks, and what it has too much.
    fn differences<State: Copy + Debug, Event: Copy + Debug>(
        states: &[State],
        events: &[Event],
        is_arrow: impl Fn(State, Event) -> bool,
        table: &[(State, Event, &[KillPoint])],
    ) -> Vec<String> {
        let arrow = |state: &State, event: &Event| format!("{state:?} --{event:?}-->");
        let all: BTreeSet<_> = states
            .iter()
            .flat_map(|state| events.iter().map(move |event| (state, event)))
            .filter(|(state, event)| is_arrow(**state, **event))
            .map(|(state, event)| arrow(state, event))
            .collect();
        let pointed: BTreeSet<_> = table
            .iter()
            .filter(|(_, _, points)| !points.is_empty())
            .map(|(state, event, _)| arrow(state, event))
            .collect();
        all.symmetric_difference(&pointed).cloned().collect()
    }

    #[test]
    fn every_arrow_of_a_build_has_a_point() {
        let is_arrow = |state: BuildState, event| state.step(event).is_ok();
        let none = differences(&BuildState::ALL, &BuildEvent::ALL, is_arrow, BUILD_ARROWS);
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn every_arrow_of_a_deployment_has_a_point() {
        let is_arrow = |state: DeploymentState, event| state.step(event).is_ok();
        let none =
            differences(&DeploymentState::ALL, &DeploymentEvent::ALL, is_arrow, DEPLOYMENT_ARROWS);
        assert_eq!(none, Vec::<String>::new());
    }

    #[test]
    fn an_arrow_without_a_point_is_seen() {
        let is_arrow = |state: BuildState, event| state.step(event).is_ok();
        let without = &BUILD_ARROWS[1..];
        let none = differences(&BuildState::ALL, &BuildEvent::ALL, is_arrow, without);
        assert_eq!(none, ["WaitingForApproval --Approved-->"]);
    }
}
