//! Passing a [`KillPoint`]: a test holds the program there, and kills it or lets it go on.
//!
//! Only with the feature `kill-points`. A file that names points holds every program that passes
//! one of them for its project; without the file nothing is slower than one look at a directory.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

pub use kennel_core::KillPoint;
use kennel_core::ProjectName;
use tracing::info;

/// One file per project, with the names of points. Below `/etc`, since every sandbox reads that.
pub const DIRECTORY: &str = "/etc/kennel-kill-points";

/// Between two looks at the file while the program is held.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Says in the journal that the point is reached, and waits while the project's file names it.
///
/// Holds the whole program, whatever else it has to do: what a killed program was doing beside is
/// lost as well.
pub fn pass(point: KillPoint, project: &ProjectName) {
    let file = Path::new(DIRECTORY).join(project.as_str());
    if !names(&file, point) {
        return;
    }
    info!(point = point.as_str(), project = %project, "held at {point}");
    while names(&file, point) {
        thread::sleep(LOOK_AGAIN);
    }
}

fn names(file: &Path, point: KillPoint) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| line == point.as_str()))
}
