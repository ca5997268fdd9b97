//! A build's own story, told twice: to the journal, and to `build.log` beside the outputs' logs.

use std::io;
use std::time::Instant;

use kennel_core::{BuildId, GitRef, ProjectName};
use tracing::{error, info};

use crate::directories::Directories;
use crate::output_log::OutputLog;

/// Tells the steps of one build.
#[derive(Debug)]
pub(crate) struct JobLog {
    build: BuildId,
    project: ProjectName,
    branch: String,
    log: OutputLog,
    begun: Instant,
}

impl JobLog {
    /// Begins, behind what an interrupted run has told.
    ///
    /// # Errors
    /// `build.log` cannot be opened.
    pub(crate) fn open(
        directories: &Directories,
        build: BuildId,
        project: &ProjectName,
        git_ref: &GitRef,
    ) -> io::Result<Self> {
        let log = OutputLog::open(&directories.logs.join("build.log"))?;
        let (project, branch) = (project.clone(), git_ref.short());
        Ok(Self { build, project, branch, log, begun: Instant::now() })
    }

    /// A step that went well.
    pub(crate) fn tell(&mut self, text: &str) {
        info!(build = %self.build, project = %self.project, branch = self.branch, "{text}");
        self.write(text);
    }

    /// A step that did not.
    pub(crate) fn tell_failure(&mut self, text: &str) {
        error!(build = %self.build, project = %self.project, branch = self.branch, "{text}");
        self.write(text);
    }

    /// How long the build has run.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.begun.elapsed()
    }

    fn write(&mut self, text: &str) {
        let since = self.begun.elapsed().as_secs_f64();
        let text = text.replace('\n', "\n            ");
        self.log.say(&format!("{since:9.2} s {text}"));
    }
}
